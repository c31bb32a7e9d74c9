//! UPS's wire: what is sent, what comes back, and what it means.

mod answer;
mod callback;
mod judge;
mod requests;

pub(crate) use answer::{Pair, PairDefaults};
pub(crate) use callback::{Outcome, parse as parse_callback};
pub(crate) use judge::Judgement;
pub(crate) use requests::{Prepared, Ups};
