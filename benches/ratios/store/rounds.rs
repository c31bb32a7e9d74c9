//! What a round does: the same for the store and for pgbench.

use std::ops::Range;

/// Connections, and clients at work.
pub(super) const CLIENTS: u64 = 8;
/// The name of the first company is this number, that of the next one the next number: pgbench knows numbers only.
pub(super) const FIRST: u64 = 1_000_000_000_000_000_000;
/// From one company to the next one of a round, so that neighbours are far apart. A prime: every company gets its turn.
pub(super) const STRIDE: u64 = 2_654_435_761;
/// How many companies are asked for that wake.
pub(super) const WOKEN_AT_ONCE: u64 = 100;

/// The number of each row before it is written: microseconds since 1970, some time ago.
pub(super) const ROW: u64 = 1_700_000_000_000_000;

/// What is done. A claim and a commit are saves, as the library makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Load,
    Claim,
    Commit,
    Wake,
}

impl Verb {
    /// Operations of each client in a round, in a full run and in a quick one.
    pub(super) fn share(self) -> (u64, u64) {
        match self {
            Self::Load => (4000, 1500),
            Self::Claim => (400, 120),
            Self::Commit => (200, 60),
            // Fewer dead rows than the store leaves behind when it reads the queue: pgbench reads it from its head.
            Self::Wake => (12, 12),
        }
    }

    /// How many rounds, the same. What is written waits for the disk, which is seldom twice the same.
    pub(super) fn rounds(self) -> (usize, usize) {
        match self {
            Self::Claim | Self::Commit => (21, 9),
            Self::Wake => (15, 7),
            Self::Load => (11, 5),
        }
    }

    /// Operations of each client where the companies are few, and are claimed or woken once a round.
    pub(super) fn share_of_few(self) -> u64 {
        match self {
            Self::Load => 1000,
            Self::Claim => 300,
            Self::Commit => 0,
            Self::Wake => 5,
        }
    }
}

/// A round's work.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) verb: Verb,
    /// Operations of each client.
    pub(super) share: u64,
    /// Of these companies.
    pub(super) companies: Range<u64>,
    /// The first operation is on the company of this turn.
    pub(super) turn: u64,
    /// The version of those companies.
    pub(super) version: u64,
}

impl Work {
    /// The number of the company of one operation. (pgbench's scripts say the same.)
    pub(super) fn company(&self, client: u64, operation: u64) -> u64 {
        let turn = self.turn + client * self.share + operation;
        FIRST + self.companies.start + turn * STRIDE % (self.companies.end - self.companies.start)
    }
}
