//! Bad inputs, end to end: the authenticator over the real HTTP adapter against the fake UPS. The tests cover every row
//! of `bad-inputs.md` that needs neither a database nor a web application, in its own words, and similar inputs.
//!
//! Each test checks the outcome: the caller's answer, the requests to UPS, the stored state, and that everything works
//! again as soon as possible. No event or error may contain a secret of the test: [`World`] checks this on drop.
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
