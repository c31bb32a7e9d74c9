//! Chapters.

pub mod how_this_is_tested;
pub mod writing_a_store;
