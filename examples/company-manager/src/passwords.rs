//! Passwords: argon2id, outside the async threads, with bounded concurrency.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{self, SaltString},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{AcquireError, Semaphore};

use crate::client::Client;

/// Concurrent verifications. Each takes 19 MiB and about 20 ms of one core.
const AT_A_TIME: usize = 2;
/// Maximum wait of a sign-in for its turn; then it is told to retry.
const MOST_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of waiting sign-ins per lane.
const MOST_IN_LANE: usize = 16;
/// Maximum number of waiting sign-ins in all lanes.
const MOST_INSIDE: usize = 512;

/// Hashes `password` with argon2id (19 MiB, 2 passes, 1 lane: OWASP's recommendation) and a random salt, in PHC format.
/// Blocks.
///
/// # Errors
/// If argon2 rejects the password, i.e. if it is longer than 4 GiB.
pub fn hash(password: &SecretString) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(Argon2::default().hash_password(password.expose_secret().as_bytes(), &salt)?.to_string())
}

/// Whether `password` matches `hash` in PHC format. Blocks.
pub(crate) fn matches(password: &SecretString, hash: &str) -> bool {
    PasswordHash::new(hash)
        .and_then(|hash| Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash))
        .is_ok()
}

/// The queue in which a verification waits; each lane has one verification at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// All sign-ins of one client, as far as the server knows the client.
    Client(Option<Client>),
    /// One known browser, by a hash: behind a proxy it may share its address with a flood.
    Browser([u8; 32]),
}

/// Verifies passwords: a few at a time, at most one per lane, so that one client's flood does not delay others.
#[derive(Clone)]
pub(crate) struct Verifier {
    turns: Arc<Semaphore>,
    lanes: Arc<Lanes>,
    /// The hash of an unknown password, so that an unknown name takes as long as a known one.
    nobody: Arc<str>,
}

/// Too many concurrent sign-ins, in total or in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Verifier {
    pub(crate) fn new() -> Result<Self, password_hash::Error> {
        let nobody = hash(&rand::random::<u128>().to_string().into())?;
        Ok(Self { turns: Arc::new(Semaphore::new(AT_A_TIME)), lanes: Arc::default(), nobody: nobody.into() })
    }

    /// Whether `password` matches `hash`; `false` without a hash. Verifications in one lane run one after another.
    pub(crate) async fn verify(&self, lane: Lane, password: SecretString, hash: Option<String>) -> Result<bool, Busy> {
        let place = self.lanes.enter(lane).ok_or(Busy)?;
        let turn = async {
            let own = place.turn.clone().acquire_owned().await?;
            Ok::<_, AcquireError>((own, self.turns.clone().acquire_owned().await?))
        };
        let turn = tokio::time::timeout(MOST_WAIT, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)?;
        let nobody = self.nobody.clone();
        let verification = tokio::task::spawn_blocking(move || {
            // The turn is held until the work is done, even if the caller is dropped.
            let _turn = (turn, place);
            let is_known = hash.is_some();
            let matches = matches(&password, hash.as_deref().unwrap_or(&nobody));
            is_known && matches
        });
        verification.await.map_err(|_| Busy)
    }
}

/// The waiting sign-ins.
#[derive(Default)]
struct Lanes(Mutex<HashMap<Lane, Waiting>>);

struct Waiting {
    turn: Arc<Semaphore>,
    inside: usize,
}

impl Lanes {
    /// A place in the lane; `None`: that lane, or all lanes together, are full.
    fn enter(self: &Arc<Self>, lane: Lane) -> Option<Place> {
        let mut lanes = self.lanes();
        if lanes.values().map(|waiting| waiting.inside).sum::<usize>() >= MOST_INSIDE {
            return None;
        }
        let waiting = lanes.entry(lane).or_insert_with(|| Waiting { turn: Arc::new(Semaphore::new(1)), inside: 0 });
        if waiting.inside >= MOST_IN_LANE {
            return None;
        }
        waiting.inside += 1;
        Some(Place { lanes: Arc::clone(self), lane, turn: waiting.turn.clone() })
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Lane, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a lane, released on drop.
struct Place {
    lanes: Arc<Lanes>,
    lane: Lane,
    turn: Arc<Semaphore>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lanes = self.lanes.lanes();
        if let Some(waiting) = lanes.get_mut(&self.lane) {
            waiting.inside -= 1;
            if waiting.inside == 0 {
                lanes.remove(&self.lane);
            }
        }
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

    const NOBODY_KNOWN: Lane = Lane::Client(None);

    #[tokio::test]
    async fn only_the_right_password_of_a_known_person_is_accepted() {
        let verifier = Verifier::new().unwrap();
        let known = hash(&"right".into()).unwrap();

        assert_eq!(verifier.verify(NOBODY_KNOWN, "right".into(), Some(known.clone())).await, Ok(true));
        assert_eq!(verifier.verify(NOBODY_KNOWN, "wrong".into(), Some(known.clone())).await, Ok(false));
        assert_eq!(verifier.verify(NOBODY_KNOWN, "right".into(), None).await, Ok(false));
        assert!(known.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{known}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_two_verifications_run_at_a_time() {
        let verifier = Verifier::new().unwrap();
        let _turns = verifier.turns.clone().acquire_many_owned(2).await.unwrap();

        assert_eq!(verifier.verify(NOBODY_KNOWN, "x".into(), None).await, Err(Busy));
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_s_flood_keeps_nobody_else_waiting() {
        let verifier = Verifier::new().unwrap();
        let [flooding, other] = [1, 2].map(|last| Lane::Client(Some(Client::at([10, 0, 0, last].into()))));
        // Holding the lane's only turn makes the flood wait, and its excess is rejected at once.
        let held = verifier.lanes.enter(flooding).unwrap();
        let _turn = held.turn.clone().acquire_owned().await.unwrap();
        let flood: Vec<_> = (0..300)
            .map(|_| {
                let verifier = verifier.clone();
                tokio::spawn(async move { verifier.verify(flooding, "x".into(), None).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(verifier.lanes.lanes()[&flooding].inside, MOST_IN_LANE);

        assert_eq!(verifier.verify(other, "x".into(), None).await, Ok(false));

        for turned_away in flood {
            assert_eq!(turned_away.await.unwrap(), Err(Busy));
        }
        drop(held);
        assert!(verifier.lanes.lanes().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn all_clients_together_are_bounded() {
        let verifier = Verifier::new().unwrap();
        let places: Vec<_> = (0..=u16::MAX)
            .map_while(|number| {
                let [high, low] = number.to_be_bytes();
                verifier.lanes.enter(Lane::Client(Some(Client::at([10, 0, high, low].into()))))
            })
            .collect();

        assert_eq!(places.len(), MOST_INSIDE);
        assert_eq!(verifier.verify(NOBODY_KNOWN, "x".into(), None).await, Err(Busy));
    }
}
