//! Keeps a company's authorization at UPS.com alive.
//!
//! A service that ships through UPS needs each company's permission to act for it. An administrator presses
//! *Authenticate*, signs in at UPS.com, agrees and comes back; the company is then authenticated until a date. From
//! then on the service needs a valid access token for any company, at any time, in any of its processes. UPS's refresh
//! tokens rotate and are single-use: one race, one lost response or one crash at the wrong moment ends the opt-in, and
//! so does a UPS.com password change. This crate handles all of it: authenticate, consent, callback, token, refresh,
//! expiry, password-change invalidation, remove-auth.
//!
//! # Embedding
//! ```
//! # use batchsuite_auth::{ActorId, BatchSuiteAuth, BrowserSecret, Client, CompanyId, Environment, fake_ups::FakeUps};
//! # use batchsuite_store::MemoryStore;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let ups = FakeUps::start().await;
//! # let client = Client::new(ups.client_id(), ups.client_secret());
//! # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
//! # let (uri, base) = (ups.redirect_uri(), ups.base_url());
//! let store = MemoryStore::new();
//! # let store = MemoryStore::with_clock(ups.clock());
//! let auth = BatchSuiteAuth::builder(Environment::Production, client).redirect_uri(uri).store(store);
//! # let auth = auth.base_url(base).clock(ups.clock());
//! let auth = auth.build()?;
//!
//! let trip = auth.authenticate(&company, &actor).await?; // trip.url, trip.browser_secret
//! # let query = &ups.consent(&trip.url, "demo@example.com").await;
//! # let browser_secret = trip.browser_secret;
//! let done = auth.callback(&actor, query, &browser_secret).await?; // done.company, done.refresh_expires_at
//! let token = auth.access_token(&company).await?; // token.header() is ready to send
//! # assert!(token.header().is_sensitive() && done.company == company);
//! auth.remove_auth(&company, &actor).await?;
//! auth.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Testing
//! The fake UPS ships with the crate (feature `test-util`):
//! ```
//! # use std::time::Duration;
//! # use batchsuite_auth::{ActorId, CompanyId, fake_ups::FakeUps};
//! # use batchsuite_store::MemoryStore;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
//! let ups = FakeUps::start().await;
//! let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?; // client, HTTP and clock wired
//! let trip = auth.authenticate(&company, &actor).await?;
//! let query = ups.consent(&trip.url, "demo@example.com").await;
//! auth.callback(&actor, &query, &trip.browser_secret).await?;
//! ups.change_password("demo@example.com");
//! ups.clock().advance(Duration::from_secs(5 * 3600));
//! assert!(auth.access_token(&company).await.unwrap_err().needs_reauthorization());
//! # Ok(())
//! # }
//! ```
//!
//! # Chapters
//! | chapter | topics |
//! |---|---|
//! | [Embedding](docs::embedding) | permissions, the cookie, the callback, errors, events |
//! | [Testing with the fake](docs::testing_with_the_fake) | time, faults, environments |
//! | [The life of an opt-in](docs::the_life_of_an_opt_in) | its states, and the reasons for a new opt-in |
//! | [The rotation protocol](docs::the_rotation_protocol) | how many processes use one single-use token |
//! | [Operating](docs::operating) | keys, backups, databases, alerts, stopping |
//! | [Moving from another system](docs::moving_from_another_system) | importing that system's refresh tokens |
//! | [Writing a store](docs::writing_a_store) | a small store, step by step |
//! | [How this is tested](docs::how_this_is_tested) | the test layers, and what is not proven |
//!
//! # Modules
//! | module | purpose |
//! |---|---|
//! | [`authenticator`] | the handle that a service holds; its verbs follow UPS's guide |
//! | [`machine`] | makes every decision; pure: no I/O, no clock, no randomness. The only place for rules |
//! | `rotation` | reads, sends, saves and waits as the machine decides. Its `mod.rs` documents the protocol, clause by clause, each with its functions and tests |
//! | `steps` | the guide's verbs, one file each |
//! | `ups` | the wire format: requests, JSON, the meaning of every response |
//! | [`store`] | the trait for storage, which keeps, swaps and finds rows. It contains no rules |
//! | [`http`] | the trait for HTTP clients, and the adapter for reqwest |
//! | `cache` | the hot path |
//! | [`adapters`] | for common HTTP clients and servers, each behind a feature |
//!
//! # Guarantees
//! 1. The library never loses an opt-in: no race, crash, cancelled caller or slow network makes it discard a live
//!    refresh token. A refresh runs in its own task. Its claim is durable before the token is sent. Its new pair is
//!    stored before any caller uses it, and kept until the store accepts it. After an unanswered request, probes
//!    follow, one at a time, until UPS answers.
//! 2. When a new opt-in is needed, [`status`](BatchSuiteAuth::status) and [`TokenError`] report it at once, give the
//!    reason, and are never wrong about it.
//! 3. A valid token costs nanoseconds if cached, one read of the store if not, and one request to UPS if it must be
//!    refreshed.
//! 4. Secrets never appear in logs, errors, URLs or `Debug` output. (An authorization URL contains the state, as it
//!    must.)
//!
//! # Limits of any client
//! - A process that dies between UPS's response and the commit loses the pair. The next attempt is refused, and the
//!   company needs a new opt-in ([`RotationLost`](machine::CauseKind::RotationLost)).
//! - A process that is paused past its lease while it holds the pair causes a false alarm, until it resumes and commits
//!   ([`Recovered`](events::EventKind::Recovered)).
//! - A password change at the moment of a lost request is indistinguishable from a lost response.
//!
//! # Features
//! | feature | default | adds |
//! |---|---|---|
//! | `reqwest` | yes | [`http::ReqwestClient`], the HTTP adapter with all its guards |
//! | `reqwest-middleware` | no | [`adapters`]: a `reqwest` client whose requests carry a company's token, including the handling of 401 |
//! | `tower` | no | [`adapters`]: the same as a layer for any `tower` client |
//! | `axum` | no | [`adapters`]: the routes of a trip to UPS.com for services on `axum`, with the cookie, the pages and the connect link |
//! | `webhook` | no | [`adapters`]: posts each event to a webhook, signed |
//! | `metrics` | no | counters and a histogram through the `metrics` facade: `batchsuite_refreshes_total`, `batchsuite_refresh_seconds`, `batchsuite_exchanges_total`, `batchsuite_store_retries_total`, `batchsuite_events_total`; gauges by [`Health::record_metrics`](machine::Health::record_metrics) and [`DeliveryHandle::record_metrics`](deliveries::DeliveryHandle::record_metrics) |
//! | `fake-ups` | no | [`fake_ups`] without a server, for programs that serve it themselves |
//! | `test-util` | no | all of [`fake_ups`], and [`test_util`] with the manual clock and the storage contract as a test suite |
//!
//! # Security notes
//! - Text from UPS is stripped of everything that was sent, whole or in part and in any encoding, before it is stored
//!   or shown. Long words that look like tokens are removed too.
//! - This crate's buffers that hold secrets (forms, responses, decompressed and decoded copies) are wiped when dropped.
//!   It cannot wipe the buffers of hyper, rustls, `oauth2`, serde_json and the operating system.
//! - The state has 256 random bits, is stored as its SHA-256, is single-use, and is bound to the browser, the company,
//!   the person, the environment and the exact redirect URI (RFC 9700 §4.7). The host keeps [`BrowserSecret`] in a
//!   cookie and passes it back; [`browser`] reads and writes that cookie, and tells a prefetch from a visit.
//! - With [`ClientAuthentication::Secret`], the default, the library cannot tell whose authorization code a trip
//!   returns with: see there.
//! - The host decides who may authenticate or remove which company. Check that before calling
//!   [`authenticate`](BatchSuiteAuth::authenticate), [`callback`](BatchSuiteAuth::callback) and
//!   [`remove_auth`](BatchSuiteAuth::remove_auth).
//! - UPS does not tell which UPS.com profile signed in. An [`OptInCheck`] can check the opt-in before it is stored, and
//!   the person before anything is sent.
//! - A [connect link](BatchSuiteAuth::connect_link) is a secret until it is used: anyone with its URL can authenticate
//!   that company, once.
//!
//! # Why not …
//! - *the `oauth2` crate alone?* It is good at writing requests, and this crate uses it for that. It stores nothing,
//!   refreshes nothing, drops the status and `Retry-After` of an error, rejects UPS's numbers-as-strings, and puts the
//!   raw body into its parse errors.
//! - *a lock around the refresh, e.g. `SELECT … FOR UPDATE`?* The lock is held during the request to UPS, ends with its
//!   connection, and leaves no record: its next holder does not know whether the token was already sent.
//! - *rules in the store, as SQL?* Each rule would be written once per store and proved in none of them. Here the
//!   machine decides; a store only compares a number and swaps.
//! - *a cache of tokens?* The access token is the easy part. A rotating refresh token needs a claim before the request
//!   and a compare-and-swap after it; otherwise two processes end the opt-in between them.
//! - *retrying?* A retry after a time-out may send a spent token, and the client cannot know whether it is spent; see
//!   [`store`] and [`machine`] for how this is handled.

