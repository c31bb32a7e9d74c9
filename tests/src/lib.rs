//! Integration tests across the crates are in `tests/`. This crate contains their shared kit, and compiles and runs the
//! README's code.
//!
//! Everything here panics with the reason when a test cannot continue.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]

mod capture;
mod clock;
mod database;
mod eventually;
pub mod findings;
mod flaky;
mod gate;
mod hold;
mod ids;
pub mod log;
mod mail_sink;
mod mark;
pub mod postgres;
mod process;
pub mod proxy;
mod receiver;
mod secrets;
mod shapes;
pub mod sqlite;
pub mod wire;
mod worker;

pub use self::{
    clock::{DAY, HOUR, ShiftedClock, seconds},
    database::{Backend, Database, open_store},
    eventually::{Look, eventually},
    flaky::{CAUSE, FlakyStore, Moment, Verb},
    gate::{Answer, Exchange, Gate},
    hold::Hold,
    ids::{acme, ada, companies, company, key},
    mail_sink::{Mail, MailSink},
    mark::{Mark, gaps},
    process::{Caller, Process, cause, events, opt_in},
    receiver::{Posted, WebhookReceiver},
    secrets::Secrets,
    shapes::shapes,
    worker::{Reply, Worker},
};
