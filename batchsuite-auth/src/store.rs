//! Where opt-ins are kept, as a trait.
//!
//! # What every verb promises
//! - **Atomic.** A state change and its event are one write: both are there or neither is.
//! - **Judged where it is written.** A compare-and-swap compares inside the write, by the rules of
//!   [`OptIn::on`](crate::machine::OptIn::on); nothing is read first and written later.
//! - **One clock.** Every "now" is the store's own. Callers hand in durations.
//! - **No verb retries or waits** (but [`changes`](Store::changes), which waits by contract).
//! - **Cancellation**: a dropped call may or may not have happened. The library calls what writes a rotation inside
//!   spawned tasks only, and repeats what may not have happened: every verb says what a repetition finds.
//! - **Secrets** are handed over as newtypes whose `Debug` is redacted. A store that outlives the process encrypts them.
//!
//! The contract is also a test suite, one test a clause: `test_util::store_contract` (feature `test-util`).

mod forward;

use std::{error::Error, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use url::Url;

use crate::{
    clock::{Timestamp, earlier, later},
    config::Environment,
    events::{Event, EventId, EventKind, Evidence},
    ids::{ActorId, AttemptId, CompanyId, ConsentId, Revision},
    machine::{CauseKind, Facts, OptIn, RefreshTokenEnd, TokenTimes, Verdict},
    secret::{AccessTokenSecret, PkceVerifier, RefreshToken, SecretHash},
    status::{Cause, CompanyStatus, Status},
};

/// Keeps consents, grants and events.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Stores a pending consent, with [`EventKind::Started`].
    ///
    /// # Contract
    /// - The consent can be taken until `now + lifetime`.
    /// - It remembers the company's present count of removals.
    /// - At most `per_company` consents of a company and `per_actor` of an actor are pending afterwards; the oldest go.
    /// - The company's grant does not change.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored.
    ///
    /// # Cancellation
    /// The consent may be stored; nobody has its state, and it expires.
    async fn begin_consent(&self, consent: NewConsent) -> Result<(), StoreError>;

    /// Takes a pending consent by the hash of its state.
    ///
    /// # Contract
    /// - Of any number of calls with one state, exactly one gets [`TakenConsent::Taken`].
    /// - [`judge_consent`](crate::machine::judge_consent) decides; what it does not consume stays as it was.
    /// - A state that is unknown, was taken or was dropped is [`TakenConsent::Unknown`].
    /// - The event of [`TakeConsent::event`], if any, is written if and only if the consent is taken.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was taken is unknown, and the person starts again.
    ///
    /// # Cancellation
    /// The consent may be consumed.
    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError>;

    /// Stores the first pair of an opt-in, with [`EventKind::Authenticated`].
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Connect`](crate::machine::Event::Connect) decides inside the write: a consent that began before
    ///   a removal is refused; of two grants, the one that UPS issued later stays. One that is dated more than a day ahead of now is no rival.
    /// - It resets phase, lease, marks, failures, warnings and the recorded cause.
    /// - A repetition finds its own consent stored: [`Connected::AlreadyStored`].
    ///
    /// # Errors
    /// [`StoreError`]; the caller repeats the call.
    ///
    /// # Cancellation
    /// A repetition is safe.
    async fn connect(&self, connect: Connect) -> Result<Connected, StoreError>;

    /// Reads a company's grant; a company that was never seen has an empty one.
    ///
    /// # Contract
    /// - The answer shows every write that returned before the call.
    /// - [`Snapshot::as_of`] is the store's time of the reading.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged or foreign ciphertext is [`StoreErrorKind::Corrupt`], never an empty grant.
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError>;

    /// Writes down that a refresh token is about to be sent. No event.
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Claim`](crate::machine::Event::Claim) decides inside the write.
    /// - Of any number of claims of one revision within a lease, exactly one is [`Claimed::Yes`].
    /// - The claim is durable when the call returns.
    /// - The answer says no more than that: whoever lost reads again.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was claimed is unknown, so nothing is sent.
    ///
    /// # Cancellation
    /// The row may stay claimed until the lease ends.
    async fn claim_refresh(&self, claim: ClaimRefresh) -> Result<Claimed, StoreError>;

    /// Ends an attempt whose token is as unused as before, with the given event, if any.
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`GiveBack`](crate::machine::Event::GiveBack) decides inside the write.
    /// - The next try is due at `now + retry_in`. `failures` counts up if there is an event.
    ///
    /// # Errors
    /// [`StoreError`]; the caller repeats the call. A repetition that finds the row moved on is [`Written::No`].
    ///
    /// # Cancellation
    /// A repetition is safe.
    async fn give_back(&self, give_back: GiveBack) -> Result<Written, StoreError>;

    /// Stores the new pair of a rotation, with [`EventKind::Refreshed`], or [`EventKind::Recovered`] over a row that had been
    /// given up.
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Commit`](crate::machine::Event::Commit) decides inside the write: it matches epoch and version
    ///   and **nothing else**.
    /// - A pair without a refresh token keeps the stored one, and its warnings.
    /// - It clears the recorded cause, warnings and reservations, and sets failures and the next try as given.
    /// - A row that already holds this very pair is [`Committed::AlreadyStored`].
    ///
    /// # Errors
    /// [`StoreError`]; the caller keeps the pair and repeats the call until the answer is another.
    ///
    /// # Cancellation
    /// A repetition is safe.
    async fn commit_refresh(&self, commit: CommitRefresh) -> Result<Committed, StoreError>;

    /// Ends an attempt without a pair: [`EventKind::Invalidated`] if refused, [`EventKind::RefreshUnanswered`] if unanswered.
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Settle`](crate::machine::Event::Settle) decides inside the write, **from the row**, which cause is
    ///   recorded, and the row keeps the evidence and the time.
    /// - After an unanswered attempt the next try is due at the end of its lease plus `retry_in`; `failures` counts up.
    ///
    /// # Errors
    /// [`StoreError`]; the caller repeats the call.
    ///
    /// # Cancellation
    /// A repetition is safe; it finds [`Written::No`].
    async fn settle_refresh(&self, settle: SettleRefresh) -> Result<Written, StoreError>;

    /// Removes a company's authorization, with [`EventKind::Removed`].
    ///
    /// # Contract
    /// - The tokens are erased, the epoch goes up, everything of the rotation is reset, the history stays.
    /// - Consents that began before can no longer connect; those still pending are dropped.
    /// - It is never refused, also where there is nothing to remove.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was removed is unknown, and the host tries again.
    ///
    /// # Cancellation
    /// It may have been removed.
    async fn remove(&self, key: &GrantKey, actor: &ActorId) -> Result<Snapshot, StoreError>;

    /// Marks every authenticated grant of the environment as unanswered, with one [`EventKind::Restored`]; returns how many.
    ///
    /// # Contract
    /// - Afterwards a refused refresh token is told as [`CauseKind::RotationLost`], never as a password change.
    ///
    /// # Errors
    /// [`StoreError`]; the operator repeats the call, which is safe.
    ///
    /// # Cancellation
    /// Some grants may be marked.
    async fn mark_unanswered(&self, environment: Environment) -> Result<u64, StoreError>;

    /// Writes an event that changes no grant.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is written.
    ///
    /// # Cancellation
    /// It may have been written.
    async fn record(&self, event: NewEvent) -> Result<EventId, StoreError>;

    /// Hands out companies whose refresh is due, with the rotation that is, and reserves them.
    ///
    /// # Contract
    /// - Due is an authenticated grant of the client with a refresh token that has not ended, no lease and no pause running, whose
    ///   access token is in its early window (or cannot be used) if the company was used within `used_within`; used or not, one
    ///   whose refresh token ends within `keep_alive`, though not before three quarters of its life have passed. One whose end is
    ///   unknown is due `keep_alive` after the pair was obtained.
    /// - Nobody else gets a company that was handed out for `reserve_for`. A reservation hinders no claim.
    /// - The longest due come first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Companies may stay reserved.
    async fn due(&self, query: DueQuery) -> Result<Vec<(CompanyId, Revision)>, StoreError>;

    /// Remembers that tokens of these companies were used about now.
    ///
    /// # Errors
    /// [`StoreError`]; the keeper tells again later.
    ///
    /// # Cancellation
    /// Nothing is lost.
    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError>;

    /// Raises [`EventKind::ExpiringSoon`] for authenticated grants whose refresh token ends within one of `windows`, and
    /// [`EventKind::Expired`] for those whose refresh token has ended; returns how many.
    ///
    /// # Contract
    /// - Each window and the end itself are raised once for a refresh token; a new refresh token begins anew. If several windows
    ///   have passed, only the smallest is raised.
    /// - A grant of another client raises nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// What was raised is raised.
    async fn warn_expiring(&self, query: WarnExpiring) -> Result<u64, StoreError>;

    /// Lists companies by id, those after `after` first.
    ///
    /// # Contract
    /// - Only companies that were seen (a consent began, or a grant was stored) are listed.
    /// - A filter goes by [`Snapshot::status`] for `client_id`: what is derived counts.
    /// - `next` is there if and only if there are more.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn list(&self, query: ListQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError>;

    /// Reads the event log, in the order and from the cursor of the query.
    ///
    /// # Contract
    /// - Reading forward from `next` again and again misses no event, also one that was written by a slow transaction.
    /// - `next` is where to read on; it is the query's own cursor if there is nothing.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn events(&self, query: EventQuery) -> Result<Page<Event, EventId>, StoreError>;

    /// Which grants changed after a cursor. Waits up to `wait` (of real time) for the first change.
    ///
    /// # Contract
    /// - Every write that changes what a caller may be handed (connect, commit, settle, remove) is told, at the latest by the next
    ///   call that begins after it returned. A company that changed twice may be told once, with the later change.
    /// - `after: None` returns the present cursor and no changes, at once.
    /// - It returns early when something changes; how soon is up to the store.
    ///
    /// # Errors
    /// [`StoreError`]; the caller repeats the call from the same cursor.
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError>;
}

