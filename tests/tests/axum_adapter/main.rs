//! The axum adapter from a browser's point of view: a small host on its own socket, and requests on raw connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod browser;
mod cookie;
mod errors;
mod forged;
mod links;
mod pages;
mod trip;
mod world;
