//! Refresh: claim, send, commit. The rotation protocol of one flight.
//!
//! A refresh token is single-use, so the order is everything: the request is built before the claim, the claim is durable
//! before the send, the pair is stored before anybody uses it, and whoever lost the row writes nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Core,
    flight::{Mode, Reserved},
    jitter, token_of,
};
use crate::{
    cache::Reading,
    clock::remaining,
    error::{TokenError, Unavailable},
    events::{EventKind, Evidence},
    ids::{AttemptId, CompanyId},
    machine::{Access, Demand, Fault, Permit, Phase, Verdict, cool_down, decide},
    secret::AccessToken,
    store::{ClaimRefresh, Claimed, CommitRefresh, Committed, GiveBack, SettleRefresh, Snapshot, Written},
    telemetry,
    ups::{Judgement, Pair, Prepared},
};

/// Somebody else's outcome is looked for again after this long at first, and then less often.
const FIRST_LOOK: Duration = Duration::from_millis(25);
/// And at least this often.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// How an attempt of ours went.
enum Attempt {
    /// A new pair is stored.
    Stored(Box<Snapshot>),
    /// UPS gave its verdict, or the claim was given back unused: the row says what comes next.
    Settled,
    /// The row is somebody else's, or moved on.
    Lost,
    /// No pair; what to tell if the row says nothing clearer.
    Failed(TokenError),
}

