//! Callback: a browser came back from UPS.com.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Core, token_of};
use crate::{
    authenticator::{NewOptIn, OptedIn},
    clock::later,
    error::{CallbackError, MalformedCallback},
    events::{EventKind, Evidence},
    ids::{ActorId, CompanyId, Revision},
    machine::ConsentRefusal,
    secret::{AccessToken, AuthorizationCode, BrowserSecret, SecretHash},
    store::{Connect, Connected, Consent, Snapshot, TakeConsent, TakenConsent},
    telemetry,
    ups::{Judgement, Outcome, Pair, Returned, parse_callback},
};

/// A consent that led to an opt-in.
type Completed = Result<OptedIn, CallbackError>;

impl Core {
    /// Take, exchange, connect, in a task of its own: a browser that goes away loses nothing.
    #[tracing::instrument(name = "callback", skip_all, fields(%actor, company))]
    pub(crate) async fn callback(self: &Arc<Self>, actor: &ActorId, query: &str, browser: &BrowserSecret) -> Completed {
        let admitted = self.admit().ok_or(CallbackError::ShutDown)?;
        let returned = parse_callback(query, &self.ups.issuer()).map_err(CallbackError::Malformed)?;
        let (core, actor, browser) = (Arc::clone(self), actor.clone(), browser.hash());
        let completed = self.finish(async move { core.complete(&actor, returned, browser).await });
        drop(admitted);
        completed.await.unwrap_or(Err(CallbackError::ShutDown))
    }

    async fn complete(self: &Arc<Self>, actor: &ActorId, returned: Returned, browser: SecretHash) -> Completed {
        let event = match &returned.outcome {
            Outcome::Code(_) => None,
            Outcome::Denied => Some((EventKind::Declined, None)),
            Outcome::Error(name) => Some((EventKind::Failed, Some(Evidence::message(name)))),
            Outcome::CodeAndError => Some((EventKind::Failed, Some(Evidence::message("both a code and an error")))),
        };
        let take =
            TakeConsent { environment: self.environment, state: returned.state, browser, actor: actor.clone(), event };
        let consent = match self.store.take_consent(take).await? {
            TakenConsent::Taken(consent) => consent,
            TakenConsent::Used(_) | TakenConsent::Unknown => return Err(CallbackError::UnknownState),
            TakenConsent::Refused(ConsentRefusal::OtherBrowser) => return Err(CallbackError::OtherBrowser),
            TakenConsent::Refused(ConsentRefusal::OtherActor) => return Err(CallbackError::OtherActor),
            TakenConsent::Refused(ConsentRefusal::Expired) => return Err(CallbackError::Expired),
            TakenConsent::Refused(ConsentRefusal::RemovedSince) => return Err(CallbackError::RemovedSince),
        };
        tracing::Span::current().record("company", tracing::field::display(&consent.key.company));
        match returned.outcome {
            Outcome::Code(code) => self.exchange(*consent, &code).await,
            Outcome::Denied => Err(CallbackError::Declined),
            Outcome::Error(name) => Err(CallbackError::SignInFailed(Evidence::message(name))),
            Outcome::CodeAndError => Err(CallbackError::Malformed(MalformedCallback::CodeAndError)),
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
