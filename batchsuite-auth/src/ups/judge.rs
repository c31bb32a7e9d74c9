//! What an answer, or a missing answer, means. Judged by status, code **and** message, because UPS's codes are
//! overloaded.

use std::time::Duration;

use http::{HeaderMap, Response, StatusCode, response::Parts};

use super::{
    answer::{Pair, PairDefaults},
    content::Content,
    echo,
    errors::{Errors, Meaning},
    grant_type::GrantType,
};
use crate::{
    clock::Timestamp,
    events::Evidence,
    http::{HttpError, HttpErrorKind, retry_after},
};

/// The meaning of the answer to an exchange or a refresh.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// A pair. It is saved first and judged after.
    Pair(Box<Pair>),
    /// UPS refuses this code or this refresh token.
    Refused(Evidence),
    /// It is unknown whether UPS acted on the request.
    Unanswered(Evidence),
    /// UPS never saw the request.
    NotSent(Evidence),
    /// UPS never saw the request: too much time had passed to send it.
    Late,
    /// UPS asks the whole client to pause; `None`: for an unknown time.
    RateLimited(Option<Duration>, Evidence),
    /// UPS refuses our configuration.
    Misconfigured(Evidence),
    /// UPS blocks the client.
    Blocked(Evidence),
    /// UPS gave an unknown error.
    Unknown(Evidence),
}

impl Judgement {
    /// Every name of [`outcome`](Self::outcome).
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) const OUTCOMES: [&'static str; 9] =
        ["pair", "refused", "unanswered", "not_sent", "late", "rate_limited", "misconfigured", "blocked", "unknown"];

    /// A stable name for metrics and traces.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Pair(_) => "pair",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) => "unanswered",
            Self::NotSent(_) => "not_sent",
            Self::Late => "late",
            Self::RateLimited(..) => "rate_limited",
            Self::Misconfigured(_) => "misconfigured",
            Self::Blocked(_) => "blocked",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The result of a request.
pub(super) enum Arrival {
    /// A complete answer.
    Whole(Response<Vec<u8>>),
    /// The beginning of an answer.
    BrokenOff(Response<Vec<u8>>),
    /// No answer.
    Failed(HttpError),
}

/// Judges the result of a request. The secrets in `sent` are cut out of the evidence.
pub(super) fn judge(
    grant_type: GrantType,
    arrival: Arrival,
    sent: &[&str],
    defaults: &PairDefaults,
    now: Timestamp,
) -> Judgement {
    let (answer, whole) = match arrival {
        Arrival::Whole(answer) => (answer, true),
        Arrival::BrokenOff(answer) => (answer, false),
        Arrival::Failed(error) if error.kind() == HttpErrorKind::Late => return Judgement::Late,
        Arrival::Failed(error) if error.is_not_sent() => return Judgement::NotSent(not_sent_evidence(&error)),
        Arrival::Failed(_) => return Judgement::Unanswered(broken_off()),
    };
    let (Parts { status, headers, .. }, body) = answer.into_parts();
    let content = Content::of(body.into(), whole);
    if status.is_success()
        && let Some(pair) = Pair::parse(&content, defaults)
    {
        if !content.whole {
            tracing::warn!("UPS's answer broke off after its tokens; they are stored");
        }
        return Judgement::Pair(Box::new(pair));
    }
    if !whole {
        return Judgement::Unanswered(broken_off());
    }
    let errors = if content.whole { Errors::of(content.text()) } else { Errors::default() };
    let evidence = evidence_of(status, &errors, sent);
    match status {
        _ if status.is_success() => judge_success(&errors, grant_type, &headers, evidence, now),
        StatusCode::TOO_MANY_REQUESTS => Judgement::RateLimited(retry_after(&headers, now), evidence),
        StatusCode::FORBIDDEN => Judgement::Blocked(evidence),
        StatusCode::UNAUTHORIZED => Judgement::Misconfigured(evidence),
        StatusCode::BAD_REQUEST => match errors.meaning(grant_type) {
            Meaning::Refused => Judgement::Refused(evidence),
            Meaning::Misconfigured => Judgement::Misconfigured(evidence),
            Meaning::RateLimited | Meaning::Unknown => Judgement::Unknown(evidence),
        },
        // A server that timed out may have acted on what it received.
        StatusCode::REQUEST_TIMEOUT => Judgement::Unanswered(evidence),
        status if status.is_client_error() => Judgement::Unknown(evidence),
        // 5xx, a redirect (not followed), or an invalid status.
        _ => Judgement::Unanswered(evidence),
    }
}

/// Judges a success without a pair. An error in its body counts.
fn judge_success(
    errors: &Errors,
    grant_type: GrantType,
    headers: &HeaderMap,
    evidence: Evidence,
    now: Timestamp,
) -> Judgement {
    match errors.meaning(grant_type) {
        _ if errors.has_token => {}
        Meaning::Refused => return Judgement::Refused(evidence),
        Meaning::Misconfigured => return Judgement::Misconfigured(evidence),
        Meaning::RateLimited => return Judgement::RateLimited(retry_after(headers, now), evidence),
        Meaning::Unknown if errors.are_named => return Judgement::Unknown(evidence),
        Meaning::Unknown => {}
    }
    let words = "an answer from which no tokens can be read";
    Judgement::Unanswered(Evidence::of_answer(evidence.status.unwrap_or_default(), None, Some(words)))
}

fn evidence_of(status: StatusCode, errors: &Errors, sent: &[&str]) -> Evidence {
    if errors.repeated {
        return Evidence::of_answer(status.as_u16(), None, Some("an error in which a key appears twice"));
    }
    let Some(first) = errors.complaints.first() else { return Evidence::of_answer(status.as_u16(), None, None) };
    let [code, message] = [&first.code, &first.message].map(|text| text.as_ref().map(|text| echo::cut(text, sent)));
    Evidence::of_answer(status.as_u16(), code.as_deref(), message.as_deref())
}

fn broken_off() -> Evidence {
    Evidence::message("no answer; the request may have arrived")
}

fn not_sent_evidence(error: &HttpError) -> Evidence {
    Evidence::message(match error.kind() {
        HttpErrorKind::Tls => "security: the server's certificate or TLS was refused; nothing was sent",
        HttpErrorKind::Request => "the request is not allowed by the HTTP client; nothing was sent",
        _ => "no connection; nothing was sent",
    })
}

#[cfg(test)]
mod tests;
