//! The application in process, with the fake UPS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod again;
mod callback;
mod company;
mod connection;
mod cookies;
mod findings;
mod flood;
mod links;
mod notices;
mod people;
mod proxy;
mod second_opinion;
mod sessions;
mod why;
mod world;
