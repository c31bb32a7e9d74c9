//! The alerts and the dashboard: each fault fires its alert and no other; the dashboard shows what there is.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod dashboard;
mod database;
mod faults;
mod promtool;
mod rules;
mod world;
