//! The two requests that UPS answers with tokens.

/// The grant that a request presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrantType {
    /// A code, at `POST /security/v1/oauth/token` (RFC 6749 §4.1.3).
    AuthorizationCode,
    /// A refresh token, at `POST /security/v1/oauth/refresh` (RFC 6749 §6).
    RefreshToken,
}

impl GrantType {
    /// The last segment of its endpoint's path.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "token",
            Self::RefreshToken => "refresh",
        }
    }
}
