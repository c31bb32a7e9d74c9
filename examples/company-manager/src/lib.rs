//! A company manager: companies authenticate at UPS.com, and people see each company's status.
//!
//! Server-rendered, no JavaScript. The screens and their texts follow the UPS Batch Suite guide; `screens/` has one
//! file per screen. The library is used in `screens/authenticate.rs`, `screens/connect_link.rs`,
//! `screens/remove_auth.rs` and `screens/batch_track.rs`; everything else is common to such applications: people,
//! sessions, pages.
//!
//! [`app()`] builds the application from its [`Parts`]; the program in `main.rs` reads [`config::Config`], serves the
//! application, and stops it with [`ending`].

pub mod config;
pub mod database;
pub mod demo;
pub mod directory;
pub mod ending;
pub mod files;
pub mod notices;
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
