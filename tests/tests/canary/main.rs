//! Secrecy: the whole life of an opt-in, with everything that any crate logs at TRACE, every error, every `Debug` and every
//! event searched for everything that must never be seen.
//!
//! The subscriber is the process's, so this is a binary of its own.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod echo;
mod life;
mod secrets;
