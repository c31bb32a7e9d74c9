//! Bad inputs, end to end: the authenticator over the real HTTP adapter against the fake UPS. Every row of
//! `bad-inputs.md` that needs neither a database nor a web application is here by its words, and neighbours of the same
//! families beside it.
//!
//! What each test shows is the outcome: what the caller is told, what UPS was asked, what is stored afterwards, and that
//! it works again as soon as it can. Whatever the outcome, no secret of the test is in an event or an error: [`World`]
//! looks when it is dropped.
//!
//! [`World`]: world::World

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod callback;
mod callback_browser;
mod callback_neighbours;
mod clock;
mod concurrency;
mod configuration;
mod envelopes;
mod errors;
mod exchange;
mod pairs;
mod pairs_neighbours;
mod refusals;
mod steps;
mod tokens;
mod transport;
mod unanswered;
mod world;
