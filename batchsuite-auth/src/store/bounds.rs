//! The bounds of the contract, shared by all stores.

use std::time::Duration;

/// The greatest age of a time-dependent decision that may still be saved.
pub const MOST_AGE: Duration = Duration::from_secs(5);

/// How long [`wake`](super::Store::wake) hides a row that it returns. A row hidden for longer was hidden by a wrong
/// clock, and counts as visible.
pub const HIDDEN_FOR: Duration = Duration::from_secs(2 * 60);

/// A wake time further ahead was set by a wrong clock, and counts as passed.
pub const FURTHEST_WAKE: Duration = Duration::from_secs(2 * 24 * 3600);

/// A use within this of the recorded one need not be written, unless it brings the wake time forward.
pub const USE_RECORDED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// The longest lease of a delivery. One that ends further ahead was dated by a wrong clock, and counts as ended.
pub const LONGEST_DELIVERY_LEASE: Duration = Duration::from_secs(24 * 3600);

/// The most events that one save writes.
pub const MOST_EVENTS: usize = 3;

/// The most rows that one call of [`list`](super::Store::list) reads.
pub const MOST_LISTED: usize = 1_000;
