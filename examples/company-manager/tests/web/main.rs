//! The application in process, with the fake UPS.

mod callback;
mod company;
mod people;
mod sessions;
mod world;
