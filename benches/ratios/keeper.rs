//! The cost of an idle authenticator.

use std::time::Duration;

use batchsuite_benches::{
    companies,
    measure::{Pace, processor_time},
    report,
};

/// Measures the row of this group.
pub(crate) fn measure(pace: Pace) {
    const COMPANIES: usize = 1_000_000;
    let watched = pace.of(Duration::from_secs(120), Duration::from_secs(30));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let names = companies::names(COMPANIES);
    runtime.block_on(async {
        let store = companies::connected(&names).await;
        let auth = companies::heard(companies::with_keeper(store)).await;
        companies::cache_all(&auth, &names).await;
        // The first round records the uses from filling the cache.
        tokio::time::sleep(Duration::from_secs(11)).await;
        let before = processor_time();
        tokio::time::sleep(watched).await;
        let spent = processor_time() - before;
        report::note(format_args!("keeper/1m: {spent:?} of processor time in {watched:?}"));
        report::ratio("keeper/1m", spent.as_secs_f64() / watched.as_secs_f64() * 3600.0, 5.0);
    });
}
