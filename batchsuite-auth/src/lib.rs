//! UPS opt-ins.

pub mod clock;
pub mod http;

#[cfg(feature = "test-util")]
pub mod fake_ups;
#[cfg(feature = "test-util")]
pub mod test_util;
