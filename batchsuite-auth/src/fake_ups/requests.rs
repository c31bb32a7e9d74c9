//! Request counts by endpoint and outcome. Only numbers, so that a fake that runs for days stays small.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// The target of a request; its snake-case name is the control API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// A TCP connection, before any request on it.
    Connection,
    /// `GET /security/v1/oauth/validate-client`
    ValidateClient,
    /// `GET /security/v1/oauth/authorize`
    Authorize,
    /// The pages of `/lasso/signin`
    SignIn,
    /// `POST /security/v1/oauth/token`
    Token,
    /// `POST /security/v1/oauth/refresh`
    Refresh,
    /// `GET /api/track/v1/details/{number}`
    Track,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: &'static [Self] = &[
        Self::Connection,
        Self::ValidateClient,
        Self::Authorize,
        Self::SignIn,
        Self::Token,
        Self::Refresh,
        Self::Track,
    ];

    /// The name in the control API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::ValidateClient => "validate_client",
            Self::Authorize => "authorize",
            Self::SignIn => "sign_in",
            Self::Token => "token",
            Self::Refresh => "refresh",
            Self::Track => "track",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The outcome of a request. The fake distinguishes cases that UPS's answer does not: a spent refresh token, an expired
/// one and one ended by a password change all get `Invalid Refresh Token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Done as requested: redirected, page shown, pair issued, pair rotated, shipment tracked.
    Ok,
    /// A fault answered or broke the connection instead; the request had no effect.
    Unprocessed,
    /// The user agreed and was sent back with a code.
    Consented,
    /// The user was sent back with `access_denied`.
    Declined,
    /// Unknown user or wrong password.
    WrongPassword,
    /// The agreement was not ticked.
    AgreementMissing,
    /// No usable `Authorization` header (and no PKCE instead).
    BadAuthorizationHeader,
    /// Unknown client id, or wrong secret.
    BadClient,
    /// The client is blocked.
    BlockedClient,
    /// The redirect URI is not registered, or differs from the authorization request's.
    BadRedirectUri,
    /// A grant type that this endpoint does not serve.
    BadGrantType,
    /// A request with a missing or invalid parameter.
    BadRequest,
    /// An authorization code that was never issued, belongs to another client, or is missing.
    UnknownCode,
    /// An authorization code that was presented before.
    UsedCode,
    /// An expired authorization code.
    ExpiredCode,
    /// A PKCE verifier that is missing, wrong, or not expected.
    BadVerifier,
    /// A refresh token that was never issued, belongs to another client, is missing, or was forgotten long ago.
    UnknownRefreshToken,
    /// A refresh token that was used before.
    SpentRefreshToken,
    /// An expired refresh token.
    ExpiredRefreshToken,
    /// The opt-in ended: password change or revocation.
    OptInEnded,
    /// No access token, or one that was never issued.
    BadAccessToken,
    /// An expired access token.
    ExpiredAccessToken,
    /// A method that the path does not support.
    MethodNotAllowed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &'static [Self] = &[
        Self::Ok,
        Self::Unprocessed,
        Self::Consented,
        Self::Declined,
        Self::WrongPassword,
        Self::AgreementMissing,
        Self::BadAuthorizationHeader,
        Self::BadClient,
        Self::BlockedClient,
        Self::BadRedirectUri,
        Self::BadGrantType,
        Self::BadRequest,
        Self::UnknownCode,
        Self::UsedCode,
        Self::ExpiredCode,
        Self::BadVerifier,
        Self::UnknownRefreshToken,
        Self::SpentRefreshToken,
        Self::ExpiredRefreshToken,
        Self::OptInEnded,
        Self::BadAccessToken,
        Self::ExpiredAccessToken,
        Self::MethodNotAllowed,
    ];

    /// The name in the control API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unprocessed => "unprocessed",
            Self::Consented => "consented",
            Self::Declined => "declined",
            Self::WrongPassword => "wrong_password",
            Self::AgreementMissing => "agreement_missing",
            Self::BadAuthorizationHeader => "bad_authorization_header",
            Self::BadClient => "bad_client",
            Self::BlockedClient => "blocked_client",
            Self::BadRedirectUri => "bad_redirect_uri",
            Self::BadGrantType => "bad_grant_type",
            Self::BadRequest => "bad_request",
            Self::UnknownCode => "unknown_code",
            Self::UsedCode => "used_code",
            Self::ExpiredCode => "expired_code",
            Self::BadVerifier => "bad_verifier",
            Self::UnknownRefreshToken => "unknown_refresh_token",
            Self::SpentRefreshToken => "spent_refresh_token",
            Self::ExpiredRefreshToken => "expired_refresh_token",
            Self::OptInEnded => "opt_in_ended",
            Self::BadAccessToken => "bad_access_token",
            Self::ExpiredAccessToken => "expired_access_token",
            Self::MethodNotAllowed => "method_not_allowed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const ENDPOINTS: usize = Endpoint::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// A snapshot of the request counts, taken by [`requests`](super::FakeUpsState::requests).
