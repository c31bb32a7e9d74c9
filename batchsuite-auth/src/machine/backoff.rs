//! Delays between attempts.

use std::time::Duration;

/// A delay that doubles from `first` up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay.
    pub most: Duration,
}

impl Backoff {
    /// Always the same delay.
    pub(crate) fn constant(delay: Duration) -> Self {
        Self { first: delay, most: delay }
    }

    /// The delay after `failures` consecutive failures (1 is the first), shortened by up to a quarter: `jitter` runs
    /// from 0 (a quarter off) to 1 (the full delay) and spreads out companies that failed together.
    pub fn after(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let delay = self.first.saturating_mul(1 << doublings).min(self.most);
        delay.mul_f64(0.75 + 0.25 * jitter.clamp(0.0, 1.0))
    }
}

/// The pause after a pair that cannot be used. The first is refreshed at once (`None`), later ones after `policy`'s
/// delay: refreshing again has not helped. `failures` counts consecutive unusable pairs, including this one.
pub(crate) fn cool_down(policy: Backoff, failures: u32, jitter: f64) -> Option<Duration> {
    (failures > 1).then(|| policy.after(failures - 1, jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Backoff = Backoff { first: Duration::from_secs(2), most: Duration::from_secs(60) };

    #[test]
    fn the_delay_doubles_up_to_the_most() {
        for (failures, seconds) in [(0, 2), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (40, 60), (u32::MAX, 60)] {
            assert_eq!(POLICY.after(failures, 1.0), Duration::from_secs(seconds), "{failures} failures");
        }
    }

    #[test]
    fn jitter_takes_off_at_most_a_quarter() {
        assert_eq!(POLICY.after(2, 0.0), Duration::from_secs(3));
        assert_eq!(POLICY.after(2, f64::INFINITY), Duration::from_secs(4));
    }

    #[test]
    fn the_first_unusable_pair_is_refreshed_at_once_and_the_next_after_a_pause() {
        assert_eq!(cool_down(POLICY, 1, 1.0), None);
        assert_eq!(cool_down(POLICY, 2, 1.0), Some(Duration::from_secs(2)));
        assert_eq!(cool_down(POLICY, 3, 1.0), Some(Duration::from_secs(4)));
    }
}
