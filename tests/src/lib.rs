//! Integration tests across the crates live in `tests/`; here is what they share, and the README's code is compiled and
//! run.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]

pub mod clock;
pub mod log;
pub mod postgres;
pub mod proxy;
pub mod wire;
