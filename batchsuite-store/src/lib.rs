//! Where `batchsuite-auth` keeps its opt-ins: implementations of [`batchsuite_auth::store::Store`].
//!
//! | feature | store | for |
//! |---|---|---|
//! | `memory` (default) | [`MemoryStore`] | tests, demonstrations, a service that may forget its opt-ins with its process |
//! | `sqlite` | [`SqliteStore`] | a service of any number of processes on one machine, without a database server |
//! | `postgres` | [`PostgresStore`] | a service of any number of processes |
//!
//! Each passes the whole storage contract, `batchsuite_auth::test_util::store_contract`.
//!
//! Feature `keyring`: encryption at rest, [`keyring`]. Feature `metrics`: the operator's view as gauges,
//! `Overview::record_metrics`, and `batchsuite_unreadable_total` by `what`: how often something stored could not be read and
//! was left out.

#[cfg(feature = "keyring")]
pub mod keyring;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod left_out;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod seal;
#[cfg(feature = "sqlite")]
mod sqlite;

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
