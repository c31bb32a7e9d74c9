//! Reasons why an import failed.

use crate::store::StoreError;

/// Another system's tokens were not imported.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// UPS cannot have issued these tokens.
    #[error("these cannot be tokens of UPS")]
    Implausible(#[from] ImplausibleTokens),
    /// The refresh token has expired.
    #[error("the refresh token has ended; an administrator must authenticate the company")]
    Ended,
    /// The company has an opt-in that is, as far as known, not older than these tokens. It is kept, even if its refresh
    /// token has expired by the store's clock, it belongs to another client id, or UPS has refused it and is still to be
    /// asked again: each may be a mistake that is corrected later. [`status`](crate::BatchSuiteAuth::status) tells.
    #[error("the company has an opt-in that is not older than these tokens; it stays, and nothing is imported")]
    NewerOptIn,
    /// During the import, the authorization was removed or the company was authenticated. That change is kept.
    #[error("the company's authorization was changed during the import; look at the company before importing again")]
    ChangedSince,
    /// The store failed. Unless an operator must act, this process continues the import until the store accepts it:
    /// repeat the call until it reports success.
    #[error("the tokens could not be stored yet")]
    Store(#[from] StoreError),
    /// The authenticator is shut down.
    #[error("the authenticator is shut down")]
    ShutDown,
}

/// Why UPS cannot have issued these tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImplausibleTokens {
    /// A token is empty.
    #[error(
        "a token is empty; leave out an access token that is not there, and the company if its refresh token is not there"
    )]
    Empty,
    /// A token is longer than any response of UPS that this library reads.
    #[error("a token is longer than 64 KiB; pass UPS's refresh_token and access_token only")]
    TooLong,
    /// A token contains whitespace, a control character or a non-ASCII character (RFC 6749 Appendix A.12 and A.17).
    /// RFC 6750 §2.1 allows no whitespace within a token in a header.
    #[error(
        "a token has a blank, a line's end or another character that no token has; pass UPS's text only, without \"Bearer\""
    )]
    Characters,
    /// The access token equals the refresh token.
    #[error("the access token and the refresh token are the same; pass UPS's access_token and refresh_token")]
    SameTwice,
    /// The tokens were issued, or expired, more than ten years ago.
    #[error(
        "they were issued or ended more than ten years ago; UPS's refresh_token_issued_at counts milliseconds, not seconds"
    )]
    IssuedLongAgo,
    /// The tokens' issue time is in the future.
    #[error("they were issued in the future; UPS's refresh_token_issued_at counts milliseconds since 1970")]
    IssuedAhead,
}
