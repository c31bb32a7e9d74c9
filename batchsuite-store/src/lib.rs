//! Where `batchsuite-auth` keeps its opt-ins: implementations of [`batchsuite_auth::store::Store`].
//!
//! | feature | store | for |
//! |---|---|---|
//! | `memory` (default) | [`MemoryStore`] | tests, demonstrations, a service that may forget its opt-ins with its process |
//! | `sqlite` | [`SqliteStore`] | a service of any number of processes on one machine, without a database server |
//! | `postgres` | [`PostgresStore`] | a service of any number of processes |
//!
//! None of them knows a rule of an opt-in: the library's machine decides what a row becomes, and a store puts it there if the row is still
//! the one that was read. Each passes the whole storage contract, `batchsuite_auth::test_util::store_contract`. The chapter
//! `batchsuite_auth::docs::writing_a_store` builds another one.
//!
//! One store (a schema, a file) serves one UPS client id. An operator's verbs (`after_restore`, `reencrypt`, `prune_events`) are those of
//! [`BatchSuiteAuth`](batchsuite_auth::BatchSuiteAuth), for every store.
//!
//! Feature `keyring`: encryption at rest, [`keyring`]. Feature `metrics`: the operator's view as gauges,
//! `Overview::record_metrics`, and `batchsuite_unreadable_total` by `what`: how often something stored could not be read and
//! was left out.

#[cfg(feature = "keyring")]
pub mod keyring;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod left_out;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod listed;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod seal;
#[cfg(feature = "sqlite")]
mod sqlite;

/// What a `DATABASE_URL` says, for tests that try its parser with anything. It is no part of the public API, and changes with any release.
#[cfg(all(feature = "postgres", feature = "test-util"))]
#[doc(hidden)]
pub mod test_util {
    pub use crate::postgres::read_url;
}

#[cfg(feature = "keyring")]
pub use keyring::Keyring;
#[cfg(feature = "memory")]
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::{
    Overview, PostgresError, PostgresPool, PostgresPoolBuilder, PostgresStore, PostgresStoreBuilder,
    PostgresTransaction,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
