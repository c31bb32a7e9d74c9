//! Where opt-ins are kept, as a trait: a store keeps rows, swaps them, and finds the rows that it is asked for.
//!
//! A store knows no rule. The [`machine`](crate::machine) decides what a row becomes; [`save`](Store::save) puts it there if the
//! row is still the one that was read. The state of a company is one [`Document`] that a store does not look into; beside it
//! stand the few columns by which rows are found and compared.
//!
//! # What every verb promises
//! - **Atomic.** A change and its events are one write: all of them are there or none is.
//! - **Durable.** What a call wrote outlives a crash from the moment when the call returns, whatever the defaults of the
//!   database are.
//! - **One clock.** Every "now" is the store's own, and each answer that has times in it says what time it was.
//! - **No verb retries or waits** (but [`changes`](Store::changes), which waits by contract).
//! - **Cancellation**: a dropped call happened or did not. The library calls what writes a rotation inside spawned tasks only.
//! - **In time**: a verb ends by a deadline of its own, and lets go of a connection in doubt. The library stops waiting for it
//!   after [`Policy::store_deadline`](crate::Policy::store_deadline), a fence behind that.
//! - **One damaged row affects no other.** A row whose tokens or document cannot be read comes as such; it ends no list.
//! - **Secrets** are handed over as newtypes whose `Debug` is redacted. A store that outlives the process seals them, each bound
//!   to its environment, company, field, and the epoch and version of its row.
//!
//! One store (a schema, a file) serves one client id: keys, sealing and indexes depend on that. Several clients in one process
//! are several authenticators.
//!
//! # Growth
//! The types of this contract are exhaustive on purpose, enums and structs alike: a store that did not know of a new field of
//! [`Swap`], or of a new [`TokenChange`], would lose what it was told to keep. Each such change is a breaking one, and the compiler
//! names the places. (Hosts' types grow without that: they are `non_exhaustive`.)
//!
//! The contract is also a test suite, one test a clause: `test_util::store_contract` (feature `test-util`). The chapter
//! [`docs::writing_a_store`](crate::docs::writing_a_store) builds a small store step by step.

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
    log::{Changes, EventOrder, EventQuery, NewEvent, Page, Prune, Pruned},
    row::{Document, GrantKey, ListQuery, PendingConsent, Row, RowKey, RowNumber, StoredTokens, Tokens},
    swap::{Saved, Swap, TokenChange},
};
use crate::{
    clock::Timestamp,
    config::Environment,
    events::{Event, EventId},
    ids::{CompanyId, ConsentId},
    secret::SecretHash,
};
pub use crate::{
    events::EventContent,
    machine::{USED_CONSENT_KNOWN, Wake},
    status::ListedAs,
};