/// Which grant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantKey {
    /// At which UPS. Tokens of one environment are refused by the other.
    pub environment: Environment,
    /// Of which company.
    pub company: CompanyId,
}

/// A consent to store.
#[derive(Clone, Debug)]
pub struct NewConsent {
    /// Its id.
    pub id: ConsentId,
    /// For which company.
    pub key: GrantKey,
    /// Who began it.
    pub actor: ActorId,
    /// The hash of the `state` parameter.
    pub state: SecretHash,
    /// The hash of the browser's secret.
    pub browser: SecretHash,
    /// The PKCE verifier, if the client uses PKCE.
    pub verifier: Option<PkceVerifier>,
    /// The exact redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The client that asked.
    pub client_id: String,
    /// Where the host wants the browser afterwards: a path of its own.
    pub return_to: Option<String>,
    /// How long it can be taken.
    pub lifetime: Duration,
    /// How many may be pending for the company, this one included.
    pub per_company: usize,
    /// How many may be pending for the actor, this one included.
    pub per_actor: usize,
}

/// A callback that wants its consent.
#[derive(Clone, Debug)]
pub struct TakeConsent {
    /// At which UPS.
    pub environment: Environment,
    /// The hash of the `state` parameter that came.
    pub state: SecretHash,
    /// The hash of the browser's secret that came.
    pub browser: SecretHash,
    /// Who is signed in.
    pub actor: ActorId,
    /// What to write down together with it.
    pub event: Option<(EventKind, Option<Evidence>)>,
}

