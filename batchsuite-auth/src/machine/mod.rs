//! The life of an opt-in as pure functions: no I/O, no clock, no randomness, no async.
//!
//! | file | question it answers |
//! |---|---|
//! | `opt_in` | what does an event do to an opt-in, and is it refused? (`(state, event, now) → (state, what to do)`) |
//! | `consent` | may this callback take this consent? |
//! | `access` | what does somebody who asks for a token get, and what has to happen for it? |
//! | `breaker` | may anything be sent to UPS at all? |
//! | `backoff` | how long until the next try? |
//!
//! A store applies [`OptIn::on`] inside its atomic write (the memory store calls it; an SQL store says the same in one
//! statement, and the storage contract holds both to it). The steps ask the others.

mod access;
mod backoff;
mod breaker;
mod consent;
mod opt_in;

pub use access::{Access, CauseKind, Demand, Facts, Freshness, RefreshTokenEnd, TokenTimes, decide};
pub use backoff::{Backoff, cool_down};
pub use breaker::{Breaker, Errand, Fault, Permit};
pub use consent::{
    ConsentFacts, ConsentRefusal, Presented, USED_CONSENT_KNOWN, UsedFacts, is_repeated, judge as judge_consent,
};
pub(crate) use consent::{ConsentOutcome, consent_outcome};
pub(crate) use opt_in::CLOCK_DISAGREEMENT;
pub use opt_in::{Event, OptIn, Phase, RecordedCause, Refusal, Standing, TokensEffect, Transition, Turn, Verdict};

#[cfg(test)]
mod tests;
