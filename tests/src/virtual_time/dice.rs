//! A world's only source of randomness.

use std::{ops::Range, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// Random draws, reproducible from the seed.
#[derive(Debug)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Draws from this seed.
    pub fn of(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// Below this number.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many milliseconds.
    pub fn milliseconds(&mut self, of: Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(of))
    }

    /// So many seconds, to the millisecond.
    pub fn seconds(&mut self, of: Range<u64>) -> Duration {
        self.milliseconds(of.start * 1000..of.end * 1000)
    }
}
