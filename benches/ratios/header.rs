//! The header value of a request.

use std::hint::black_box;

use batchsuite_benches::{companies, measure::Pace, report};
use http::HeaderValue;

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let names = companies::names(1);
    let auth = runtime.block_on(companies::cached(&names));
    let token = runtime.block_on(auth.access_token(&names[0])).expect("a token");
    let text = companies::text_of(2048);

    let mut ready = |operations| {
        for _ in 0..operations {
            black_box(black_box(&token).header().clone());
        }
    };
    let mut formatted = |operations| {
        for _ in 0..operations {
            let mut value = HeaderValue::try_from(format!("Bearer {}", black_box(&text))).expect("a header value");
            value.set_sensitive(true);
            black_box(value);
        }
    };
    let [ours, reference] = pace.medians([&mut ready, &mut formatted]);
    report::ratio("header/ready", ours, reference);
}
