//! Exchange and connect: turns the authorization code into an opt-in.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::FutureExt;

use super::{
    Consents,
    callback::{Used, opted_in},
    repeats::Completed,
};
use crate::{
    clock::{Stopwatch, Timestamp, earlier, later},
    consent::NewOptIn,
    error::{CallbackError, TokenError},
    events::{EventKind, Evidence},
    ids::{CompanyId, Revision},
    machine::{Connect, Errand, GrantEvent, LONGEST_RATE_LIMIT, StepRefusal},
    rotation::{ReadRow, Taken, sent_at},
    secret::{AccessToken, AuthorizationCode},
    store::{Consent, StoreError},
    telemetry,
    ups::{Judgement, Pair},
};

impl Consents {
    /// Sends the code once; it counts as spent whatever the outcome. `since_use` was started when the consent was used.
    pub(super) async fn exchange(&self, used: Used, code: &AuthorizationCode, since_use: Stopwatch) -> Completed {
        let Used { consent, verifier, used_at } = &used;
        let (rotation, company) = (&self.engine.rotation, &consent.company);
        if consent.client_id != rotation.settings.client_id {
            return Err(CallbackError::ClientChanged);
        }
        let Some(request) = rotation.ups.exchange(code, &consent.redirect_uri, verifier.as_ref()) else {
            return Err(CallbackError::Misconfigured(Evidence::message("the request could not be written")));
        };
        let under_way = match self.engine.permit(Errand::Exchange, company).await {
            Ok(under_way) => under_way,
            Err(error) => return Err(self.not_exchanged(company, error).await),
        };
        let (sent, sent_at) = (Stopwatch::start(), later(*used_at, since_use.elapsed()));
        let judgement = rotation.ups.send(request, rotation.ups.limits(), rotation.now()).await;
        telemetry::exchanged(rotation.environment, &judgement);
        self.engine.report_to_breaker(Errand::Exchange, company, &judgement, false);
        drop(under_way);
        let (kind, evidence, error): (_, _, fn(Evidence) -> CallbackError) = match judgement {
            Judgement::Pair(pair) => {
                let arrival = later(*used_at, since_use.elapsed());
                let issued_at = Connect::issue_time(pair.issued_at, sent_at, arrival);
                return self.connect(used, *pair, issued_at, sent).await;
            }
            Judgement::Refused(evidence) => (EventKind::Failed, evidence, CallbackError::CodeRefused),
            Judgement::Unanswered(evidence) => (EventKind::Failed, evidence, CallbackError::Unanswered),
            Judgement::Unknown(evidence) => (EventKind::Failed, evidence, CallbackError::CodeRefused),
            Judgement::Misconfigured(evidence) | Judgement::Blocked(evidence) => {
                (EventKind::Misconfigured, evidence, CallbackError::Misconfigured)
            }
            Judgement::NotSent(evidence) => {
                self.engine.report(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after: rotation.policy.refresh_pause.first });
            }
            Judgement::Late => {
                // A code has no send deadline, so a correct client never reports it missed.
                return Err(CallbackError::Unavailable { retry_after: rotation.policy.refresh_pause.first });
            }
            Judgement::RateLimited(pause, evidence) => {
                let retry_after = pause.unwrap_or(rotation.policy.rate_limit_pause).min(LONGEST_RATE_LIMIT);
                self.engine.report(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after });
            }
        };
        tracing::warn!(%kind, %evidence, "the exchange failed");
        self.engine.report(Some(company), kind, evidence.clone()).await;
        Err(error(evidence))
    }

    /// The breaker stopped the request with the code, for the reason `error`.
    async fn not_exchanged(&self, company: &CompanyId, error: TokenError) -> CallbackError {
        let error = match error {
            TokenError::Misconfigured { evidence, .. } => CallbackError::Misconfigured(*evidence),
            TokenError::ShutDown => CallbackError::ShutDown,
            error => CallbackError::Unavailable {
                retry_after: error.retry_after().unwrap_or(self.engine.rotation.policy.refresh_pause.first),
            },
        };
        let words = "the code was not sent: UPS refuses this application or asks for a pause";
        self.engine.report(Some(company), EventKind::Failed, Evidence::message(words)).await;
        error
    }

    async fn connect(&self, used: Used, pair: Pair, issued_at: Timestamp, sent: Stopwatch) -> Completed {
        let Used { consent, used_at, .. } = used;
        self.check(&consent, &pair, &sent).await?;
        let engine = &self.engine;
        let guard = engine.tokens.cache.begin_read(&consent.company);
        let tried = AtomicBool::new(false);
        let connected = engine
            .persist("an opt-in", || {
                let is_retry = tried.swap(true, Ordering::Relaxed);
                self.store_opt_in(&consent, used_at, issued_at, &pair, &sent, is_retry)
            })
            .await;
        let row = connected.ok_or(CallbackError::RemovedSince)?;
        engine.report_oddities(&consent.company, &pair).await;
        let snapshot = &row.snapshot;
        engine.tokens.cache.changed(&[(consent.company.clone(), snapshot.change)]);
        if let (Some(token), Some(times)) = (snapshot.access_token(), snapshot.grant.tokens) {
            let _ = guard.insert(&token, snapshot.change, times.refresh_at, snapshot.as_of);
        }
        tracing::info!("the company is authenticated");
        Ok(opted_in(snapshot, consent.return_to))
    }

    /// Stores the first pair, or returns a stored later one; `None`: the authorization was removed since the consent
    /// began.
    async fn store_opt_in(
        &self,
        consent: &Consent,
        used_at: Timestamp,
        issued_at: Timestamp,
        pair: &Pair,
        sent: &Stopwatch,
        is_retry: bool,
    ) -> Result<Option<Box<ReadRow>>, StoreError> {
        let rotation = &self.engine.rotation;
        loop {
            // An unreadable row does not prevent the new opt-in that replaces it.
            let row = rotation.read(&consent.company).await?;
            let (times, tokens) = rotation.dated(pair, sent_at(row.now(), sent), &row.snapshot);
            let event = GrantEvent::Connect(Box::new(Connect {
                consent: consent.id,
                removals: consent.removals,
                used_at,
                issued_at,
                is_retry,
                actor: consent.actor.clone(),
                client_id: rotation.settings.client_id.clone(),
                pair: times,
            }));
            match rotation.take(&row, &event, Some(&tokens)).await? {
                Taken::Saved(row) => return Ok(Some(row)),
                Taken::Refused(StepRefusal::RemovedSince) => return Ok(None),
                // Of two concurrent consents, the later grant is kept; the company is authenticated either way.
                Taken::Refused(_) => return Ok(Some(Box::new(row))),
                Taken::Conflict => {}
            }
        }
    }

    /// Asks the host's check before the opt-in is stored.
    async fn check(&self, consent: &Consent, pair: &Pair, sent: &Stopwatch) -> Result<(), CallbackError> {
        let company = &consent.company;
        let expires_at = later(earlier(self.engine.rotation.now(), sent.elapsed()), pair.access_lifetime);
        // Without a revision, because it is not stored yet.
        let token =
            pair.access_token.as_ref().and_then(|secret| AccessToken::new(secret, expires_at, Revision::default()));
        let opt_in = NewOptIn { company, actor: &consent.actor, token: token.as_ref() };
        let _in_hand = self.engine.tasks.pair_in_hand();
        for check in &self.opt_in_checks {
            let checked = AssertUnwindSafe(check.check(opt_in)).catch_unwind().await;
            let words = match checked {
                Ok(Ok(())) => continue,
                Ok(Err(_)) => "the host's opt-in check refused",
                Err(_) => "the host's opt-in check panicked",
            };
            self.engine.report(Some(company), EventKind::Failed, Evidence::message(words)).await;
            return match checked {
                Ok(refused) => refused.map_err(CallbackError::RefusedByHost),
                Err(panic) => resume_unwind(panic),
            };
        }
        Ok(())
    }
}
