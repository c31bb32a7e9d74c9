//! What this thread logs: a test on paused time runs on one thread.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::fmt::MakeWriter;

/// The log of one test.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures what is logged as long as the guard lives.
    pub(crate) fn of_this_test() -> (Self, DefaultGuard) {
        // While there is one subscriber alone, whichever thread comes first to a line of the log settles for all whether anybody
        // hears it: the thread of another test, which has no subscriber, would say that nobody ever does.
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

    /// The lines that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
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
