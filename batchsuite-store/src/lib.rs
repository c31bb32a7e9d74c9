//! Where `batchsuite-auth` keeps its opt-ins: implementations of [`batchsuite_auth::store::Store`].
//!
//! | feature | store | for |
//! |---|---|---|
//! | `memory` (default) | [`MemoryStore`] | tests, demonstrations, a service that may lose its opt-ins when its process ends |
//! | `sqlite` | [`SqliteStore`] | a service of any number of processes on one machine, without a database server |
//! | `postgres` | [`PostgresStore`] | a service of any number of processes |
//!
//! No store knows a rule of an opt-in: the library's machine computes a row's next state, and a store saves it if the
//! row is still the one that was read. Each store passes the whole storage contract,
//! `batchsuite_auth::test_util::store_contract`. The chapter `batchsuite_auth::docs::writing_a_store` builds another
//! store.
//!
//! One store (a schema, a file) serves one UPS client id. The operator's calls (`after_restore`, `reencrypt`,
//! `prune_events`) belong to [`BatchSuiteAuth`](batchsuite_auth::BatchSuiteAuth) and work with every store.
//!
//! Feature `cli`: the program `batchsuite` with a command for each of them; see `batchsuite_auth::docs::operating`.
//!
//! Feature `keyring`: encryption at rest, [`keyring`]. Feature `metrics`: the operator's overview as gauges,
//! `Overview::record_metrics`, and `batchsuite_unreadable_total` by `what`: how often a stored value could not be read
//! and was skipped.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod columns;
#[cfg(feature = "keyring")]
pub mod keyring;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod left_out;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod listed;
#[cfg(feature = "memory")]
mod memory;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod overview;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod seal;
#[cfg(feature = "sqlite")]
mod sqlite;

/// What a `DATABASE_URL` parses to, for tests that feed arbitrary text to the parser. Not part of the public API; may
/// change with any release.
#[cfg(all(feature = "postgres", feature = "test-util"))]
#[doc(hidden)]
pub mod test_util {
    pub use crate::postgres::read_url;
}

#[cfg(feature = "keyring")]
pub use keyring::Keyring;
#[cfg(feature = "memory")]
pub use memory::MemoryStore;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use overview::Overview;
#[cfg(feature = "postgres")]
pub use postgres::{
    PostgresError, PostgresPool, PostgresPoolBuilder, PostgresStore, PostgresStoreBuilder, PostgresTransaction,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
