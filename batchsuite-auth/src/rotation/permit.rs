//! Permission to send, and the breaker's view of UPS's answers.

use std::{
    pin::pin,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use super::Engine;
use crate::{
    clock::remaining,
    error::{TokenError, Unavailable},
    events::{EventKind, Evidence},
    ids::CompanyId,
    machine::{Breaker, ClientFault, Errand, Permit},
    ups::Judgement,
};

/// The longest wait for other requests to show whether UPS accepts this client. If UPS answers at all, it answers
/// sooner. The wait is also at most half of [`Policy::claim_to_send`](crate::Policy::claim_to_send).
const PATIENCE: Duration = Duration::from_secs(2);

/// A permitted request. Drop it once the request has ended and [`Engine::report_to_breaker`] has the outcome.
#[must_use = "dropped, the request has ended"]
pub(crate) struct UnderWay {
    engine: Arc<Engine>,
    company: CompanyId,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let rotation = &self.engine.rotation;
        rotation.breaker().ended(&self.company, rotation.now());
        rotation.request_ended.notify_waiters();
    }
}

impl Engine {
    /// Permits a request for `company`, perhaps after a wait for other requests. The error says why it must not be
    /// sent.
    pub(crate) async fn permit(self: &Arc<Self>, errand: Errand, company: &CompanyId) -> Result<UnderWay, TokenError> {
        let mut impatient_at = None;
        loop {
            // Registered before the check, so that no end is missed.
            let mut request_ended = pin!(self.rotation.request_ended.notified());
            request_ended.as_mut().enable();
            let now = self.rotation.now();
            let is_patient = impatient_at.is_none_or(|at| Instant::now() < at);
            let (permit, fault) = {
                let mut breaker = self.rotation.breaker();
                (breaker.permit(errand, company, is_patient, now), breaker.fault().cloned())
            };
            match permit {
                Permit::Granted | Permit::Trial => {
                    return Ok(UnderWay { engine: Arc::clone(self), company: company.clone() });
                }
                Permit::Refused { until } => return Err(refusal(fault, remaining(until, now))),
                Permit::Wait => {
                    let patience = PATIENCE.min(self.rotation.policy.claim_to_send / 2);
                    let until = *impatient_at.get_or_insert_with(|| Instant::now() + patience);
                    tokio::select! {
                        biased;
                        _ = timeout(until - Instant::now(), request_ended) => {}
                        () = self.tasks.ending() => return Err(TokenError::ShutDown),
                    }
                }
            }
        }
    }

    /// The reason why nothing is sent for any company, if UPS rejects the client. It is clearer than the company's own
    /// pause.
    pub(crate) fn client_fault(&self, own_pause: Duration) -> Option<TokenError> {
        let now = self.rotation.now();
        let breaker = self.rotation.breaker();
        let fault = breaker.fault().filter(|fault| fault.is_the_clients())?;
        let pause = breaker.open_until().map_or(Duration::ZERO, |until| remaining(until, now));
        (!pause.is_zero()).then(|| refusal(Some(fault.clone()), pause.max(own_pause)))
    }

    /// Reports a request's outcome to the breaker; returns whether the breaker opens because of it. `explained`: a lost
    /// answer would explain a refusal.
    pub(crate) fn report_to_breaker(
        self: &Arc<Self>,
        errand: Errand,
        company: &CompanyId,
        judgement: &Judgement,
        explained: bool,
    ) -> bool {
        let is_out_of_reach = || self.rotation.breaker().is_out_of_reach();
        let (was_out_of_reach, opens) = (is_out_of_reach(), self.opens(errand, company, judgement, explained));
        match (was_out_of_reach, is_out_of_reach()) {
            (false, true) => self.outage_begins(),
            (true, false) => self.outage_ends(),
            _ => {}
        }
        if opens
            && let Judgement::Refused(evidence)
            | Judgement::Misconfigured(evidence)
            | Judgement::Blocked(evidence)
            | Judgement::Unknown(evidence) = judgement
        {
            match judgement {
                Judgement::Misconfigured(_) | Judgement::Blocked(_) => {
                    tracing::error!(%evidence, "UPS refuses this application; nothing is sent for any company for a while");
                }
                _ => {
                    tracing::error!(%evidence, "several companies got this answer; nothing is sent for any company for a while");
                }
            }
        }
        opens
    }

    /// Tells operators that UPS is refusing the refresh tokens of many companies.
    pub(crate) async fn report_wave(&self) {
        let words = "UPS refused the refresh tokens of several companies in a row; it will be asked again";
        self.report(None, EventKind::Misconfigured, Evidence::message(words)).await;
    }

    /// Updates the breaker; returns whether it opens because of this outcome.
    fn opens(&self, errand: Errand, company: &CompanyId, judgement: &Judgement, explained: bool) -> bool {
        let now = self.rotation.now();
        let mut breaker = self.rotation.breaker();
        match judgement {
            Judgement::Pair(_) => breaker.succeeded(errand, now),
            Judgement::Refused(_) => return breaker.refused(errand, company, explained, now),
            Judgement::Misconfigured(_) => return breaker.failed(company, ClientFault::Misconfigured, now),
            Judgement::Blocked(_) => return breaker.failed(company, ClientFault::Blocked, now),
            Judgement::Unknown(evidence) if errand == Errand::Refresh => {
                return breaker.failed(company, ClientFault::Unknown(evidence.to_string()), now);
            }
            Judgement::RateLimited(pause, _) => {
                breaker.rate_limited(pause.unwrap_or(self.rotation.policy.rate_limit_pause), now);
            }
            Judgement::Unanswered(_) | Judgement::NotSent(_) => return breaker.unreached(company, now),
            // An unknown error for a code is no evidence about refresh tokens.
            Judgement::Unknown(_) | Judgement::Late => {}
        }
        false
    }
}

impl super::Rotation {
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusal(fault: Option<ClientFault>, retry_after: Duration) -> TokenError {
    let misconfigured = |words| TokenError::Misconfigured { evidence: Evidence::message(words).into(), retry_after };
    match fault {
        Some(ClientFault::Misconfigured) => misconfigured("UPS refused this application's configuration"),
        Some(ClientFault::Blocked) => misconfigured("UPS blocks this application"),
        Some(ClientFault::Unknown(_) | ClientFault::Wave) => {
            TokenError::Unavailable { reason: Unavailable::UnknownAnswer, retry_after }
        }
        Some(ClientFault::OutOfReach) => TokenError::Unavailable { reason: Unavailable::NotSent, retry_after },
        None => TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after },
    }
}
