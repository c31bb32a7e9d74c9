//! What tests of a service need: a clock moved by hand, and the storage contract as a test suite.

mod manual_clock;
#[cfg(feature = "test-util")]
pub mod store_contract;

pub use manual_clock::ManualClock;
