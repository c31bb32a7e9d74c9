//! A company manager: its companies authenticate at UPS.com, and its people see how each of them stands.
//!
//! Server-rendered, no JavaScript. The screens and their words are those of the UPS Batch Suite guide; `screens/` has one file
//! a screen. What the library does for it is in `screens/authenticate.rs`, `screens/connect_link.rs`, `screens/remove_auth.rs` and
//! `screens/batch_track.rs`; all the rest is what any such application has: people, sessions, pages.
//!
//! [`app()`] makes the application from its [`Parts`]; the program in `main.rs` reads [`config::Config`], serves the application, and
//! ends it by way of [`ending`].

pub mod config;
pub mod database;
pub mod demo;
pub mod directory;
pub mod ending;
pub mod files;
pub mod passwords;
pub mod sessions;
pub mod storage;
pub mod upkeep;

mod access;
mod app;
mod client;
mod guard;
mod redirects;
mod screens;
mod serve;
mod text;
mod throttle;

pub use app::{Parts, Site, app, app_behind};
pub use client::Proxies;
pub use screens::authenticate::MayAuthenticate;
pub use serve::serve;
