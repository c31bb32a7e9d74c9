//! Callback: a browser came back from UPS.com. The same callback again is told what came of the first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::timeout;

use super::{
    Core,
    authenticate::is_own_path,
    persist::no_answer,
    repeats::{Completed, Entered, Visit},
    token_of,
};
use crate::{
    authenticator::{NewOptIn, OptedIn},
    clock::{Stopwatch, Timestamp, earlier, later},
    error::{CallbackError, MalformedCallback, TokenError},
    events::{EventKind, Evidence},
    ids::{ActorId, CompanyId, Revision},
    machine::{ConsentOutcome, ConsentRefusal, Errand, consent_outcome},
    secret::{AccessToken, AuthorizationCode, SecretHash},
    store::{Connect, Connected, Consent, Snapshot, TakeConsent, TakenConsent, UsedConsent},
    telemetry,
    ups::{AuthorizationResponse, Judgement, Pair, parse_callback},
};

/// A consent that is about to be exchanged, or was used before.
enum Taken {
    Now(Box<Consent>),
    Before(Box<UsedConsent>),
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
        // It goes on without the caller, who may find the company authenticated later.
        let limit = self.policy.request_deadline.saturating_add(self.policy.max_wait);
        let first = match self.repeats.enter(&visit) {
            Entered::First(first) => Some(first),
            Entered::Again(outcome) => match timeout(limit, outcome.of_the_first()).await {
                Ok(Some(completed)) => return completed,
                // It ended without an outcome: the store knows whether the consent was used.
                Ok(None) => None,
                Err(_) => return Err(no_answer().into()),
            },
        };
        let core = Arc::clone(self);
        let completed = self.finish(async move {
            let completed = core.complete(visit, returned.response).await;
            if let Some(first) = first {
                first.ends(&completed);
            }
            completed
        });
        drop(admitted);
        match timeout(limit, completed).await {
            Ok(completed) => completed.unwrap_or(Err(CallbackError::ShutDown)),
            Err(_) => Err(no_answer().into()),
        }
    }

    async fn complete(self: &Arc<Self>, visit: Visit, response: AuthorizationResponse) -> Completed {
        let consent = match self.take(&visit, &response).await? {
            Taken::Now(consent) => *consent,
            Taken::Before(used) => return self.answer_repeated(&visit, *used, &response).await,
        };
        let used = Stopwatch::start();
        tracing::Span::current().record("company", tracing::field::display(&consent.key.company));
        self.wrote_events();
        match response {
            AuthorizationResponse::Code(code) => {
                let completed = self.exchange(consent, &code, used).await;
                if completed.is_err() {
                    self.repeats.failed(visit.state);
                }
                completed
            }
            AuthorizationResponse::Denied => Err(CallbackError::Declined),
            AuthorizationResponse::Error(name) => Err(CallbackError::SignInFailed(Evidence::message(name))),
            AuthorizationResponse::CodeAndError => Err(CallbackError::Malformed(MalformedCallback::CodeAndError)),
        }
    }

    /// Takes the consent with whichever of the browser's secrets is the right one. A wrong one consumes nothing.
    async fn take(&self, visit: &Visit, response: &AuthorizationResponse) -> Result<Taken, CallbackError> {
        let event = match response {
            AuthorizationResponse::Code(_) => None,
            AuthorizationResponse::Denied => Some((EventKind::Declined, None)),
            AuthorizationResponse::Error(name) => Some((EventKind::Failed, Some(Evidence::message(name)))),
            AuthorizationResponse::CodeAndError => {
                Some((EventKind::Failed, Some(Evidence::message("both a code and an error"))))
            }
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
            let taken =
                self.in_time(self.store.take_consent(take)).await.inspect_err(|_| self.repeats.failed(visit.state))?;
            refused = match taken {
                TakenConsent::Taken(mut consent) => {
                    consent.return_to = own_path(consent.return_to, &consent.key.company);
                    return Ok(Taken::Now(consent));
                }
                TakenConsent::Used(mut used) => {
                    used.return_to = own_path(used.return_to, &used.key.company);
                    return Ok(Taken::Before(used));
                }
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
    async fn answer_repeated(&self, visit: &Visit, used: UsedConsent, response: &AuthorizationResponse) -> Completed {
        if !matches!(response, AuthorizationResponse::Code(_)) || self.repeats.has_failed(visit.state) {
            return Err(CallbackError::UnknownState);
        }
        let snapshot = self.in_time(self.store.load(&used.key)).await?;
        let consent = (used.id, used.removals, used.used_at);
        match consent_outcome(consent, &snapshot.opt_in, snapshot.authenticated_at, self.policy.lease, snapshot.as_of) {
            ConsentOutcome::Authenticated => Ok(opted_in(&snapshot, used.return_to)),
            ConsentOutcome::AskTheCompany => {
                Err(CallbackError::AlreadyUsed { company: used.key.company, return_to: used.return_to })
            }
            ConsentOutcome::RemovedSince => Err(CallbackError::RemovedSince),
            ConsentOutcome::Failed => Err(CallbackError::UnknownState),
        }
    }

    /// Sends the code, once. Whatever comes of it, the code is spent. The consent was taken when it was `used` here.
    async fn exchange(self: &Arc<Self>, consent: Consent, code: &AuthorizationCode, used: Stopwatch) -> Completed {
        if consent.client_id != self.client_id {
            return Err(CallbackError::ClientChanged);
        }
        let Some(request) = self.ups.exchange(code, &consent.redirect_uri, consent.verifier.as_ref()) else {
            return Err(CallbackError::Misconfigured(Evidence::message("the request could not be written")));
        };
        let company = &consent.key.company;
        let under_way = match self.permit(Errand::Exchange, company).await {
            Ok(under_way) => under_way,
            Err(error) => return Err(self.not_exchanged(company, error).await),
        };
        let sent = Stopwatch::start();
        let judgement = self.ups.send(request, self.ups.limits(), self.now()).await;
        telemetry::exchanged(self.environment, &judgement);
        self.tell_breaker(Errand::Exchange, company, &judgement, false);
        drop(under_way);
        let (kind, evidence, error): (_, _, fn(Evidence) -> CallbackError) = match judgement {
            Judgement::Pair(pair) => {
                let arrival = later(consent.used_at, used.elapsed());
                let issued_at = pair.issued_at.filter(|issued_at| is_plausible(*issued_at, consent.used_at, arrival));
                return self.connect(consent, *pair, issued_at.unwrap_or(arrival), sent).await;
            }
            Judgement::Refused(evidence) => (EventKind::Failed, evidence, CallbackError::CodeRefused),
            Judgement::Unanswered(evidence) => (EventKind::Failed, evidence, CallbackError::Unanswered),
            Judgement::Unknown(evidence) => (EventKind::Failed, evidence, CallbackError::CodeRefused),
            Judgement::Misconfigured(evidence) | Judgement::Blocked(evidence) => {
                (EventKind::Misconfigured, evidence, CallbackError::Misconfigured)
            }
            Judgement::NotSent(evidence) => {
                self.record(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after: self.policy.refresh_pause.first });
            }
            Judgement::Late => {
                // A code may be sent at any time, so no client has a reason to say so.
                return Err(CallbackError::Unavailable { retry_after: self.policy.refresh_pause.first });
            }
            Judgement::RateLimited(pause, evidence) => {
                let retry_after = pause.unwrap_or(self.policy.rate_limit_pause);
                self.record(Some(company), EventKind::Failed, evidence).await;
                return Err(CallbackError::Unavailable { retry_after });
            }
        };
        tracing::warn!(%kind, %evidence, "the exchange failed");
        self.record(Some(company), kind, evidence.clone()).await;
        Err(error(evidence))
    }

    /// The breaker did not let the code go to UPS, for the reason `error`.
    async fn not_exchanged(&self, company: &CompanyId, error: TokenError) -> CallbackError {
        let error = match error {
            TokenError::Misconfigured { evidence, .. } => CallbackError::Misconfigured(*evidence),
            TokenError::ShutDown => CallbackError::ShutDown,
            error => CallbackError::Unavailable {
                retry_after: error.retry_after().unwrap_or(self.policy.refresh_pause.first),
            },
        };
        let words = "the code was not sent: UPS refuses this application or asks for a pause";
        self.record(Some(company), EventKind::Failed, Evidence::message(words)).await;
        error
    }

    async fn connect(
        self: &Arc<Self>,
        consent: Consent,
        pair: Pair,
        issued_at: Timestamp,
        sent: Stopwatch,
    ) -> Completed {
        self.check(&consent, &pair, &sent).await?;
        let company = consent.key.company.clone();
        let reading = self.cache.reading(&company);
        // Only a wrong clock needs it. A row that cannot be read must not stop the opt-in that replaces it.
        let before = match self.is_ahead(pair.issued_at) {
            true => self.in_time(self.store.load(&consent.key)).await.ok(),
            false => None,
        };
        let connect = Connect {
            key: consent.key,
            consent: consent.id,
            removals: consent.removals,
            actor: consent.actor,
            client_id: self.client_id.clone(),
            used_at: consent.used_at,
            issued_at: Some(issued_at),
            retry: false,
            pair: self.dated(&pair, sent.elapsed(), before.as_ref()),
            failures: u32::from(pair.access_token.is_none()),
        };
        let tried = AtomicBool::new(false);
        let connected = self
            .persist("an opt-in", || {
                let mut connect = connect.clone();
                connect.retry = tried.swap(true, Ordering::Relaxed);
                connect.pair.age = sent.elapsed();
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
    async fn check(&self, consent: &Consent, pair: &Pair, sent: &Stopwatch) -> Result<(), CallbackError> {
        let Some(check) = &self.opt_in_check else { return Ok(()) };
        let company = &consent.key.company;
        let expires_at = later(earlier(self.now(), sent.elapsed()), pair.access_lifetime);
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

/// The stored `return_to` of a consent of `company`. The store is not trusted with where a browser goes.
fn own_path(return_to: Option<String>, company: &CompanyId) -> Option<String> {
    return_to.filter(|path| {
        let own = is_own_path(path);
        if !own {
            tracing::error!(%company, "the stored return_to is not a path of the host's own; it is ignored");
        }
        own
    })
}

/// How far UPS's clock and the store's may be apart for a date of UPS's to count.
const TOLERANCE: Duration = Duration::from_secs(300);

/// Whether UPS can have issued a pair then that was asked for after `used` and had come by `arrival`.
fn is_plausible(issued_at: Timestamp, used: Timestamp, arrival: Timestamp) -> bool {
    earlier(used, TOLERANCE) <= issued_at && issued_at <= later(arrival, TOLERANCE)
}

fn opted_in(snapshot: &Snapshot, return_to: Option<String>) -> OptedIn {
    OptedIn {
        company: snapshot.key.company.clone(),
        refresh_expires_at: snapshot.tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
        return_to,
    }
}
