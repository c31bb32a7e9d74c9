//! Shared parts of the benches: the rows of the table, the measuring of two sides, and their test data. Not published.
//!
//! `benches/README.md` explains each row.

pub mod bars;
pub mod companies;
pub mod floor;
pub mod life;
pub mod measure;
pub mod report;
pub mod rows;
