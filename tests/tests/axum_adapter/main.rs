//! The adapter for axum, as a browser meets it: a small host on a socket of its own, and requests as bytes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod browser;
mod cookie;
mod errors;
mod forged;
mod links;
mod pages;
mod trip;
mod world;
