//! Every bound of the machine, once.
//!
//! Several of them end the effect of a wrong clock: a time that lies further ahead than it can was written by a clock that has
//! been set back since, and does not count.

use std::time::Duration;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

/// No policy allows a longer lease, so one that ends later was set by a wrong clock.
pub(crate) const LONGEST_LEASE: Duration = hours(1);

/// No policy allows a longer pause.
pub(crate) const LONGEST_BACKOFF: Duration = hours(1);

/// A pause of a company never ends later: after an unanswered attempt it begins with the end of the lease.
pub(crate) const LONGEST_PAUSE: Duration = hours(2);

/// No policy leaves a refused refresh token alone for longer.
pub(crate) const LONGEST_QUARANTINE: Duration = hours(7 * 24);

/// Clocks of one installation agree better than this. A pair that was obtained later than "now" by more was dated by a clock that has
/// been set back since, so its end says nothing.
pub(crate) const CLOCK_TOLERANCE: Duration = minutes(5);

/// UPS's clock and ours agree better than this; where they do not, one of them is wrong.
pub(crate) const CLOCK_DISAGREEMENT: Duration = hours(24);

/// A late copy of a request whose answer was lost can reach UPS for so long.
pub(crate) const ECHO: Duration = minutes(10);

/// A grant with nothing to do is looked at again after this, so that a changed policy, a corrected clock or a corrected client id
/// reaches every grant.
pub(crate) const LOOK_AGAIN: Duration = hours(24);

/// A row whose tokens or document cannot be read is looked at again after this.
pub(crate) const LOOK_AGAIN_UNREADABLE: Duration = hours(1);

/// An idle opt-in is not renewed before this part of its refresh token's life has passed.
pub(crate) const KEEP_ALIVE_NOT_BEFORE: f64 = 0.75;

/// The renewal of an idle opt-in is tried in vain for so long, or for half of the time that is left, before a person should know. An
/// outage of a few hours is nobody's business.
pub(crate) const KEEP_ALIVE_TRIES: Duration = hours(12);

/// How long a store can still find a consent that was used or has expired.
pub const USED_CONSENT_KNOWN: Duration = hours(1);

/// The longest pause that UPS can ask for.
pub(crate) const LONGEST_RATE_LIMIT: Duration = hours(1);

/// How many companies in a row must be refused as a client before it concerns the client.
pub(crate) const CLIENT_IN_A_ROW: usize = 2;

/// How many companies in a row must get the same refusal that nobody has described before it concerns the client.
pub(crate) const UNKNOWN_IN_A_ROW: usize = 3;

/// How many companies must be refused within [`WAVE`] before it is no longer taken for theirs.
pub(crate) const REFUSED_IN_A_WAVE: usize = 3;

/// UPS has been seen to refuse in waves.
pub(crate) const WAVE: Duration = minutes(10);

/// While nothing shows that UPS accepts this client, so many requests are under way at once, those included that were refused: a bad
/// secret costs no more.
pub(crate) const UNPROVEN: usize = 3;

/// A request that UPS accepted longer ago than this proves nothing: the secret may have been replaced meanwhile.
pub(crate) const PROVEN_FOR: Duration = minutes(1);

/// The failed companies that an open breaker remembers.
pub(crate) const MOST_FAILED: usize = 64;

/// How many requests in a row, of any company, must not reach UPS before it counts as out of reach.
pub(crate) const OUT_OF_REACH_IN_A_ROW: usize = 3;

/// So many attempts of a flight may come too late to be sent.
pub(crate) const MOST_LATE: u32 = 8;

/// Another process's outcome is looked for again after this long at first, and then less often.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(25);

/// And at least this often.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(1);
