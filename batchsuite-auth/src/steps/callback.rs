//! Callback: a browser came back from UPS.com. The same callback again is told what came of the first.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    Core,
    repeats::{Completed, Entered, Visit},
    token_of,
};
use crate::{
    authenticator::{NewOptIn, OptedIn},
    clock::later,
    error::{CallbackError, MalformedCallback},
    events::{EventKind, Evidence},
    ids::{ActorId, CompanyId, Revision},
    machine::{ConsentRefusal, Sequel, sequel},
    secret::{AccessToken, AuthorizationCode, SecretHash},
    store::{Connect, Connected, Consent, Snapshot, TakeConsent, TakenConsent, UsedConsent},
    telemetry,
    ups::{Judgement, Outcome, Pair, parse_callback},
};

/// A consent that is about to be exchanged, or was used before.
enum Take {
    First(Box<Consent>),
    Again(Box<UsedConsent>),
}

impl Core {
    /// Take, exchange, connect, in a task of its own: a browser that goes away loses nothing.
    #[tracing::instrument(name = "callback", skip_all, fields(%actor, company))]
    pub(crate) async fn callback(
        self: &Arc<Self>,
        actor: &ActorId,
        query: &str,
        browsers: Vec<SecretHash>,
    ) -> Completed {
        let admitted = self.admit().ok_or(CallbackError::ShutDown)?;
        let returned = parse_callback(query, &self.ups.issuer()).map_err(CallbackError::Malformed)?;
        if browsers.is_empty() {
            return Err(CallbackError::NoBrowserSecret);
        }
        let visit = Visit { state: returned.state, query: SecretHash::of(query), actor: actor.clone(), browsers };
        let first = match self.repeats.enter(&visit) {
            Entered::First(first) => Some(first),
            Entered::Again(outcome) => match outcome.of_the_first().await {
                Some(completed) => return completed,
                // It ended without an outcome: the store knows whether the consent was used.
                None => None,
            },
        };
        let core = Arc::clone(self);
        let completed = self.finish(async move {
            let completed = core.complete(visit, returned.outcome).await;
            if let Some(first) = first {
                first.ends(&completed);
            }
            completed
        });
        drop(admitted);
        completed.await.unwrap_or(Err(CallbackError::ShutDown))
    }

    async fn complete(self: &Arc<Self>, visit: Visit, outcome: Outcome) -> Completed {
        let consent = match self.take(&visit, &outcome).await? {
            Take::First(consent) => *consent,
            Take::Again(used) => return self.sequel(&visit, *used, &outcome).await,
        };
        tracing::Span::current().record("company", tracing::field::display(&consent.key.company));
        match outcome {
            Outcome::Code(code) => {
                let completed = self.exchange(consent, &code).await;
                if completed.is_err() {
                    self.repeats.failed(visit.state);
                }
                completed
            }
            Outcome::Denied => Err(CallbackError::Declined),
            Outcome::Error(name) => Err(CallbackError::SignInFailed(Evidence::message(name))),
            Outcome::CodeAndError => Err(CallbackError::Malformed(MalformedCallback::CodeAndError)),
        }
    }

    /// Takes the consent with whichever of the browser's secrets is the right one. A wrong one consumes nothing.
    async fn take(&self, visit: &Visit, outcome: &Outcome) -> Result<Take, CallbackError> {
        let event = match outcome {
            Outcome::Code(_) => None,
            Outcome::Denied => Some((EventKind::Declined, None)),
            Outcome::Error(name) => Some((EventKind::Failed, Some(Evidence::message(name)))),
            Outcome::CodeAndError => Some((EventKind::Failed, Some(Evidence::message("both a code and an error")))),
        };
        let mut refused = CallbackError::NoBrowserSecret;
        for browser in &visit.browsers {
            let take = TakeConsent {
                environment: self.environment,
                state: visit.state,
                browser: *browser,
                actor: visit.actor.clone(),
                event: event.clone(),
            };
            // Whether it was taken is unknown: if it was, nothing comes of it.
            let taken = self.store.take_consent(take).await.inspect_err(|_| self.repeats.failed(visit.state))?;
            refused = match taken {
                TakenConsent::Taken(consent) => return Ok(Take::First(consent)),
                TakenConsent::Used(used) => return Ok(Take::Again(used)),
                TakenConsent::Unknown => CallbackError::UnknownState,
                TakenConsent::Refused(ConsentRefusal::OtherBrowser) => CallbackError::OtherBrowser,
                TakenConsent::Refused(ConsentRefusal::OtherActor) => return Err(CallbackError::OtherActor),
                TakenConsent::Refused(ConsentRefusal::Expired) => return Err(CallbackError::Expired),
                TakenConsent::Refused(ConsentRefusal::RemovedSince) => return Err(CallbackError::RemovedSince),
            };
        }
        Err(refused)
    }

