//! The program with a database: instances that share everything, restarts, keys, and what a dump shows.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod damaged;
mod data;
mod instance;
mod keys;
mod pooler;
mod sharing;
mod silence;

#[path = "../program/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod process;
