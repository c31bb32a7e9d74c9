//! Where `batchsuite-auth` keeps its opt-ins: implementations of [`batchsuite_auth::store::Store`].
//!
//! | feature | store | for |
//! |---|---|---|
//! | `memory` (default) | [`MemoryStore`] | tests, demonstrations, a service that may forget its opt-ins with its process |
//!
//! Each passes the whole storage contract, `batchsuite_auth::test_util::store_contract`.

#[cfg(feature = "memory")]
mod memory;

#[cfg(feature = "memory")]
pub use memory::MemoryStore;

#[cfg(feature = "postgres")]
mod postgres;

#[cfg(feature = "postgres")]
pub use postgres::{Keyring, PostgresStore, PostgresStoreBuilder};
