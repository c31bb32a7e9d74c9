//! A UPS for tests and demos, on a port of your machine: its OAuth endpoints, its sign-in pages and one protected API.
//!
//! UPS's refresh tokens rotate and are single-use, and one lost answer ends an opt-in. Whether a service survives that
//! cannot be tested against UPS: nobody there drops an answer on request, changes a password between two requests, or
//! lets sixty days pass. This UPS does all of that and counts the requests it receives.
//!
//! ```
//! use batchsuite_auth::fake_ups::{Endpoint, Fault, FakeUps, Outcome, Times};
//! use url::Url;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ups = FakeUps::start().await;
//! let trip_url = Url::parse_with_params(
//!     ups.base_url().join("security/v1/oauth/authorize")?.as_str(),
//!     [("client_id", ups.client_id()), ("redirect_uri", FakeUps::REDIRECT_URI), ("response_type", "code"), ("state", "s-1")],
//! )?;
//!
//! let query = ups.consent(&trip_url, "demo@example.com").await; // no browser needed
//! assert!(query.starts_with("code=") && query.ends_with("&scope=read&state=s-1"));
//!
//! ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once); // what could go wrong next
//! ups.change_password("demo@example.com"); // every opt-in of this user has ended
//! assert_eq!(ups.requests().count(Endpoint::SignIn, Outcome::Consented), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Fidelity
//! It verifies what UPS verifies: client id and secret; a registered redirect URI that stays the same; a single use of
//! the code, in time; the PKCE challenge; the current refresh token. Statuses, codes, messages and headers are those of
//! UPS's description or reported from the field. So are the fields of a pair and their order, and the lengths and
//! alphabets of tokens and codes. An access token is a JWT with the recorded claims, signed with RS384 under a test key
//! ([`token_verification_key`](FakeUpsState::token_verification_key)). Where nothing is known it takes the stricter
//! guess:
//! - Presenting a code uses it up, whatever the outcome.
//! - A password change ends the user's opt-ins: the next refresh gets `Invalid Refresh Token`, and the access tokens
//!   become invalid at once, as a UPS employee says. [`AccessTokens`] can let them live until they expire.
//! - An access token is refused once `expires_in` has passed, a second before its `exp`.
//! - The access token from before a refresh stays valid until it expires. Do not rely on it.
//! - A blocked client gets 403 with the code `10403`; UPS names no code.
//! - The messages for a malformed `code_challenge`, a tracking request without `transId` or `transactionSrc` or with a
//!   number that is not 7 to 34 characters long, a wrong path and a wrong method are the fake's own.
//!
//! # Constraints
//! It speaks plain HTTP/1.1, so use it on loopback; it refuses HTTP/2. It forgets everything when dropped. Its tokens
//! are worthless elsewhere, and anybody who opens `/__fake/` sees its passwords. To keep pages on the internet out, it
//! answers only for loopback names and addresses, unless [allowed otherwise](FakeUpsBuilder::allow_host), and
//! no page but its own can use its controls.
//!
//! [`FakeUps`] is for one test: wiremock keeps every request in memory. For a program that runs for days,
//! [`build`](FakeUpsBuilder::build) a [`FakeUpsState`] and serve [`respond`](FakeUpsState::respond) with a server of
//! your choice, on connections from [`WireStream::accept`]; the example `fake-ups` does so with axum.
//!
//! # Faults
//! Set a fault with [`fault`](FakeUpsState::fault) or with `POST /__fake/faults {"endpoint","fault","times"}`, under
//! the same names in snake case. *Processed* says whether the request takes effect, e.g. spends the refresh token.
//!
//! | fault | processed | the client's view |
//! |---|---|---|
//! | `{"answer": {…}}` | no | any status, headers and body: see [`Answer`] |
//! | `{"edit": {…}}` | yes | the real answer with fields set, removed, padded, or as numbers; with another status, type or body; or cut: see [`Edit`] |
//! | `{"delay": {"milliseconds"}}` | yes | the real answer, delayed |
//! | `"drop_answer"` | yes | a reset connection without any byte |
//! | `"reset"`, `"close"` | no | a reset or closed connection without any byte; at the endpoint `connection`, before anything is read |
//! | `"hang"` | no | nothing, on an open connection |
//! | `{"truncate": {"keep_bytes"}}` | yes | a truncated body |
//! | `{"trickle": {"milliseconds"}}` | yes | the real answer, one byte at a time |
//! | `{"too_many_requests": {"retry_after"}}` | no | 429 `10429`, with or without `Retry-After` |
//! | `"unavailable"` | no | 503 with an HTML page |
//! | `"error_page"` | no | 302 to `https://www.ups.com/error.page` |
//! | `{"redirect": {"status", "location"}}` | no | a redirect, e.g. to another host |
//! | `"invalid_refresh_token"` | no | 400 `10400` `Invalid Refresh Token` |
//! | `"invalid_client"` | no | 401 `10401` `ClientId is Invalid` |
//! | `"blocked"` | no | 403 `Blocked Merchant` |
//! | `"keep_refresh_token"` | yes | a new access token and the same refresh token |
//! | `"numbers"` | yes | JSON numbers instead of strings |
//! | `"access_denied"` | at `authorize` | the browser comes straight back with `error=access_denied` |
//!
//! `times` is a number (default 1) or `"until_cleared"`; a `fault` of `null` clears. Every number may also be written
//! as text. For a server that does not listen at all, see [`FakeUps::go_offline`].
//!
//! # Features
//! `test-util` contains all of this. `fake-ups` is the same without [`FakeUps`], [`InProcessClient`] and wiremock: for
//! a program that serves a [`FakeUpsState`] itself.

mod accounts;
#[cfg(feature = "test-util")]
mod authenticator;
mod builder;
mod clock;
mod codes;
mod control;
mod elsewhere;
mod endpoints;
mod error_response;
mod faults;
mod hosts;
#[cfg(feature = "test-util")]
mod in_process;
mod letters;
mod oauth;
mod pages;
mod params;
mod paths;
mod person;
mod reply;
mod requests;
mod respond;
mod response;
mod rs384;
#[cfg(feature = "test-util")]
mod server;
mod settings;
mod state;
mod token_signer;
mod tracking;
mod wire;

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;

pub use self::{
    accounts::UnknownUser,
    builder::{FakeUpsBuilder, SettingsError},
    elsewhere::KeptTokens,
    faults::{Answer, Edit, Fault, Times},
    reply::Reply,
    requests::{Endpoint, Outcome, Requests},
    state::{AccessTokens, FakeUpsState},
    wire::{WireConnection, WireFault, WireStream},
};
#[cfg(feature = "test-util")]
pub use self::{in_process::InProcessClient, server::FakeUps};
