//! The host's configuration, validated once.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    machine::{Backoff, LONGEST_BACKOFF, LONGEST_LEASE, LONGEST_QUARANTINE, LONGEST_RATE_LIMIT},
    secret::ClientSecret,
};

/// The UPS environment. Tokens of one environment are refused by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Environment {
    /// The customer integration environment, `https://wwwcie.ups.com`.
    Cie,
    /// Production, `https://onlinetools.ups.com`.
    Production,
}

impl Environment {
    /// Both environments.
    pub const ALL: &'static [Self] = &[Self::Cie, Self::Production];

    /// A stable name, `cie` or `production`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cie => "cie",
            Self::Production => "production",
        }
    }

    /// The base URL of its endpoints: `https://wwwcie.ups.com` or `https://onlinetools.ups.com`.
    ///
    /// ```
    /// use batchsuite_auth::Environment;
    ///
    /// let environment: Environment = "cie".parse()?;
    /// let track = format!("{}/api/track/v1/details/1Z0", environment.base_url());
    /// assert_eq!(track, "https://wwwcie.ups.com/api/track/v1/details/1Z0");
    /// # Ok::<(), batchsuite_auth::config::UnknownEnvironment>(())
    /// ```
    pub fn base_url(self) -> &'static str {
        match self {
            Self::Cie => "https://wwwcie.ups.com",
            Self::Production => "https://onlinetools.ups.com",
        }
    }
}

/// Parses exactly a [`name`](Environment::name).
impl FromStr for Environment {
    type Err = UnknownEnvironment;

    fn from_str(name: &str) -> Result<Self, UnknownEnvironment> {
        Self::ALL.iter().copied().find(|environment| environment.name() == name).ok_or(UnknownEnvironment)
    }
}

/// The text is not the name of an [`Environment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the UPS environment must be `cie` or `production`")]
#[non_exhaustive]
pub struct UnknownEnvironment;

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the client authenticates when it exchanges a code. (A refresh always uses the secret.)
///
/// # Code injection
/// A person who has got hold of somebody else's unused code can inject it into the callback of their own trip (code
/// injection, RFC 9700 §4.5). The state and the browser's cookie do not prevent it, because the trip is the person's
/// own. The outcome depends on the mode:
/// - [`Pkce`](Self::Pkce) and [`PkceWithSecret`](Self::PkceWithSecret): UPS refuses the code, because it was issued for
///   another trip's challenge.
/// - [`Secret`](Self::Secret): nothing in UPS's answer says whose code it was. The exchange succeeds, and the company
///   of the person who injected the code holds the *other* person's authorization. An [`OptInCheck`](crate::OptInCheck)
///   that asks a UPS API for the company's own shipper number can detect it.
///
/// Try [`PkceWithSecret`](Self::PkceWithSecret) in UPS's CIE first, and keep it if UPS accepts it. It is not the
/// default, because UPS's specification describes PKCE without the secret; that UPS accepts both is known from
/// integrators only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// The client secret, as HTTP Basic from the unencoded id and secret (RFC 7617), as UPS's specification requires.
    /// It does not detect an injected code: see above.
    #[default]
    Secret,
    /// A PKCE verifier (RFC 7636) *instead of* the secret, as UPS's specification describes since 2024-09.
    Pkce,
    /// Both, as RFC 9700 §2.1.1 recommends. Some integrators report that UPS requires both.
    PkceWithSecret,
}

impl ClientAuthentication {
    pub(crate) fn uses_pkce(self) -> bool {
        !matches!(self, Self::Secret)
    }

    pub(crate) fn uses_secret(self) -> bool {
        !matches!(self, Self::Pkce)
    }
}

/// The application's client credentials at UPS.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) id: String,
    pub(crate) secret: ClientSecret,
    pub(crate) authentication: ClientAuthentication,
}

impl Client {
    /// The client id and secret from UPS's developer portal. An id with a colon cannot be used, because HTTP Basic
    /// cannot carry it (RFC 7617 §2).
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: ClientSecret::new(secret), authentication: ClientAuthentication::default() }
    }

    /// Sets how the client authenticates when it exchanges a code.
    #[must_use]
    pub fn with_authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// The client id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The library's timing and limits. Keep the defaults unless you have a reason. A duration above a hundred years counts
