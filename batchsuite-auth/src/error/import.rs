//! Why an import did not take place.

use crate::store::StoreError;

/// Another system's tokens were not imported.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// UPS cannot have issued them so.
    #[error("these cannot be tokens of UPS: {0}")]
    Implausible(#[from] ImplausibleTokens),
    /// The refresh token's end has passed.
    #[error("the refresh token has ended; an administrator must authenticate the company")]
    Ended,
    /// The company is authenticated, by an opt-in that is not older as far as is known. It stays.
    #[error("the company is authenticated by an opt-in that is not older; it stays, and nothing is imported")]
    NewerOptIn,
    /// During the import the authorization was removed, or the company was authenticated. That stays.
    #[error("the company's authorization was changed during the import; look at the company before importing again")]
    ChangedSince,
    /// The store failed. Unless an operator must look, the import goes on in this process until the store has taken it: repeat the
    /// call until it says so.
    #[error("the tokens could not be stored yet")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// Why UPS cannot have issued such tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImplausibleTokens {
    /// A token has no characters.
    #[error(
        "a token is empty; leave out an access token that is not there, and the company if its refresh token is not there"
    )]
    Empty,
    /// A token is longer than any answer of UPS that this library reads.
    #[error("a token is longer than 64 KiB; pass UPS's refresh_token and access_token only")]
    TooLong,
    /// A token has a blank, a control character or a character beyond ASCII (RFC 6749 Appendix A.12 and A.17; a header carries no
    /// blank in it, RFC 6750 §2.1).
    #[error(
        "a token has a blank, a line's end or another character that no token has; pass UPS's text only, without \"Bearer\""
    )]
    Characters,
    /// The access token is the refresh token, too.
    #[error("the access token and the refresh token are the same; pass UPS's access_token and refresh_token")]
    SameTwice,
    /// They were issued later than now.
    #[error("they were issued in the future; UPS's refresh_token_issued_at counts milliseconds since 1970")]
    IssuedAhead,
}
