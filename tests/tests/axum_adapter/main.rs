//! The axum adapter from a browser's point of view: a small host on its own socket, with requests on raw connections and
//! from a real browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod browser;
#[path = "../../../examples/company-manager/tests/program/chrome.rs"]
#[allow(dead_code, reason = "shared with the tests of the company manager, which need more of it")]
mod chrome;
mod cookie;
mod double_press;
mod errors;
mod forged;
mod links;
mod own_pages;
mod pages;
mod trip;
mod world;
