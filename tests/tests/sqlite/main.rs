//! The SQLite store's promises beyond the storage contract, tested on real files.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod damaged;
mod exact;
mod file;
mod room;
mod sealed;
mod shared;
mod stage;