/// What became of [`Store::take_consent`].
#[derive(Clone, Debug)]
pub enum TakenConsent {
    /// It is the caller's, and gone from the store.
    Taken(Box<Consent>),
    /// No such state, or no more.
    Unknown,
    /// It was there, and may not be taken.
    Refused(crate::machine::ConsentRefusal),
}

/// A consent that was taken.
#[derive(Clone, Debug)]
pub struct Consent {
    /// Its id.
    pub id: ConsentId,
    /// For which company.
    pub key: GrantKey,
    /// Who began it.
    pub actor: ActorId,
    /// The PKCE verifier, if the client uses PKCE.
    pub verifier: Option<PkceVerifier>,
    /// The exact redirect URI of the authorization request.
    pub redirect_uri: Url,
    /// The client that asked.
    pub client_id: String,
    /// Where the host wants the browser afterwards.
    pub return_to: Option<String>,
    /// The company's count of removals when it began.
    pub removals: u64,
}

/// A pair as UPS sent it, with lifetimes that count from its arrival.
#[derive(Clone, Debug)]
pub struct NewPair {
    /// The access token; `None`: there is none that can be used.
    pub access_token: Option<AccessTokenSecret>,
    /// How long the access token lives.
    pub access_lifetime: Duration,
    /// When to refresh it, counted from its arrival: the beginning of the early window.
    pub refresh_after: Duration,
    /// The refresh token; `None`: UPS sent none.
    pub refresh_token: Option<RefreshToken>,
    /// How long the refresh token lives; `None`: unknown.
    pub refresh_lifetime: Option<Duration>,
    /// How long ago the pair arrived.
    pub age: Duration,
}

