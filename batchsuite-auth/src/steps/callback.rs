//! Callback: a browser returns from UPS.com. A repeated callback gets the outcome of the first.

use std::sync::Arc;

use tokio::time::timeout;

use super::{
    Consents,
    authenticate::is_own_path,
    repeats::{Completed, Entered, Visit},
};
use crate::{
    clock::{Stopwatch, Timestamp},
    consent::OptedIn,
    error::{CallbackError, MalformedCallback},
    events::{EventContent, EventKind, Evidence},
    ids::{ActorId, CompanyId},
    machine::{
        ConsentFacts, ConsentOutcome, ConsentRefusal, Presented, UsedFacts, consent_outcome, is_repeated, judge_consent,
    },
    rotation::no_answer,
    secret::{PkceVerifier, SecretHash},
    snapshot::Snapshot,
    store::{Consent, FoundConsent, NewEvent, StoreError, Verifier},
    telemetry,
    ups::{AuthorizationResponse, parse_callback},
};

/// A consent that this callback exchanges, or that was used before, at a time.
enum Use {
    Now(Box<Used>),
    Before(Box<(Consent, Timestamp)>),
}

/// A consent that this callback used.
pub(super) struct Used {
    pub(super) consent: Consent,
    pub(super) verifier: Option<PkceVerifier>,
    pub(super) used_at: Timestamp,
}

impl Consents {
    /// Uses the consent, exchanges the code and stores the opt-in in a separate task: closing the browser loses
    /// nothing.
    pub(crate) async fn callback(
        self: &Arc<Self>,
        actor: &ActorId,
        query: &str,
        browsers: Vec<SecretHash>,
    ) -> Completed {
        self.callback_for(actor, query, browsers, None).await
    }

