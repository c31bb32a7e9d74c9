//! A UPS for tests and demos: its OAuth endpoints, its sign-in pages and one protected API, on a port of your machine.
//!
//! UPS's refresh tokens rotate and are single-use, and one lost answer ends an opt-in. Whether a service copes with that
//! cannot be tried out at UPS: nobody there drops an answer when asked, changes a password between two requests, or lets
//! sixty days pass. This UPS does, and it counts what it was asked.
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
//! # What it is faithful to
//! It verifies what UPS verifies: client id and secret, a redirect URI that is registered and stays the same, a code that is used
//! once and in time, the PKCE challenge, a refresh token that is the current one. Statuses, codes, messages and headers
//! are those of UPS's description or reported from the field, and so are the fields of a pair and their order, and the lengths and
//! alphabets of tokens and codes. An access token is a JWT with the recorded claims, signed with RS384 under a test key
//! ([`token_verification_key`](FakeUpsState::token_verification_key)). Where nothing is known it takes the stricter guess:
//! - A code is burnt by being presented, whatever comes of it.
//! - A password change ends the user's opt-ins, told by `Invalid Refresh Token` at the next refresh, and the access tokens die with
//!   them, as a UPS employee says. That they live on until they expire is a switch: [`AccessTokens`].
//! - An access token is refused when `expires_in` has passed, a second before its `exp`.
//! - The access token of before a refresh stays good until it expires. Do not rely on it.
//! - A blocked client gets 403 with the code `10403`; UPS names none.
//! - A malformed `code_challenge`, a tracking request without `transId` or `transactionSrc` or with a number that is not of 7 to 34
//!   characters, a wrong path and a wrong method get words of the fake's own.
//!
//! # Constraints
//! It speaks plain HTTP/1.1, so use it on loopback; HTTP/2 is refused. It forgets everything when it is dropped. Its tokens are
//! worth nothing elsewhere, and its passwords are shown to whoever opens `/__fake/`. So that no page on the internet does, it answers for
//! loopback's names and addresses alone, unless [told otherwise](FakeUpsBuilder::allow_host), and its switches move for no page but its own.
//!
//! [`FakeUps`] is for one test: wiremock keeps every request in memory. For a program that runs for days,
//! [`build`](FakeUpsBuilder::build) a [`FakeUpsState`] and serve [`respond`](FakeUpsState::respond) with a server of your
//! choice, on connections from [`WireStream::accept`]; the example `fake-ups` does it with axum.
//!
//! # Faults
//! Set with [`fault`](FakeUpsState::fault), or by `POST /__fake/faults {"endpoint","fault","times"}` under the same names in
//! snake case. *Processed* says whether the request has its effect, e.g. spends the refresh token.
//!
//! | fault | processed | what the client gets |
//! |---|---|---|
//! | `{"answer": {…}}` | no | any status, headers and body: see [`Answer`] |
//! | `{"edit": {…}}` | yes | the true answer with fields set, left out, padded, as numbers; another status, type or body; cut: see [`Edit`] |
//! | `{"delay": {"milliseconds"}}` | yes | the true answer, late |
//! | `"drop_answer"` | yes | a reset connection and not a byte |
//! | `"reset"`, `"close"` | no | a reset or closed connection and not a byte; at the endpoint `connection`, before anything is read |
//! | `"hang"` | no | nothing, on an open connection |
//! | `{"truncate": {"keep_bytes"}}` | yes | a body that breaks off |
//! | `{"trickle": {"milliseconds"}}` | yes | the true answer, one byte at a time |
//! | `{"too_many_requests": {"retry_after"}}` | no | 429 `10429`, with or without `Retry-After` |
//! | `"unavailable"` | no | 503 with an HTML page |
//! | `"error_page"` | no | 302 to `https://www.ups.com/error.page` |
//! | `{"redirect": {"status", "location"}}` | no | a redirect to another host, say |
//! | `"invalid_refresh_token"` | no | 400 `10400` `Invalid Refresh Token` |
//! | `"invalid_client"` | no | 401 `10401` `ClientId is Invalid` |
//! | `"blocked"` | no | 403 `Blocked Merchant` |
//! | `"keep_refresh_token"` | yes | a new access token and the same refresh token |
//! | `"numbers"` | yes | JSON numbers instead of strings |
//! | `"access_denied"` | at `authorize` | the browser comes straight back with `error=access_denied` |
//!
//! `times` is a number (1 if left out) or `"until_cleared"`; a `fault` of `null` clears. Every number may be written as a number or as
//! its text. That nobody listens at all is [`FakeUps::go_offline`].
//!
//! # Features
//! `test-util` has all of this. `fake-ups` has the same without [`FakeUps`] and [`InProcessClient`], and without wiremock: for a program
//! that serves a [`FakeUpsState`] itself.

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