impl Core {
    /// Brings a company's token: the outcome, and whether a refresh should follow in the background. What is `reserved` is
    /// not read again.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        mode: Mode,
        reserved: Option<Reserved>,
    ) -> (Result<AccessToken, TokenError>, bool) {
        let mut refresh_next = false;
        let outcome = self.fetch_or_fail(company, demand, mode, reserved, &mut refresh_next).await;
        (outcome, refresh_next)
    }

    async fn fetch_or_fail(
        self: &Arc<Self>,
        company: &CompanyId,
        demand: Demand,
        mode: Mode,
        mut reserved: Option<Reserved>,
        refresh_next: &mut bool,
    ) -> Result<AccessToken, TokenError> {
        let mut failed: Option<TokenError> = None;
        let mut given_time = None;
        let mut wait = Wait::new(self);
        loop {
            let reading = self.cache.reading(company);
            let reserved = reserved.take().and_then(|reserved| reserved.recent(self.policy.lease));
            let is_reserved = reserved.is_some();
            let snapshot = match reserved {
                Some(reserved) => reserved,
                None => self.store.load(&self.key(company)).await?,
            };
            let access = decide(&snapshot.facts(&self.client_id), demand, snapshot.as_of);

            // What was reserved was read before this reader registered, so it must not be cached. A refresh may begin with it,
            // because the claim compares; for anything else the row is read again.
            if is_reserved {
                if !matches!(access, Access::Refresh | Access::ServeAndRefresh | Access::TakeOver(_)) {
                    continue;
                }
            } else if let (Access::Serve | Access::ServeAndRefresh, Some(token)) = (access, token_of(&snapshot)) {
                if !reading.insert(&snapshot, &token) {
                    continue;
                }
                let refresh = access == Access::ServeAndRefresh && failed.is_none();
                if !refresh || mode == Mode::Foreground {
                    *refresh_next = refresh;
                    return Ok(token);
                }
            }
            if matches!(access, Access::NotAuthenticated | Access::Reauthenticate(_)) {
                // A cached token of before ends with it: at once in this process, the others hear of it by the feed.
                self.cache.changed(&[(company.clone(), snapshot.change)]);
            }
            match access {
                Access::NotAuthenticated => return Err(TokenError::NotAuthenticated),
                Access::Reauthenticate(kind) => return Err(TokenError::ReauthRequired(snapshot.cause_of(kind).into())),
                Access::Paused { until } => {
                    let reason = if snapshot.opt_in.unanswered { Unavailable::Unanswered } else { Unavailable::Paused };
                    return Err(unavailable(failed, reason, remaining(until, snapshot.as_of)));
                }
                Access::Leased { until } => {
                    if let Some(TokenError::Store(error)) = failed {
                        // The store did not say whether it took the claim. If it did, nobody will answer it.
                        return Err(error.into());
                    }
                    let lease = remaining(until, snapshot.as_of);
                    // A request under way may be answered at any moment; after a silence nothing comes before its lease ends.
                    let silent = matches!(snapshot.opt_in.phase, Phase::Travelling { .. });
                    if (silent && lease > self.policy.max_wait) || !wait.for_news(&reading, lease).await {
                        let reason = if silent { Unavailable::Unanswered } else { Unavailable::UnderWay };
                        return Err(unavailable(failed, reason, lease));
                    }
                    continue;
                }
                Access::Refresh | Access::TakeOver(_) | Access::Serve | Access::ServeAndRefresh => {}
            }
            // An attempt that never said how it ended: its holder may merely be waiting for a store that has just come back. It
            // gets a chance to store its pair before the same token is sent again.
            if let Phase::Sent { attempt, .. } = snapshot.opt_in.phase
                && given_time != Some(attempt)
            {
                given_time = Some(attempt);
                if timeout(self.policy.commit_retry * 2, self.ending()).await.is_err() {
                    continue;
                }
            }
            if self.is_ended() {
                return Err(failed.unwrap_or(TokenError::ShutDown));
            }
            if let Some(error) = failed {
                return Err(error);
            }
            match self.attempt(company, &snapshot).await {
                Attempt::Stored(stored) => {
                    if let Some(token) = token_of(&stored).filter(|token| reading.insert(&stored, token)) {
                        return Ok(token);
                    }
                }
                Attempt::Settled => {}
                Attempt::Lost => {
                    if !wait.for_news(&reading, LAST_LOOK).await {
                        return Err(unavailable(None, Unavailable::UnderWay, LAST_LOOK));
                    }
                }
                Attempt::Failed(error) => failed = Some(error),
            }
        }
    }

    /// One attempt: one claim and at most one request.
    async fn attempt(self: &Arc<Self>, company: &CompanyId, read: &Snapshot) -> Attempt {
        if let Err(error) = self.permit() {
            return Attempt::Failed(error);
        }
        let refresh_token = read.tokens.as_ref().and_then(|tokens| tokens.refresh_token.as_ref());
        // Built first, so that nothing can fail between the claim and the send.
        let Some(request) = refresh_token.and_then(|token| self.ups.refresh(token)) else {
            return Attempt::Failed(TokenError::Misconfigured {
                evidence: Evidence::message("the request could not be written").into(),
                retry_after: self.policy.breaker_pause.first,
            });
        };
        let claim = ClaimRefresh {
            key: read.key.clone(),
            revision: read.opt_in.revision,
            attempt: AttemptId::random(),
            lease: self.policy.lease,
        };
        tracing::Span::current().record("attempt", tracing::field::display(claim.attempt));
        let claiming = Instant::now();
        match self.store.claim_refresh(claim.clone()).await {
            Ok(Claimed::Yes) => {}
            Ok(Claimed::Lost) => return Attempt::Lost,
            // Whether it is claimed is unknown, so nothing is sent; the lease ends by itself.
            Err(error) => return Attempt::Failed(error.into()),
        }
        if claiming.elapsed() > self.policy.claim_to_send {
            // The process was stopped in between: the lease may be over, and another request on its way.
            tracing::warn!("the claim is too old to be used; it is given back");
            self.give_back(&claim, Duration::ZERO, None).await;
            return Attempt::Settled;
        }
        self.send(company, read, &claim, request).await
    }

    async fn send(
        self: &Arc<Self>,
        company: &CompanyId,
        read: &Snapshot,
        claim: &ClaimRefresh,
        request: Prepared,
    ) -> Attempt {
        let sent = Instant::now();
        let judgement = self.ups.send(request, self.now()).await;
        let arrived = Instant::now();
        telemetry::refreshed(self.environment, &judgement, arrived - sent);
        let policy = &self.policy;
        let failures = read.failures.saturating_add(1);
        match judgement {
            Judgement::Pair(pair) => {
                self.breaker().accepted();
                self.commit(read, claim, *pair, arrived).await
            }
            Judgement::Refused(evidence) => {
                self.breaker().accepted();
                tracing::warn!(%evidence, "UPS refused the refresh token");
                self.settle(claim, Verdict::Refused, evidence, Duration::ZERO).await;
                Attempt::Settled
            }
            Judgement::Unanswered(evidence) => {
                tracing::warn!(%evidence, "the refresh stayed unanswered");
                let retry_in = policy.probe_pause.after(failures, jitter());
                self.settle(claim, Verdict::Unanswered, evidence, retry_in).await;
                failed(Unavailable::Unanswered, policy.lease)
            }
            Judgement::NotSent(evidence) => {
                let retry_in = policy.refresh_pause.after(failures, jitter());
                self.give_back(claim, retry_in, Some((EventKind::RefreshFailed, evidence))).await;
                failed(Unavailable::NotSent, retry_in)
            }
            Judgement::RateLimited(pause, _) => {
                let retry_in = pause.unwrap_or(policy.rate_limit_pause);
                self.breaker().rate_limited(retry_in, self.now());
                self.give_back(claim, retry_in, None).await;
                failed(Unavailable::RateLimited, retry_in)
            }
            Judgement::Ours(evidence) => self.client_failed(company, claim, Fault::Ours, evidence).await,
            Judgement::Blocked(evidence) => self.client_failed(company, claim, Fault::Blocked, evidence).await,
            Judgement::Unknown(evidence) => {
                let retry_in = policy.refresh_pause.after(failures, jitter());
                let fault = Fault::Unknown(evidence.to_string());
                if self.breaker().failed(company, fault, self.now()) {
                    tracing::error!(%evidence, "several companies got the same unknown refusal; the breaker opens");
                }
                self.give_back(claim, retry_in, Some((EventKind::Misconfigured, evidence))).await;
                failed(Unavailable::UnknownAnswer, retry_in)
            }
        }
    }

    /// What concerns every company: tokens are kept, and the breaker opens.
    async fn client_failed(
        &self,
        company: &CompanyId,
        claim: &ClaimRefresh,
        fault: Fault,
        evidence: Evidence,
    ) -> Attempt {
        let now = self.now();
        let (opened, until) = {
            let mut breaker = self.breaker();
            (breaker.failed(company, fault, now), breaker.open_until())
        };
        if opened {
            tracing::error!(%evidence, "UPS refuses this client; nothing is sent for any company for a while");
        }
        let retry_after = until.map_or(self.policy.breaker_pause.first, |until| remaining(until, now));
        let event = (EventKind::Misconfigured, evidence.clone());
        // The company itself did nothing wrong: it may go on as soon as the breaker lets it.
        self.give_back(claim, Duration::ZERO, Some(event)).await;
        Attempt::Failed(TokenError::Misconfigured { evidence: evidence.into(), retry_after })
    }

    /// Saves first, judges after.
    async fn commit(self: &Arc<Self>, read: &Snapshot, claim: &ClaimRefresh, pair: Pair, arrived: Instant) -> Attempt {
        let failures = if pair.access_token.is_some() { 0 } else { read.failures.saturating_add(1) };
        let commit = CommitRefresh {
            key: claim.key.clone(),
            revision: claim.revision,
            attempt: claim.attempt,
            pair: self.dated(&pair, Duration::ZERO, Some(read)),
            failures,
            retry_in: cool_down(self.policy.unusable_pause, failures, jitter()),
        };
        // Never given up: this pair is the opt-in.
        let committed = self
            .persist("a new token pair", || {
                let mut commit = commit.clone();
                commit.pair.age = arrived.elapsed();
                self.store.commit_refresh(commit)
            })
            .await;
        match committed {
            Committed::Stored(snapshot) | Committed::AlreadyStored(snapshot) => {
                self.report_oddities(&claim.key.company, &pair).await;
                tracing::debug!("refreshed");
                Attempt::Stored(snapshot)
            }
            Committed::Moved => {
                tracing::warn!("the opt-in was removed or replaced during the refresh; the new pair is discarded");
                Attempt::Lost
            }
        }
    }

    async fn settle(&self, claim: &ClaimRefresh, verdict: Verdict, evidence: Evidence, retry_in: Duration) {
        let settle = SettleRefresh {
            key: claim.key.clone(),
            revision: claim.revision,
            attempt: claim.attempt,
            verdict,
            evidence: evidence.with_attempt(claim.attempt),
            retry_in,
        };
        let written = self.persist_until_shutdown("a verdict", || self.store.settle_refresh(settle.clone())).await;
        if written == Some(Written::No) {
            tracing::debug!("the row is no longer this attempt's; the verdict is not written");
        }
    }

    async fn give_back(&self, claim: &ClaimRefresh, retry_in: Duration, event: Option<(EventKind, Evidence)>) {
        if let Some((kind, evidence)) = &event {
            tracing::warn!(%kind, %evidence, "the refresh did not happen");
        }
        let give_back = GiveBack {
            key: claim.key.clone(),
            revision: claim.revision,
            attempt: claim.attempt,
            retry_in,
            event: event.map(|(kind, evidence)| (kind, evidence.with_attempt(claim.attempt))),
        };
        let written = self.persist_until_shutdown("a give-back", || self.store.give_back(give_back.clone())).await;
        if written == Some(Written::No) {
            tracing::debug!("the row is no longer this attempt's; nothing is given back");
        }
    }

    /// Whether anything may be sent to UPS at all.
    fn permit(&self) -> Result<(), TokenError> {
        let now = self.now();
        let mut breaker = self.breaker();
        let Permit::Refused { until } = breaker.permit(now) else { return Ok(()) };
        let retry_after = remaining(until, now);
        Err(match breaker.fault() {
            Some(Fault::Ours) => TokenError::Misconfigured {
                evidence: Evidence::message("UPS refused this application's configuration").into(),
                retry_after,
            },
            Some(Fault::Blocked) => TokenError::Misconfigured {
                evidence: Evidence::message("UPS blocks this application").into(),
                retry_after,
            },
            Some(Fault::Unknown(_)) => TokenError::Unavailable { reason: Unavailable::UnknownAnswer, retry_after },
            None => TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after },
        })
    }
}

