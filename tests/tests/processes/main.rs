//! The promises for several processes that share one database and can end at any moment: tested with real processes,
//! real connections and a counting fake UPS.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;
mod ends;
mod exactly_once;
mod outage;
mod post;
mod second_opinion;
mod stage;
mod stopped;
