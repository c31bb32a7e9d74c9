//! One attempt: claim, send, save. The order is essential: the request is built before the claim, the claim is durable
//! before the send, the pair is stored before anybody uses it, and an attempt that lost the row writes nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::timeout;

use super::{Engine, ReadRow, Taken, conflict::Conflicts, permit::UnderWay, persist::Words, rows::sent_at, turn::Slot};
use crate::{
    clock::{Stopwatch, remaining},
    error::{TokenError, Unavailable},
    events::Evidence,
    ids::{AttemptId, CompanyId},
    machine::{Claim, Errand, GrantEvent, Mode, PairRefresh, Release, StepRefusal},
    random::random,
    store::StoreError,
    telemetry,
    ups::{Judgement, Pair},
};

/// The outcome of an attempt.
pub(super) enum Attempt {
    /// A new pair is stored.
    Stored(Box<ReadRow>),
    /// The attempt ended, and the row says what comes next.
    Settled,
    /// Another attempt holds the row, or the row moved on.
    Lost,
    /// Too much time had passed since the row was read, so nothing was sent; the claim is released.
    Late,
    /// No pair. This is the reason, unless the row gives a clearer one.
    Failed(TokenError),
}

/// The outcome of saving a new pair.
enum Committed {
    Stored(Box<ReadRow>),
    Moved,
}

