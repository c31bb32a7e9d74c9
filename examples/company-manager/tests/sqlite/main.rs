//! The program without a database server: everything in one file, its keys beside it, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod files;
mod restart;
mod stage;

#[path = "../kept/data.rs"]
mod data;
#[path = "../kept/instance.rs"]
#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod instance;
#[path = "../program/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which need more of it")]
mod process;
#[path = "../kept/sharing.rs"]
mod sharing;