/// Keeps rows, consents and the event log.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads a row: of a company, or the client row of an environment. A row that was never saved is empty, with number 0.
    ///
    /// # Contract
    /// - It shows every save that returned before the call.
    /// - Tokens that cannot be read are [`StoredTokens::Unreadable`], never an error of the whole read.
    /// - [`Row::consents`] are the company's unused consents that have not expired.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn load(&self, key: &RowKey) -> Result<Row, StoreError>;

    /// Replaces a row if it is still the one that was read.
    ///
    /// # Contract
    /// - All or nothing: document, columns, tokens, wake times and events.
    /// - It is [`Saved::Conflict`], and nothing is stored, if the row's number is another than [`Swap::expected`], or if
    ///   [`Swap::decided_at`] is more than [`MOST_AGE`] away from the store's time. That time is looked at after the row's lock is
    ///   held, so a save that waited for another one is judged by its true age.
    /// - The new number is the larger of `expected + 1` and the store's microseconds since 1970, so that no number comes back after
    ///   a restore or a fail-over.
    /// - If the stored last use is later than [`Swap::used_at`], the wake time becomes the earlier of [`Wake::at`] and
    ///   [`Wake::if_used`]. A save that sets wake times makes the row visible to [`wake`](Self::wake) again; one that keeps them
    ///   leaves that, too.
    /// - More than [`MOST_EVENTS`] events are [`Rejected`](StoreErrorKind::Rejected), and nothing is stored.
    /// - The events get the store's time, the row's company and the saved revision, and follow each other in the log.
    /// - With [`Swap::announce`], the row's change number becomes the number of the last event, and the feed reports it. Otherwise
    ///   the change number stays.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was saved is unknown.
    ///
    /// # Cancellation
    /// It was saved or not.
    async fn save(&self, swap: Swap) -> Result<Saved, StoreError>;

    /// Stores a pending consent and its event. The company counts as seen; its row is not changed.
    ///
    /// # Contract
    /// - It can be used until `now + lifetime`.
    /// - At most [`ConsentCaps::per_company`] consents of the company and [`ConsentCaps::per_actor`] of the actor can be used
    ///   afterwards, however many are put at once; the oldest are dropped.
    /// - A call that is repeated with the same state replaces its own consent.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored.
    ///
    /// # Cancellation
    /// The consent may be stored; nobody has its state, and it expires.
    async fn put_consent(&self, consent: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<(), StoreError>;

    /// Finds a consent by the hash of its state; a used or an expired one for an hour, without its verifier.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn find_consent(
        &self,
        environment: Environment,
        state: &SecretHash,
    ) -> Result<Option<FoundConsent>, StoreError>;

    /// Uses a consent, with the event if there is one. The time of its use; `None`: it was used before, expired or dropped.
    ///
    /// # Contract
    /// - Of any number of calls, exactly one gets a time. Its event is in the same write, and nobody else's is written.
    /// - The verifier is erased.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was used is unknown, and the person starts again.
    ///
    /// # Cancellation
    /// The consent may be used.
    async fn use_consent(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>, StoreError>;

    /// Hands out rows whose wake time has passed, or lies more than two days ahead (a wrong clock set it).
    ///
    /// # Contract
    /// - They come as [`load`](Self::load) shows them, tokens included, the longest overdue first, at most `limit`.
    /// - Each is hidden from other calls for two minutes; that changes neither the row's number nor its wake time, and hinders no
    ///   save. (What hides it for longer was set by a wrong clock, and does not count.)
    /// - Rows that cannot be read come, too.
    /// - The client row is never handed out.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Rows may stay hidden.
    async fn wake(&self, environment: Environment, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Remembers that tokens of these companies were used about now.
    ///
    /// # Contract
    /// - The wake time of each becomes the earlier of itself and [`Wake::if_used`].
    /// - Neither the row's number nor its being hidden changes. A company that has no row stays without one.
    /// - A use within five minutes of the recorded one need not be written.
    ///
    /// # Errors
    /// [`StoreError`]; the caller tells again later.
    ///
    /// # Cancellation
    /// Nothing is lost.
    async fn record_use(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError>;

    /// Lists rows by company id, those after [`ListQuery::after`] first, as [`load`](Self::load) shows them, but without opening
    /// tokens ([`StoredTokens::Sealed`]).
    ///
    /// # Contract
    /// - Only companies that were seen: a consent was put, or the row was saved. Never the client row.
    /// - With [`ListQuery::listed_as`], rows that are listed as one of these, and all rows whose wake time has passed: the caller
    ///   looks at each again.
    /// - A page may be shorter than asked, or empty, and still have a `next`; one call reads at most 1,000 rows. No `next`: that was
    ///   all.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    async fn list(&self, query: ListQuery) -> Result<Page<Row, CompanyId>, StoreError>;

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

    /// Writes one event that changes no row. It gets the revision of its company's row.
    ///
    /// # Errors
    /// [`StoreError`]; whether it was written is unknown.
    ///
    /// # Cancellation
    /// It may have been written.
    async fn append(&self, environment: Environment, event: NewEvent) -> Result<EventId, StoreError>;

    /// Deletes events that are older than a time, the oldest first, at most so many, and remembers up to where.
    ///
    /// # Contract
    /// - Unless the call says so, it does not delete what a [delivery](Self::take_delivery) has not passed yet.
    ///
    /// # Errors
    /// [`StoreError`]; some may be deleted.
    ///
    /// # Cancellation
    /// Some may be deleted.
    async fn prune(&self, prune: Prune) -> Result<Pruned, StoreError>;

    /// Which rows were announced after a cursor. Waits up to `wait` (of real time) for the first.
    ///
    /// # Contract
    /// - Every announced save is told, at the latest by the next call that begins after the save returned. A company that changed
    ///   twice may be told once, with the later change.
    /// - `after: None` returns the present cursor and no changes, at once.
    /// - With `after` beyond the end of the log (a store that was restored, or lost its latest saves, gives its numbers out again),
    ///   everything that was ever announced is told, at once, and the cursor is the end of the log: a lower one than `after`. The
    ///   library knows by this that the log was set back.
    /// - It returns early when something changes; how soon is up to the store. It may also return early without changes, with a
    ///   later cursor, for an event that announces nothing: readers of the log read on then.
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

    /// Takes the delivery of events to `consumer` for `holder`, for as long as the lease: the cursor from which it reads on. `None`:
    /// another holder has it. A consumer that is new begins at the end of the log.
    ///
    /// # Contract
    /// - At any time at most one holder has it. A holder that has it already takes it again.
    /// - A lease is at most [`LONGEST_DELIVERY_LEASE`]. One that ends further ahead was dated by a wrong clock, and has ended.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// It may be taken until the lease ends.
    async fn take_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        lease: Duration,
    ) -> Result<Option<EventId>, StoreError>;

    /// Moves the cursor of a delivery, and renews or ends its lease. Whether it did: not unless `holder` still holds the lease. A
    /// cursor never moves back.
    ///
    /// # Errors
    /// [`StoreError`]; whether it moved is unknown, and events may be delivered again.
    ///
    /// # Cancellation
    /// It may have moved.
    async fn advance_delivery(
        &self,
        environment: Environment,
        delivery: &Delivery,
        cursor: EventId,
        then: DeliveryEnd,
    ) -> Result<bool, StoreError>;
}
