//! Thin adapters for common HTTP clients and servers, each behind a feature.
//!
//! | adapter | for |
//! |---|---|
#![cfg_attr(feature = "axum", doc = "| [`axum`] | servers on `axum` |")]
#![cfg_attr(feature = "tower", doc = "| [`tower`] | clients that are a `tower` service |")]
#![cfg_attr(feature = "reqwest-middleware", doc = "| [`reqwest_middleware`] | clients of `reqwest` |")]
#![cfg_attr(feature = "webhook", doc = "| [`webhook`] | receivers of events elsewhere |")]

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "tower", feature = "reqwest-middleware"))]
mod calls;
#[cfg(any(feature = "tower", feature = "reqwest-middleware"))]
mod hosts;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "webhook")]
pub mod webhook;

#[cfg(any(feature = "tower", feature = "reqwest-middleware"))]
pub use self::{
    calls::{RequestError, token_error},
    hosts::InvalidHost,
};
