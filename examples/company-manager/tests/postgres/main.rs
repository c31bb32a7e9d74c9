//! The program with a Postgres database: instances that share everything, restarts, keys, and what a dump shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod damaged;
mod dump;
mod keys;
mod pooler;
mod ready;
mod silence;
mod stage;

#[path = "../kept/data.rs"]
mod data;
#[path = "../kept/instance.rs"]
mod instance;
#[path = "../program/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod process;
#[path = "../kept/sharing.rs"]
mod sharing;