pub mod adapters;
pub mod authenticator;
pub mod browser;
mod cache;
pub mod clock;
pub mod config;
mod consent;
pub mod deliveries;
mod diagnosis;
#[cfg(doc)]
pub mod docs;
pub mod error;
pub mod events;
pub mod http;
pub mod ids;
mod import;
pub mod machine;
mod random;
mod rotation;
pub mod secret;
mod snapshot;
pub mod status;
mod steps;
pub mod store;
mod telemetry;
#[cfg(all(any(test, feature = "test-util"), target_os = "linux"))]
mod test_memory;
mod ups;

#[cfg(feature = "fake-ups")]
pub mod fake_ups;
#[cfg(feature = "fake-ups")]
pub mod test_util;

pub use async_trait::async_trait;
pub use authenticator::{
    Authenticate, BatchSuiteAuth, BatchSuiteAuthBuilder, ClientState, CompanyQuery, EventFilter, EventStream,
    Reencrypted, Shutdown,
};
pub use browser::{BrowserSecrets, LinkSecrets, TripCookie};
pub use clock::{Clock, Timestamp};
pub use config::{Client, ClientAuthentication, Environment, FeedLost, Policy, UnknownEnvironment};
pub use consent::{ConnectLink, NewOptIn, OpenLink, OptInCheck, OptedIn, Trip};
pub use deliveries::{DeliveryEnded, DeliveryHandle, DeliveryHealth, EventHandler, Gap, HandlerError};
pub use diagnosis::{Check, Diagnosis, Finding, TokenInfo};
pub use error::{
    AuthenticateError, BuildError, CallbackError, ErrorKind, ImplausibleTokens, ImportError, LinkError,
    MalformedCallback, OptInRefused, Responsible, TokenError, Unavailable,
};
pub use events::{Event, EventId, EventKind, Evidence};
pub use http::{HttpClient, HttpError, HttpErrorKind};
pub use ids::{ActorId, CompanyId, InvalidId, Revision};
pub use import::{Imported, ImportedTokens};
pub use machine::{
    Backoff, CauseKind, FindingKind, Health, KeeperHealth, NextStep, NextStepKind, Severity, UpsTrouble, UpsTroubleKind,
};
pub use secret::{AccessToken, BrowserSecret, LinkToken};
pub use status::{Cause, CompanyStatus, Status, StatusFilter};
pub use store::{EventOrder, Page, Pruned, Store, StoreError, StoreErrorKind};
pub use url;
