//! What is promised of several processes that share one database, any of which can end at any moment: shown with real
//! processes, real connections and a fake UPS that counts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;
mod ends;
mod exactly_once;
mod outage;
mod post;
mod second_opinion;
mod stage;
mod stopped;