impl Engine {
    /// One claim and at most one request, within a few seconds of the row's read. If the attempt is too late, the next
    /// one is due after `pause_if_late`.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        mode: Mode,
        read: &ReadRow,
        pause_if_late: Duration,
        mut slot: Slot,
    ) -> Attempt {
        let company = &read.snapshot.company;
        let under_way = match self.permit(Errand::Refresh, company).await {
            Ok(under_way) => under_way,
            Err(error) => {
                if mode == Mode::Background {
                    self.waits_for_ups(company);
                }
                return Attempt::Failed(error);
            }
        };
        // The permit may have waited for other requests.
        if mode == Mode::Background && self.tasks.is_quiet() {
            return failed(Unavailable::Paused, Duration::ZERO);
        }
        // Built first: nothing may fail between the claim and the send.
        let Some(request) = read.snapshot.refresh_token().and_then(|token| self.rotation.ups.refresh(token)) else {
            return Attempt::Failed(TokenError::Misconfigured {
                evidence: Evidence::message("the request could not be written").into(),
                retry_after: self.rotation.policy.breaker_pause.first,
            });
        };
        let claimed = match self.claim(read).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Attempt::Lost,
            Err(error) => return Attempt::Failed(error.into()),
        };
        // If the process was stopped, the lease may be over and another request on its way.
        let rotation = &self.rotation;
        let limits = rotation.ups.limits().with_send_within_since(read.asked(), rotation.policy.claim_to_send);
        let sent = Stopwatch::start();
        let judgement = match limits.may_be_sent() {
            // The HTTP client checks again once it has a connection.
            true => {
                slot.used();
                rotation.ups.send(request, limits, rotation.now()).await
            }
            false => Judgement::Late,
        };
        telemetry::refreshed(rotation.environment, &judgement, sent.elapsed());
        // The silences of trials say nothing about the rate.
        if !(matches!(judgement, Judgement::Unanswered(_)) && rotation.breaker().is_out_of_reach()) {
            rotation.limiter.judged(&judgement, sent.elapsed());
        }
        drop(slot);
        self.act_on(read, claimed, judgement, &sent, pause_if_late, under_way).await
    }

    /// Saves the intent to send. `None`: another attempt was first, or the row moved on.
    async fn claim(self: &Arc<Self>, read: &ReadRow) -> Result<Option<(Box<ReadRow>, Claim)>, StoreError> {
        let claim = read.snapshot.grant.claim_of(AttemptId::random());
        tracing::Span::current().record("attempt", tracing::field::display(claim.attempt));
        let event = GrantEvent::Claim { attempt: claim.attempt, lease: self.rotation.policy.lease };
        match self.rotation.in_time(self.rotation.take(read, &event, None)).await {
            Ok(Taken::Saved(claimed)) => Ok(Some((claimed, claim))),
            Ok(Taken::Refused(_) | Taken::Conflict) => Ok(None),
            Err(error) => {
                // The claim may or may not be saved. Nothing is sent, and the fence removes the doubt.
                let (engine, read) = (Arc::clone(self), read.clone());
                drop(self.tasks.spawn(async move { engine.fence(&read, &claim).await }));
                Err(error)
            }
        }
    }

    /// Makes sure that a claim of unknown outcome blocks nobody. A claim in the row is released. Otherwise the row is
    /// saved unchanged, so that the claim can no longer be saved: this save waits for a claim that is still committing,
    /// and then conflicts.
    async fn fence(&self, read: &ReadRow, claim: &Claim) {
        let fenced = self.persist_until_shutdown("a claim of unknown outcome", |_| async {
            let mut conflicts = Conflicts::default();
            let mut row = self.rotation.read(&read.snapshot.company).await?;
            loop {
                let is_as_claimed = row.snapshot.number == read.snapshot.number;
                let Some(event) = row.snapshot.grant.fence_of(claim, is_as_claimed) else { return Ok(()) };
                match self.rotation.take(&row, &event, None).await? {
                    Taken::Saved(_) | Taken::Refused(_) => return Ok(()),
                    Taken::Conflict => row = conflicts.read_again(&self.rotation, &row).await?,
                }
            }
        });
        if fenced.await.is_none() {
            tracing::debug!("a claim of unknown outcome is left to its lease");
        }
    }

    /// Handles UPS's answer to the request timed by `sent`.
    async fn act_on(
        self: &Arc<Self>,
        read: &ReadRow,
        (claimed, claim): (Box<ReadRow>, Claim),
        judgement: Judgement,
        sent: &Stopwatch,
        pause_if_late: Duration,
        under_way: UnderWay,
    ) -> Attempt {
        let explained = claimed.snapshot.grant.expects_refusal();
        let company = &read.snapshot.company;
        let opens = self.report_to_breaker(Errand::Refresh, company, &judgement, explained);
        // Ended before the store is written, so that no other request waits for that.
        drop(under_way);
        let policy = &self.rotation.policy;
        match judgement {
            Judgement::Pair(pair) => self.commit(claimed, &claim, *pair, sent).await,
            Judgement::Refused(evidence) => {
                self.refused(company, claim, &evidence).await;
                if opens {
                    self.report_wave().await;
                }
                Attempt::Settled
            }
            Judgement::Unanswered(evidence) => {
                self.unanswered(company, claim, &evidence).await;
                failed(Unavailable::Unanswered, policy.lease)
            }
            Judgement::NotSent(evidence) => {
                let is_outage = self.rotation.breaker().is_out_of_reach();
                tracing::warn!(%evidence, is_outage, "the refresh was not sent");
                let reason = |words: Words| match is_outage {
                    true => Release::OutOfReach,
                    false => Release::NotSent(words.of(&evidence)),
                };
                let retry = self.release(company, claim, reason).await;
                failed(Unavailable::NotSent, retry)
            }
            Judgement::Late => {
                tracing::warn!(
                    "too much time has passed since the row was read; nothing is sent and the claim is released"
                );
                self.release(company, claim, |_| Release::Unsent(pause_if_late)).await;
                Attempt::Late
            }
            Judgement::RateLimited(pause, _) => {
                let pause = pause.unwrap_or(policy.rate_limit_pause);
                let retry = self.release(company, claim, |_| Release::RateLimited(pause)).await;
                failed(Unavailable::RateLimited, retry)
            }
            Judgement::Misconfigured(evidence) | Judgement::Blocked(evidence) => {
                self.misconfigured(company, claim, evidence).await
            }
            Judgement::Unknown(evidence) => {
                tracing::warn!(%evidence, "UPS gave an unknown error");
                let retry = self.release(company, claim, |words| Release::Unknown(words.of(&evidence))).await;
                failed(Unavailable::UnknownAnswer, retry)
            }
        }
    }

    async fn refused(&self, company: &CompanyId, claim: Claim, evidence: &Evidence) {
        tracing::warn!(%evidence, "UPS refused the refresh token");
        let event = |words: Words| GrantEvent::Refused { claim, evidence: words.of(evidence) };
        self.verdict("a verdict", company, event).await;
    }

    async fn unanswered(&self, company: &CompanyId, claim: Claim, evidence: &Evidence) {
        tracing::warn!(%evidence, "UPS did not answer the refresh");
        let (jitter, is_outage) = (jitter(), self.rotation.breaker().is_out_of_reach());
        self.rotation.silenced.remember(company);
        let event = |words: Words| GrantEvent::Unanswered { claim, evidence: words.of(evidence), is_outage, jitter };
        self.verdict("a verdict", company, event).await;
    }

    /// Pauses this company and keeps its tokens. The breaker decides whether the answer concerns every company.
    async fn misconfigured(&self, company: &CompanyId, claim: Claim, evidence: Evidence) -> Attempt {
        tracing::warn!(%evidence, "UPS refuses this application");
        let retry = self.release(company, claim, |words| Release::Misconfigured(words.of(&evidence))).await;
        let retry_after = self.client_fault(retry).and_then(|error| error.retry_after()).unwrap_or(retry);
        Attempt::Failed(TokenError::Misconfigured { evidence: evidence.into(), retry_after })
    }

    /// Saves the pair, then reports what was odd about it.
    async fn commit(self: &Arc<Self>, claimed: Box<ReadRow>, claim: &Claim, pair: Pair, sent: &Stopwatch) -> Attempt {
        let company = claimed.snapshot.company.clone();
        let at = sent_at(claimed.now(), sent);
        let (times, mut tokens) = self.rotation.dated(&pair, at, &claimed.snapshot);
        if times.refresh == PairRefresh::Kept {
            tokens.refresh = claimed.snapshot.refresh_token().cloned();
        }
        let event = GrantEvent::Commit { claim: *claim, pair: times, jitter: jitter() };
        let is_first = AtomicBool::new(true);
        // Never given up: without this pair the opt-in is lost.
        let committed = self
            .persist("a new token pair", || async {
                let mut conflicts = Conflicts::default();
                let mut row = match is_first.swap(false, Relaxed) {
                    true => claimed.clone(),
                    false => Box::new(self.rotation.read(&company).await?),
                };
                loop {
                    match self.rotation.take(&row, &event, Some(&tokens)).await? {
                        Taken::Saved(row) => return Ok(Committed::Stored(row)),
                        Taken::Refused(StepRefusal::AlreadyStored) => return Ok(Committed::Stored(row)),
                        Taken::Refused(_) => return Ok(Committed::Moved),
                        Taken::Conflict => *row = conflicts.read_again(&self.rotation, &row).await?,
                    }
                }
            })
            .await;
        match committed {
            Committed::Stored(row) => {
                self.report_oddities(&company, &pair).await;
                tracing::debug!("refreshed");
                Attempt::Stored(row)
            }
            Committed::Moved => {
                tracing::warn!("the opt-in was removed or replaced during the refresh; the new pair is discarded");
                Attempt::Lost
            }
        }
    }

    /// Ends the attempt and keeps the token. Returns the pause before the next attempt.
    async fn release(&self, company: &CompanyId, claim: Claim, reason: impl Fn(Words) -> Release) -> Duration {
        let jitter = jitter();
        let event = |words: Words| GrantEvent::Release { claim, reason: reason(words), jitter };
        let released = self.verdict("a release", company, event).await;
        let retry_at = released.and_then(|row| Some(remaining(row.snapshot.grant.retry_at?, row.snapshot.as_of)));
        retry_at.unwrap_or(self.rotation.policy.refresh_pause.first)
    }

    /// Ends the attempt without a pair, if it still holds the row. Reads the row first, because a decision based on the
    /// claim's row would be too old after the request.
    async fn verdict(
        &self,
        what: &'static str,
        company: &CompanyId,
        event: impl Fn(Words) -> GrantEvent,
    ) -> Option<Box<ReadRow>> {
        let written = self.persist_until_shutdown(what, |words| {
            let event = event(words);
            async move {
                let mut conflicts = Conflicts::default();
                let mut row = self.rotation.read(company).await?;
                loop {
                    match self.rotation.take(&row, &event, None).await? {
                        Taken::Saved(row) => return Ok(Some(row)),
                        Taken::Refused(_) => return Ok(None),
                        Taken::Conflict => row = conflicts.read_again(&self.rotation, &row).await?,
                    }
                }
            }
        });
        let written = written.await?;
        if written.is_none() {
            tracing::debug!(what, "the row is no longer this attempt's; nothing is written");
        }
        written
    }

    /// Waits for `duration`, or until shutdown begins.
    pub(super) async fn rest(&self, duration: Duration) {
        let _ = timeout(duration, self.tasks.ending()).await;
    }
}

fn failed(reason: Unavailable, retry_after: Duration) -> Attempt {
    Attempt::Failed(TokenError::Unavailable { reason, retry_after })
}

/// Jitter for a back-off, 0 to 1.
pub(super) fn jitter() -> f64 {
    random()
}