///
/// A request is counted by its *effect*, whatever a [`Fault`](super::Fault) did to its answer: a refresh that rotated
/// and whose answer was dropped counts as [`Outcome::Ok`].
#[derive(Clone, PartialEq, Eq)]
pub struct Requests {
    counts: [[u64; OUTCOMES]; ENDPOINTS],
}

impl Requests {
    /// The number of requests to `endpoint` with this outcome.
    pub fn count(&self, endpoint: Endpoint, outcome: Outcome) -> u64 {
        self.counts[endpoint as usize][outcome as usize]
    }

    /// The number of requests to `endpoint`.
    pub fn total(&self, endpoint: Endpoint) -> u64 {
        self.counts[endpoint as usize].iter().sum()
    }

    /// The requests since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = self.clone();
        for (row, before) in difference.counts.iter_mut().zip(&earlier.counts) {
            for (count, before) in row.iter_mut().zip(before) {
                *count = count.saturating_sub(*before);
            }
        }
        difference
    }

    /// Every non-zero count.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, Outcome, u64)> + '_ {
        Endpoint::ALL.iter().copied().flat_map(move |endpoint| {
            Outcome::ALL
                .iter()
                .copied()
                .map(move |outcome| (endpoint, outcome, self.count(endpoint, outcome)))
                .filter(|(_, _, count)| *count > 0)
        })
    }
}

/// Shows only non-zero counts, to keep assertion messages short.
impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(endpoint, outcome, count)| ((endpoint, outcome), count))).finish()
    }
}

/// The running counts.
#[derive(Debug)]
pub(super) struct Counters([[AtomicU64; OUTCOMES]; ENDPOINTS]);

impl Counters {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))))
    }

    pub(super) fn add(&self, endpoint: Endpoint, outcome: Outcome) {
        self.0[endpoint as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.iter().flatten().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    pub(super) fn read(&self) -> Requests {
        Requests { counts: std::array::from_fn(|e| std::array::from_fn(|o| self.0[e][o].load(Ordering::Relaxed))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_and_outcome_is_listed_once_under_its_wire_name() {
        for (index, endpoint) in Endpoint::ALL.iter().copied().enumerate() {
            assert_eq!(endpoint as usize, index);
            assert_eq!(serde_json::to_value(endpoint).unwrap(), endpoint.name());
        }
        for (index, outcome) in Outcome::ALL.iter().copied().enumerate() {
            assert_eq!(outcome as usize, index);
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn counts_are_told_by_endpoint_and_outcome_and_since_an_earlier_reading() {
        let counters = Counters::new();
        counters.add(Endpoint::Refresh, Outcome::Ok);
        let earlier = counters.read();
        counters.add(Endpoint::Refresh, Outcome::Ok);
        counters.add(Endpoint::Refresh, Outcome::SpentRefreshToken);

        let requests = counters.read();
        assert_eq!(requests.count(Endpoint::Refresh, Outcome::Ok), 2);
        assert_eq!(requests.total(Endpoint::Refresh), 3);
        assert_eq!(requests.total(Endpoint::Token), 0);
        assert_eq!(requests.since(&earlier).count(Endpoint::Refresh, Outcome::Ok), 1);
        assert_eq!(format!("{:?}", requests.since(&requests)), "{}");
    }
}
