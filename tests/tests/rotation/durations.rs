//! Durations of any length: the builder rejects a duration, or the duration works.

use std::time::Duration;

use batchsuite_auth::{
    BatchSuiteAuth, Client, Environment, Policy,
    error::BuildError,
    fake_ups::{Answer, Endpoint, FakeUps, Times},
    store::Store,
};
use batchsuite_tests::{DAY, HOUR, acme, ada, seconds};
use tokio::time::timeout;

use crate::stage::{Stage, policy};

const EDGES: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];

type Set = fn(&mut Policy, Duration);

const SETTINGS: [(&str, Set); 27] = [
    ("consent_lifetime", |policy, edge| policy.consent_lifetime = edge),
    ("max_wait", |policy, edge| policy.max_wait = edge),
    ("request_deadline", |policy, edge| policy.request_deadline = edge),
    ("lease", |policy, edge| policy.lease = edge),
    ("claim_to_send", |policy, edge| policy.claim_to_send = edge),
    ("commit_retry", |policy, edge| policy.commit_retry = edge),
    ("early_window", |policy, edge| policy.early_window = edge),
    ("assumed_access_lifetime", |policy, edge| policy.assumed_access_lifetime = edge),
    ("refresh_pause.first", |policy, edge| policy.refresh_pause.first = edge),
    ("refresh_pause.most", |policy, edge| policy.refresh_pause.most = edge),
    ("probe_pause.first", |policy, edge| policy.probe_pause.first = edge),
    ("probe_pause.most", |policy, edge| policy.probe_pause.most = edge),
    ("unusable_pause.first", |policy, edge| policy.unusable_pause.first = edge),
    ("unusable_pause.most", |policy, edge| policy.unusable_pause.most = edge),
    ("breaker_pause.first", |policy, edge| policy.breaker_pause.first = edge),
    ("breaker_pause.most", |policy, edge| policy.breaker_pause.most = edge),
    ("rate_limit_pause", |policy, edge| policy.rate_limit_pause = edge),
    ("rejection_pause", |policy, edge| policy.rejection_pause = edge),
    ("store_deadline", |policy, edge| policy.store_deadline = edge),
    ("shutdown_limit", |policy, edge| policy.shutdown_limit = edge),
    ("feed_interval", |policy, edge| policy.feed_interval = edge),
    ("cache_max_age", |policy, edge| policy.cache_max_age = edge),
    ("feed_interval and cache_max_age", |policy, edge| (policy.feed_interval, policy.cache_max_age) = (edge, edge)),
    ("keeper_interval", |policy, edge| policy.keeper_interval = edge),
    ("fresh_if_used_within", |policy, edge| policy.fresh_if_used_within = edge),
    ("keep_alive_before_end", |policy, edge| policy.keep_alive_before_end = edge),
    ("expiry_warnings", |policy, edge| policy.expiry_warnings = vec![edge, DAY]),
];

fn build(stage: &Stage, policy: Policy) -> Result<BatchSuiteAuth, BuildError> {
    BatchSuiteAuth::builder(Environment::Cie, Client::new(stage.ups.client_id(), stage.ups.client_secret()))
        .base_url(stage.ups.base_url())
        .redirect_uri(stage.ups.redirect_uri())
        .clock(stage.ups.clock())
        .policy(policy)
        .http(stage.ups.in_process())
        .store(stage.store.clone())
        .build()
}

/// Everything that uses a duration: a consent, refreshes that succeed, get no answer or are refused, a rejected token,
/// the keeper, the feed.
async fn live_with(stage: &Stage, auth: &BatchSuiteAuth) {
    let trip = auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    drop(auth.callback(&ada(), &query, &trip.browser_secret).await);
    for status in [200, 503, 429, 401, 418] {
        if status != 200 {
            stage.ups.fault(Endpoint::Refresh, Answer::status(status), Times::Once);
        }
        stage.ups.clock().advance(HOUR);
        if let Ok(Ok(token)) = timeout(HOUR, auth.access_token(&acme())).await {
            drop(timeout(HOUR, auth.report_rejected(&acme(), &token)).await);
        }
        stage.live(seconds(2)).await;
    }
    auth.status(&acme()).await.unwrap();
    auth.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_with_a_duration_of_any_length_is_refused_or_works() {
    for (name, set) in SETTINGS {
        for edge in EDGES {
            let stage = Stage::new().await;
            stage.opt_in(&stage.process(), &acme()).await;
            let mut policy = policy();
            set(&mut policy, edge);

            match build(&stage, policy) {
                Ok(auth) => {
                    timeout(DAY, live_with(&stage, &auth)).await.unwrap_or_else(|_| panic!("{name} = {edge:?}"))
                }
                Err(BuildError::Invalid { setting, reason }) => {
                    let field = name.split(['.', ' ']).next().unwrap();
                    assert!(
                        setting == "policy" && (reason.contains(field) || reason.contains("pause")),
                        "{name}: {reason}"
                    );
                }
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_bound_has_none() {
    for (name, set) in SETTINGS {
        let bounded = ["request_deadline", "lease", "claim_to_send", "rate_limit_pause", "feed_interval"];
        if name.contains("pause.") || bounded.contains(&name) {
            continue;
        }
        let stage = Stage::new().await;
        let mut policy = policy();
        set(&mut policy, Duration::MAX);

        let auth = build(&stage, policy).unwrap_or_else(|error| panic!("{name}: {error}"));

        stage.opt_in(&stage.process(), &acme()).await;
        auth.access_token(&acme()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        auth.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_ups_with_lifetimes_and_waits_of_any_length_is_lived_with() {
    let second = Duration::from_secs(1);
    for lifetime in [second, Duration::MAX] {
        let ups = FakeUps::builder().access_lifetime(lifetime).refresh_lifetime(lifetime).code_lifetime(lifetime);
        let stage = Stage::over(ups.start().await);
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        stage.ups.clock().advance(Duration::from_millis(500));
        drop(process.auth.access_token(&acme()).await);
        for delay in EDGES {
            stage.ups.fault(Endpoint::Refresh, Answer::status(200).with_delay(delay), Times::Once);
            drop(timeout(HOUR, process.auth.access_token(&acme())).await);
            stage.ups.clock().advance(seconds(100));
        }
        stage.ups.clock().advance(Duration::MAX);
        drop(process.auth.access_token(&acme()).await);
        process.auth.status(&acme()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_waits_for_any_length() {
    let stage = Stage::new().await;
    let process = stage.process();
    let cursor = stage.store.changes(Environment::Cie, None, Duration::MAX).await.unwrap().cursor;
    for edge in EDGES {
        let waiting = timeout(seconds(1), stage.store.changes(Environment::Cie, Some(cursor), edge)).await;
        assert_eq!(waiting.is_err(), edge == Duration::MAX);
    }
    let store = stage.store.clone();
    let told = tokio::spawn(async move { store.changes(Environment::Cie, Some(cursor), Duration::MAX).await });
    stage.opt_in(&process, &acme()).await;
    assert_ne!(told.await.unwrap().unwrap().cursor, cursor, "the call returns after the first write");
}
