//! The requests that UPS sees.

use std::{collections::VecDeque, time::Duration};

/// A part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// UPS is well.
    #[default]
    Before,
    /// UPS is away.
    During,
    /// UPS is back.
    After,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Before => "before the outage",
            Self::During => "during the outage",
            Self::After => "after it",
        }
    }
}

/// Counts requests by phase, and the most within any second.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    phase: Phase,
    requests: [u64; 3],
    most: [usize; 3],
    last_second: VecDeque<Duration>,
    open: usize,
    /// The most connections that were open at once.
    pub(crate) most_open: usize,
}

impl Traffic {
    /// A phase begins. The first one forgets all that was before.
    pub(crate) fn begin(&mut self, phase: Phase) {
        if phase == Phase::Before {
            (self.requests, self.most) = Default::default();
        }
        self.phase = phase;
    }

    /// A request came, at this time since some start. Requests come in the order of their times.
    pub(crate) fn came(&mut self, at: Duration) {
        let phase = self.phase as usize;
        self.requests[phase] += 1;
        self.last_second.push_back(at);
        while self.last_second.front().is_some_and(|first| *first + Duration::from_secs(1) <= at) {
            self.last_second.pop_front();
        }
        self.most[phase] = self.most[phase].max(self.last_second.len());
    }

    /// A connection was opened.
    pub(crate) fn opened(&mut self) {
        self.open += 1;
        self.most_open = self.most_open.max(self.open);
    }

    /// A connection was closed.
    pub(crate) fn closed(&mut self) {
        self.open -= 1;
    }

    pub(crate) fn requests(&self, phase: Phase) -> u64 {
        self.requests[phase as usize]
    }

    /// The most requests within any second that ended in the phase.
    pub(crate) fn most(&self, phase: Phase) -> usize {
        self.most[phase as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_second_counts_not_only_whole_ones() {
        let mut traffic = Traffic::default();
        for at in [0, 700, 900, 1100, 1600, 1700] {
            traffic.came(Duration::from_millis(at));
        }
        assert_eq!((traffic.most(Phase::Before), traffic.requests(Phase::Before)), (4, 6), "from 700 to 1,699");

        traffic.begin(Phase::After);
        traffic.came(Duration::from_millis(2700));
        assert_eq!((traffic.most(Phase::After), traffic.most(Phase::During)), (1, 0));
    }

    #[test]
    fn the_most_connections_at_once_are_kept() {
        let mut traffic = Traffic::default();
        traffic.opened();
        traffic.opened();
        traffic.closed();
        traffic.opened();
        assert_eq!(traffic.most_open, 2);
    }
}
