//! Sends a request, in a span of its own, and judges what comes back.

use tracing::Instrument as _;

use super::{
    judge::{Arrival, Judgement, judge},
    requests::{BASIC, Prepared, Ups},
};
use crate::{
    clock::Timestamp,
    http::{HttpError, Received, TimeLimits, fence},
};

impl Ups {
    /// Sends a request within `limits` and judges the result. `now` resolves a `Retry-After` date.
    ///
    /// # Cancellation
    /// Not cancel-safe: a dropped request may still reach UPS. Run it in a task that no caller can drop.
    pub(crate) async fn send(&self, prepared: Prepared, limits: TimeLimits, now: Timestamp) -> Judgement {
        let span = tracing::info_span!(
            "ups_request",
            otel.kind = "client",
            endpoint = prepared.grant_type.endpoint(),
            status = tracing::field::Empty,
            outcome = tracing::field::Empty,
        );
        let judgement = self.judged(prepared, limits, now).instrument(span.clone()).await;
        span.record("outcome", judgement.outcome());
        judgement
    }

    async fn judged(&self, prepared: Prepared, limits: TimeLimits, now: Timestamp) -> Judgement {
        let Prepared { grant_type, head, mut body, secrets } = prepared;
        let mut request = http::Request::from_parts(head, std::mem::take(&mut *body));
        let (received, deadline) = (Received::default(), limits.answer_within());
        request.extensions_mut().insert(received.clone());
        request.extensions_mut().insert(limits);
        let answer = fence::within(deadline, fence::TIME_TO_READ_OUTSIDE, self.http.send(request))
            .await
            .unwrap_or_else(|| Err(HttpError::unanswered()));
        let arrival = answer.map(Arrival::Whole).unwrap_or_else(|error| {
            // The evidence is for people; the cause goes to the log only.
            tracing::warn!(error = %crate::error::chain(&error), "no answer from UPS, or only part of it");
            if error.is_not_sent() {
                return Arrival::Failed(error);
            }
            received.take().map_or(Arrival::Failed(error), Arrival::BrokenOff)
        });
        if let Arrival::Whole(response) | Arrival::BrokenOff(response) = &arrival {
            tracing::Span::current().record("status", response.status().as_u16());
        }
        let mut sent: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
        sent.push(self.client.secret.expose_secret());
        sent.extend(self.basic.to_str().ok().and_then(|value| value.strip_prefix(BASIC)));
        judge(grant_type, arrival, &sent, &self.defaults, now)
    }
}
