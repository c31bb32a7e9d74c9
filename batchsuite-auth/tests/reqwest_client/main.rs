//! The guards of the reqwest adapter, each against real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "the scripted server is test code outside of a test function")]

mod address;
mod answer;
mod broken;
mod failure;
mod head;
#[path = "../../../tests/src/log.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other tests, which need more of it")]
mod log;
mod once;
mod proxy;
mod secrecy;
mod server;
mod time;
mod tls;
