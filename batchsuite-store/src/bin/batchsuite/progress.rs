//! Progress of long work, on a terminal only.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    forward_store,
    store::{Call, Store},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on the terminal that says how far the work is. Nothing is drawn if stderr is not a terminal.
pub(crate) fn bar(template: &str, of: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(of, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    if !bar.is_hidden() {
        bar.tick();
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// A store that shows the calls that change it.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<dyn Store>,
    bar: ProgressBar,
}

impl Watched {
    pub(crate) fn new(store: Arc<dyn Store>, bar: ProgressBar) -> Self {
        Self { store, bar }
    }
}

forward_store! {
    impl [] Store for Watched;
    |this| &this.store;
    |_this, call| match call {
        Call::Save(swap) => swap.key.company.is_some(),
        Call::Prune(_) => true,
        _ => false,
    };
    |this, counts, answer| {
        let answer = answer.await;
        this.bar.inc(u64::from(counts));
        answer
    }
}
