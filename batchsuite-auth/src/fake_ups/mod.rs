//! A UPS for tests and demos.
mod authenticator;
mod builder;
mod control;
mod faults;
mod in_process;
mod oauth;
mod pages;
mod person;
mod requests;
mod respond;
mod server;
mod state;
mod tokens;
mod tracking;
mod wire;

pub use self::{
    builder::{FakeUpsBuilder, SettingsError, UnknownUser},
    faults::{Answer, Edit, Fault, Times},
    in_process::InProcessClient,
    requests::{Endpoint, Outcome, Requests},
    respond::{Reply, WireFault},
    server::FakeUps,
    state::{AccessTokens, FakeUpsState},
    wire::{WireStream, accept},
};
