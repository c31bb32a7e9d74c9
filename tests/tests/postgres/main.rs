//! The Postgres store's promises beyond the storage contract, tested on this program's own server.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod check;
mod columns;
mod connection;
mod damaged;
mod durability;
mod failover;
mod feed;
mod keys;
mod listing;
mod lost_writes;
mod migrations;
mod operation;
mod plans;
mod pooler;
mod queue;
mod races;
mod round_trips;
mod sealed;
mod secrecy;
mod silence;
mod stage;
mod tls;
