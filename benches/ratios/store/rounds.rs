//! The work of a round, the same for the store and for pgbench.

use std::ops::Range;

/// The number of connections, and of concurrent clients.
pub(super) const CLIENTS: u64 = 8;
/// Companies are named by consecutive numbers from this one: pgbench knows only numbers.
pub(super) const FIRST: u64 = 1_000_000_000_000_000_000;
/// The distance between consecutive companies of a round, so that neighbours are far apart. It is prime, so every
/// company gets its turn.
pub(super) const STRIDE: u64 = 2_654_435_761;
/// The number of due companies that one call asks for.
pub(super) const WOKEN_AT_ONCE: u64 = 100;

/// The number of each row before it is written: microseconds since 1970, at some time in the past.
pub(super) const ROW: u64 = 1_700_000_000_000_000;

/// The measured operations. Claims and commits are saves, as the library makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Load,
    Claim,
    Commit,
    Wake,
}

impl Verb {
    /// Operations per client in a round, for a full run and for a quick run.
    pub(super) fn share(self) -> (u64, u64) {
        match self {
            Self::Load => (4000, 1500),
            Self::Claim => (400, 120),
            Self::Commit => (200, 60),
            // Creates fewer dead rows than the store leaves behind when it reads the queue, because pgbench always
            // reads the queue from its head.
            Self::Wake => (12, 12),
        }
    }

    /// The number of rounds, for a full run and for a quick run. Writes wait for the disk, whose speed varies, so they
    /// get more rounds.
    pub(super) fn rounds(self) -> (usize, usize) {
        match self {
            Self::Claim | Self::Commit => (21, 9),
            Self::Wake => (15, 7),
            Self::Load => (11, 5),
        }
    }

    /// Operations per client in a table of few companies, each claimed or woken once per round.
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
    /// Operations per client.
    pub(super) share: u64,
    /// The companies to work on.
    pub(super) companies: Range<u64>,
    /// The turn of the company of the first operation.
    pub(super) turn: u64,
    /// The version of those companies.
    pub(super) version: u64,
}

impl Work {
    /// The company's number for one operation. pgbench's scripts compute the same number.
    pub(super) fn company(&self, client: u64, operation: u64) -> u64 {
        let turn = self.turn + client * self.share + operation;
        FIRST + self.companies.start + turn * STRIDE % (self.companies.end - self.companies.start)
    }
}
