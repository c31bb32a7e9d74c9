//! Passwords: argon2id, off the async threads, a bounded number at a time.

use std::{fmt, sync::Arc, time::Duration};

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{self, SaltString},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// Each verification takes 19 MiB and some 20 ms of one core.
const AT_A_TIME: usize = 2;
/// A sign-in that has waited this long for its turn is told to come back.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// Hashes `password` with argon2id (19 MiB, 2 passes, 1 lane: OWASP's choice) and a random salt, in PHC format. Blocks.
///
/// # Errors
/// If argon2 refuses, which it does for a password of more than 4 GiB.
pub fn hash(password: &SecretString) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(Argon2::default().hash_password(password.expose_secret().as_bytes(), &salt)?.to_string())
}

/// Whether `password` is the one behind `hash`, which is in PHC format. Blocks.
pub(crate) fn matches(password: &SecretString, hash: &str) -> bool {
    PasswordHash::new(hash)
        .and_then(|hash| Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash))
        .is_ok()
}

/// Verifies passwords.
#[derive(Clone)]
pub(crate) struct Verifier {
    turns: Arc<Semaphore>,
    /// The hash of a password that nobody has: an unknown name costs what a known one costs.
    nobody: Arc<str>,
}

/// Too many people sign in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Verifier {
    pub(crate) fn new() -> Result<Self, password_hash::Error> {
        let nobody = hash(&rand::random::<u128>().to_string().into())?;
        Ok(Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), nobody: nobody.into() })
    }

    /// Whether `password` is the one behind `hash`; never, if there is no hash.
    pub(crate) async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, Busy> {
        let turn = tokio::time::timeout(MOST_WAIT, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let nobody = self.nobody.clone();
        let verification = tokio::task::spawn_blocking(move || {
            // The turn ends with the work, not with a caller that went away.
            let _turn = turn;
            let is_known = hash.is_some();
            let matches = matches(&password, hash.as_deref().unwrap_or(&nobody));
            is_known && matches
        });
        verification.await.map_err(|_| Busy)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_person_is_accepted() {
        let verifier = Verifier::new().unwrap();
        let known = hash(&"right".into()).unwrap();

        assert_eq!(verifier.verify("right".into(), Some(known.clone())).await, Ok(true));
        assert_eq!(verifier.verify("wrong".into(), Some(known.clone())).await, Ok(false));
        assert_eq!(verifier.verify("right".into(), None).await, Ok(false));
        assert!(known.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{known}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_two_verifications_run_at_a_time() {
        let verifier = Verifier::new().unwrap();
        let _turns = verifier.turns.clone().acquire_many_owned(2).await.unwrap();

        assert_eq!(verifier.verify("x".into(), None).await, Err(Busy));
    }
}
