//! Whose log is captured.

use std::sync::{Once, OnceLock};

use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::log::Log;

impl Log {
    /// Captures what this thread logs as long as the guard lives: a test on paused time runs on one thread.
    ///
    /// # Panics
    /// If the process has a subscriber already, e.g. that of [`captured`](Self::captured).
    pub fn of_this_test() -> (Self, DefaultGuard) {
        // With a single subscriber, the first thread that comes to a line of the log settles for all threads whether anybody hears
        // the line: the thread of another test, which has no subscriber, would say that nobody ever does.
        static SECOND: Once = Once::new();
        SECOND.call_once(|| set_global_default(tracing_subscriber::registry()).expect("no other test sets one"));
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, set_default(subscriber))
    }

    /// Captures everything that anybody logs in this process, from the first call on: every span and event of every crate,
    /// those of the `log` facade included.
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
