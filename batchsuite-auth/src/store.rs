//! The storage trait: a store keeps rows, swaps them, and finds them.
//!
//! A store contains no rules. The [`machine`](crate::machine) decides what a row becomes; [`save`](Store::save) stores
//! the result if the row has not changed since it was read. A company's state is one [`Document`] that a store does not
//! interpret; next to it are the few columns by which rows are found and compared.
//!
//! # What every verb promises
//! - **Atomic.** A change and its events are one write: all of them are stored, or none.
//! - **Durable.** Once a call has returned, its write survives a crash, whatever the database's defaults are.
//! - **One clock.** Every "now" is the store's time, and each answer that contains times says what the store's time
//!   was.
//! - **No verb retries or waits**, except [`changes`](Store::changes), which waits by contract.
//! - **Cancellation**: a dropped call was carried out completely or not at all. The library writes rotations only in
//!   spawned tasks.
//! - **In time**: a verb ends by a deadline of its own, and drops a connection in doubt. The library stops waiting
//!   after [`Policy::store_deadline`](crate::Policy::store_deadline).
//! - **A damaged row affects no other row.** A row whose tokens or document cannot be read is returned as such; it does
//!   not end a list.
//! - **Secrets** are newtypes with a redacted `Debug`. A store that outlives the process seals them, each bound to its
//!   environment, company and field and to its row's epoch and version.
//!
//! A store (a schema, a file) serves one client id; keys, sealing and indexes depend on that. Several clients in one
//! process need several authenticators.
//!
//! # Growth
//! The enums and structs of this contract are exhaustive on purpose: a store that ignored a new field of [`Swap`], or a
//! new [`TokenChange`], would lose data. Each such change is a breaking one, and the compiler finds the places to
//! update. (Types for hosts are `non_exhaustive` and can grow.)
//!
//! The contract is also a test suite with one test per clause: `test_util::store_contract` (feature `test-util`). The
//! chapter [`docs::writing_a_store`](crate::docs::writing_a_store) builds a small store step by step.

mod bounds;
mod consent;
mod delivery;
mod error;
mod forward;
mod log;
mod row;
mod swap;

use std::{fmt, time::Duration};

#[doc(hidden)]
pub use async_trait::async_trait;

pub use self::{
    bounds::{
        FURTHEST_WAKE, HIDDEN_FOR, LONGEST_DELIVERY_LEASE, MOST_AGE, MOST_EVENTS, MOST_LISTED, USE_RECORDED_WITHIN,
    },
    consent::{Consent, ConsentCaps, ConsentUse, FoundConsent, NewConsent, Verifier},
    delivery::{Delivery, DeliveryEnd},
    error::{StoreError, StoreErrorKind},
    forward::Call,
    log::{Changes, EventOrder, EventPage, EventQuery, NewEvent, Page, Prune, Pruned},
    row::{Document, GrantKey, ListQuery, PendingConsent, Row, RowKey, RowNumber, StoredTokens, Tokens},
    swap::{Saved, Swap, TokenChange},
};
use crate::{
    clock::Timestamp,
    config::Environment,
    events::EventId,
    ids::{CompanyId, ConsentId},
    secret::SecretHash,
};
pub use crate::{
    events::EventContent,
    machine::{USED_CONSENT_KNOWN, Wake},
    status::ListedAs,
};

