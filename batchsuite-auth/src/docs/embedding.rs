//! Embedding: what a host decides, keeps and calls.
//!
//! The README has a complete program. This chapter answers what comes after it.
//!
//! # Who may authenticate a company?
//! The library does not know. Ask that before [`authenticate`](crate::BatchSuiteAuth::authenticate) and
//! [`remove_auth`](crate::BatchSuiteAuth::remove_auth). At the callback it need not be asked again: the state binds the trip to the company and to
//! the person who began it, and `callback` refuses another person ([`CallbackError::OtherActor`](crate::CallbackError::OtherActor)). If a right can be
//! withdrawn within the ten minutes of a trip, an [`OptInCheck`](crate::OptInCheck) looks once more.
//!
//! [`ActorId`](crate::ActorId) is your own id of that person; it stands in the history. A nightly job or a migration names itself:
//! `ActorId::new("import-2026-11")`.
//!
//! # Looking before the opt-in counts
//! UPS tells nobody which UPS.com profile signed in, and the wrong one succeeds. An [`OptInCheck`](crate::OptInCheck) gets the fresh token before
//! anything is stored, e.g. to ask a UPS API whether the company's shipper number is on that profile:
//! ```
//! use batchsuite_auth::{NewOptIn, OptInCheck, OptInRefused, async_trait};
//!
//! #[derive(Debug)]
//! struct HasOurShipperNumber;
//!
//! #[async_trait]
//! impl OptInCheck for HasOurShipperNumber {
//!     async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
//!         let Some(token) = opt_in.token else { return Err(OptInRefused::new("UPS sent no token; try again.")) };
//!         match shipper_numbers(token).await {
//!             Ok(numbers) if numbers.iter().any(|number| number == "A1B2C3") => Ok(()),
//!             Ok(_) => Err(OptInRefused::new("That UPS.com profile does not hold shipper number A1B2C3. Sign in with the one that does.")),
//!             Err(_) => Ok(()), // UPS's API is down: that is no reason to refuse.
//!         }
//!     }
//! }
//! # async fn shipper_numbers(_: &batchsuite_auth::AccessToken) -> Result<Vec<String>, ()> { Err(()) }
//! ```
//!
//! # A server on axum
//! With the feature `axum`, the module `adapters::axum` brings the routes: Authenticate, the callback, their cookie and a plain page for each
//! outcome. The host says who is signed in and who may authenticate which company; it replaces what pages it wants. What follows is for other
//! servers, and for those who want to know.
//!
//! # The cookie
//! A trip is bound to one browser by a secret in a cookie. [`TripCookie`](crate::TripCookie) writes and reads it with the right attributes:
//! `__Host-`, `Secure` (but on loopback), `HttpOnly`, `SameSite=Lax`. (`Strict` would not survive the return from UPS.com.) One secret serves all trips
//! of a browser: keep it for 30 days, as the header says, and do not clear it after a callback, because another tab may be on its way. Set it
//! on pages that show the Authenticate button; then two tabs that press at once both come home.
//!
//! # The callback
//! `callback` wants the *raw* query of the address (`request.uri().query()`), undecoded: it refuses what a lenient parser would repair. A
//! prefetch or a HEAD must not get there: [`browser::is_visit`](crate::browser::is_visit). A callback that comes twice (a reload, the back button)
//! gets the outcome of the first one, or [`AlreadyUsed`](crate::CallbackError::AlreadyUsed) with the company: lead that person there.
//!
//! # A colleague with the UPS.com password
//! The administrator of a company is often not the person who holds its UPS.com password.
//! [`connect_link`](crate::BatchSuiteAuth::connect_link) makes an address for that colleague: valid once, for half an hour, on any device, without an
//! account at the host. Issue it to people who may press Authenticate, and tell them that whoever has it can use it.
//!
//! # When there is no token
//! Branch on [`TokenError::kind`](crate::TokenError::kind):
//!
//! | kind | do |
//! |---|---|
//! | [`Reauthorize`](crate::ErrorKind::Reauthorize) | send an administrator to the company's page; the error says why |
//! | [`Retry`](crate::ErrorKind::Retry) | try again after `retry_after()` |
//! | [`Operator`](crate::ErrorKind::Operator) | log it with [`error::chain`](crate::error::chain); somebody must look |
//!
//! # After an API's 401
//! An adapter does this by itself. Without one: hand the token to [`report_rejected`](crate::BatchSuiteAuth::report_rejected) and send the request
//! once more with the token that it returns. Never a third time: a 401 may also mean that the API is not enabled for your application. A further
//! rejection within [`Policy::rejection_pause`](crate::Policy::rejection_pause) (5 minutes, each process for itself) asks UPS nothing and is
//! `Unavailable` for the rest of that pause; a password change in those minutes is therefore told when it is over.
//!
//! # The keeper
//! `build()` starts it: it renews what will be needed and what would end. All processes share its work. `without_keeper()` leaves it out, for a process
//! that must not refresh by itself; then at least one other process needs one.
//!
//! # Following events
//! [`deliver`](crate::BatchSuiteAuth::deliver) gives each event of all processes to a handler, at least once and in order; the store keeps the cursor. For
//! mails, webhooks and other systems this is what you want: see [Being told](super::operating#being-told).
//!
//! [`event_stream`](crate::BatchSuiteAuth::event_stream) follows the log of all processes. Keep one cursor for each environment: the
//! [`number`](crate::EventId::number) of the last event that you have handled, saved *after* you handled it. Begin with
//! [`EventId::START`](crate::EventId::START) to get everything, with `None` to begin now. A crash between handling and saving repeats an event and never
//! skips one; `examples/events` is such a loop. Below events that were pruned the stream yields
//! [`Pruned`](crate::StoreErrorKind::Pruned), which says where to go on. An event whose kind [`needs_reauthorization`](crate::EventKind::needs_reauthorization) is one to write a mail about;
//! [`Recovered`](crate::EventKind::Recovered) takes it back.
//!
//! # Several processes, several clients
//! Any number of processes share one store. One store serves one client id; two clients or two environments in one process are two authenticators,
//! each with its own store (a schema, a file).
