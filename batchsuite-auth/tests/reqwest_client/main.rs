//! The guards of the reqwest adapter, each against real sockets on loopback.

#![allow(clippy::unwrap_used, reason = "the scripted server is test code outside of a test function")]

mod address;
mod answer;
mod broken;
mod failure;
mod head;
mod once;
mod proxy;
mod secrecy;
mod server;
mod time;
mod tls;
