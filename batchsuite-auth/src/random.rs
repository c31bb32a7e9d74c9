//! Random values from the system; under `test-util`, a simulation's thread draws them from a seed.

use rand::distr::{Distribution, StandardUniform};

/// A random value.
pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    #[cfg(feature = "test-util")]
    if let Some(value) = seeded::draw(rand::RngExt::random) {
        return value;
    }
    rand::random()
}

/// Random bytes.
#[cfg(feature = "fake-ups")]
pub(crate) fn fill(bytes: &mut [u8]) {
    use rand::Rng as _;

    #[cfg(feature = "test-util")]
    if seeded::draw(|source| source.fill_bytes(bytes)).is_some() {
        return;
    }
    rand::rng().fill_bytes(bytes);
}

/// The random source of a thread that runs a simulation.
#[cfg(feature = "test-util")]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    thread_local! {
        static SOURCE: RefCell<Option<Xoshiro256PlusPlus>> = const { RefCell::new(None) };
    }

    /// Makes this thread draw from `seed`; `None`: from the system again.
    pub fn seed(seed: Option<u64>) {
        SOURCE.set(seed.map(Xoshiro256PlusPlus::seed_from_u64));
    }

    pub(super) fn draw<T>(draw: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> Option<T> {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(draw))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::random::random;

        #[test]
        fn one_seed_brings_the_same_values_and_without_one_they_are_the_systems() {
            let drawn = |from| {
                seed(from);
                let drawn: [u64; 4] = random();
                seed(None);
                drawn
            };
            assert_eq!(drawn(Some(1)), drawn(Some(1)));
            assert_ne!(drawn(Some(1)), drawn(Some(2)));
            assert_ne!(drawn(None), drawn(None));
        }
    }
}
