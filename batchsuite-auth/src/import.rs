//! The host's view of an import: the tokens from another system, and the outcome.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::ImplausibleTokens,
    http::ANSWER_CAP,
    secret::{AccessTokenSecret, RefreshToken},
};

/// One company's tokens from another system, for [`BatchSuiteAuth::import`](crate::BatchSuiteAuth::import).
///
/// UPS's refresh tokens are single-use, so each belongs to one company and one system: never import one for two
/// companies.
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
    /// The access token with its remaining lifetime.
    pub(crate) access_token: Option<(AccessTokenSecret, Duration)>,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) refresh_expires_at: Option<Timestamp>,
}

/// The outcome of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imported {
    /// The tokens are stored, and the company is authenticated.
    Stored,
    /// The tokens were imported before, perhaps by an earlier attempt of the same call.
    /// [`status`](crate::BatchSuiteAuth::status) returns the company's current status.
    AlreadyStored,
}

impl ImportedTokens {
    /// A refresh token of UPS, with unknown issue time and expiry: the first use requests an access token from UPS, an
    /// existing authenticated opt-in is kept, and the imported one has no known expiry.
    ///
    /// # Errors
    /// [`ImplausibleTokens`]: the text cannot be a token.
    pub fn new(refresh_token: RefreshToken) -> Result<Self, ImplausibleTokens> {
        plausible(refresh_token.expose_secret())?;
        Ok(Self { refresh_token, access_token: None, issued_at: None, refresh_expires_at: None })
    }

    /// The matching access token and its remaining lifetime, counted from the call of
    /// [`import`](crate::BatchSuiteAuth::import). The token is used until then. An expired one (zero) is ignored.
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

    /// When UPS issued the refresh token: its `refresh_token_issued_at`, in milliseconds since 1970. The tokens replace
    /// an authenticated opt-in that was issued earlier and has not rotated here since.
    #[must_use]
    pub fn with_issued_at(self, issued_at: Timestamp) -> Self {
        Self { issued_at: Some(issued_at), ..self }
    }

    /// When the refresh token expires: `refresh_token_issued_at` plus `refresh_token_expires_in` seconds. An expiry
    /// more than ten years ahead counts as unknown.
    #[must_use]
    pub fn with_refresh_expires_at(self, expires_at: Timestamp) -> Self {
        Self { refresh_expires_at: Some(expires_at), ..self }
    }
}

/// Whether a text can be a token. UPS's tokens are base64 text and JWTs.
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
