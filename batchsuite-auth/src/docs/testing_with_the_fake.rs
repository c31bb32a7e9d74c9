//! Testing with the fake: a UPS that rotates, refuses, forgets and changes passwords when a test tells it to.
//!
//! ```toml
//! [dev-dependencies]
//! batchsuite-auth = { path = "../batchsuite/batchsuite-auth", features = ["test-util"] }
//! batchsuite-store = { path = "../batchsuite/batchsuite-store" }
//! ```
//! ```
//! use std::time::Duration;
//!
//! use batchsuite_auth::{ActorId, CompanyId, ErrorKind, fake_ups::{Endpoint, FakeUps, Fault, Times}};
//! use batchsuite_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ups = FakeUps::start().await;
//! let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
//! let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
//!
//! // The browser's part: sign in, agree, come back with the callback's query.
//! let trip = auth.authenticate(&company, &actor).await?;
//! let query = ups.consent(&trip.url, FakeUps::USER).await;
//! auth.callback(&actor, &query, &trip.browser_secret).await?;
//!
//! // Hours later the token has ended, and the first try to refresh it meets an outage.
//! ups.clock().advance(Duration::from_secs(5 * 3600));
//! ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::Once);
//! assert_eq!(auth.access_token(&company).await.unwrap_err().kind(), ErrorKind::Retry);
//! ups.clock().advance(Duration::from_secs(300));
//! assert!(auth.access_token(&company).await.is_ok());
//!
//! // A password change ends the opt-in.
//! ups.change_password(FakeUps::USER);
//! ups.clock().advance(Duration::from_secs(5 * 3600));
//! assert_eq!(auth.access_token(&company).await.unwrap_err().kind(), ErrorKind::Reauthorize);
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//! - **Time.** [`FakeUps::clock`](crate::fake_ups::FakeUps::clock) is the time of the fake, of the authenticator that it wires, and of each
//!   store that is given it: `MemoryStore::with_clock`, `SqliteStore::open_with_clock`. A store with another clock never sees a token end. Postgres
//!   has a clock of its own that the fake's does not move: give tests on Postgres short lifetimes
//!   ([`access_lifetime`](crate::fake_ups::FakeUpsBuilder::access_lifetime)) and let real time pass.
//! - **Environment.** [`authenticator`](crate::fake_ups::FakeUps::authenticator) builds for [`Environment::Cie`](crate::Environment::Cie).
//!   The fake itself answers for either: `BatchSuiteAuth::builder(Environment::Production, client).base_url(ups.base_url())`
//!   makes it stand for production.
//! - **Faults** wait in a queue for each endpoint: [`Fault`](crate::fake_ups::Fault) says for each whether the refresh token is spent, as after
//!   an answer that is lost, or not. [`Times::UntilCleared`](crate::fake_ups::Times::UntilCleared) is an outage.
//! - **Counts.** [`requests`](crate::fake_ups::FakeUpsState::requests) counts by endpoint and outcome, so a test can assert that a
//!   thousand callers caused one refresh.
//! - **Routes.** Let a function `app(auth) -> Router` make your router, so that a test can call it. A POST to a route of the axum adapter needs
//!   the header `Sec-Fetch-Site: same-origin`, as a browser sends it.
//! - **The keeper** works beside the test as it does in production. `.without_keeper()` on the builder leaves refreshes to callers.
//! - **Without a server**: [`in_process`](crate::fake_ups::FakeUps::in_process) is an HTTP client that asks the fake directly.
//! - **Other languages, or a browser**: the program `fake-ups` (in `examples/`) is the same fake behind a port, with a page of switches
//!   at `/__fake/`.
