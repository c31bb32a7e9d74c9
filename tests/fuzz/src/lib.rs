//! Fuzz targets for every parser of outside data.
//!
//! A target is a function of bytes that panics if a property does not hold; its documentation lists the properties. The
//! same functions run on their kept corpora (`tests/replay.rs`, part of `tests/run`), under mutation without coverage
//! feedback (`src/main.rs`, any stable toolchain), and under libFuzzer (`src/bin/libfuzzer.rs`).

mod answer;
mod basic;
mod callback;
mod corpus;
mod database;
mod document;
mod echoed;
mod fake;
mod forms;
mod input;
mod keyring;
mod mutation;
mod targets;
mod wire;

use tokio::runtime::{Builder, Runtime};

pub use answer::token_answer;
pub use basic::basic_header;
pub use callback::{callback_against_form_urlencoded, callback_query};
pub use corpus::{Corpus, directory};
pub use database::{database_url, example_database};
pub use document::{stored_client, stored_grant};
pub use echoed::echoed_secrets;
pub use fake::fake_requests;
pub use forms::form_bodies;
pub use keyring::{ciphertext, key_file};
pub use mutation::Mutator;
pub use targets::{TARGETS, Target};
pub use wire::wire_answer;

/// The runtime of this thread. It is never dropped, because its tasks may be in use until the process ends.
pub(crate) fn runtime() -> &'static Runtime {
    thread_local! {
        static RUNTIME: &'static Runtime = {
            let runtime = Builder::new_current_thread().enable_all().build();
            Box::leak(Box::new(runtime.unwrap_or_else(|error| panic!("no runtime: {error}"))))
        };
    }
    RUNTIME.with(|runtime| *runtime)
}
