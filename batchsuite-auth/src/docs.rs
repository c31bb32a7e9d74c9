//! Chapters, in the order in which they are best read.
//!
//! 1. [Embedding](embedding): what a host decides, keeps and calls.
//! 2. [Testing with the fake](testing_with_the_fake): a UPS that rotates, refuses and changes passwords on command.
//! 3. [The life of an opt-in](the_life_of_an_opt_in): states, causes, the second opinion.
//! 4. [The rotation protocol](the_rotation_protocol): how a single-use token is spent by many processes.
//! 5. [Operating](operating): keys, backups, databases, alerts, stopping.
//! 6. [Moving from another system](moving_from_another_system): bring in the refresh tokens that it keeps.
//! 7. [Writing a store](writing_a_store): a small one, step by step, with the contract as its test.
//! 8. [How this is tested](how_this_is_tested): the layers, what they find, what is not proven.

pub mod embedding;
pub mod how_this_is_tested;
pub mod moving_from_another_system;
pub mod operating;
pub mod testing_with_the_fake;
pub mod the_life_of_an_opt_in;
pub mod the_rotation_protocol;
pub mod writing_a_store;
