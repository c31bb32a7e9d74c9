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

/// A look at memory that was given back. Not part of the public API; may change with any release.
#[cfg(all(feature = "test-util", target_os = "linux"))]
#[doc(hidden)]
pub mod memory {
    pub use crate::test_memory::{Place, left_of};
}

/// The complete state machine, for tests that explore it. Not part of the public API; may change with any release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod machine {
    pub use crate::machine::whole::*;
}
