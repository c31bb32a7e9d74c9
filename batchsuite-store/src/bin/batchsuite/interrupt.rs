//! Ctrl-C and SIGTERM.

use std::io;

use crate::failure::Failure;

/// Waits for work that can be interrupted; `None`: it was. From the first call on, an interrupt no longer ends the
/// process by itself.
pub(crate) async fn until_interrupted<T>(work: impl Future<Output = T>) -> Result<Option<T>, Failure> {
    tokio::select! {
        // Work that is done counts as done.
        biased;
        done = work => Ok(Some(done)),
        signal = signal() => {
            signal.map_err(|error| Failure::new("signals cannot be heard on this system").because(&error))?;
            Ok(None)
        }
    }
}

/// The failure of a command that was interrupted.
pub(crate) fn interrupted() -> Failure {
    Failure::new("interrupted; what is done stays done: run the same command again for the rest")
}

#[cfg(unix)]
async fn signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
