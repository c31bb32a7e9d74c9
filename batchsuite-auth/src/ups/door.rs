//! UPS's parsers for tests that feed them arbitrary input; results are plain data.

use std::time::Duration;

use http::{Request, Response};
use url::Url;

use super::{
    answer::PairDefaults,
    callback::{self, AuthorizationResponse},
    grant_type::GrantType,
    judge::{Arrival, Judgement, judge},
    requests::Ups,
};
use crate::{
    clock::Timestamp,
    config::Client,
    error::MalformedCallback,
    events::Evidence,
    http::HttpClient,
    secret::{AuthorizationCode, PkceVerifier, RefreshToken, SecretHash},
};

/// A parsed callback.
#[derive(Debug)]
pub struct Callback {
    /// The hash of the state.
    pub state: SecretHash,
    /// UPS's response.
    pub response: CallbackResponse,
}

/// UPS's response in a callback.
#[derive(Debug)]
pub enum CallbackResponse {
    /// The person agreed.
    Code(AuthorizationCode),
    /// The person declined.
    Denied,
    /// Another error.
    Error(String),
    /// A code and an error.
    CodeAndError,
}

/// Parses a callback's query.
///
/// # Errors
/// [`MalformedCallback`]: why the query is not a callback.
pub fn callback(query: &str, issuer: &str) -> Result<Callback, MalformedCallback> {
    let returned = callback::parse(query, issuer)?;
    let response = match returned.response {
        AuthorizationResponse::Code(code) => CallbackResponse::Code(code),
        AuthorizationResponse::Denied => CallbackResponse::Denied,
        AuthorizationResponse::Error(name) => CallbackResponse::Error(name),
        AuthorizationResponse::CodeAndError => CallbackResponse::CodeAndError,
    };
    Ok(Callback { state: returned.state, response })
}

/// An answer to judge, and the facts of its request.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// Whether it answers a refresh; otherwise an exchange.
    pub is_refresh: bool,
    /// The answer.
    pub response: Response<Vec<u8>>,
    /// Whether all of it has arrived.
    pub is_whole: bool,
    /// The secrets of the request.
    pub sent: &'a [&'a str],
    /// The configured client.
    pub client_id: &'a str,
    /// When it arrived.
    pub now: Timestamp,
}

/// What an answer means.
#[derive(Debug)]
pub struct Verdict {
    /// The judgement's stable name.
    pub outcome: &'static str,
    /// The evidence kept from the answer.
    pub evidence: Option<Evidence>,
    /// How long UPS asks clients to pause.
    pub pause: Option<Duration>,
    /// The tokens.
    pub pair: Option<Tokens>,
}

/// The usable tokens of an answer.
#[derive(Debug)]
pub struct Tokens {
    /// The access token.
    pub access_token: Option<String>,
    /// Its lifetime.
    pub access_lifetime: Duration,
    /// The refresh token.
    pub refresh_token: Option<String>,
    /// UPS sent a refresh token that cannot be sent back.
    pub erases_refresh_token: bool,
    /// Its lifetime, if UPS gave one.
    pub refresh_lifetime: Option<Duration>,
    /// When UPS issued the pair.
    pub issued_at: Option<Timestamp>,
    /// What is odd about the answer.
    pub oddities: Vec<&'static str>,
}

/// The access token's lifetime if UPS gives none.
pub const ASSUMED_LIFETIME: Duration = Duration::from_secs(3600);

/// Judges an answer.
pub fn judged(arrived: Arrived<'_>) -> Verdict {
    let grant_type = if arrived.is_refresh { GrantType::RefreshToken } else { GrantType::AuthorizationCode };
    let answer = if arrived.is_whole { Arrival::Whole } else { Arrival::BrokenOff };
    let defaults = PairDefaults { access_lifetime: ASSUMED_LIFETIME, client_id: arrived.client_id.to_owned() };
    let judgement = judge(grant_type, answer(arrived.response), arrived.sent, &defaults, arrived.now);
    let outcome = judgement.outcome();
    let verdict = Verdict { outcome, evidence: None, pause: None, pair: None };
    match judgement {
        Judgement::Pair(pair) => {
            let access_token = pair.access_token.map(|token| token.expose_secret().to_owned());
            let refresh_token = pair.refresh_token.map(|token| token.expose_secret().to_owned());
            let pair = Tokens {
                access_token,
                access_lifetime: pair.access_lifetime,
                refresh_token,
                erases_refresh_token: pair.erases_refresh_token,
                refresh_lifetime: pair.refresh_lifetime,
                issued_at: pair.issued_at,
                oddities: pair.oddities,
            };
            Verdict { pair: Some(pair), ..verdict }
        }
        Judgement::RateLimited(pause, evidence) => Verdict { evidence: Some(evidence), pause, ..verdict },
        Judgement::Refused(evidence)
        | Judgement::Unanswered(evidence)
        | Judgement::NotSent(evidence)
        | Judgement::Misconfigured(evidence)
        | Judgement::Blocked(evidence)
        | Judgement::Unknown(evidence) => Verdict { evidence: Some(evidence), ..verdict },
        Judgement::Late => verdict,
    }
}

/// The requests of one client.
#[derive(Debug)]
pub struct Requests(Ups);

impl Requests {
    /// The requests of `client`, which `http` would send; `None` if the client's id cannot be sent.
    pub fn of(client: Client, http: impl HttpClient) -> Option<Self> {
        let base = Url::parse("https://wwwcie.ups.com").ok()?;
        let deadline = Duration::from_secs(20);
        Ups::new(&base, client, std::sync::Arc::new(http), deadline, PairDefaults::default()).map(Self)
    }

    /// The request that refreshes `token`.
    pub fn refresh(&self, token: &str) -> Option<Request<Vec<u8>>> {
        Some(self.0.refresh(&RefreshToken::new(token))?.into_request())
    }

    /// The request that exchanges `code`.
    pub fn exchange(&self, code: &str, redirect_uri: &Url, verifier: Option<&str>) -> Option<Request<Vec<u8>>> {
        let verifier = verifier.map(PkceVerifier::new);
        Some(self.0.exchange(&AuthorizationCode::new(code), redirect_uri, verifier.as_ref())?.into_request())
    }
}