/// Stores rows, consents and the event log.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads a company's row, or the client row of an environment. A row that was never saved is empty, with number 0.
    ///
    /// # Contract
    /// - It shows every save that returned before the call.
    /// - Unreadable tokens are [`StoredTokens::Unreadable`]; they do not fail the read.
    /// - [`Row::consents`] are the company's pending consents: unused and not expired.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    async fn load(&self, key: &RowKey) -> Result<Row, StoreError>;

    /// Replaces a row if it has not changed since it was read.
    ///
    /// # Contract
    /// - All or nothing: document, columns, tokens, wake times and events.
    /// - [`Saved::Conflict`], and nothing is stored, if the row's number is not [`Swap::expected`], or if
    ///   [`Swap::decided_at`] is more than [`MOST_AGE`] from the store's time. The time is compared once the row's lock
    ///   is held, so that time spent waiting for the lock counts.
    /// - The new number is the larger of `expected + 1` and the store's microseconds since 1970, so that no number
    ///   repeats after a restore or a fail-over.
    /// - If the stored last use is later than [`Swap::used_at`], the wake time becomes the earlier of [`Wake::at`] and
    ///   [`Wake::if_used`]. A save that sets wake times makes the row visible to [`wake`](Self::wake) again; a save
    ///   that keeps them does not.
    /// - More than [`MOST_EVENTS`] events are [`Rejected`](StoreErrorKind::Rejected), and nothing is stored.
    /// - The events get the store's time, the row's company and the saved revision, and are consecutive in the log.
    /// - With [`Swap::announce`], the row's change number becomes the id of the last event, and the feed reports it.
    ///   Otherwise the change number stays.
    ///
    /// # Errors
    /// [`StoreError`]: it is unknown whether the row was saved.
    ///
    /// # Cancellation
    /// The row was saved or not.
    async fn save(&self, swap: Swap) -> Result<Saved, StoreError>;

    /// Stores a pending consent and its event. The company counts as seen; its row is not changed.
    ///
    /// # Contract
    /// - It can be used until `now + lifetime`.
    /// - Afterwards at most [`ConsentCaps::per_company`] consents of the company and [`ConsentCaps::per_actor`] of the
    ///   actor can be used, even after concurrent calls; the oldest are dropped.
    /// - A repeated call with the same state replaces its own consent.
    ///
    /// # Errors
    /// [`StoreError`]: nothing is stored.
    ///
    /// # Cancellation
    /// The consent may be stored. Nobody has its state, and it expires.
    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<(), StoreError>;

    /// Finds a consent by the hash of its state. Used and expired consents are found for an hour, without their
    /// verifier.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    async fn find_consent(
        &self,
        environment: Environment,
        state: &SecretHash,
    ) -> Result<Option<FoundConsent>, StoreError>;

    /// Uses a consent, and writes `event` if given. Returns the time of the use; `None`: it was used before, has
    /// expired or was dropped.
    ///
    /// # Contract
    /// - Of any number of calls, exactly one gets a time. Its event is part of the same write; the other calls' events
    ///   are not written.
    /// - The verifier is erased.
    ///
    /// # Errors
    /// [`StoreError`]: it is unknown whether the consent was used, and the person starts again.
    ///
    /// # Cancellation
    /// The consent may be used.
    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Takes rows whose wake time has passed, or is more than two days ahead (set by a wrong clock).
    ///
    /// # Contract
    /// - At most `limit` rows, longest overdue first, as [`load`](Self::load) shows them, tokens included.
    /// - Each is hidden from other calls for two minutes. That changes neither the row's number nor its wake time, and
    ///   does not delay a save. (A row hidden for longer was hidden by a wrong clock, and counts as visible.)
    /// - Rows that cannot be read are included.
    /// - The client row is never included.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Rows may stay hidden.
    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Records that these companies' tokens were used at about this time.
    ///
    /// # Contract
    /// - Each company's wake time becomes the earlier of itself and [`Wake::if_used`].
    /// - Neither the row's number nor its visibility changes. A company without a row gets none.
    /// - A use within five minutes of the recorded one need not be written.
    ///
    /// # Errors
    /// [`StoreError`]; the caller tries again later.
    ///
    /// # Cancellation
    /// Cancel-safe: the uses may or may not be recorded.
    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError>;

    /// Lists rows by company id, starting after [`ListQuery::after`], as [`load`](Self::load) shows them but without
    /// opening tokens ([`StoredTokens::Sealed`]).
    ///
    /// # Contract
    /// - Only companies that were seen: a consent was put, or the row was saved. Never the client row.
    /// - With [`ListQuery::listed_as`]: rows with one of these listed statuses, and all rows whose wake time has
    ///   passed; the caller checks each again.
    /// - A page may be shorter than `limit`, or empty, and still have a `next`; one call reads at most 1,000 rows.
    ///   Without `next` the list is complete.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>, StoreError>;

    /// Reads the event log in the query's order, after its cursor.
    ///
    /// # Contract
    /// - Repeated forward reads from `next` miss no event, not even one written by a slow transaction.
    /// - An event that cannot be read is named in [`EventPage::unreadable`]; it counts for the limit, and hides no other.
    /// - `next` is the cursor to read on from; if there are no events, it is the query's cursor.
    /// - A forward read from a cursor below a pruned event is [`StoreErrorKind::Pruned`], never a silent gap. Without a
    ///   cursor, reading starts at the oldest remaining event.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    async fn events(&self, query: EventQuery) -> Result<EventPage, StoreError>;

    /// Writes an event without changing a row. It gets the revision of its company's row.
    ///
    /// # Errors
    /// [`StoreError`]: it is unknown whether the event was written.
    ///
    /// # Cancellation
    /// It may have been written.
    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId, StoreError>;

    /// Deletes the beginning of the log, up to the last event that is older than [`Prune::older_than`], at most
    /// [`Prune::limit`] events, and remembers the latest one deleted.
    ///
    /// # Contract
    /// - Events go by their numbers: none is deleted behind one that stays. So an event that is younger, by a date that
    ///   can be right, keeps all later ones, whatever their dates.
    /// - An event dated ahead of the store's time was dated by a wrong clock. Its place tells its age: it is deleted with
    ///   an older event after it.
    /// - It keeps events that a [delivery](Self::take_delivery) has not passed yet, unless [`Prune::undelivered`] is
    ///   set.
    ///
    /// # Errors
    /// [`StoreError`]; some may be deleted.
    ///
    /// # Cancellation
    /// Some may be deleted.
    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError>;

    /// The rows announced after a cursor. Waits up to `wait` (real time) for the first.
    ///
    /// # Contract
    /// - Every announced save is reported, at the latest by the next call that starts after the save returned. A
    ///   company that changed twice may be reported once, with the later change.
    /// - A change later than the returned cursor may be reported, because an earlier save has not finished yet. It is
    ///   reported again.
    /// - `after: None` returns the current cursor without changes, at once.
    /// - If `after` is beyond the end of the log, the store was restored or lost its latest saves, and its numbers
    ///   repeat. Then everything ever announced is reported at once, and the cursor is the end of the log, which is
    ///   lower than `after`. This shows the library that the log was set back.
    /// - It returns early when something changes; how soon is up to the store. It may also return early without changes
    ///   but with a later cursor, so that readers of the log see events that announce nothing.
    ///
    /// # Errors
    /// [`StoreError`]; the caller repeats the call with the same cursor.
    ///
    /// # Cancellation
    /// Cancel-safe.
    async fn changes(
        &self,
        environment: Environment,
        after: Option<EventId>,
        wait: Duration,
    ) -> Result<Changes, StoreError>;

    /// Takes a delivery for its holder until the lease ends, and returns the cursor to read on from. `None`: another
    /// holder has it. A new consumer starts at the end of the log.
    ///
    /// # Contract
    /// - At any time at most one holder has the delivery. Its holder may take it again.
    /// - A lease is at most [`LONGEST_DELIVERY_LEASE`]. One that ends further ahead was dated by a wrong clock, and
    ///   counts as ended.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// The delivery may be taken until the lease ends.
    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>, StoreError>;

    /// Moves a delivery's cursor, and renews or ends its lease. Returns `false`, and does nothing, unless the holder
    /// still has the lease. A cursor never moves back.
    ///
    /// # Errors
    /// [`StoreError`]: it is unknown whether the cursor moved, and events may be delivered again.
    ///
    /// # Cancellation
    /// The cursor may have moved.
    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool, StoreError>;
}
