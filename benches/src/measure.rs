//! Two sides, measured side by side: a batch of one, a batch of the other, and again; the medians are compared. Whatever
//! else the machine does meets both.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Whether all is to be done in three minutes.
    pub quick: bool,
    /// How many batches of each side.
    pub rounds: usize,
    /// How long a batch takes, about.
    pub batch: Duration,
}

impl Pace {
    /// The pace of a full run, or of a quick one.
    pub fn new(quick: bool) -> Self {
        let (rounds, batch) = if quick { (11, 10) } else { (31, 30) };
        Self { quick, rounds, batch: Duration::from_millis(batch) }
    }

    /// The same with longer batches, for what begins slowly.
    pub fn with_batches(self, times: u32) -> Self {
        Self { batch: self.batch * times, ..self }
    }

    /// The same time in many short batches, for what takes nanoseconds: the scheduler interrupts few of them, even on a busy
    /// machine, so that the median is one that ran through.
    pub fn in_short_batches(self) -> Self {
        Self { rounds: self.of(2001, 501), batch: Duration::from_micros(500), ..self }
    }

    /// `full`, or `quick` in a quick run.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Measures each side; the median nanoseconds an operation. A side is a function that does so many operations.
    pub fn medians<const N: usize>(self, sides: [&mut dyn FnMut(u64); N]) -> [f64; N] {
        let mut sides = sides.map(|side| |operations| [timed(|| side(operations))]);
        self.medians_of(sides.each_mut().map(|side| side as _)).map(|[median]| median)
    }

    /// The same for sides that have something to prepare, or more than one figure: each takes its own figures of so many
    /// operations. The first is their time; it says how many fill a batch.
    pub fn medians_of<const N: usize, const M: usize>(self, mut sides: [Side<'_, M>; N]) -> [[f64; M]; N] {
        let batches = sides.each_mut().map(|side| self.calibrated(*side));
        let mut figures = [(); N].map(|()| [(); M].map(|()| Vec::with_capacity(self.rounds)));
        for _ in 0..self.rounds {
            for ((side, operations), figures) in sides.iter_mut().zip(batches).zip(&mut figures) {
                for (figures, taken) in figures.iter_mut().zip(side(operations)) {
                    figures.push(nanoseconds(taken, operations));
                }
            }
        }
        figures.map(|figures| figures.map(median))
    }

    /// Warms a side up, and finds how many operations fill a batch.
    fn calibrated<const M: usize>(self, side: Side<'_, M>) -> u64 {
        let mut operations = 1;
        loop {
            let taken = side(operations)[0];
            if taken >= self.batch / 2 {
                return scaled(operations, self.batch, taken).max(1);
            }
            let factor = (self.batch.as_secs_f64() / taken.as_secs_f64().max(1e-9)).clamp(2.0, 16.0);
            operations = (operations as f64 * factor) as u64;
        }
    }
}

/// Does so many operations and says what they took.
pub type Side<'a, const M: usize> = &'a mut dyn FnMut(u64) -> [Duration; M];

fn scaled(operations: u64, wanted: Duration, taken: Duration) -> u64 {
    (operations as f64 * wanted.as_secs_f64() / taken.as_secs_f64()) as u64
}

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "benches are about real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The processor time that this process has used, all its threads together.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Neither is negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = now();
    work();
    start.elapsed()
}

/// Nanoseconds of each of `operations` that took `taken` together.
pub fn nanoseconds(taken: Duration, operations: u64) -> f64 {
    taken.as_nanos() as f64 / operations.max(1) as f64
}

/// The middle one.
///
/// # Panics
/// If there is none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Indexes below `most` in an order that no prefetcher guesses, the same for every side (a linear congruential generator:
/// a nanosecond an index).
#[derive(Clone, Debug)]
pub struct Shuffled {
    state: u64,
    most: u64,
}

impl Shuffled {
    /// Below `most`, which is at most 2³².
    pub fn below(most: usize) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, most: most as u64 }
    }

    /// The same from another start.
    #[must_use]
    pub fn from(self, start: usize) -> Self {
        Self { state: self.state.wrapping_add((start as u64).wrapping_mul(0xD134_2543_DE82_EF95)), ..self }
    }

    /// The next one.
    #[inline]
    pub fn index(&mut self) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (((self.state >> 32) * self.most) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
    }

    #[test]
    fn indexes_reach_everywhere_below_the_bound() {
        let mut indexes = Shuffled::below(10);
        let seen: std::collections::BTreeSet<_> = (0..1000).map(|_| indexes.index()).collect();

        assert_eq!(seen, (0..10).collect());
    }
}