/// as a hundred years.
///
/// ```
/// use std::time::Duration;
/// use batchsuite_auth::Policy;
///
/// let mut policy = Policy::default();
/// policy.max_wait = Duration::from_secs(3);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// How long a person may take at UPS.com. Default: 10 minutes.
    pub consent_lifetime: Duration,
    /// How long a connect link can be followed. Default: 30 minutes.
    pub connect_link_lifetime: Duration,
    /// How many consents and connect links of a company may be pending; beyond this the oldest is dropped. Default: 5.
    pub consents_per_company: usize,
    /// How many consents and connect links of an actor may be pending; beyond this the oldest is dropped. Default: 20.
    pub consents_per_actor: usize,
    /// How long a caller waits for a refresh or for the store before it gets a transient error. (A callback may take
    /// `request_deadline` longer.) Default: 10 s.
    pub max_wait: Duration,
    /// How long a request to UPS may take in total, whatever the HTTP client's own deadline is (20 s for
    /// [`ReqwestClient`](crate::http::ReqwestClient)), so that the request ends before the lease. After this deadline
    /// the runtime still gets a second to read an answer that has arrived. Default: 30 s.
    pub request_deadline: Duration,
    /// How long nobody else may send the same refresh token. A process that dies holds its
    /// [deliveries](crate::deliveries) for as long. Default: 60 s.
    pub lease: Duration,
    /// How soon after the read of a company's row its refresh token must be sent. If it is too late, because the store
    /// or the connection was slow or the process was stopped, the claim is released and the refresh starts over.
    /// Default: 5 s.
    pub claim_to_send: Duration,
    /// The time between two attempts to store a pair. Default: 1 s.
    pub commit_retry: Duration,
    /// How long one store call may take before it counts as failed and is repeated, whatever the store's own time-outs
    /// are. (A caller waits at most `max_wait`.) Default: 30 s.
    pub store_deadline: Duration,
    /// How long [`shutdown`](crate::BatchSuiteAuth::shutdown) waits for refreshes and callbacks under way, and for
    /// pairs that are not stored yet. [`ReqwestClient`](crate::http::ReqwestClient) ends a request within 20 s, so the
    /// default leaves 10 s to store its pair. Default: 30 s.
    pub shutdown_limit: Duration,
    /// The longest time before its end at which an access token is refreshed. The early window is the last quarter of
    /// the token's lifetime, or this if it is shorter; a refresh is due at a random time in its first half. Default: 30
    /// minutes.
    pub early_window: Duration,
    /// The lifetime of an access token if UPS gives none. Default: 1 h.
    pub assumed_access_lifetime: Duration,
    /// The pause of a company after a refresh that was not sent, or that UPS refused for a reason other than its
    /// refresh token. Default: 2 s to 5 minutes.
    pub refresh_pause: Backoff,
    /// The pause between the end of an unanswered attempt's lease and the next probe. Default: 1 s to 10 minutes.
    pub probe_pause: Backoff,
    /// When UPS is asked again about a refused refresh token, each counted from the refusal: UPS has been seen to
    /// refuse in waves. Until then the token stays sealed; it is erased after the last refusal. With an empty list it
    /// is erased at once. Default: 15 minutes, 1 h and 24 h.
    pub second_opinions: Vec<Duration>,
    /// The pause of a company whose new pairs cannot be used. Default: 1 minute to 1 h.
    pub unusable_pause: Backoff,
    /// The pause of the whole client when UPS refuses its configuration or blocks it. Default: 30 s to 15 minutes.
    pub breaker_pause: Backoff,
    /// The pause of the whole client when UPS limits the rate without saying for how long. Default: 30 s.
    pub rate_limit_pause: Duration,
    /// After a refresh caused by an API's rejection, how long further rejections cause no refresh. Default: 5 minutes.
    pub rejection_pause: Duration,
    /// How often the store's change feed is read if no change is announced. Default: 5 s.
    pub feed_interval: Duration,
    /// How long cached tokens may be served without a read of the feed. Default: 30 s.
    pub cache_max_age: Duration,
    /// What happens if the feed cannot be read for [`cache_max_age`](Self::cache_max_age). Default: serve.
    pub feed_lost: FeedLost,
    /// How often the keeper looks for due companies. Default: 10 s.
    pub keeper_interval: Duration,
    /// How many refreshes a second this process sends at most, for callers and keeper together. It begins with a quarter
    /// of this (but with 20 if that is more), grows while UPS answers well, and halves when UPS asks for a pause or gives
    /// no answer. Also how many requests to UPS are under way at once at most. Default: 100.
    pub refresh_rate: u32,
    /// How recently a company must have been used for the keeper to keep its access token fresh. Default: 24 h.
    pub fresh_if_used_within: Duration,
    /// How long before its end an idle company's refresh token is renewed; zero: never. Default: 7 days.
    pub keep_alive_before_end: Duration,
    /// How long before a refresh token's end people are warned, once for each entry. Within the longest, a company
    /// *expires soon*. Default: 14, 7, 3 and 1 days.
    pub expiry_warnings: Vec<Duration>,
}

