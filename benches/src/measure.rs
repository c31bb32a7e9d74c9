//! Measures two sides in turn: a batch of one, then a batch of the other, and so on. The medians are compared, and
//! other load on the machine affects both sides.

use std::time::{Duration, Instant};

/// The length of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Whether the whole run must finish in three minutes.
    pub quick: bool,
    /// The number of batches per side.
    pub rounds: usize,
    /// The approximate duration of a batch.
    pub batch: Duration,
}

impl Pace {
    /// The pace of a full run, or of a quick one.
    pub fn new(quick: bool) -> Self {
        let (rounds, batch) = if quick { (11, 10) } else { (31, 30) };
        Self { quick, rounds, batch: Duration::from_millis(batch) }
    }

    /// The same with longer batches, for operations with a slow start.
    pub fn with_batches(self, times: u32) -> Self {
        Self { batch: self.batch * times, ..self }
    }

    /// The same time in many short batches, for operations of a few nanoseconds. Even on a busy machine, the scheduler
    /// interrupts few of them, so that the median batch ran without an interruption.
    pub fn in_short_batches(self) -> Self {
        Self { rounds: self.of(2001, 501), batch: Duration::from_micros(500), ..self }
    }

    /// `full`, or `quick` in a quick run.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Measures each side and returns its median nanoseconds per operation. A side is a function that performs the
    /// given number of operations.
    pub fn medians<const N: usize>(self, sides: [&mut dyn FnMut(u64); N]) -> [f64; N] {
        let mut sides = sides.map(|side| |operations| [timed(|| side(operations))]);
        self.medians_of(sides.each_mut().map(|side| side as _)).map(|[median]| median)
    }

    /// The same for sides that need preparation or return several figures. Each side measures itself. Its first figure
    /// is the time, which determines the number of operations in a batch.
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

    /// Warms a side up and finds the number of operations that fill a batch.
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

/// Performs the given number of operations and returns the measured durations.
pub type Side<'a, const M: usize> = &'a mut dyn FnMut(u64) -> [Duration; M];

fn scaled(operations: u64, wanted: Duration, taken: Duration) -> u64 {
    (operations as f64 * wanted.as_secs_f64() / taken.as_secs_f64()) as u64
}

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "benches are about real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The processor time of all threads of this process so far.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Both values are non-negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The duration of `work`.
pub fn timed(work: impl FnOnce()) -> Duration {
    let start = now();
    work();
    start.elapsed()
}

/// Nanoseconds per operation, for `operations` that took `taken` together.
pub fn nanoseconds(taken: Duration, operations: u64) -> f64 {
    taken.as_nanos() as f64 / operations.max(1) as f64
}

/// The median.
///
/// # Panics
/// If `figures` is empty.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Indexes below `most` in an order that no prefetcher predicts, the same for every side. A linear congruential
/// generator takes about a nanosecond per index.
#[derive(Clone, Debug)]
pub struct Shuffled {
    state: u64,
    most: u64,
}

impl Shuffled {
    /// Indexes below `most`, which is at most 2³².
    pub fn below(most: usize) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, most: most as u64 }
    }

    /// The same sequence from another start.
    #[must_use]
    pub fn from(self, start: usize) -> Self {
        Self { state: self.state.wrapping_add((start as u64).wrapping_mul(0xD134_2543_DE82_EF95)), ..self }
    }

    /// The next index.
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
