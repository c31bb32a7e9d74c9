//! Integration tests across the crates live in `tests/`; here the README's code is compiled and run.
#![cfg_attr(doctest, doc = include_str!("../../README.md"))]
