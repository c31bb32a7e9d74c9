//! Integration tests across the crates live in `tests/`; here the README's code is compiled and run.
#![doc = include_str!("../../README.md")]
