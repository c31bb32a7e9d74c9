//! Whether anything may be sent to UPS at all, and what its answers say about that.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout};

use super::Core;
use crate::{
    clock::remaining,
    error::{TokenError, Unavailable},
    events::{EventKind, Evidence},
    ids::CompanyId,
    machine::{Errand, Fault, Permit},
    ups::Judgement,
};

/// How long a request waits, at most, for others to show whether UPS accepts this client: UPS answers sooner, or does not answer at
/// all. (It also waits no longer than half the time in which it may be sent.)
const PATIENCE: Duration = Duration::from_secs(2);

/// A request that the breaker let through. Drop it when the request has ended and the breaker was [told](Core::tell_breaker) the
/// outcome.
#[must_use = "dropped, the request has ended"]
pub(super) struct UnderWay(Arc<Core>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.breaker().ended();
        self.0.request_ended.notify_waiters();
    }
}

impl Core {
    /// Whether a request for `company` may be sent, after a wait for others if it must be. `TokenError` tells why not.
    pub(super) async fn permit(self: &Arc<Self>, errand: Errand, company: &CompanyId) -> Result<UnderWay, TokenError> {
        let mut impatient_at = None;
        loop {
            // Registered before the look, so that no end is missed.
            let mut request_ended = pin!(self.request_ended.notified());
            request_ended.as_mut().enable();
            let now = self.now();
            let is_patient = impatient_at.is_none_or(|at| Instant::now() < at);
            let (permit, fault) = {
                let mut breaker = self.breaker();
                (breaker.permit(errand, company, is_patient, now), breaker.fault().cloned())
            };
            match permit {
                Permit::Granted | Permit::Trial => return Ok(UnderWay(Arc::clone(self))),
                Permit::Refused { until } => return Err(refusal(fault, remaining(until, now))),
                Permit::Wait => {
                    let patience = PATIENCE.min(self.policy.claim_to_send / 2);
                    let until = *impatient_at.get_or_insert_with(|| Instant::now() + patience);
                    tokio::select! {
                        _ = timeout(until - Instant::now(), request_ended) => {}
                        () = self.ending() => return Err(TokenError::ShutDown),
                    }
                }
            }
        }
    }

    /// Why nothing is sent for any company, if UPS does not accept the client. It says more than a company's own pause.
    pub(super) fn client_fault(&self, own_pause: Duration) -> Option<TokenError> {
        let now = self.now();
        let breaker = self.breaker();
        let fault = breaker.fault().filter(|fault| fault.is_the_clients())?;
        let pause = breaker.open_until().map_or(Duration::ZERO, |until| remaining(until, now));
        (!pause.is_zero()).then(|| refusal(Some(fault.clone()), pause.max(own_pause)))
    }

    /// Tells the breaker the outcome of a request; returns whether the breaker opens because of it. `explained`: if the outcome is
    /// a refusal, a lost answer explains it.
    pub(super) fn tell_breaker(
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
    pub(super) async fn tell_of_wave(&self) {
        let words = "UPS refused the refresh tokens of several companies one after the other; it is asked again later";
        self.record(None, EventKind::Misconfigured, Evidence::message(words)).await;
    }

    /// Whether the breaker opens because of it.
    fn opens(&self, errand: Errand, company: &CompanyId, judgement: &Judgement, explained: bool) -> bool {
        let now = self.now();
        let mut breaker = self.breaker();
        match judgement {
            Judgement::Pair(_) => breaker.succeeded(errand, now),
            Judgement::Refused(_) => return breaker.refused(errand, company, explained, now),
            Judgement::Misconfigured(_) => return breaker.failed(company, Fault::Ours, now),
            Judgement::Blocked(_) => return breaker.failed(company, Fault::Blocked, now),
            Judgement::Unknown(evidence) if errand == Errand::Refresh => {
                return breaker.failed(company, Fault::Unknown(evidence.to_string()), now);
            }
            Judgement::RateLimited(pause, _) => {
                breaker.rate_limited(pause.unwrap_or(self.policy.rate_limit_pause), now);
            }
            // A code that is refused in unknown words says nothing about refresh tokens, nor does silence.
            Judgement::Unknown(_) | Judgement::Unanswered(_) | Judgement::NotSent(_) | Judgement::Late => {}
        }
        false
    }
}

fn refusal(fault: Option<Fault>, retry_after: Duration) -> TokenError {
    let misconfigured = |words| TokenError::Misconfigured { evidence: Evidence::message(words).into(), retry_after };
    match fault {
        Some(Fault::Ours) => misconfigured("UPS refused this application's configuration"),
        Some(Fault::Blocked) => misconfigured("UPS blocks this application"),
        Some(Fault::Unknown(_) | Fault::Wave) => {
            TokenError::Unavailable { reason: Unavailable::UnknownAnswer, retry_after }
        }
        None => TokenError::Unavailable { reason: Unavailable::RateLimited, retry_after },
    }
}