    /// The same person and browser came back with this consent before. Nothing is sent.
    async fn sequel(&self, visit: &Visit, used: UsedConsent, outcome: &Outcome) -> Completed {
        if !matches!(outcome, Outcome::Code(_)) || self.repeats.has_failed(visit.state) {
            return Err(CallbackError::UnknownState);
        }
        let snapshot = self.store.load(&used.key).await?;
        let consent = (used.id, used.removals, used.used_at);
        match sequel(consent, &snapshot.opt_in, snapshot.authenticated_at, self.policy.lease, snapshot.as_of) {
            Sequel::Authenticated => Ok(opted_in(&snapshot, used.return_to)),
            Sequel::AskTheCompany => {
                Err(CallbackError::AlreadyUsed { company: used.key.company, return_to: used.return_to })
            }
            Sequel::RemovedSince => Err(CallbackError::RemovedSince),
            Sequel::Failed => Err(CallbackError::UnknownState),
        }
    }

    /// Sends the code, once. Whatever comes of it, the code is spent.
    async fn exchange(self: &Arc<Self>, consent: Consent, code: &AuthorizationCode) -> Completed {
        if consent.client_id != self.client_id {
            return Err(CallbackError::ClientChanged);
        }
        let Some(request) = self.ups.exchange(code, &consent.redirect_uri, consent.verifier.as_ref()) else {
            return Err(CallbackError::Misconfigured(Evidence::message("the request could not be written")));
        };
        let judgement = self.ups.send(request, self.now()).await;
        let arrived = Instant::now();
        telemetry::exchanged(self.environment, &judgement);
        let company = &consent.key.company;
        let (kind, evidence, error): (_, _, fn(Evidence) -> CallbackError) = match judgement {
            Judgement::Pair(pair) => {
                self.breaker().accepted();
                return self.connect(consent, *pair, arrived).await;
            }
            Judgement::Refused(evidence) => {
                self.breaker().accepted();
                (EventKind::Failed, evidence, CallbackError::CodeRefused)
            }
            Judgement::Unanswered(evidence) => (EventKind::Failed, evidence, CallbackError::Unanswered),
            Judgement::Unknown(evidence) => (EventKind::Failed, evidence, CallbackError::CodeRefused),
            Judgement::Ours(evidence) | Judgement::Blocked(evidence) => {
                (EventKind::Misconfigured, evidence, CallbackError::Misconfigured)
            }
            Judgement::NotSent(evidence) => {
                self.record(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after: self.policy.refresh_pause.first });
            }
            Judgement::RateLimited(pause, evidence) => {
                let retry_after = pause.unwrap_or(self.policy.rate_limit_pause);
                self.breaker().rate_limited(retry_after, self.now());
                self.record(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after });
            }
        };
        tracing::warn!(%kind, %evidence, "the exchange failed");
        self.record(Some(company), kind, evidence.clone()).await;
        Err(error(evidence))
    }

    async fn connect(self: &Arc<Self>, consent: Consent, pair: Pair, arrived: Instant) -> Completed {
        self.check(&consent, &pair).await?;
        let company = consent.key.company.clone();
        let reading = self.cache.reading(&company);
        let connect = Connect {
            key: consent.key,
            consent: consent.id,
            removals: consent.removals,
            actor: consent.actor,
            client_id: self.client_id.clone(),
            issued_at: pair.issued_at,
            pair: self.dated(&pair, arrived.elapsed()),
            failures: u32::from(pair.access_token.is_none()),
        };
        let connected = self
            .persist("an opt-in", || {
                let mut connect = connect.clone();
                connect.pair.age = arrived.elapsed();
                self.store.connect(connect)
            })
            .await;
        let snapshot = match connected {
            // Of two consents at once, the later grant stays; the company is authenticated either way.
            Connected::Stored(snapshot) | Connected::AlreadyStored(snapshot) | Connected::Superseded(snapshot) => {
                snapshot
            }
            Connected::RemovedSince => return Err(CallbackError::RemovedSince),
        };
        self.report_oddities(&company, &pair).await;
        self.cache.changed(&[(company.clone(), snapshot.change)]);
        if let Some(token) = token_of(&snapshot) {
            let _ = reading.insert(&snapshot, &token);
        }
        tracing::info!("the company is authenticated");
        Ok(opted_in(&snapshot, consent.return_to))
    }

    /// Lets the host look at the opt-in before it counts.
    async fn check(&self, consent: &Consent, pair: &Pair) -> Result<(), CallbackError> {
        let Some(check) = &self.opt_in_check else { return Ok(()) };
        let company = &consent.key.company;
        let expires_at = later(self.now(), pair.access_lifetime);
        // Not stored yet: it has no revision.
        let token =
            pair.access_token.as_ref().and_then(|secret| AccessToken::new(secret, expires_at, Revision::default()));
        let opt_in = NewOptIn { company, actor: &consent.actor, token: token.as_ref() };
        if let Err(refused) = check.check(opt_in).await {
            self.record(Some(company), EventKind::Failed, Evidence::message("the host's opt-in check refused")).await;
            return Err(CallbackError::RefusedByHost(refused));
        }
        Ok(())
    }

    /// Tells operators what was odd about a pair that is stored.
    pub(super) async fn report_oddities(&self, company: &CompanyId, pair: &Pair) {
        for odd in &pair.oddities {
            tracing::warn!(%company, odd, "UPS's answer is odd; its tokens are stored");
            self.record(Some(company), EventKind::OddAnswer, Evidence::message(odd)).await;
        }
    }
}

fn opted_in(snapshot: &Snapshot, return_to: Option<String>) -> OptedIn {
    OptedIn {
        company: snapshot.key.company.clone(),
        refresh_expires_at: snapshot.tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
        return_to,
    }
}
