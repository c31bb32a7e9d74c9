//! The application in process, with the fake UPS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod callback;
mod company;
mod people;
mod sessions;
mod world;