/// The first pair of an opt-in.
#[derive(Clone, Debug)]
pub struct Connect {
    /// For which company.
    pub key: GrantKey,
    /// The consent that brought it.
    pub consent: ConsentId,
    /// [`Consent::removals`].
    pub removals: u64,
    /// Who opted in.
    pub actor: ActorId,
    /// The client that UPS issued it to.
    pub client_id: String,
    /// When UPS issued it, by UPS's clock; `None`: when it arrived.
    pub issued_at: Option<Timestamp>,
    /// The pair.
    pub pair: NewPair,
    /// Pairs in a row whose access token could not be used: 1 if this one's cannot, else 0.
    pub failures: u32,
}

/// What became of [`Store::connect`].
#[derive(Clone, Debug)]
pub enum Connected {
    /// It is stored.
    Stored(Box<Snapshot>),
    /// This very consent had been stored already.
    AlreadyStored(Box<Snapshot>),
    /// The authorization was removed after the consent had begun; the pair is not stored.
    RemovedSince,
    /// The company holds a grant that UPS issued later; the pair is not stored.
    Superseded(Box<Snapshot>),
}

/// The intent to send a refresh token.
#[derive(Clone, Debug)]
pub struct ClaimRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was read.
    pub revision: Revision,
    /// The new attempt.
    pub attempt: AttemptId,
    /// How long nobody else may send.
    pub lease: Duration,
}

/// What became of [`Store::claim_refresh`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever lost must not send"]
pub enum Claimed {
    /// The caller may send.
    Yes,
    /// Somebody else may, or the row moved on.
    Lost,
}

/// Whether a verdict or a give-back was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "whoever lost the row knows nothing and reads again"]
pub enum Written {
    /// It was.
    Yes,
    /// The row is no longer this attempt's: nothing changed.
    No,
}

/// The end of an attempt whose token is as unused as before.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was claimed.
    pub revision: Revision,
    /// The attempt that claimed it.
    pub attempt: AttemptId,
    /// When the next try is due.
    pub retry_in: Duration,
    /// What to write down; `None`: nothing failed.
    pub event: Option<(EventKind, Evidence)>,
}

/// The new pair of a rotation.
#[derive(Clone, Debug)]
pub struct CommitRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that it replaces.
    pub revision: Revision,
    /// The attempt that brought it, for the record.
    pub attempt: AttemptId,
    /// The pair.
    pub pair: NewPair,
    /// Pairs in a row whose access token could not be used, this one included; 0 if it can.
    pub failures: u32,
    /// When the next try is due, if not with the early window.
    pub retry_in: Option<Duration>,
}

/// What became of [`Store::commit_refresh`].
#[derive(Clone, Debug)]
pub enum Committed {
    /// It is stored.
    Stored(Box<Snapshot>),
    /// This very pair had been stored already.
    AlreadyStored(Box<Snapshot>),
    /// The company is at another epoch or version; the pair is not stored.
    Moved,
}

/// The end of an attempt without a pair.
#[derive(Clone, Debug)]
pub struct SettleRefresh {
    /// Of which company.
    pub key: GrantKey,
    /// The rotation that was claimed.
    pub revision: Revision,
    /// The attempt that claimed it.
    pub attempt: AttemptId,
    /// How it ended.
    pub verdict: Verdict,
    /// What UPS said.
    pub evidence: Evidence,
    /// After an unanswered attempt: how long after its lease the next try is due.
    pub retry_in: Duration,
}

/// An event that changes no grant.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// At which UPS.
    pub environment: Environment,
    /// To which company; `None` if it concerns all.
    pub company: Option<CompanyId>,
    /// Who did it.
    pub actor: Option<ActorId>,
    /// What.
    pub kind: EventKind,
    /// What UPS said.
    pub evidence: Option<Evidence>,
}

/// Which companies a keeper wants.
#[derive(Clone, Debug)]
pub struct DueQuery {
    /// At which UPS.
    pub environment: Environment,
    /// Of which client.
    pub client_id: String,
    /// A company that was used within this is kept fresh.
    pub used_within: Duration,
    /// Any company's refresh token is renewed this long before it ends.
    pub keep_alive: Duration,
    /// For how long they are reserved.
    pub reserve_for: Duration,
    /// How many at most.
    pub limit: usize,
}

