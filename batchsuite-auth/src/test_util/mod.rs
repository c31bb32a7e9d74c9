//! What tests of a service need: a clock moved by hand, and the storage contract as a test suite.

mod manual_clock;
#[cfg(feature = "test-util")]
pub mod store_contract;

pub use manual_clock::ManualClock;

/// What UPS's parsers make of anything, for tests that try them with it. It is no part of the public API, and changes with any release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod ups {
    pub use crate::ups::door::*;
}

/// One thread as a world of several processes, for a simulation that a seed repeats. It is no part of the public API, and changes with
/// any release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod simulation {
    pub use crate::{
        clock::simulated::{start, suspend},
        random::seeded::seed,
        rotation::gate::{Gate, Gated},
    };
}

/// The state machine whole, for tests that explore it. It is no part of the public API, and changes with any release.
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod machine {
    pub use crate::machine::whole::*;
}
