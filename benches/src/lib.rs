//! What the benches share: the rows of the table, how two sides are measured side by side, and what they run on. Not
//! published.
//!
//! `benches/README.md` explains each row.

pub mod bars;
pub mod companies;
pub mod floor;
pub mod life;
pub mod measure;
pub mod report;
pub mod rows;