/// Which warnings to raise.
#[derive(Clone, Debug)]
pub struct WarnExpiring {
    /// At which UPS.
    pub environment: Environment,
    /// Of which client.
    pub client_id: String,
    /// How long before the end to warn, each once.
    pub windows: Vec<Duration>,
    /// How many at most.
    pub limit: usize,
}

/// Which companies to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// At which UPS.
    pub environment: Environment,
    /// The client that is configured now.
    pub client_id: String,
    /// The warning window, for [`Status::Authenticated`]'s `expiring_soon`.
    pub warning_window: Duration,
    /// Only those that stand so; `None`: all.
    pub filter: Option<StatusFilter>,
    /// Only those after this one.
    pub after: Option<CompanyId>,
    /// How many at most.
    pub limit: usize,
}

/// Companies that stand so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatusFilter {
    /// [`Status::Unauthenticated`]
    Unauthenticated,
    /// [`Status::Authenticated`]
    Authenticated,
    /// [`Status::ReauthRequired`]
    ReauthRequired,
}

impl StatusFilter {
    /// Whether `status` is one of them.
    pub fn accepts(self, status: &Status) -> bool {
        matches!(
            (self, status),
            (Self::Unauthenticated, Status::Unauthenticated)
                | (Self::Authenticated, Status::Authenticated { .. })
                | (Self::ReauthRequired, Status::ReauthRequired(_))
        )
    }
}

/// Which events to read.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// At which UPS.
    pub environment: Environment,
    /// Only those of this company; `None`: all.
    pub company: Option<CompanyId>,
    /// In which order.
    pub order: EventOrder,
    /// Where to read on, exclusively; `None`: from the first one in that order.
    pub after: Option<EventId>,
    /// How many at most.
    pub limit: usize,
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// The oldest first: for a program that follows.
    #[default]
    OldestFirst,
    /// The newest first: for a person.
    NewestFirst,
}

/// Some of a list, and where it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where to read on.
    pub next: Option<C>,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Which companies, each with the number of its latest change.
    pub changed: Vec<(CompanyId, EventId)>,
    /// Where to read on.
    pub cursor: EventId,
}

/// A grant as it was at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Of which company.
    pub key: GrantKey,
    /// The state of the opt-in.
    pub opt_in: OptIn,
    /// The tokens, if any are stored.
    pub tokens: Option<Tokens>,
    /// The client that UPS issued them to.
    pub client_id: Option<String>,
    /// Who opted in.
    pub actor: Option<ActorId>,
    /// When.
    pub authenticated_at: Option<Timestamp>,
    /// When the recorded cause was recorded, and what UPS said.
    pub cause: Option<(Timestamp, Evidence)>,
    /// Failed tries, or unusable pairs, in a row.
    pub failures: u32,
    /// Before this, nothing is sent for the company.
    pub retry_at: Option<Timestamp>,
    /// Until when a consent of the company is pending.
    pub consent_pending_until: Option<Timestamp>,
    /// The number of its latest change.
    pub change: EventId,
    /// The store's time of the reading.
    pub as_of: Timestamp,
}

/// Stored tokens, with ends by the store's clock.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token, if it can be used.
    pub access_token: Option<AccessTokenSecret>,
    /// When the access token ends.
    pub access_expires_at: Timestamp,
    /// The beginning of the early window.
    pub refresh_at: Timestamp,
    /// The refresh token, if there is one.
    pub refresh_token: Option<RefreshToken>,
    /// When the refresh token ends; `None`: unknown.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the pair was obtained.
    pub obtained_at: Timestamp,
}

impl Tokens {
    /// The tokens of a pair that is stored at `now`; a pair without a refresh token keeps that of `before`.
    pub fn of_pair(pair: NewPair, before: Option<&Tokens>, now: Timestamp) -> Self {
        let obtained_at = earlier(now, pair.age);
        let end = |lifetime| later(obtained_at, lifetime);
        let (refresh_token, refresh_expires_at) = match (pair.refresh_token, before) {
            (Some(token), _) => (Some(token), pair.refresh_lifetime.map(end)),
            (None, Some(before)) => (before.refresh_token.clone(), before.refresh_expires_at),
            (None, None) => (None, None),
        };
        Self {
            access_token: pair.access_token,
            access_expires_at: end(pair.access_lifetime),
            refresh_at: end(pair.refresh_after),
            refresh_token,
            refresh_expires_at,
            obtained_at,
        }
    }

