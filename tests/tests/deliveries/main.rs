//! Deliveries: each consumer is told of every event, at least once, in order, by one process at a time.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod ends;
mod failures;
mod gaps;
mod health;
mod leases;
mod order;
mod processes;
mod stage;
mod webhook;
