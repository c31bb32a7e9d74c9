//! A company's permission at UPS.com, kept alive.
//!
//! A service that ships through UPS needs a company's permission to act for it: an administrator presses *Authenticate*,
//! signs in at UPS.com, agrees, comes back, and the company is authenticated until a date. From then on the service needs
//! a valid access token for any company, at any time, from any of its processes. UPS's refresh tokens rotate and are
//! single-use: one race, one lost answer, one crash at the wrong moment ends the opt-in, and so does a UPS.com password
//! change. This crate does all of it: authenticate, consent, callback, token, refresh, expiry, password-change
//! invalidation, remove-auth.
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
//! | chapter | answers |
//! |---|---|
//! | [Embedding](docs::embedding) | who may act, the cookie, the callback, errors, events |
//! | [Testing with the fake](docs::testing_with_the_fake) | time, faults, environments |
//! | [The life of an opt-in](docs::the_life_of_an_opt_in) | states, and why a new opt-in is needed |
//! | [The rotation protocol](docs::the_rotation_protocol) | how a single-use token is spent by many processes |
//! | [Operating](docs::operating) | keys, backups, databases, alerts, stopping |
//! | [Moving from another system](docs::moving_from_another_system) | how its refresh tokens are brought in |
//! | [Writing a store](docs::writing_a_store) | a small store, step by step |
//! | [How this is tested](docs::how_this_is_tested) | the layers, and what is not proven |
//!
//! # The rooms
//! | room | what it does |
//! |---|---|
//! | [`authenticator`] | the handle that a service holds; its verbs read like UPS's guide |
//! | [`machine`] | decides. Pure: no I/O, no clock, no randomness. The only place for rules |
//! | `rotation` | reads, sends, saves and waits as the machine says. Its file `mod.rs` is the protocol, clause by clause, each with its functions and tests |
//! | `steps` | the guide's verbs, a file each |
//! | `ups` | the wire: requests, JSON, the meaning of every answer |
//! | [`store`] | the trait of what keeps rows, swaps them and finds them. It knows no rule |
//! | [`http`] | the trait of an HTTP client, and the adapter on reqwest |
//! | `cache` | the hot path |
//! | [`adapters`] | for the usual HTTP clients and servers, each behind a feature |
//!
//! # What it promises
//! 1. No opt-in is ever lost by us: no race, crash, cancelled caller or slow network makes us throw away a living refresh
//!    token. A refresh runs in a task of its own; its claim is durable before the token is sent; its pair is stored before
//!    anybody uses it, and kept until the store takes it; an unanswered request is followed by probes, one at a time, until
//!    UPS answers.
//! 2. When a new opt-in is needed, [`status`](BatchSuiteAuth::status) and [`TokenError`] say so at once,
//!    say why, and never say it wrongly.
//! 3. A valid token costs nanoseconds when cached, one read of the store when not, one call of UPS when it must be refreshed.
//! 4. A secret is never seen: not in logs, errors, URLs or `Debug`. (An authorization URL carries the state, as it must.)
//!
//! # What no client can promise
//! - A process that dies between UPS's answer and the commit takes the pair with it; the next attempt is refused, and the
//!   company needs a new opt-in ([`RotationLost`](machine::CauseKind::RotationLost)).
//! - A process that is stopped past its lease with the pair in hand causes a false alarm until it goes on and commits
//!   ([`Recovered`](events::EventKind::Recovered)).
//! - A password change at the moment of a lost request looks like a lost answer.
//!
//! # Features
//! | feature | default | what it adds |
//! |---|---|---|
//! | `reqwest` | yes | [`http::ReqwestClient`], the HTTP adapter with all its guards |
//! | `reqwest-middleware` | no | [`adapters`]: a client of `reqwest` whose requests carry a company's token, with the 401 handled |
//! | `tower` | no | [`adapters`]: the same as a layer for any `tower` client |
//! | `axum` | no | [`adapters`]: the routes of a trip to UPS.com for a service on `axum`, with the cookie, the pages and the connect link |
//! | `metrics` | no | counters and a histogram through the `metrics` facade: `batchsuite_refreshes_total`, `batchsuite_refresh_seconds`, `batchsuite_exchanges_total`, `batchsuite_store_retries_total` |
//! | `fake-ups` | no | [`fake_ups`] without a server, for programs that serve it themselves |
//! | `test-util` | no | all of [`fake_ups`], [`test_util`] with the manual clock and the storage contract as a test suite |
//!
//! # Security notes
//! - Everything that was sent is cut out of UPS's own words before they are kept or shown, whole or in part and in whichever
//!   encoding they repeat it; so is every long word that looks like a token.
//! - The buffers of this crate that hold secrets (forms, answers, unpacked and decoded copies) are wiped when they are
//!   dropped. Those of hyper, rustls, `oauth2`, serde_json and the system cannot be wiped from here.
//! - The state has 256 random bits, is stored as its SHA-256, taken once, and bound to the browser, the company, the person,
//!   the environment and the exact redirect URI (RFC 9700 §4.7). The host keeps [`BrowserSecret`] in a cookie and hands it
//!   back; [`browser`] reads and writes that cookie, and tells a prefetch from a visit.
//! - Whose code comes back in a trip cannot be told by [`ClientAuthentication::Secret`], the default: see there.
//! - The host decides who may authenticate or remove which company: ask that before calling
//!   [`authenticate`](BatchSuiteAuth::authenticate), [`callback`](BatchSuiteAuth::callback) and
//!   [`remove_auth`](BatchSuiteAuth::remove_auth).
//! - UPS tells nobody which UPS.com profile signed in: [`OptInCheck`] can look before the opt-in counts, and before anything is sent.
//! - A [connect link](BatchSuiteAuth::connect_link) is a secret until it is used: whoever has its address may authenticate that company, once.
//!
//! # Why not …
//! - *the `oauth2` crate alone?* It writes requests well, and writes ours. It stores nothing, refreshes nothing, drops the
//!   status and `Retry-After` of an error, refuses UPS's numbers-as-strings, and its parse errors carry the raw body.
//! - *a lock around the refresh, e.g. `SELECT … FOR UPDATE`?* It is held while UPS is asked, ends with its connection, and leaves no note: the
//!   next holder does not know whether the token in its hand was sent.
//! - *rules in the store, as SQL?* Each rule would be written once a store, and proved in none of them. Here the machine decides, and a
//!   store compares a number and swaps.
//! - *a cache of tokens?* The token is the easy part. A refresh token that rotates needs a claim before the send and a
//!   compare-and-swap after it, or two processes end the opt-in between them.
//! - *retrying?* A retry after a time-out sends a spent token. Whether it is spent is the one thing the client cannot know;
//!   see [`store`] and [`machine`] for how that is kept.

