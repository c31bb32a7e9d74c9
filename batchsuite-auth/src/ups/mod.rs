//! UPS's wire protocol: requests, answers and their meaning.

mod answer;
mod callback;
mod content;
#[cfg(feature = "test-util")]
pub(crate) mod door;
mod echo;
mod encodings;
mod errors;
mod grant_type;
mod json;
mod judge;
mod repair;
mod requests;
mod send;

pub(crate) use answer::{LONGEST_LIFETIME, Pair, PairDefaults};
pub(crate) use callback::{AuthorizationResponse, parse as parse_callback};
pub(crate) use judge::Judgement;
pub(crate) use requests::{Authorization, Ups};
