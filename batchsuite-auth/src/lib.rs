//! UPS opt-ins.

pub mod authenticator;
mod cache;
pub mod clock;
pub mod config;
pub mod error;
pub mod events;
pub mod http;
pub mod ids;
pub mod machine;
pub mod secret;
pub mod status;
mod steps;
pub mod store;
mod ups;

#[cfg(feature = "test-util")]
pub mod fake_ups;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use authenticator::{
    Authenticate, BatchSuiteAuth, BatchSuiteAuthBuilder, CompanyQuery, EventFilter, EventStream, OptInCheck, OptedIn,
    Trip,
};
pub use config::{Client, ClientAuthentication, Environment, Policy};
pub use ids::{ActorId, CompanyId};
pub use secret::{AccessToken, BrowserSecret};
