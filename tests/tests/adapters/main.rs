//! The adapters for HTTP clients: which requests get a token, and what follows a 401.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod hosts;
mod redirects;
mod rejected;
mod requests;
mod stage;
