//! Capturing the log of a test or process.

use std::sync::{Once, OnceLock};

use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::log::Log;

impl Log {
    /// Captures this thread's log while the guard lives: a test on paused time runs on one thread.
    ///
    /// # Panics
    /// If the process already has a subscriber, e.g. that of [`captured`](Self::captured).
    pub fn of_this_test() -> (Self, DefaultGuard) {
        // With a single subscriber, the first thread that reaches a log statement decides for all threads whether it is
        // enabled. A thread of another test, which has no subscriber, would disable it for good.
        static SECOND: Once = Once::new();
        SECOND
            .call_once(|| set_global_default(tracing_subscriber::registry()).expect("no other test sets a subscriber"));
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, set_default(subscriber))
    }

    /// Captures the whole process's log from the first call on: every span and event of every crate, including those of
    /// the `log` facade.
    pub fn captured() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
                .with_ansi(false)
                .with_writer(log.clone())
                .init();
            log
        })
        .clone()
    }

    /// The lines that contain `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}
