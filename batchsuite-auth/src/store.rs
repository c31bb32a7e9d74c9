//! Where opt-ins are kept, as a trait.
//!
//! # What every verb promises
//! - **Atomic.** A state change and its event are one write: both are there or neither is.
//! - **Durable.** What a call wrote outlives a crash from the moment when the call returns, whatever the defaults of the
//!   database are.
//! - **Judged where it is written.** A compare-and-swap compares inside the write, by the rules of
//!   [`OptIn::on`](crate::machine::OptIn::on); nothing is read first and written later.
//! - **One clock.** Every "now" is the store's own. Callers hand in durations.
//! - **No verb retries or waits** (but [`changes`](Store::changes), which waits by contract).
//! - **Cancellation**: a dropped call may or may not have happened. The library calls what writes a rotation inside
//!   spawned tasks only, and repeats what may not have happened: every verb says what a repetition finds.
//! - **In time**: a verb ends by a deadline of its own, and lets go of a connection in doubt. The library stops waiting for it
//!   after [`Policy::store_deadline`](crate::Policy::store_deadline), a fence behind that.
//! - **Secrets** are handed over as newtypes whose `Debug` is redacted. A store that outlives the process encrypts them.
//!
//! The contract is also a test suite, one test a clause: `test_util::store_contract` (feature `test-util`).

mod consent;
mod error;
mod forward;
mod query;
mod rotation;
mod snapshot;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use self::{
    consent::{Connect, Connected, Consent, NewConsent, TakeConsent, TakenConsent, UsedConsent},
    error::{StoreError, StoreErrorKind},
    query::{Changes, DueQuery, EventOrder, EventQuery, ListQuery, NewEvent, Page, StatusFilter, WarnExpiring},
    rotation::{ClaimRefresh, Claimed, CommitRefresh, Committed, GiveBack, NewPair, SettleRefresh, Written},
    snapshot::{GrantKey, Snapshot, Tokens, UnreadableTokens},
};
use crate::{
    config::Environment,
    events::{Event, EventId},
    ids::{ActorId, CompanyId},
    status::CompanyStatus,
};
#[cfg(doc)]
use crate::{
    events::EventKind,
    machine::{CauseKind, OptIn},
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
    /// - A consent that was taken without an event stays findable, without its verifier, for
    ///   [`USED_CONSENT_KNOWN`](crate::machine::USED_CONSENT_KNOWN): whom [`is_repeated`](crate::machine::is_repeated) tells to
    ///   be the one who took it gets [`TakenConsent::Used`], and nothing is written.
    /// - Any other state that is unknown, was taken or was dropped is [`TakenConsent::Unknown`].
    /// - The event of [`TakeConsent::event`], if any, is written if and only if the consent is taken.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was taken is unknown, and the person starts again. So the person does after
    /// [`StoreErrorKind::Corrupt`]: this consent's verifier cannot be read. It is taken, and other consents are as they were.
    ///
    /// # Cancellation
    /// The consent may be consumed.
    async fn take_consent(&self, take: TakeConsent) -> Result<TakenConsent, StoreError>;

    /// Stores the first pair of an opt-in, with [`EventKind::Authenticated`].
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Connect`](crate::machine::Event::Connect) decides inside the write: a consent that began before
    ///   a removal is refused; of two grants, the one that UPS issued later stays. But the first try of a consent that was used
    ///   after the stored pair had arrived always wins ([`Connect::turn`]), and a stored grant that is dated more than a day ahead
    ///   of now is no rival.
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
    /// - Tokens that cannot be read (a missing key, a damaged or foreign ciphertext) are [`Snapshot::unreadable`], never an
    ///   error of the whole reading and never an empty grant. The same holds for the snapshots that other verbs return.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn load(&self, key: &GrantKey) -> Result<Snapshot, StoreError>;

    /// Writes down that a refresh token is about to be sent. No event.
    ///
    /// # Contract
    /// - [`OptIn::on`] with [`Claim`](crate::machine::Event::Claim) decides inside the write. It is lost as well while the row
    ///   pauses ([`Facts::paused_until`](crate::machine::Facts::paused_until)): another process may have tried meanwhile.
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
    /// - A pair without a refresh token keeps the stored one, and its warnings; or erases it, if it says so.
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

    /// Hands out grants whose refresh is due, and reserves them.
    ///
    /// # Contract
    /// - Due is an authenticated grant of the client with a refresh token that has not ended, no lease and no pause running, whose
    ///   access token is in its early window (or cannot be used) if the company was used within `used_within`; used or not, one
    ///   whose refresh token ends within `keep_alive`, though not before three quarters of its life have passed. One whose end is
    ///   unknown is due `keep_alive` after the pair was obtained. A pair that was dated by a clock far ahead cannot be used.
    /// - Each comes as [`load`](Self::load) would show it at the moment of its reservation, its tokens included: a refresh
    ///   begins with it, without another reading.
    /// - Nobody else gets a company that was handed out for `reserve_for`. A reservation hinders no claim.
    /// - The longest due come first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`]. Grants that cannot be read do not spoil the others, however many there are: they are left out, the
    /// store logs them as errors, and they stay reserved, so that they do not come first again and again.
    ///
    /// # Cancellation
    /// Companies may stay reserved.
    async fn due(&self, query: DueQuery) -> Result<Vec<Snapshot>, StoreError>;

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
    /// - No token is opened. A row that cannot be read ends no list: the store logs it as an error and leaves it out.
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
    /// - Reading forward from a cursor below an event that was pruned is [`StoreErrorKind::Pruned`]: never a silent gap.
    ///   Without a cursor, reading begins with the oldest event that is left.
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
    /// - It returns early when something changes; how soon is up to the store. It may also return early without changes, with a
    ///   later cursor, for an event that changes nothing: readers of the log read on then.
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
