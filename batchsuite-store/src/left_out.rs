//! What cannot be read and is left out.

use std::fmt::Display;

use batchsuite_auth::{error::chain, store::StoreError};

/// How many are told by name.
const NAMED: usize = 10;

/// Those of the items, each with its name, that can be read. The others are left out, so that these go on. The log names the first
/// ones and counts the rest: it may be every company.
pub(crate) fn readable<T>(
    what: &'static str,
    items: impl IntoIterator<Item = (impl Display, Result<T, StoreError>)>,
) -> Vec<T> {
    let mut left_out = 0;
    let mut read = Vec::new();
    for (name, item) in items {
        match item {
            Ok(item) => read.push(item),
            Err(error) => {
                left_out += 1;
                if left_out <= NAMED {
                    tracing::error!(what, %name, error = %chain(&error), "an item cannot be read; it is left out");
                }
                #[cfg(feature = "metrics")]
                metrics::counter!("batchsuite_unreadable_total", "what" => what).increment(1);
            }
        }
    }
    if left_out > NAMED {
        tracing::error!(what, items = left_out - NAMED, "as many more cannot be read and are left out");
    }
    read
}
