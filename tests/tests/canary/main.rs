//! Secrecy: the whole life of an opt-in, and every response of the adapters. The tests search everything that any crate
//! logs at TRACE, every error, every `Debug` output, every page and every event for every secret.
//!
//! The subscriber belongs to the whole process, so this is a separate program.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod adapters;
mod echo;
mod life;
mod secrets;
