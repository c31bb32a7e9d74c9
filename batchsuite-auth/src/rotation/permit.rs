//! Whether anything may be sent to UPS at all, and what its answers say about that.

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

/// How long a request waits, at most, for others to show whether UPS accepts this client: UPS answers sooner, or does not answer at
/// all. (It also waits no longer than half the time in which it may be sent.)
const PATIENCE: Duration = Duration::from_secs(2);

/// A request that the breaker let through. Drop it when the request has ended and the breaker was [told](Engine::report_to_breaker) the
/// outcome.
#[must_use = "dropped, the request has ended"]
pub(crate) struct UnderWay(Arc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.rotation.breaker().ended();
        self.0.rotation.request_ended.notify_waiters();
    }
}

impl Engine {
    /// Whether a request for `company` may be sent, after a wait for others if it must be. `TokenError` tells why not.
    pub(crate) async fn permit(self: &Arc<Self>, errand: Errand, company: &CompanyId) -> Result<UnderWay, TokenError> {
        let mut impatient_at = None;
        loop {
            // Registered before the look, so that no end is missed.
            let mut request_ended = pin!(self.rotation.request_ended.notified());
            request_ended.as_mut().enable();
            let now = self.rotation.now();
            let is_patient = impatient_at.is_none_or(|at| Instant::now() < at);
            let (permit, fault) = {
                let mut breaker = self.rotation.breaker();
                (breaker.permit(errand, company, is_patient, now), breaker.fault().cloned())
            };
            match permit {
                Permit::Granted | Permit::Trial => return Ok(UnderWay(Arc::clone(self))),
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

    /// Why nothing is sent for any company, if UPS does not accept the client. It says more than a company's own pause.
    pub(crate) fn client_fault(&self, own_pause: Duration) -> Option<TokenError> {
        let now = self.rotation.now();
        let breaker = self.rotation.breaker();
        let fault = breaker.fault().filter(|fault| fault.is_the_clients())?;
        let pause = breaker.open_until().map_or(Duration::ZERO, |until| remaining(until, now));
        (!pause.is_zero()).then(|| refusal(Some(fault.clone()), pause.max(own_pause)))
    }

    /// Reports the outcome of a request to the breaker; returns whether the breaker opens because of it. `explained`: if the outcome is
    /// a refusal, a lost answer explains it.
    pub(crate) fn report_to_breaker(
        &self,
        errand: Errand,
        company: &CompanyId,
        judgement: &Judgement,
        explained: bool,
    ) -> bool {
        let opens = self.opens(errand, company, judgement, explained);
        if opens
            && let Judgement::Refused(evidence)
            | Judgement::Misconfigured(evidence)
            | Judgement::Blocked(evidence)
            | Judgement::Unknown(evidence) = judgement
        {
            tracing::error!(%evidence, "several companies got such an answer; nothing is sent for any company for a while");
        }
        opens
    }

    /// Tells operators that refusals are no longer taken for the companies' own matter.
    pub(crate) async fn report_wave(&self) {
        let words = "UPS refused the refresh tokens of several companies one after the other; it is asked again later";
        self.report(None, EventKind::Misconfigured, Evidence::message(words)).await;
    }

    /// Whether the breaker opens because of it.
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
            Judgement::Unanswered(_) | Judgement::NotSent(_) => {
                if breaker.unreached(now) {
                    tracing::warn!("UPS is out of reach; each company is tried again by its own pauses");
                }
            }
            // A code that is refused in unknown words says nothing about refresh tokens.
            Judgement::Unknown(_) | Judgement::Late => {}
        }
        false
    }
}

impl super::Rotation {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
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
        None => TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after },
    }
}
