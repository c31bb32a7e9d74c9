//! What is logged, kept in memory.

use std::{
    io,
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
};

use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

/// The log of a test or of a process; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

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

    /// Everything so far.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8")
    }

    /// The lines that contain `text`.
    pub fn lines(&self, text: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
