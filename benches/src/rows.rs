//! The rows of the table: the measured operation, its reference, and the bound of their ratio.

use Unit::{Bytes, Count, CpuSeconds, Nanoseconds};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds per operation. With several concurrent clients, the run's time divided by the operations of all
    /// clients, so that a ratio of times is the inverse of a ratio of throughputs.
    Nanoseconds,
    /// A number without a unit.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds of processor time per hour.
    CpuSeconds,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The name. The part before the first `/` is the group that measures the row.
    pub name: &'static str,
    /// The measured operation.
    pub ours: &'static str,
    /// The operation to compare with.
    pub reference: &'static str,
    /// The unit of both figures.
    pub unit: Unit,
    /// The upper bound of `ours / reference`. `None`: the row is only shown.
    pub bound: Option<f64>,
}

/// The row with this name.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

macro_rules! rows {
    ($($name:literal, $ours:literal, $reference:literal, $unit:ident, $bound:expr;)*) => {
        /// Every row, in the order of the table.
        pub const ROWS: &[Row] = &[$(
            Row { name: $name, ours: $ours, reference: $reference, unit: $unit, bound: $bound },
        )*];
    };
}

rows! {
    "token/floor/1k", "cached token, 1,000 companies", "hand-written floor", Nanoseconds, Some(0.95);
    "token/floor/100k", "cached token, 100,000 companies", "hand-written floor", Nanoseconds, Some(0.9);
    "token/floor/1m", "cached token, 1,000,000 companies", "hand-written floor", Nanoseconds, Some(1.1);
    "token/google", "cached token", "google-cloud-auth", Nanoseconds, Some(0.10);
    "token/aws", "cached token", "aws-smithy-runtime's identity cache", Nanoseconds, Some(0.10);
    "token/azure", "cached token", "azure_identity", Nanoseconds, Some(0.10);
    "token/yup", "cached token", "yup-oauth2", Nanoseconds, Some(0.10);
    "token/moka", "cached token", "a moka cache of tokens", Nanoseconds, Some(0.15);
    "token/threads", "two threads, different companies", "one thread", Nanoseconds, None;
    "token/same", "two threads, the same company", "one thread", Nanoseconds, None;
    "token/p99", "p99 of 64 tasks while 1 % is refreshed", "the floor's p99", Nanoseconds, None;
    "token/allocations", "allocations a cached token", "one", Count, Some(0.0);
    "header/ready", "header value of a cached token", "formatting one", Nanoseconds, Some(0.1);
    "refresh/oauth2", "a whole refresh, 16 at once", "oauth2 over the same HTTP client", Nanoseconds, Some(1.15);
    "refresh/cpu", "processor time of it", "the same", Nanoseconds, Some(1.5);
    "refresh/herd", "1,000 callers of one expired company", "one refresh", Nanoseconds, Some(1.3);
    "store/load", "load, 8 connections", "pgbench", Nanoseconds, Some(1.1);
    "store/claim", "claim, 8 connections", "pgbench", Nanoseconds, Some(1.1);
    "store/commit", "commit, 8 connections", "pgbench", Nanoseconds, Some(1.1);
    "store/wake100", "100 companies that wake, 8 connections", "pgbench", Nanoseconds, Some(1.1);
    "store/notify", "commit with notifications", "without", Nanoseconds, Some(1.15);
    "store/unnamed/load", "load with unnamed statements", "pgbench, extended mode", Nanoseconds, None;
    "store/scale/load", "load, 1,000,000 companies", "10,000 companies", Nanoseconds, Some(1.3);
    "store/scale/claim", "claim, 1,000,000 companies", "10,000 companies", Nanoseconds, Some(1.3);
    "store/scale/wake100", "100 that wake of 1,000,000 companies", "of 10,000 companies", Nanoseconds, Some(1.3);
    "store/listed", "12 of 1,000,000 that must opt in again, listed", "50 ms", Nanoseconds, Some(1.0);
    "store/overview", "overview of 1,000,000 companies", "1 s", Nanoseconds, Some(1.0);
    "store/snapshot/wake100", "100 that wake, a snapshot held open, 370 refreshes a second", "none open", Nanoseconds, Some(3.0);
    "store/restore", "a company marked after a restore", "pgbench: a claim", Nanoseconds, None;
    "store/reencrypt", "a company sealed with a new key", "pgbench: a commit", Nanoseconds, None;
    "store/sqlite/open", "SQLite: a file of 1,000,000 companies opened", "Postgres: a first connection", Nanoseconds, None;
    "store/sqlite/load", "SQLite: load, 8 tasks", "Postgres", Nanoseconds, None;
    "store/sqlite/claim", "SQLite: claim, 8 tasks", "Postgres", Nanoseconds, None;
    "store/sqlite/commit", "SQLite: commit, 8 tasks", "Postgres", Nanoseconds, None;
    "store/seal", "seal and open 2 KB", "the bare AEAD", Nanoseconds, Some(1.3);
    "store/roundtrips", "round trips a refresh", "claim and commit", Count, Some(1.0);
    "service/handwritten", "64 companies refreshed at once, UPS 200 ms away", "SELECT … FOR UPDATE, oauth2, UPDATE, COMMIT", Nanoseconds, Some(0.2);
    "service/statements", "statements a refresh", "the same", Count, Some(1.0);
    "service/wal", "WAL of a refresh", "the same", Bytes, Some(1.0);
    "memory/company", "bytes a cached company, token aside", "512", Bytes, Some(1.0);
    "keeper/1m", "keeper over 1,000,000 idle companies", "5 s of processor an hour", CpuSeconds, Some(1.0);
    "fake/axum", "a refresh at fake-ups, 16 at once", "axum handler that returns a constant", Nanoseconds, Some(1.7);
    "fake/memory", "growth of fake-ups over 1,000,000 requests", "64 MiB", Bytes, Some(1.0);
}
