//! Integration tests across the crates live in `tests/`; here is what they share, and the README's code is compiled and
//! run.
#![doc = include_str!("../../README.md")]

pub mod postgres;
