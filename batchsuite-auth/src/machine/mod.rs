//! The life of an opt-in as pure functions: no I/O, no clock, no randomness, no async. Rules live here and nowhere
//! else.
//!
//! | file | question it answers |
//! |---|---|
//! | `grant` | what does an event do to a company's grant, or why is it refused? (`(grant, event, now) → step`) |
//! | `access` | what does a token request get? |
//! | `rotation` | what does a flight do next? |
//! | `wake` | when does a grant next need attention, and what does it need then? |
//! | `consent` | may this callback use this consent? |
//! | `cause` | why is a new opt-in needed? |
//! | `breaker` | may anything be sent to UPS at all? |
//! | `health` | what does a process know about itself, and is that enough to serve? |
//! | `diagnosis` | why does a company work or not, and what happens next? |
//! | `rate` | how many refreshes may a process send each second? |
//! | `client` | what is stored for all companies of a client? |
//! | `backoff` | how long until the next attempt? |
//! | `limits` | which bounds apply? |
//! | `document` | how does a store keep a grant? (as JSON) |

#![cfg_attr(
    not(feature = "test-util"),
    allow(
        unreachable_pub,
        dead_code,
        unused_imports,
        reason = "public for tests alone, which explore the machine as it is: `test_util::machine`"
    )
)]

mod access;
mod backoff;
mod breaker;
mod cause;
mod client;
mod consent;
mod diagnosis;
mod document;
mod grant;
mod health;
mod lag;
mod limits;
mod rate;
mod rotation;
mod wake;

pub use backoff::Backoff;
pub use cause::CauseKind;
pub use diagnosis::{FindingKind, NextStep, NextStepKind, Severity};
pub use health::{Health, KeeperHealth, UpsTrouble, UpsTroubleKind};
pub use limits::USED_CONSENT_KNOWN;
pub use rotation::Unavailable;
pub use wake::Wake;
pub(crate) use {
    access::Demand,
    breaker::{Breaker, ClientFault, Errand, Permit},
    client::{Announcement, ClientRecord, Restore},
    consent::{
        ConsentFacts, ConsentOutcome, ConsentRefusal, LinkFacts, LinkRefusal, Presented, UsedFacts, consent_outcome,
        is_repeated, judge as judge_consent, judge_link,
    },
    diagnosis::{CompanyFacts, Fact, RejectedToken, process_findings},
    grant::{
        Claim, Connect, Grant, GrantEvent, Import, PairFacts, PairRefresh, PairTimes, Pauses, RefreshTokenEnd, Release,
        Standing, Step, StepRefusal, TokenTimes, TokensEffect,
    },
    lag::Lag,
    limits::{CLOCK_TOLERANCE, LONGEST_BACKOFF, LONGEST_LEASE, LONGEST_QUARANTINE, LONGEST_RATE_LIMIT},
    rate::{Rate, Turn},
    rotation::{Failure, Flight, FlightEvent, Mode, Next, Patience, Pause, Read, Stopping, Wait},
    wake::{Chore, DAMAGED_LISTED_AS, Obstacle, Settings},
};

/// What tests may use.
#[cfg(feature = "test-util")]
pub(crate) mod whole {
    pub use super::{
        access::{Access, Demand, Freshness},
        breaker::{Breaker, ClientFault, Errand, Permit},
        client::{Announcement, ClientRecord, Restore},
        consent::{ConsentFacts, ConsentRefusal, LinkFacts, LinkRefusal, Presented, UsedFacts},
        grant::{
            Claim, Connect, Grant, GrantEvent, Import, Notice, Notified, PairFacts, PairRefresh, PairTimes, Pauses,
            Phase, Quarantine, RecordedCause, RecordedRefusal, RefreshTokenEnd, Release, Standing, Step, StepRefusal,
            TokenTimes, TokensEffect, Unanswered,
        },
        rotation::{Failure, Flight, FlightEvent, Mode, Next, Patience, Pause, Read, Stopping, Wait},
        wake::{Chore, Obstacle, Settings},
    };
}

#[cfg(test)]
mod tests;