/// What happens if the store's change feed cannot be read for [`Policy::cache_max_age`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedLost {
    /// Cached tokens are served until they end, so an outage of the store stops nobody.
    #[default]
    Serve,
    /// No cached token is served, so a removed authorization ends everywhere within [`Policy::cache_max_age`].
    Refuse,
}

/// The longest duration; longer ones are cut. Adding it to any time that a clock can show does not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Policy {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let pause = |first, most| Backoff { first: seconds(first), most: seconds(most) };
        Self {
            consent_lifetime: seconds(600),
            connect_link_lifetime: seconds(1800),
            consents_per_company: 5,
            consents_per_actor: 20,
            max_wait: seconds(10),
            request_deadline: seconds(30),
            lease: seconds(60),
            claim_to_send: seconds(5),
            commit_retry: seconds(1),
            store_deadline: seconds(30),
            shutdown_limit: seconds(30),
            early_window: seconds(1800),
            assumed_access_lifetime: seconds(3600),
            refresh_pause: pause(2, 300),
            probe_pause: pause(1, 600),
            second_opinions: vec![seconds(900), seconds(3600), DAY],
            unusable_pause: pause(60, 3600),
            breaker_pause: pause(30, 900),
            rate_limit_pause: seconds(30),
            rejection_pause: seconds(300),
            feed_interval: seconds(5),
            cache_max_age: seconds(30),
            feed_lost: FeedLost::default(),
            keeper_interval: seconds(10),
            refresh_rate: 100,
            fresh_if_used_within: DAY,
            keep_alive_before_end: 7 * DAY,
            expiry_warnings: vec![14 * DAY, 7 * DAY, 3 * DAY, DAY],
        }
    }
}

