//! A refresh waits for its turn.

use std::sync::Arc;

use tokio::time::timeout;

use super::{Engine, ReadRow, limiter::Priority};
use crate::{
    clock::earlier,
    error::TokenError,
    machine::{Mode, Turn},
};

/// A refresh whose turn has come. Drop it when the request has ended.
#[must_use = "dropped, the refresh has ended"]
pub(super) struct Slot {
    engine: Arc<Engine>,
    is_used: bool,
}

impl Slot {
    /// Its request is sent.
    pub(super) fn used(&mut self) {
        self.is_used = true;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.engine.rotation.limiter.ended(!self.is_used);
    }
}

impl Engine {
    /// Whose turn comes first among refreshes that nobody waits for.
    pub(super) fn background_priority(&self, row: &ReadRow) -> Priority {
        let since = earlier(row.now(), self.rotation.policy.fresh_if_used_within);
        let is_in_use = row.snapshot.used_at.is_some_and(|used_at| used_at > since);
        if is_in_use { Priority::InUse } else { Priority::Idle }
    }

    /// Waits until a refresh may begin.
    ///
    /// # Errors
    /// Too many callers wait, or the process is stopping.
    pub(super) async fn wait_for_turn(self: &Arc<Self>, priority: Priority, mode: Mode) -> Result<Slot, TokenError> {
        let limiter = &self.rotation.limiter;
        let ticket = limiter.ticket(priority)?;
        loop {
            let wait = match limiter.take(ticket.number) {
                Some(Turn::Now) => return Ok(Slot { engine: Arc::clone(self), is_used: false }),
                Some(Turn::In(wait)) => Some(wait),
                Some(Turn::WhenOneEnds) | None => None,
            };
            let turn = async {
                let called = ticket.called.notified();
                match wait {
                    // A turn that comes to nothing is given back sooner. Many do while UPS is out of reach.
                    Some(wait) => drop(timeout(wait, called).await),
                    None => called.await,
                }
            };
            let stopping = match mode {
                Mode::Foreground => self.tasks.ended(),
                Mode::Background => self.tasks.quiet(),
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(TokenError::ShutDown),
                () = turn => {}
            }
        }
    }
}