    /// Like [`callback`](Self::callback), restricted to consents of `company` if given.
    #[tracing::instrument(name = "callback", skip_all, fields(%actor, company))]
    pub(super) async fn callback_for(
        self: &Arc<Self>,
        actor: &ActorId,
        query: &str,
        browsers: Vec<SecretHash>,
        company: Option<CompanyId>,
    ) -> Completed {
        let admitted = self.engine.tasks.admit().ok_or(CallbackError::ShutDown)?;
        let returned = parse_callback(query, &self.engine.rotation.ups.issuer()).map_err(CallbackError::Malformed)?;
        if browsers.is_empty() {
            return Err(CallbackError::NoBrowserSecret);
        }
        let visit =
            Visit { state: returned.state, query: SecretHash::of(query), actor: actor.clone(), browsers, company };
        // The task continues after the time-out; the company may be authenticated later.
        let limit = self.engine.rotation.policy.request_deadline.saturating_add(self.engine.rotation.policy.max_wait);
        let first = match self.repeats.enter(&visit) {
            Entered::First(first) => Some(first),
            Entered::Again(outcome) => match timeout(limit, outcome.of_the_first()).await {
                Ok(Some(completed)) => return completed,
                // The task ended without an outcome: the store knows whether the consent was used.
                Ok(None) => None,
                Err(_) => return Err(no_answer().into()),
            },
        };
        let consents = Arc::clone(self);
        let completed = self.engine.tasks.finish(async move {
            let completed = consents.complete(visit, returned.response).await;
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

    /// The company of a consent that began in a browser with one of these secrets.
    pub(crate) async fn company_of_return(
        &self,
        query: &str,
        browsers: &[SecretHash],
    ) -> Result<Option<CompanyId>, StoreError> {
        let rotation = &self.engine.rotation;
        let Ok(returned) = parse_callback(query, &rotation.ups.issuer()) else { return Ok(None) };
        let found =
            rotation.read_for_caller(rotation.store.find_consent(rotation.environment, &returned.state)).await?;
        Ok(found.filter(|found| browsers.contains(&found.consent.browser)).map(|found| found.consent.company))
    }

    async fn complete(self: &Arc<Self>, visit: Visit, response: AuthorizationResponse) -> Completed {
        let consent = match self.take(&visit, &response).await? {
            Use::Now(consent) => *consent,
            Use::Before(used) => return self.answer_repeated(&visit, *used, &response).await,
        };
        let since_use = Stopwatch::start();
        tracing::Span::current().record("company", tracing::field::display(&consent.consent.company));
        self.engine.tasks.wrote_events();
        match response {
            AuthorizationResponse::Code(code) => {
                let completed = self.exchange(consent, &code, since_use).await;
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

    /// Uses the consent with the matching secret among the browser's. A wrong secret consumes nothing.
    async fn take(&self, visit: &Visit, response: &AuthorizationResponse) -> Result<Use, CallbackError> {
        let rotation = &self.engine.rotation;
        let found = rotation.read_in_time(rotation.store.find_consent(rotation.environment, &visit.state)).await?;
        let Some(mut found) = found.filter(|found| !found.consent.id.is_of_connect_link()) else {
            return Err(CallbackError::UnknownState);
        };
        if visit.company.as_ref().is_some_and(|company| *company != found.consent.company) {
            return Err(CallbackError::OtherBrowser);
        }
        found.consent.return_to = own_path(found.consent.return_to, &found.consent.company);
        let mut refused = CallbackError::NoBrowserSecret;
        for browser in &visit.browsers {
            let presented = Presented { actor: &visit.actor, browser: *browser };
            if let Some(used) = &found.used {
                let facts = UsedFacts { actor: &found.consent.actor, browser: found.consent.browser, used_at: used.at };
                // For anyone else, the state counts as unknown.
                match !used.with_event && is_repeated(facts, presented, found.as_of) {
                    true => return Ok(Use::Before(Box::new((found.consent, used.at)))),
                    false => refused = CallbackError::UnknownState,
                }
                continue;
            }
            let removals = rotation.read(&found.consent.company).await?.snapshot.grant.removals;
            let facts = ConsentFacts {
                actor: &found.consent.actor,
                browser: found.consent.browser,
                expires_at: found.expires_at,
                removals: found.consent.removals,
            };
            refused = match judge_consent(facts, presented, removals, found.as_of) {
                // The consent was found expired before, and the clock has since gone back.
                Ok(()) if self.repeats.has_failed(visit.state) => return Err(CallbackError::UnknownState),
                Ok(()) => {
                    let Consent { company, actor, .. } = &found.consent;
                    self.ask_before_sending(company, actor).await.map_err(CallbackError::RefusedByHost)?;
                    return self.use_now(visit, found, response).await;
                }
                Err(ConsentRefusal::OtherBrowser) => CallbackError::OtherBrowser,
                Err(ConsentRefusal::OtherActor) => return Err(CallbackError::OtherActor),
                Err(ConsentRefusal::Expired) => {
                    self.repeats.failed(visit.state);
                    return Err(CallbackError::Expired);
                }
                Err(ConsentRefusal::RemovedSince) => return Err(CallbackError::RemovedSince),
            };
        }
        Err(refused)
    }

    async fn use_now(
        &self,
        visit: &Visit,
        found: FoundConsent,
        response: &AuthorizationResponse,
    ) -> Result<Use, CallbackError> {
        let rotation = &self.engine.rotation;
        let event = event_of(response).map(|event| NewEvent {
            company: Some(found.consent.company.clone()),
            event: event.with_actor(found.consent.actor.clone()),
        });
        // The consent may have been used; if so, it leads to no opt-in.
        let failed = |_: &StoreError| self.repeats.failed(visit.state);
        let kind = event.as_ref().map(|event| event.event.kind);
        let used = rotation.store.use_consent(rotation.environment, found.consent.id, event);
        match rotation.in_time(used).await.inspect_err(failed)? {
            Some(used_at) => {
                telemetry::wrote(rotation.environment, kind);
                let verifier = match found.verifier {
                    Verifier::None => None,
                    Verifier::Readable(verifier) => Some(verifier),
                    Verifier::Unreadable(error) => {
                        self.repeats.failed(visit.state);
                        return Err(error.into());
                    }
                };
                Ok(Use::Now(Box::new(Used { consent: found.consent, verifier, used_at })))
            }
            // Another callback of the same person and browser used the consent first, so this one is a repetition.
            None => Ok(Use::Before(Box::new((found.consent, found.as_of)))),
        }
    }

    /// Answers a repetition by the same person and browser. Sends nothing.
    async fn answer_repeated(
        &self,
        visit: &Visit,
        (consent, used_at): (Consent, Timestamp),
        response: &AuthorizationResponse,
    ) -> Completed {
        if !matches!(response, AuthorizationResponse::Code(_)) || self.repeats.has_failed(visit.state) {
            return Err(CallbackError::UnknownState);
        }
        let Consent { id, removals, company, return_to, .. } = consent;
        let snapshot = self.engine.rotation.read(&company).await?.snapshot;
        let longest = self.engine.rotation.policy.lease;
        match consent_outcome((id, removals, used_at), &snapshot.grant, longest, snapshot.as_of) {
            ConsentOutcome::Authenticated => Ok(opted_in(&snapshot, return_to)),
            ConsentOutcome::AskTheCompany => Err(CallbackError::AlreadyUsed { company, return_to }),
            ConsentOutcome::RemovedSince => Err(CallbackError::RemovedSince),
            ConsentOutcome::Failed => Err(CallbackError::UnknownState),
        }
    }
}

/// The stored `return_to` of a consent of `company`, validated again: the store is not trusted to choose the browser's
/// destination.
fn own_path(return_to: Option<String>, company: &CompanyId) -> Option<String> {
    return_to.filter(|path| {
        let own = is_own_path(path);
        if !own {
            tracing::error!(%company, "the stored return_to is not a path of the host's own; it is ignored");
        }
        own
    })
}

/// The event of a return without an exchange.
fn event_of(response: &AuthorizationResponse) -> Option<EventContent> {
    let failed = |words: &str| EventContent::new(EventKind::Failed).with_evidence(Evidence::message(words));
    match response {
        AuthorizationResponse::Code(_) => None,
        AuthorizationResponse::Denied => Some(EventContent::new(EventKind::Declined)),
        AuthorizationResponse::Error(name) => Some(failed(name)),
        AuthorizationResponse::CodeAndError => Some(failed("both a code and an error")),
    }
}

/// The stored opt-in of a company.
pub(super) fn opted_in(snapshot: &Snapshot, return_to: Option<String>) -> OptedIn {
    OptedIn {
        company: snapshot.company.clone(),
        refresh_expires_at: snapshot.grant.tokens.and_then(|times| times.refresh_end()),
        return_to,
    }
}
