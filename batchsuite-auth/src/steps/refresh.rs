//! Refresh: claim, send, commit. The rotation protocol of one flight.
//!
//! A refresh token is single-use, so the order is everything: the request is built before the claim, the claim is durable
//! before the send, the pair is stored before anybody uses it, and whoever lost the row writes nothing.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::{
    Core,
    flight::{Mode, Reserved},
    jitter,
    permit::UnderWay,
    token_of,
};
use crate::{
    cache::Reading,
    clock::{Stopwatch, remaining},
    error::{TokenError, Unavailable},
    events::{EventKind, Evidence},
    ids::{AttemptId, CompanyId},
    machine::{Access, Backoff, Demand, Errand, Phase, Verdict, cool_down, decide},
    secret::AccessToken,
    store::{ClaimRefresh, Claimed, CommitRefresh, Committed, GiveBack, SettleRefresh, Snapshot, Written},
    telemetry,
    ups::{Judgement, Pair},
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
    /// So much time has passed since the row was read that nothing was sent; the claim is given back.
    Late,
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
        let mut late = Late::default();
        let mut wait = Wait::new(self);
        loop {
            let reading = self.cache.reading(company);
            let reserved = reserved.take().and_then(|reserved| reserved.recent(self.policy.lease));
            let is_reserved = reserved.is_some();
            let (snapshot, read) = match reserved {
                Some(reserved) => reserved,
                None => {
                    let read = Stopwatch::start();
                    (self.in_time(self.store.load(&self.key(company))).await?, read)
                }
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
            if let Some(unreadable) = &snapshot.unreadable
                && !matches!(access, Access::NotAuthenticated | Access::Reauthenticate(_))
            {
                return Err(unreadable.reason.clone().into());
            }
            match access {
                Access::NotAuthenticated => return Err(TokenError::NotAuthenticated),
                Access::Reauthenticate(kind) => return Err(TokenError::ReauthRequired(snapshot.cause_of(kind).into())),
                Access::Paused { until } => {
                    let reason = if snapshot.opt_in.unanswered { Unavailable::Unanswered } else { Unavailable::Paused };
                    let pause = remaining(until, snapshot.as_of);
                    let failed = failed.or_else(|| self.client_fault(pause));
                    return Err(unavailable(failed, reason, pause));
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
            if mode == Mode::Background && self.is_quiet() {
                // Whoever waits for it all the same may begin one of their own.
                return Err(unavailable(failed, Unavailable::Paused, FIRST_LOOK));
            }
            if let Some(error) = failed {
                return Err(error);
            }
            match self.attempt(company, mode, &snapshot, read, late.pause(self)).await {
                Attempt::Stored(stored) => {
                    if let Some(token) = token_of(&stored).filter(|token| reading.insert(&stored, token)) {
                        return Ok(token);
                    }
                }
                Attempt::Settled => {}
                Attempt::Late => failed = late.came_again(self).await,
                Attempt::Lost => {
                    if !wait.for_news(&reading, LAST_LOOK).await {
                        return Err(unavailable(None, Unavailable::UnderWay, LAST_LOOK));
                    }
                }
                Attempt::Failed(error) => failed = Some(error),
            }
        }
    }

    /// One attempt: one claim and at most one request, within a few seconds after the row was `read`. If it comes too late, the next one
    /// is due in `pause_if_late`.
    async fn attempt(
        self: &Arc<Self>,
        company: &CompanyId,
        mode: Mode,
        row: &Snapshot,
        read: Stopwatch,
        pause_if_late: Duration,
    ) -> Attempt {
        let under_way = match self.permit(Errand::Refresh, company).await {
            Ok(under_way) => under_way,
            Err(error) => return Attempt::Failed(error),
        };
        // It may have waited for others of its client.
        if mode == Mode::Background && self.is_quiet() {
            return failed(Unavailable::Paused, FIRST_LOOK);
        }
        let refresh_token = row.tokens.as_ref().and_then(|tokens| tokens.refresh_token.as_ref());
        // Built first, so that nothing can fail between the claim and the send.
        let Some(request) = refresh_token.and_then(|token| self.ups.refresh(token)) else {
            return Attempt::Failed(TokenError::Misconfigured {
                evidence: Evidence::message("the request could not be written").into(),
                retry_after: self.policy.breaker_pause.first,
            });
        };
        let claim = ClaimRefresh {
            key: row.key.clone(),
            revision: row.opt_in.revision,
            attempt: AttemptId::random(),
            lease: self.policy.lease,
        };
        tracing::Span::current().record("attempt", tracing::field::display(claim.attempt));
        match self.in_time(self.store.claim_refresh(claim.clone())).await {
            Ok(Claimed::Yes) => {}
            Ok(Claimed::Lost) => return Attempt::Lost,
            // Whether it is claimed is unknown, so nothing is sent; the lease ends by itself.
            Err(error) => return Attempt::Failed(error.into()),
        }
        // After a stop of the process the lease may be over, and another request on its way.
        let limits = self.ups.limits().with_send_within_since(read, self.policy.claim_to_send);
        let sent = Stopwatch::start();
        let judgement = match limits.may_be_sent() {
            // The HTTP client looks once more, when it has a connection.
            true => self.ups.send(request, limits, self.now()).await,
            false => Judgement::Late,
        };
        self.act_on(row, &claim, judgement, &sent, pause_if_late, under_way).await
    }

    /// Does what UPS's answer to a request that was `sent` asks for.
    async fn act_on(
        self: &Arc<Self>,
        row: &Snapshot,
        claim: &ClaimRefresh,
        judgement: Judgement,
        sent: &Stopwatch,
        pause_if_late: Duration,
        under_way: UnderWay,
    ) -> Attempt {
        telemetry::refreshed(self.environment, &judgement, sent.elapsed());
        let opt_in = &row.opt_in;
        let explained = opt_in.unanswered || opt_in.suspect || matches!(opt_in.phase, Phase::Sent { .. });
        let opens = self.tell_breaker(Errand::Refresh, &claim.key.company, &judgement, explained);
        // Nobody waits while the store is written.
        drop(under_way);
        let policy = &self.policy;
        let failures = row.failures.saturating_add(1);
        let retry_in = policy.refresh_pause.after(failures, jitter());
        match judgement {
            Judgement::Pair(pair) => self.commit(row, claim, *pair, sent).await,
            Judgement::Refused(evidence) => {
                tracing::warn!(%evidence, "UPS refused the refresh token");
                self.settle(claim, Verdict::Refused, evidence, Duration::ZERO).await;
                if opens {
                    self.tell_of_wave().await;
                }
                Attempt::Settled
            }
            Judgement::Unanswered(evidence) => {
                tracing::warn!(%evidence, "the refresh stayed unanswered");
                let retry_in = policy.probe_pause.after(failures, jitter());
                self.settle(claim, Verdict::Unanswered, evidence, retry_in).await;
                failed(Unavailable::Unanswered, policy.lease)
            }
            Judgement::NotSent(evidence) => {
                self.give_back(claim, retry_in, Some((EventKind::RefreshFailed, evidence))).await;
                Attempt::Failed(not_sent(retry_in))
            }
            Judgement::Late => {
                tracing::warn!(
                    "too much time has passed since the row was read; nothing is sent and the claim is given back"
                );
                self.give_back(claim, pause_if_late, None).await;
                Attempt::Late
            }
            Judgement::RateLimited(pause, _) => {
                let retry_in = pause.unwrap_or(policy.rate_limit_pause);
                self.give_back(claim, retry_in, None).await;
                failed(Unavailable::RateLimited, retry_in)
            }
            // Tokens are kept. Whether it concerns every company or this one alone is the breaker's to say; this one pauses.
            Judgement::Misconfigured(evidence) | Judgement::Blocked(evidence) => {
                self.give_back(claim, retry_in, Some((EventKind::Misconfigured, evidence.clone()))).await;
                let retry_after = self.client_fault(retry_in).and_then(|error| error.retry_after()).unwrap_or(retry_in);
                Attempt::Failed(TokenError::Misconfigured { evidence: evidence.into(), retry_after })
            }
            Judgement::Unknown(evidence) => {
                self.give_back(claim, retry_in, Some((EventKind::Misconfigured, evidence))).await;
                failed(Unavailable::UnknownAnswer, retry_in)
            }
        }
    }

    /// Saves first, judges after.
    async fn commit(self: &Arc<Self>, row: &Snapshot, claim: &ClaimRefresh, pair: Pair, sent: &Stopwatch) -> Attempt {
        let failures = if pair.access_token.is_some() { 0 } else { row.failures.saturating_add(1) };
        let commit = CommitRefresh {
            key: claim.key.clone(),
            revision: claim.revision,
            attempt: claim.attempt,
            pair: self.dated(&pair, Duration::ZERO, Some(row)),
            failures,
            retry_in: cool_down(self.policy.unusable_pause, failures, jitter()),
        };
        // Never given up: this pair is the opt-in.
        let committed = self
            .persist("a new token pair", || {
                let mut commit = commit.clone();
                commit.pair.age = sent.elapsed();
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
        let written = self
            .persist_until_shutdown("a verdict", |words| {
                let evidence = words.of(&settle.evidence);
                self.store.settle_refresh(SettleRefresh { evidence, ..settle.clone() })
            })
            .await;
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
        let written = self
            .persist_until_shutdown("a give-back", |words| {
                let event = give_back.event.as_ref().map(|(kind, evidence)| (*kind, words.of(evidence)));
                self.store.give_back(GiveBack { event, ..give_back.clone() })
            })
            .await;
        if written == Some(Written::No) {
            tracing::debug!("the row is no longer this attempt's; nothing is given back");
        }
    }
}

fn not_sent(retry_after: Duration) -> TokenError {
    TokenError::Unavailable { reason: Unavailable::NotSent, retry_after }
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

/// How often an attempt came too late. A store that is busy gets a rest before the next one.
#[derive(Default)]
struct Late(u32);

impl Late {
    /// So many attempts may come too late in a flight.
    const MOST: u32 = 8;

    /// How long the company pauses if the next attempt comes too late.
    fn pause(&self, core: &Core) -> Duration {
        match self.0 + 1 < Self::MOST {
            true => Duration::ZERO,
            false => core.policy.refresh_pause.after(1, 1.0),
        }
    }

    /// Another one did: waits before the next; the error if there is none.
    async fn came_again(&mut self, core: &Core) -> Option<TokenError> {
        let pause = self.pause(core);
        self.0 += 1;
        let rest = Backoff { first: FIRST_LOOK, most: LAST_LOOK }.after(self.0, jitter());
        if pause.is_zero() {
            let _ = timeout(rest, core.ending()).await;
        }
        (!pause.is_zero()).then(|| not_sent(pause))
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
