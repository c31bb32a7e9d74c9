//! Why a new opt-in is needed.

use serde::{Deserialize, Serialize};

/// Why a new opt-in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CauseKind {
    /// Recorded: UPS refused a refresh token that was certainly ours and unused. The UPS.com password was changed, or
    /// access was withdrawn at UPS.com.
    OptInInvalidated,
    /// Recorded: an attempt got no answer, and UPS now refuses its refresh token. Either the new tokens were lost on
    /// the way, or the password was changed at that very time. Or the token was imported, and the other system had used
    /// it.
    RotationLost,
    /// Derived: the refresh token has expired.
    RefreshExpired,
    /// Derived: the grant belongs to a client id other than the configured one.
    ClientChanged,
    /// Derived: UPS sent no refresh token that can be used, and the access token has expired.
    NoRefreshToken,
}

impl CauseKind {
    /// Every cause.
    pub const ALL: &'static [Self] =
        &[Self::OptInInvalidated, Self::RotationLost, Self::RefreshExpired, Self::ClientChanged, Self::NoRefreshToken];

    /// A stable name for columns and metrics, such as `rotation_lost`.
    pub fn name(self) -> &'static str {
        match self {
            Self::OptInInvalidated => "opt_in_invalidated",
            Self::RotationLost => "rotation_lost",
            Self::RefreshExpired => "refresh_expired",
            Self::ClientChanged => "client_changed",
            Self::NoRefreshToken => "no_refresh_token",
        }
    }

    /// The cause with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}
