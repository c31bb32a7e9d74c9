//! The state of a UPS: accounts, clients, grants.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use uuid::Uuid;

use super::{
    accounts::{Account, Accounts, Code, Grant, UnknownUser, UserConsent},
    clock::{FakeClock, millis},
    codes,
    faults::{Fault, Faults, Times},
    letters,
    requests::{Counters, Endpoint, Outcome, Requests},
    rs384,
    settings::Settings,
    token_signer::{self, GRANT_BITS, NewAccessToken, RefreshClaims, TokenSigner},
};
use crate::{clock::Timestamp, random::random, test_util::ManualClock};

/// A UPS, independent of any server: accounts, clients, grants, faults, counts, and a clock.
///
/// [`respond`](Self::respond) answers requests. [`FakeUps`](super::FakeUps) serves it inside a test; to serve it
/// yourself, [`build`](super::FakeUpsBuilder::build) a state and send its answers over
/// [`WireStream`](super::WireStream)s.
///
/// It can run for days: codes are forgotten when they end, tokens are not stored but carry a keyed digest, and requests
/// are only counted. All that remains is one small record per opt-in, until its refresh token ends.
pub struct FakeUpsState {
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    token_signer: TokenSigner,
    /// Each user's id, as claimed in access tokens.
    user_ids: Vec<Uuid>,
    clock: FakeClock,
    blocked: AtomicBool,
    accounts: Mutex<Accounts>,
}

/// The fate of the access tokens when a password change ends an opt-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessTokens {
    /// They stay valid until they expire.
    LiveOn,
    /// They become invalid at once: "Resetting your ups.com password will void all tokens", says a UPS employee.
    Die,
}

impl FakeUpsState {
    /// The default client's id.
    pub const CLIENT_ID: &'static str = "fake-ups-client";
    /// The default client's secret.
    pub const CLIENT_SECRET: &'static str = "fake-ups-secret";
    /// The default redirect URI.
    pub const REDIRECT_URI: &'static str = "http://localhost/oauth/ups/callback";
    /// The default user.
    pub const USER: &'static str = "demo@example.com";
    /// The default user's password.
    pub const PASSWORD: &'static str = "fake-ups-password";

    pub(super) fn new(settings: Settings, clock: Option<ManualClock>) -> Self {
        Self {
            faults: Faults::default(),
            counters: Counters::new(),
            token_signer: TokenSigner::new(settings.sign_access_tokens),
            user_ids: settings.users.iter().map(|user| token_signer::user_id(&user.name)).collect(),
            clock: FakeClock::new(clock),
            blocked: AtomicBool::new(false),
            accounts: Mutex::new(Accounts::new(&settings)),
            settings,
        }
    }

    /// Restores the initial state: users and passwords, clock and counts; no faults, no blocked client, no codes, no
    /// opt-ins. Tokens issued before are refused.
    pub fn reset(&self) {
        self.faults.clear_all();
        self.unblock_client();
        self.clock.reset();
        // Accounts, codes and grants are replaced in one step.
        *self.accounts() = Accounts::new(&self.settings);
        self.counters.clear();
    }

    /// The public key that verifies this UPS's access tokens, in PEM; `GET /__fake/keys` returns it as a JSON Web Key
    /// Set. It is a published test key: a signature under it proves nothing.
    pub fn token_verification_key(&self) -> String {
        rs384::pem()
    }

    /// The current time at this UPS.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves this UPS's time ahead; with a [`ManualClock`], that clock's.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sets this UPS's time, ahead or back; with a [`ManualClock`], that clock's.
    pub fn set_time(&self, to: Timestamp) {
        self.clock.set(to);
    }

    /// The requests so far, by endpoint and outcome.
    pub fn requests(&self) -> Requests {
        self.counters.read()
    }

    /// Sets a fault at `endpoint`. Faults of one endpoint occur one after the other, in the order they were set.
    ///
    /// # Panics
    /// If the fault is impossible, e.g. a status of 99; the message explains why.
    #[track_caller]
    pub fn fault(&self, endpoint: Endpoint, fault: impl Into<Fault>, times: Times) {
        if let Err(mistake) = self.faults.push(endpoint, fault.into(), times) {
            panic!("{mistake}");
        }
    }

    /// Removes the pending faults at `endpoint`.
    pub fn clear_faults(&self, endpoint: Endpoint) {
        self.faults.clear(endpoint);
    }

