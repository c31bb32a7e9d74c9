//! Worlds in virtual time: the whole library in one thread, on a runtime whose clock passes over every wait, reproducible
//! from a seed.

mod clocks;
mod dice;

use batchsuite_auth::test_util::simulation;

pub use self::{
    clocks::{Clocks, ProcessClock, StoreClock, micros},
    dice::Dice,
};

/// Runs `world` in virtual time; `seed` determines the library's own randomness.
///
/// # Panics
/// If there can be no runtime.
pub fn in_virtual_time<T>(seed: u64, world: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    simulation::seed(Some(seed));
    let outcome = runtime.block_on(async {
        simulation::start(true);
        world.await
    });
    drop(runtime);
    simulation::start(false);
    simulation::seed(None);
    outcome
}