impl Policy {
    /// Checks the policy and limits its durations. The error names the rule that is broken.
    pub(crate) fn checked(mut self) -> Result<Self, &'static str> {
        self.check()?;
        for duration in self.durations() {
            *duration = (*duration).min(LONGEST);
        }
        // A wait of zero would starve the other tasks of its thread.
        for wait in [&mut self.feed_interval, &mut self.max_wait, &mut self.store_deadline] {
            *wait = (*wait).max(Duration::from_millis(1));
        }
        self.cache_max_age = self.cache_max_age.max(self.feed_interval);
        Ok(self)
    }

    fn durations(&mut self) -> impl Iterator<Item = &mut Duration> {
        // Lists every field, so that a new one does not compile until it is considered here.
        let Self {
            consent_lifetime,
            connect_link_lifetime,
            consents_per_company: _,
            consents_per_actor: _,
            max_wait,
            request_deadline,
            lease,
            claim_to_send,
            commit_retry,
            early_window,
            assumed_access_lifetime,
            refresh_pause,
            probe_pause,
            second_opinions,
            unusable_pause,
            breaker_pause,
            rate_limit_pause,
            rejection_pause,
            store_deadline,
            shutdown_limit,
            feed_interval,
            cache_max_age,
            feed_lost: _,
            keeper_interval,
            refresh_rate: _,
            fresh_if_used_within,
            keep_alive_before_end,
            expiry_warnings,
        } = self;
        let pauses = [refresh_pause, probe_pause, unusable_pause, breaker_pause];
        let pauses = pauses.into_iter().flat_map(|pause| [&mut pause.first, &mut pause.most]);
        [
            consent_lifetime,
            connect_link_lifetime,
            max_wait,
            request_deadline,
            lease,
            claim_to_send,
            commit_retry,
            early_window,
            assumed_access_lifetime,
            rate_limit_pause,
            rejection_pause,
            store_deadline,
            shutdown_limit,
            feed_interval,
            cache_max_age,
            keeper_interval,
            fresh_if_used_within,
            keep_alive_before_end,
        ]
        .into_iter()
        .chain(pauses)
        .chain(second_opinions)
        .chain(expiry_warnings)
    }

    /// Checks the rules between the fields. The error is the rule that is broken.
    fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (
                self.request_deadline.saturating_add(self.claim_to_send) < self.lease,
                "request_deadline and claim_to_send together must be shorter than lease",
            ),
            (self.lease <= LONGEST_LEASE, "lease must be at most an hour"),
            (self.feed_interval <= self.cache_max_age, "feed_interval must not be longer than cache_max_age"),
            (self.consents_per_company > 0 && self.consents_per_actor > 0, "a cap on consents must be at least 1"),
            (self.refresh_rate > 0, "refresh_rate must be at least 1"),
            (!self.keeper_interval.is_zero(), "keeper_interval must not be zero"),
            (!self.commit_retry.is_zero(), "commit_retry must not be zero"),
            (!self.store_deadline.is_zero(), "store_deadline must not be zero"),
            (!self.claim_to_send.is_zero(), "claim_to_send must not be zero: nothing would ever be sent"),
            (!self.request_deadline.is_zero(), "request_deadline must not be zero"),
            (!self.consent_lifetime.is_zero(), "consent_lifetime must not be zero: nobody could return in time"),
            (!self.connect_link_lifetime.is_zero(), "connect_link_lifetime must not be zero: nobody could follow one"),
            (!self.feed_interval.is_zero(), "feed_interval must not be zero"),
            (
                self.second_opinions.is_sorted()
                    && self.second_opinions.iter().all(|after| !after.is_zero() && *after <= LONGEST_QUARANTINE),
                "second_opinions must be above zero, in ascending order, and at most a week",
            ),
            (
                !self.rate_limit_pause.is_zero() && self.rate_limit_pause <= LONGEST_RATE_LIMIT,
                "rate_limit_pause must be above zero and at most an hour",
            ),
            (
                [self.refresh_pause, self.probe_pause, self.unusable_pause, self.breaker_pause]
                    .iter()
                    .all(|pause| !pause.first.is_zero() && pause.first <= pause.most && pause.most <= LONGEST_BACKOFF),
                "a pause must be above zero and at most an hour, and its `first` not above its `most`",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
    }
}

/// Whether `url` may be contacted: https, or plain http on this machine.
pub(crate) fn is_https_or_loopback(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Whether `url` names this machine. IPv4-mapped addresses do not count, nor does any name except `localhost`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_fits_together() {
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn a_policy_that_does_not_fit_together_is_told() {
        let broken: [fn(&mut Policy); 6] = [
            |policy| policy.lease = policy.request_deadline,
            |policy| policy.claim_to_send = policy.lease,
            |policy| policy.lease = 2 * DAY,
            |policy| policy.cache_max_age = policy.feed_interval / 2,
            |policy| policy.consents_per_actor = 0,
            |policy| policy.breaker_pause.first = Duration::ZERO,
        ];
        for (index, breaks) in broken.iter().enumerate() {
            let mut policy = Policy::default();
            breaks(&mut policy);
            assert!(policy.check().is_err(), "case {index}");
        }
    }

    #[test]
    fn an_environment_is_read_by_its_name_alone() {
        for &environment in Environment::ALL {
            assert_eq!(environment.name().parse(), Ok(environment));
            assert_eq!(serde_json::to_value(environment).unwrap(), environment.name());
        }
        for other in ["", "CIE", " cie", "test", "production "] {
            assert_eq!(other.parse::<Environment>(), Err(UnknownEnvironment), "{other}");
        }
    }

    #[test]
    fn plain_http_is_for_this_very_machine() {
        for allowed in ["https://ups.example", "http://localhost:1", "http://127.0.0.9", "http://[::1]/x"] {
            assert!(is_https_or_loopback(&Url::parse(allowed).unwrap()), "{allowed}");
        }
        for refused in
            ["http://ups.example", "http://localhost.example", "http://127.0.0.1.example", "ftp://localhost", "data:x"]
        {
            assert!(!is_https_or_loopback(&Url::parse(refused).unwrap()), "{refused}");
        }
    }
}
