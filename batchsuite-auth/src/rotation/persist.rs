//! Store calls that must not be lost, and store calls that must not wait for ever.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{sleep, timeout};

use super::{Engine, outage::Outage, vitals::Work};
use crate::{
    error::chain,
    events::{EventKind, Evidence},
    ids::CompanyId,
    machine::Backoff,
    store::{StoreError, StoreErrorKind},
    telemetry,
    ups::Pair,
};

/// Once this many writes of one value are unanswered, the next try drops them. Its own read shows whether one
/// succeeded.
const MOST_UNDER_WAY: usize = 8;

/// Whether a verdict is stored with UPS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// With them.
    Kept,
    /// Without: the store rejects them permanently.
    LeftOut,
}

impl Words {
    /// `evidence`, with or without UPS's words.
    pub(crate) fn of(self, evidence: &Evidence) -> Evidence {
        match self {
            Self::Kept => evidence.clone(),
            Self::LeftOut => evidence.without_words(),
        }
    }
}

/// When a write may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Never: the opt-in depends on it.
    Pair,
    /// At shutdown, or if the store rejects it permanently: the write only saves work later.
    Verdict,
}

/// The error of a store call that was not answered in time.
pub(crate) fn no_answer() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable).with_source(NoAnswer)
}

#[derive(Debug, thiserror::Error)]
#[error("the store did not answer in time")]
struct NoAnswer;

impl Engine {
    /// A write for a caller, who waits no longer than for a token. The write itself continues for up to twice the
    /// store's deadline; once a shutdown begins, for as long as a caller waits.
    pub(crate) async fn write_for_caller<T, F>(self: &Arc<Self>, write: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let engine = Arc::clone(self);
        let finished = self.tasks.finish(async move {
            let policy = &engine.rotation.policy;
            let shut_down = async {
                engine.tasks.ending().await;
                sleep(policy.max_wait.min(policy.store_deadline)).await;
            };
            tokio::select! {
                biased;
                written = timeout(policy.store_deadline.saturating_mul(2), write) => written.unwrap_or_else(|_| Err(no_answer())),
                () = shut_down => Err(no_answer()),
            }
        });
        let written =
            self.rotation.written_for_caller(async { finished.await.unwrap_or_else(|| Err(no_answer())) }).await;
        self.tasks.wrote_events();
        written
    }

    /// Repeats the write of a pair until the store confirms its outcome: giving up would lose the opt-in.
    pub(crate) async fn persist<T, F>(&self, what: &'static str, write: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let _in_hand = self.tasks.pair_in_hand();
        loop {
            if let Some(written) = self.repeat(what, Worth::Pair, |_| write()).await {
                return written;
            }
        }
    }

    /// Repeats a write that only saves work later; it does not delay a shutdown (a write under way is not cut off). If
    /// the store permanently rejects UPS's words, it is repeated without them.
    pub(crate) async fn persist_until_shutdown<T, F>(&self, what: &'static str, write: impl Fn(Words) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.repeat(what, Worth::Verdict, write).await
    }

    async fn repeat<T, F>(&self, what: &'static str, worth: Worth, write: impl Fn(Words) -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // The pause stays constant while the store is unavailable: after an outage, other processes give the holder of
        // a pair only so much time to store it.
        let backoff = Backoff::constant(self.rotation.policy.commit_retry);
        let mut outage = Outage::during(what);
        let mut words = Words::Kept;
        let mut not_stored = None;
        let mut writes = FuturesUnordered::new();
        loop {
            if writes.len() >= MOST_UNDER_WAY {
                writes.clear();
            }
            writes.push(write(words));
            let answer = match timeout(self.rotation.policy.store_deadline, writes.next()).await {
                Ok(Some(answer)) => answer,
                Ok(None) | Err(_) => Err(no_answer()),
            };
            self.rotation.vitals.store_answered(Work::Write, &answer, || self.rotation.now());
            let error = match answer {
                Ok(written) => return Some(self.stored(&mut outage, written)),
                Err(error) => error,
            };
            if worth == Worth::Pair {
                not_stored.get_or_insert_with(|| self.tasks.pair_not_stored());
            }
            telemetry::not_stored(self.rotation.environment, what);
            if worth == Worth::Verdict && error.kind() == StoreErrorKind::Rejected {
                let error = chain(&error);
                if words == Words::LeftOut {
                    tracing::error!(what, %error, "the store permanently rejects it; it is given up, and its lease ends by itself");
                    return None;
                }
                tracing::warn!(what, %error, "the store permanently rejects UPS's words; it is written without them");
                words = Words::LeftOut;
                continue;
            }
            let (is_ending, pause) = (self.tasks.is_ended(), outage.failed(&error, backoff));
            // A process that is ending keeps its pauses short, so that it notices at once when an operator has repaired
            // the store.
            let pause = if is_ending { pause.min(backoff.first) } else { pause };
            let ending = async {
                match (worth, is_ending) {
                    (Worth::Pair, true) => std::future::pending().await,
                    _ => self.tasks.ending().await,
                }
            };
            tokio::select! {
                biased;
                written = late(&mut writes, pause) => {
                    if let Some(written) = written {
                        return Some(self.stored(&mut outage, written));
                    }
                }
                () = ending => {
                    if worth == Worth::Verdict {
                        return None;
                    }
                }
            }
        }
    }

    /// Writes an event without a step, and wakes the readers of the log.
    pub(crate) async fn report(&self, company: Option<&CompanyId>, kind: EventKind, evidence: Evidence) {
        if self.rotation.append(company, kind, evidence).await {
            self.tasks.wrote_events();
        }
    }

    /// Reports to operators what was odd about a stored pair.
    pub(crate) async fn report_oddities(&self, company: &CompanyId, pair: &Pair) {
        for odd in &pair.oddities {
            tracing::warn!(%company, odd, "UPS's answer is odd; its tokens are stored");
            self.report(Some(company), EventKind::OddAnswer, Evidence::message(odd)).await;
        }
    }

    fn stored<T>(&self, outage: &mut Outage, written: T) -> T {
        outage.over();
        self.tasks.wrote_events();
        written
    }
}

/// Waits for `pause`, or until an earlier write succeeds after all.
async fn late<T, F>(writes: &mut FuturesUnordered<F>, pause: Duration) -> Option<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let written = async {
        while let Some(outcome) = writes.next().await {
            if let Ok(written) = outcome {
                return written;
            }
        }
        std::future::pending().await
    };
    timeout(pause, written).await.ok()
}
