//! UPS opt-ins.

pub mod clock;
pub mod config;
pub mod events;
pub mod http;
pub mod ids;
pub mod machine;
pub mod secret;
pub mod status;
pub mod store;

#[cfg(feature = "test-util")]
pub mod fake_ups;
#[cfg(feature = "test-util")]
pub mod test_util;

pub use config::{Client, ClientAuthentication, Environment, Policy};
pub use ids::{ActorId, CompanyId};
