//! The rotation protocol, the hot path, the keeper and the event log, clause by clause: the authenticator over the
//! memory store and the fake UPS in this process. Tests hold or break both connections where a clause needs it.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod answers;
mod breaker;
mod callers;
mod check;
mod claim;
mod clocks;
mod commit;
mod damaged;
mod diagnose;
mod durations;
mod events;
mod feed;
mod health;
mod import;
mod import_rivals;
mod import_trouble;
mod keeper;
mod keys;
mod late;
mod links;
mod lists;
mod outage;
mod rate;
mod rejected;
mod removal;
mod returns;
mod rounds;
mod second_opinion;
mod serving;
mod set_back;
mod shutdown;
mod stage;
mod stopped;
mod takeover;
mod trouble;
mod unanswered;
mod upkeep;
mod verdict;
