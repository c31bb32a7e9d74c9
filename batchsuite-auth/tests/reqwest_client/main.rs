//! The guards of the reqwest adapter, each against real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "the scripted server is test code outside of a test function")]

mod address;
mod answer;
mod broken;
mod failure;
mod head;
#[path = "../../../tests/src/log.rs"]
#[allow(unreachable_pub, reason = "a part of the kit that tests of all crates share")]
mod log;
mod once;
mod proxy;
mod secrecy;
mod server;
mod time;
mod tls;
