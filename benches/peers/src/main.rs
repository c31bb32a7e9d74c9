//! Our cached token beside those of the crates that a user would pick instead. `README.md` explains each;
//! `cargo bench -p batchsuite-benches -- --only peers` builds and runs this program.

mod aws;
mod azure;
mod beside;
mod endpoint;
mod google;
mod moka_cache;
mod version;
mod yup;

use batchsuite_benches::{companies, measure::Pace};

use crate::beside::Beside;

fn main() {
    let pace = Pace::new(std::env::args().any(|argument| argument == "--quick")).in_short_batches();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let names = companies::names(1000);
    let auth = runtime.block_on(companies::cached(&names));
    let beside = Beside { pace, runtime: &runtime, names: &names, auth: &auth };

    google::measure(beside);
    aws::measure(beside);
    azure::measure(beside);
    yup::measure(beside);
    moka_cache::measure(beside);
}