pub mod adapters;
pub mod authenticator;
pub mod browser;
mod cache;
pub mod clock;
pub mod config;
mod consent;
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
#[cfg(all(test, target_os = "linux"))]
mod test_memory;
mod ups;

#[cfg(feature = "fake-ups")]
pub mod fake_ups;
#[cfg(feature = "fake-ups")]
pub mod test_util;

pub use async_trait::async_trait;
pub use authenticator::{
    Authenticate, BatchSuiteAuth, BatchSuiteAuthBuilder, CompanyQuery, EventFilter, EventStream, Reencrypted, Shutdown,
};
pub use browser::{BrowserSecrets, LinkSecrets, TripCookie};
pub use clock::{Clock, Timestamp};
pub use config::{Client, ClientAuthentication, Environment, FeedLost, Policy, UnknownEnvironment};
pub use consent::{ConnectLink, NewOptIn, OpenLink, OptInCheck, OptedIn, Trip};
pub use error::{
    AuthenticateError, BuildError, CallbackError, ErrorKind, ImplausibleTokens, ImportError, LinkError,
    MalformedCallback, OptInRefused, Responsible, TokenError, Unavailable,
};
pub use events::{Event, EventId, EventKind, Evidence};
pub use http::{HttpClient, HttpError, HttpErrorKind};
pub use ids::{ActorId, CompanyId, InvalidId, Revision};
pub use import::{Imported, ImportedTokens};
pub use machine::{Backoff, CauseKind};
pub use secret::{AccessToken, BrowserSecret, LinkToken};
pub use status::{Cause, CompanyStatus, Status, StatusFilter};
pub use store::{EventOrder, Page, Pruned, Store, StoreError, StoreErrorKind};
pub use url;
