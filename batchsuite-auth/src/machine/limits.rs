//! Every bound of the machine.
//!
//! Several bounds end the effect of a wrong clock: a stored time further ahead than its bound was written by a clock
//! that has since been set back, and is ignored.

use std::time::Duration;

use super::backoff::Backoff;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

const fn hours(hours: u64) -> Duration {
    minutes(60 * hours)
}

/// No policy allows a longer lease. A lease that ends later was dated by a wrong clock.
pub(crate) const LONGEST_LEASE: Duration = hours(1);

/// No policy allows a longer pause.
pub(crate) const LONGEST_BACKOFF: Duration = hours(1);

/// The longest pause of a company: after an unanswered attempt the pause begins at the end of the lease.
pub(crate) const LONGEST_PAUSE: Duration = hours(2);

/// The longest quarantine of a refused refresh token that a policy allows.
pub(crate) const LONGEST_QUARANTINE: Duration = hours(7 * 24);

/// Clocks of one installation differ by less than this. A pair dated further ahead of "now" was dated by a clock that
/// has since been set back, so its end is unknown.
pub(crate) const CLOCK_TOLERANCE: Duration = minutes(5);

/// UPS's clock and ours differ by less than this, unless one of them is wrong.
pub(crate) const CLOCK_DISAGREEMENT: Duration = hours(24);

/// How long after its send a late copy of a request whose answer was lost can reach UPS.
pub(crate) const ECHO: Duration = minutes(10);

/// How long a grant with nothing to do sleeps: within this time a changed policy, a corrected clock or a corrected
/// client id takes effect.
pub(crate) const LOOK_AGAIN: Duration = hours(24);

/// How long a row sleeps when its tokens or its document cannot be read.
pub(crate) const LOOK_AGAIN_UNREADABLE: Duration = hours(1);

/// How long a woken row may wait before somebody should look why: longer than a keeper hides it from the others.
pub(crate) const OVERDUE: Duration = minutes(5);

/// A refresh is due somewhere in this part of the early window, from its beginning on. The rest of the window is left for
/// an outage.
pub(crate) const JITTERED: f64 = 0.5;

/// The part of a refresh token's life that must have passed before an idle opt-in is renewed.
pub(crate) const KEEP_ALIVE_NOT_BEFORE: f64 = 0.75;

/// How long the renewal of an idle opt-in may fail before people are warned, or half of the time that was left if that
/// is shorter. An outage of a few hours warns nobody.
pub(crate) const KEEP_ALIVE_TRIES: Duration = hours(12);

/// How long a store can still find a consent that was used or has expired.
pub const USED_CONSENT_KNOWN: Duration = hours(1);

/// The longest pause that UPS can ask for; longer ones are cut.
pub(crate) const LONGEST_RATE_LIMIT: Duration = hours(1);

/// How many companies in a row must be rejected with a client fault before it counts as the client's.
pub(crate) const CLIENT_IN_A_ROW: usize = 2;

/// How many companies in a row must get the same unknown error before it counts as the client's.
pub(crate) const UNKNOWN_IN_A_ROW: usize = 3;

/// How many companies must be refused within [`WAVE`] before the breaker opens.
pub(crate) const REFUSED_IN_A_WAVE: usize = 3;

/// The window for [`REFUSED_IN_A_WAVE`]: UPS has been seen to refuse refresh tokens of many companies at once.
pub(crate) const WAVE: Duration = minutes(10);

/// The most requests under way while UPS has not recently accepted this client, counting those that were rejected. A
/// bad secret costs no more requests than this.
pub(crate) const UNPROVEN: usize = 3;

/// How long an accepted request proves that UPS accepts this client. The secret may be replaced at any time.
pub(crate) const PROVEN_FOR: Duration = minutes(1);

/// The most failed companies that an open breaker remembers.
pub(crate) const MOST_FAILED: usize = 64;

/// How many requests in a row, of any company, must fail to reach UPS before it counts as out of reach.
pub(crate) const OUT_OF_REACH_IN_A_ROW: usize = 3;

/// The pause between two trials while UPS is out of reach: short, because the trials are all that is sent.
pub(crate) const OUT_OF_REACH_PAUSE: Backoff = Backoff { first: Duration::from_secs(2), most: Duration::from_secs(10) };

/// How long a trial may be under way while UPS is out of reach. A request ends sooner; this is for one that never
/// reports.
pub(crate) const LONGEST_TRIAL: Duration = minutes(1);

/// A process sends at least one refresh a second, however UPS answers.
pub(crate) const LOWEST_RATE: f64 = 1.0;

/// An answer that takes longer is no reason to ask more often.
pub(crate) const FAST_ANSWER: Duration = Duration::from_secs(2);

/// How many attempts of a flight may be too late to be sent before the company pauses.
pub(crate) const MOST_LATE: u32 = 8;

/// The first delay before looking again for another process's outcome; later delays are longer.
pub(crate) const FIRST_LOOK: Duration = Duration::from_millis(25);

/// The longest delay between two such looks.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(1);
