//! What cannot be read and is left out.

use std::fmt;

use batchsuite_auth::{error::chain, store::StoreError};

/// Items that cannot be read and are left out, so that the others go on. The log names the first ones and counts the
/// rest: it may be every company.
pub(crate) struct LeftOut {
    what: &'static str,
    items: usize,
}

/// How many are told by name.
const NAMED: usize = 10;

impl LeftOut {
    pub(crate) fn of(what: &'static str) -> Self {
        Self { what, items: 0 }
    }

    pub(crate) fn add(&mut self, name: &dyn fmt::Display, error: &StoreError) {
        self.items += 1;
        if self.items <= NAMED {
            tracing::error!(what = self.what, %name, error = %chain(error), "an item cannot be read; it is left out");
        }
        #[cfg(feature = "metrics")]
        metrics::counter!("batchsuite_unreadable_total", "what" => self.what).increment(1);
    }
}

impl Drop for LeftOut {
    fn drop(&mut self) {
        if self.items > NAMED {
            tracing::error!(
                what = self.what,
                items = self.items - NAMED,
                "as many more cannot be read and are left out"
            );
        }
    }
}
