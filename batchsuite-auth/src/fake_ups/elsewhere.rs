//! Another system that is the same client at UPS and keeps tokens of its own, for tests of an import.

use std::time::Duration;

use super::{FakeUpsState, state::IssuedPair};
use crate::{
    clock::{Timestamp, later},
    secret::{AccessTokenSecret, RefreshToken},
};

/// The tokens that another system keeps of one opt-in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeptTokens {
    /// The refresh token.
    pub refresh_token: RefreshToken,
    /// The access token.
    pub access_token: AccessTokenSecret,
    /// When this UPS issued both.
    pub issued_at: Timestamp,
    /// How long the access token lives from then on.
    pub expires_in: Duration,
    /// When the refresh token ends.
    pub refresh_expires_at: Timestamp,
}

impl FakeUpsState {
    /// `user` opts in by way of another system that is this UPS's first client. Nothing is counted, and no fault is met.
    ///
    /// # Panics
    /// If nobody has that name.
    #[track_caller]
    pub fn opt_in_elsewhere(&self, user: &str) -> KeptTokens {
        let user = self.sign_in(user, &self.password(user)).unwrap_or_else(|| panic!("nobody is called {user:?}"));
        self.kept(self.open_grant(0, user, self.opt_ins_ended(user)))
    }

    /// The other system refreshes: the refresh token is spent, and that system has the next ones. `None`: this UPS refused it.
    pub fn refresh_elsewhere(&self, refresh_token: &RefreshToken) -> Option<KeptTokens> {
        self.rotate(0, refresh_token.expose_secret(), false).ok().map(|pair| self.kept(pair))
    }

    fn kept(&self, pair: IssuedPair) -> KeptTokens {
        let issued_at = Timestamp::from_timestamp_millis(pair.issued_at).unwrap_or_default();
        KeptTokens {
            refresh_token: RefreshToken::new(pair.refresh_token),
            access_token: AccessTokenSecret::new(pair.access_token),
            issued_at,
            expires_in: self.settings.access_lifetime,
            refresh_expires_at: later(issued_at, self.settings.refresh_lifetime),
        }
    }
}