fn failed(reason: Unavailable, retry_after: Duration) -> Attempt {
    Attempt::Failed(TokenError::Unavailable { reason, retry_after })
}

/// The error of a pause: what was just seen says why, the row says how long.
fn unavailable(failed: Option<TokenError>, reason: Unavailable, retry_after: Duration) -> TokenError {
    match failed {
        Some(TokenError::Unavailable { reason, .. }) => TokenError::Unavailable { reason, retry_after },
        Some(other) => other,
        None => TokenError::Unavailable { reason, retry_after },
    }
}

/// Waiting for somebody else's outcome: news from the feed, or a look now and then.
struct Wait<'a> {
    core: &'a Core,
    look: Duration,
    until: Instant,
}

impl<'a> Wait<'a> {
    fn new(core: &'a Core) -> Self {
        Self { core, look: FIRST_LOOK, until: Instant::now() + core.policy.lease * 2 }
    }

    /// Waits at most `most` for news of the company; `false`: it has been too long in all, or the authenticator is shutting
    /// down.
    async fn for_news(&mut self, reading: &Reading<'_>, most: Duration) -> bool {
        if Instant::now() >= self.until || self.core.is_ended() {
            return false;
        }
        tokio::select! {
            _ = timeout(self.look.min(most.max(FIRST_LOOK)), reading.news()) => {}
            () = self.core.ending() => {}
        }
        self.look = (self.look * 2).min(LAST_LOOK);
        true
    }
}