    /// Whether `pair` is this very pair.
    pub fn is_pair(&self, pair: &NewPair) -> bool {
        let access = match (&self.access_token, &pair.access_token) {
            (Some(stored), Some(new)) => stored.matches(new),
            (None, None) => true,
            _ => false,
        };
        let refresh = match (&self.refresh_token, &pair.refresh_token) {
            (Some(stored), Some(new)) => stored.matches(new),
            (_, None) => true,
            (None, Some(_)) => false,
        };
        access && refresh
    }

    fn times(&self) -> TokenTimes {
        TokenTimes {
            obtained_at: self.obtained_at,
            refresh_at: self.refresh_at,
            access_token_end: self.access_token.as_ref().map(|_| self.access_expires_at),
            refresh_token_end: match (&self.refresh_token, self.refresh_expires_at) {
                (None, _) => RefreshTokenEnd::Absent,
                (Some(_), None) => RefreshTokenEnd::Unknown,
                (Some(_), Some(end)) => RefreshTokenEnd::At(end),
            },
        }
    }
}

impl Snapshot {
    /// The grant of a company that was never seen.
    pub fn empty(key: GrantKey, as_of: Timestamp) -> Self {
        Self {
            key,
            opt_in: OptIn::default(),
            tokens: None,
            client_id: None,
            actor: None,
            authenticated_at: None,
            cause: None,
            failures: 0,
            retry_at: None,
            consent_pending_until: None,
            change: EventId::START,
            as_of,
        }
    }

    /// What the machine asks of it, for the client that is configured now.
    pub fn facts(&self, client_id: &str) -> Facts<'_> {
        Facts {
            opt_in: &self.opt_in,
            tokens: self.tokens.as_ref().map(Tokens::times),
            retry_at: self.retry_at,
            same_client: self.client_id.as_deref() == Some(client_id),
        }
    }

    /// Why a new opt-in is needed, if one is.
    pub fn reauthentication_cause(&self, client_id: &str) -> Option<Cause> {
        self.facts(client_id).cause(self.as_of).map(|kind| self.cause_of(kind))
    }

    /// The cause `kind` with what is known of it.
    pub(crate) fn cause_of(&self, kind: CauseKind) -> Cause {
        let (at, evidence) = match kind {
            CauseKind::OptInInvalidated | CauseKind::RotationLost => self.cause.clone().unzip(),
            CauseKind::RefreshExpired => (self.tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at), None),
            CauseKind::NoRefreshToken => (self.tokens.as_ref().map(|tokens| tokens.access_expires_at), None),
            CauseKind::ClientChanged => (None, None),
        };
        Cause { at, evidence, ..Cause::new(kind) }
    }

    /// Where the company stands for the client that is configured now; it expires soon within `warning_window`.
    pub fn status(&self, client_id: &str, warning_window: Duration) -> CompanyStatus {
        let status = match (self.reauthentication_cause(client_id), &self.tokens) {
            (Some(cause), _) => Status::ReauthRequired(cause),
            (None, Some(tokens)) => Status::Authenticated {
                refresh_expires_at: tokens.refresh_expires_at,
                expiring_soon: tokens.refresh_expires_at.is_some_and(|end| earlier(end, warning_window) <= self.as_of),
                refreshable: tokens.refresh_token.is_some(),
            },
            (None, None) => Status::Unauthenticated,
        };
        CompanyStatus {
            company: self.key.company.clone(),
            status,
            actor: self.actor.clone(),
            authenticated_at: self.authenticated_at,
            consent_pending_until: self.consent_pending_until,
            revision: self.opt_in.revision,
        }
    }
}

/// A store could not do what it was asked.
///
/// `Display` says what and what to do; the source says more and is not printed with it.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store cannot be reached, or not now: try again.
    Unavailable,
    /// What is stored cannot be read: a damaged or foreign ciphertext, an unknown key. An operator must look; the opt-in is not
    /// lost by it.
    Corrupt,
    /// The store is not set up as it should be. An operator must look.
    Misconfigured,
}

impl StoreError {
    /// An error of this kind.
    pub fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Keeps the cause. It must not show a secret or a parameter.
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the store cannot be reached; try again",
            StoreErrorKind::Corrupt => "what is stored cannot be read; an operator must check keys and data",
            StoreErrorKind::Misconfigured => "the store is not set up as it should be; an operator must look",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
