//! What the Postgres store promises beyond the storage contract, on a server of this program's own.

mod connection;
mod feed;
mod migrations;
mod operation;
mod plans;
mod pooler;
mod proxy;
mod sealed;
mod secrecy;
mod stage;
