//! Chapters.

pub mod writing_a_store;
