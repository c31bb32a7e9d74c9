//! The bounds of the contract, once for every store.

use std::time::Duration;

/// A decision that depends on the time is saved within this, or not at all.
pub const MOST_AGE: Duration = Duration::from_secs(5);

/// For how long [`wake`](super::Store::wake) hides a row that it hands out. What hides a row for longer was set by a wrong clock.
pub const HIDDEN_FOR: Duration = Duration::from_secs(2 * 60);

/// A wake time that is further ahead was set by a wrong clock, and has passed.
pub const FURTHEST_WAKE: Duration = Duration::from_secs(2 * 24 * 3600);

/// A use within this of the recorded one need not be written, unless it brings the wake time forward.
pub const USE_RECORDED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// No holder has a delivery for longer. A lease that ends further ahead was dated by a wrong clock, and has ended.
pub const LONGEST_DELIVERY_LEASE: Duration = Duration::from_secs(24 * 3600);

/// How many events one save writes, at most.
pub const MOST_EVENTS: usize = 3;

/// How many rows one call of [`list`](super::Store::list) reads, at most.
pub const MOST_LISTED: usize = 1_000;