    /// Refuses every request of the clients with 403, "Blocked Merchant", until
    /// [`unblock_client`](Self::unblock_client).
    pub fn block_client(&self) {
        self.blocked.store(true, Ordering::Release);
    }

    /// Ends [`block_client`](Self::block_client).
    pub fn unblock_client(&self) {
        self.blocked.store(false, Ordering::Release);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    /// `user` changes the UPS.com password to a new one, which [`password`](Self::password) returns. That ends every
    /// opt-in of the user, as UPS's guide says, and the access tokens become invalid at once. To let them live until
    /// they expire, use [`change_password_with`](Self::change_password_with).
    ///
    /// # Panics
    /// If no user has that name.
    #[track_caller]
    pub fn change_password(&self, user: &str) {
        self.change_password_with(user, AccessTokens::Die);
    }

    /// Like [`change_password`](Self::change_password), with a choice about the access tokens.
    ///
    /// # Panics
    /// If no user has that name.
    #[track_caller]
    pub fn change_password_with(&self, user: &str, access_tokens: AccessTokens) {
        let random = letters::random::<24>().map(char::from);
        self.set_password(user, &String::from_iter(random), access_tokens).unwrap_or_else(|error| panic!("{error}"));
    }

    /// `user` changes the UPS.com password to `password`.
    ///
    /// # Errors
    /// If no user has that name.
    pub fn set_password(&self, user: &str, password: &str, access_tokens: AccessTokens) -> Result<(), UnknownUser> {
        let mut accounts = self.accounts();
        let user = accounts.user_mut(user)?;
        password.clone_into(&mut user.password);
        self.end_opt_ins(user, access_tokens);
        Ok(())
    }

    /// UPS revokes every opt-in of `user`. The access tokens become invalid at once; the password stays.
    ///
    /// # Panics
    /// If no user has that name.
    #[track_caller]
    pub fn revoke(&self, user: &str) {
        self.try_revoke(user).unwrap_or_else(|error| panic!("{error}"));
    }

    pub(super) fn try_revoke(&self, user: &str) -> Result<(), UnknownUser> {
        self.end_opt_ins(self.accounts().user_mut(user)?, AccessTokens::Die);
        Ok(())
    }

    fn end_opt_ins(&self, user: &mut Account, access_tokens: AccessTokens) {
        user.opt_ins_ended += 1;
        if access_tokens == AccessTokens::Die {
            user.first_good_serial = self.token_signer.next_serial();
        }
    }

    /// The current UPS.com password of `user`.
    ///
    /// # Panics
    /// If no user has that name.
    #[track_caller]
    pub fn password(&self, user: &str) -> String {
        self.try_password(user).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn try_password(&self, user: &str) -> Result<String, UnknownUser> {
        self.accounts().user_mut(user).map(|user| user.password.clone())
    }

    /// The UPS.com user names with their current passwords.
    pub(super) fn users(&self) -> Vec<(String, String)> {
        self.accounts().users.iter().map(|user| (user.name.clone(), user.password.clone())).collect()
    }

    /// The index of the user with this name and password.
    pub(super) fn sign_in(&self, name: &str, password: &str) -> Option<usize> {
        self.accounts().users.iter().position(|user| user.is_called(name) && user.password == password)
    }

    pub(super) fn issue_code(&self, consent: UserConsent) -> String {
        let (number, code) = codes::new();
        let expires_at = self.millis().saturating_add(millis(self.settings.code_lifetime));
        let record = Code { code: code.clone().into(), consent: Some(consent), expires_at };
        self.accounts().keep_code(number, record, self.millis());
        code
    }

    /// Takes the consent out of a code. Presenting a code uses it up, whatever the outcome.
    pub(super) fn take_code(&self, code: &str) -> Result<UserConsent, Outcome> {
        let now = self.millis();
        let mut accounts = self.accounts();
        let record = codes::number(code)
            .and_then(|number| accounts.codes.get_mut(&number))
            .filter(|record| *record.code == *code)
            .ok_or(Outcome::UnknownCode)?;
        let consent = record.consent.take().ok_or(Outcome::UsedCode)?;
        if now >= record.expires_at { Err(Outcome::ExpiredCode) } else { Ok(consent) }
    }

    /// Opens a grant for a user who agreed, and returns its first pair.
    pub(super) fn open_grant(&self, client: usize, user: usize, opt_ins_ended: u32) -> IssuedPair {
        let now = self.millis();
        let id = random::<u64>() >> (u64::BITS - GRANT_BITS);
        let grant = Grant { client, user, opt_ins_ended, rotation: 0, expires_at: self.refresh_end(now) };
        self.accounts().keep_grant(id, grant, now);
        self.pair(client, user, RefreshClaims { grant: id, rotation: 0 }, now)
    }

    /// Rotates the refresh token; with `keep` the same token stays valid.
    pub(super) fn rotate(&self, client: usize, refresh_token: &str, keep: bool) -> Result<IssuedPair, Outcome> {
        let claims = self.token_signer.read_refresh_token(refresh_token).ok_or(Outcome::UnknownRefreshToken)?;
        let now = self.millis();
        let (user, rotation) = {
            let mut accounts = self.accounts();
            let Accounts { grants, users, .. } = &mut *accounts;
            let grant = grants
                .get_mut(&claims.grant)
                .filter(|grant| grant.client == client)
                .ok_or(Outcome::UnknownRefreshToken)?;
            if claims.rotation != grant.rotation {
                return Err(Outcome::SpentRefreshToken);
            }
            if grant.opt_ins_ended != users[grant.user].opt_ins_ended {
                return Err(Outcome::OptInEnded);
            }
            if now >= grant.expires_at {
                return Err(Outcome::ExpiredRefreshToken);
            }
            if !keep {
                grant.rotation += 1;
            }
            grant.expires_at = self.refresh_end(now);
            (grant.user, grant.rotation)
        };
        Ok(self.pair(client, user, RefreshClaims { grant: claims.grant, rotation }, now))
    }

    /// Whether an access token is valid now.
    pub(super) fn check_access_token(&self, token: &str) -> Result<(), Outcome> {
        let claims = self.token_signer.read_access_token(token).ok_or(Outcome::BadAccessToken)?;
        if self.millis() >= claims.expires_at {
            return Err(Outcome::ExpiredAccessToken);
        }
        let accounts = self.accounts();
        let grant = accounts.grants.get(&claims.grant).ok_or(Outcome::OptInEnded)?;
        if claims.serial < accounts.users[grant.user].first_good_serial {
            return Err(Outcome::OptInEnded);
        }
        Ok(())
    }

    /// How often `user`'s opt-ins have been ended; a grant is valid while this number is unchanged.
    pub(super) fn opt_ins_ended(&self, user: usize) -> u32 {
        self.accounts().users[user].opt_ins_ended
    }

    fn pair(&self, client: usize, user: usize, claims: RefreshClaims, now: i64) -> IssuedPair {
        let access = NewAccessToken {
            // Users are never added or removed; only passwords change.
            user: &self.settings.users[user].name,
            user_id: self.user_ids[user],
            client_id: &self.settings.clients[client].id,
            application_name: &self.settings.application_name,
            grant: claims.grant,
            serial: self.token_signer.next_serial(),
            issued_at: now,
            lifetime: i64::try_from(self.settings.access_lifetime.as_secs()).unwrap_or(i64::MAX),
        };
        IssuedPair {
            access_token: self.token_signer.access_token(&access),
            refresh_token: self.token_signer.refresh_token(claims),
            rotation: claims.rotation,
            issued_at: now,
        }
    }

    fn refresh_end(&self, now: i64) -> i64 {
        now.saturating_add(millis(self.settings.refresh_lifetime))
    }

    fn millis(&self) -> i64 {
        self.now().timestamp_millis()
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows settings and counts, but no password, secret or token.
impl std::fmt::Debug for FakeUpsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeUpsState")
            .field("settings", &self.settings)
            .field("now", &self.now())
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}

/// A new pair; its time is in milliseconds since 1970.
pub(super) struct IssuedPair {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) rotation: u64,
    pub(super) issued_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_leave_nothing_behind() {
        let state = FakeUpsState::builder().build().unwrap();
        let mut pair = state.open_grant(0, 0, 0);
        for _ in 0..1_000 {
            pair = state.rotate(0, &pair.refresh_token, false).unwrap_or_else(|outcome| panic!("{outcome}"));
        }

        let accounts = state.accounts();
        assert_eq!((accounts.grants.len(), accounts.grant_round.len(), accounts.codes.len()), (1, 1, 0));
    }

    #[test]
    fn debug_shows_no_password() {
        let state = FakeUpsState::builder().build().unwrap();
        let shown = format!("{state:?}");
        for secret in
            state.users().into_iter().map(|(_, password)| password).chain([state.settings.clients[0].secret.clone()])
        {
            assert!(!shown.contains(&secret), "{shown}");
        }
    }
}
