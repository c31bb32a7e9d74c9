//! The host's view of an import: the tokens that another system kept, and what became of them here.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::ImplausibleTokens,
    http::ANSWER_CAP,
    secret::{AccessTokenSecret, RefreshToken},
};

/// The tokens of one company that another system kept, for [`BatchSuiteAuth::import`](crate::BatchSuiteAuth::import).
///
/// UPS's refresh tokens are single-use, so each belongs to one company and one system: never import one twice, for two companies.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::{ImportedTokens, clock::Timestamp, secret::{AccessTokenSecret, RefreshToken}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let refresh_token_issued_at = "1706710138962";
/// let issued_at = Timestamp::from_timestamp_millis(refresh_token_issued_at.parse()?).ok_or("no such time")?;
/// let tokens = ImportedTokens::new(RefreshToken::new("the refresh_token of UPS".replace(' ', "-")))?
///     .with_issued_at(issued_at)
///     .with_refresh_expires_at(issued_at + Duration::from_secs(5_183_999))
///     .with_access_token(AccessTokenSecret::new("the-access-token"), Duration::from_secs(900))?;
/// # assert!(!format!("{tokens:?}").contains("token-of"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ImportedTokens {
    pub(crate) refresh_token: RefreshToken,
    /// With its remaining life.
    pub(crate) access_token: Option<(AccessTokenSecret, Duration)>,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
}

/// What became of imported tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imported {
    /// They are stored: the company is authenticated by them.
    Stored,
    /// They were imported before, perhaps by an earlier try of the same call. [`status`](crate::BatchSuiteAuth::status) says where the
    /// company stands now.
    AlreadyStored,
}

impl ImportedTokens {
    /// A refresh token of UPS, whose issue time and end are unknown: UPS is asked for an access token at the first use, an
    /// authenticated company is left alone, and nothing expires by itself.
    ///
    /// # Errors
    /// [`ImplausibleTokens`]: the text cannot be a token.
    pub fn new(refresh_token: RefreshToken) -> Result<Self, ImplausibleTokens> {
        plausible(refresh_token.expose_secret())?;
        Ok(Self { refresh_token, access_token: None, issued_at: None, refresh_expires_at: None })
    }

    /// The access token that belongs to it, and how long it still lives, counted from the call of
    /// [`import`](crate::BatchSuiteAuth::import). It is handed out until then. One that has ended (zero) is left out.
    ///
    /// # Errors
    /// [`ImplausibleTokens`]: the text cannot be a token, or is the refresh token.
    pub fn with_access_token(
        self,
        access_token: AccessTokenSecret,
        remaining: Duration,
    ) -> Result<Self, ImplausibleTokens> {
        plausible(access_token.expose_secret())?;
        if access_token.expose_secret() == self.refresh_token.expose_secret() {
            return Err(ImplausibleTokens::SameTwice);
        }
        Ok(Self { access_token: (!remaining.is_zero()).then_some((access_token, remaining)), ..self })
    }

    /// When UPS issued the refresh token: its `refresh_token_issued_at`, in milliseconds since 1970. A company that is authenticated
    /// by an opt-in from before that gets these tokens.
    #[must_use]
    pub fn with_issued_at(self, issued_at: Timestamp) -> Self {
        Self { issued_at: Some(issued_at), ..self }
    }

    /// When the refresh token ends: `refresh_token_issued_at` and `refresh_token_expires_in` seconds. An end that is more than ten
    /// years away counts as unknown.
    #[must_use]
    pub fn with_refresh_expires_at(self, expires_at: Timestamp) -> Self {
        Self { refresh_expires_at: Some(expires_at), ..self }
    }
}

/// Whether a text can be a token. UPS's are base64 and JWTs.
fn plausible(token: &str) -> Result<(), ImplausibleTokens> {
    if token.is_empty() {
        return Err(ImplausibleTokens::Empty);
    }
    if token.len() > ANSWER_CAP {
        return Err(ImplausibleTokens::TooLong);
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ImplausibleTokens::Characters);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> ImportedTokens {
        ImportedTokens::new(RefreshToken::new("refresh-canary")).unwrap()
    }

    fn with_access(token: &str) -> Result<ImportedTokens, ImplausibleTokens> {
        tokens().with_access_token(AccessTokenSecret::new(token), Duration::from_secs(60))
    }

    #[test]
    fn a_text_that_ups_cannot_have_issued_is_refused_as_either_token() {
        let longest = "x".repeat(ANSWER_CAP);
        for token in ["a", "NjVhZA==", "eyJhbGciOiJSUzM4NCJ9.e30.c2ln", &longest] {
            assert!(ImportedTokens::new(RefreshToken::new(token)).is_ok(), "{token}");
            assert!(with_access(token).is_ok(), "{token}");
        }
        let too_long = format!("{longest}x");
        for (text, error) in [
            ("", ImplausibleTokens::Empty),
            (&*too_long, ImplausibleTokens::TooLong),
            (" ", ImplausibleTokens::Characters),
            ("token\n", ImplausibleTokens::Characters),
            ("token\r", ImplausibleTokens::Characters),
            ("\u{feff}token", ImplausibleTokens::Characters),
            ("Bearer token", ImplausibleTokens::Characters),
            ("to\0ken", ImplausibleTokens::Characters),
            ("to\u{7f}ken", ImplausibleTokens::Characters),
            ("t\u{f6}ken", ImplausibleTokens::Characters),
        ] {
            assert_eq!(ImportedTokens::new(RefreshToken::new(text)).err(), Some(error), "{text:?}");
            assert_eq!(with_access(text).err(), Some(error), "{text:?}");
        }
        assert_eq!(with_access("refresh-canary").err(), Some(ImplausibleTokens::SameTwice));
    }

    #[test]
    fn an_access_token_that_has_ended_is_left_out() {
        let ended = tokens().with_access_token(AccessTokenSecret::new("access"), Duration::ZERO).unwrap();

        assert!(ended.access_token.is_none());
        assert!(with_access("access").unwrap().access_token.is_some());
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", with_access("access-canary").unwrap());

        assert!(!shown.contains("canary"), "{shown}");
    }
}
