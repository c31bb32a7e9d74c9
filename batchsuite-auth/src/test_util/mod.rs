//! Tools for a service's tests: a manual clock, and the storage contract as a test suite.

mod manual_clock;
#[cfg(feature = "test-util")]
pub mod store_contract;

pub use manual_clock::ManualClock;

/// The parsers of UPS's answers, for tests with arbitrary input. Not part of the public API; may change with any
/// release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod ups {
    pub use crate::ups::door::*;
}

/// Several simulated processes on one thread, reproducible from a seed. Not part of the public API; may change with any
/// release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod simulation {
    pub use crate::{
        clock::simulated::{start, suspend},
        random::seeded::seed,
        rotation::gate::{Gate, Gated},
    };
}

/// The complete state machine, for tests that explore it. Not part of the public API; may change with any release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod machine {
    pub use crate::machine::whole::*;
}
