//! Callers and flights: one of all callers refreshes, and a dropped caller changes nothing.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    AccessToken, BatchSuiteAuth, CompanyId, NewOptIn, OptInCheck, error::OptInRefused, events::EventKind,
    fake_ups::FakeUps,
};
use batchsuite_tests::{Moment, Process, Verb, acme, ada, company, eventually, seconds};
use futures_util::future::join_all;
use tokio::task::{JoinHandle, yield_now};

use crate::stage::{Stage, policy};

fn callers(process: &Process, company: &CompanyId, count: usize) -> Vec<JoinHandle<AccessToken>> {
    let call = |auth: BatchSuiteAuth, company: CompanyId| async move { auth.access_token(&company).await.unwrap() };
    (0..count).map(|_| tokio::spawn(call(process.auth.clone(), company.clone()))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_on_one_expired_company_cause_exactly_one_refresh_and_get_the_same_token() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();

    let tokens = join_all(callers(&process, &acme(), 1000)).await;

    let first = tokens[0].as_ref().unwrap().clone();
    assert!(tokens.iter().all(|token| token.as_ref().unwrap().expose_secret() == first.expose_secret()));
    assert_eq!(first.revision().version, 2);
    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_with_200_callers_each_refresh_once_a_rotation() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;

    for rotation in 1..=20 {
        stage.access_tokens_end();
        let both: Vec<_> = callers(&one, &acme(), 200).into_iter().chain(callers(&other, &acme(), 200)).collect();
        let tokens = join_all(both).await;

        assert_eq!((stage.refreshes(), stage.rotations()), (rotation, rotation));
        assert!(tokens.iter().all(|token| token.as_ref().unwrap().revision().version == rotation + 1));
    }
    assert_eq!(one.cause(&acme()).await, None);
}

/// A caller that is dropped at a random moment.
async fn abandoned(stage: &Stage, process: &Process, number: usize) {
    let claims = process.store.calls(Verb::Claim);
    let caller = process.caller(&acme());
    if number % 4 == 1 {
        // The token has just expired, so a dropped caller leaves a flight behind.
        let has_begun = || process.store.calls(Verb::Claim) > claims || caller.is_finished();
        eventually("the flight has begun", async || has_begun()).await;
    }
    for _ in 0..rand::random_range(0..12) {
        yield_now().await;
    }
    if number.is_multiple_of(3) {
        tokio::time::sleep(Duration::from_micros(rand::random_range(0..300))).await;
    }
    caller.abort();
    if number.is_multiple_of(4) {
        stage.access_tokens_end();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_random_drops_of_callers_lose_no_pair() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    stage.access_tokens_end();

    for number in 0..1000 {
        abandoned(&stage, if number % 2 == 0 { &one } else { &other }, number).await;
    }

    // All flights complete.
    let is_idle = async || stage.grant_of(&acme()).await.revision.version == stage.rotations() + 1;
    eventually("every flight completes", is_idle).await;
    stage.access_tokens_end();
    let token = one.token(&acme()).await;
    assert!(stage.rotations() > 20, "{}", stage.rotations());
    assert_eq!(token.revision().version, stage.rotations() + 1, "as many rotations as UPS counted");
    assert_eq!(stage.refreshes(), stage.rotations(), "no refresh was refused");
    assert_eq!(one.cause(&acme()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_drops_of_callbacks_lose_no_opt_in() {
    let stage = Stage::new().await;
    let process = stage.process();

    let mut taken = Vec::new();
    for number in 0..200 {
        let company = company(&format!("company {number}"));
        let trip = process.auth.authenticate(&company, &ada()).await.unwrap();
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let auth = process.auth.clone();
        let callback = tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await });
        // The callback's task has begun once the consent is used.
        let calls = process.store.calls(Verb::UseConsent);
        let has_begun = || process.store.calls(Verb::UseConsent) > calls || callback.is_finished();
        eventually("the consent is used", async || has_begun()).await;
        for _ in 0..rand::random_range(0..6) {
            yield_now().await;
        }
        callback.abort();
        taken.push(company);
    }
    process.auth.shutdown().await;

    for company in taken {
        assert_eq!(stage.grant_of(&company).await.revision.version, 1, "{company} is authenticated");
    }
}

#[tokio::test(start_paused = true)]
async fn the_browser_goes_away_during_the_exchange_and_the_exchange_completes_and_is_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;

    let answer = process.http.hold_answer();
    let auth = process.auth.clone();
    let browser = tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await });
    answer.reached().await;
    browser.abort();
    answer.release();
    process.auth.shutdown().await;

    assert_eq!(stage.grant_of(&acme()).await.revision.version, 1);
}

#[tokio::test(start_paused = true)]
async fn a_host_check_that_panics_ends_its_own_callback_alone() {
    #[derive(Debug)]
    struct Panics;
    #[async_trait::async_trait]
    impl OptInCheck for Panics {
        async fn check(&self, _: NewOptIn<'_>) -> Result<(), OptInRefused> {
            panic!("the host's check fails")
        }
    }
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder.without_keeper().opt_in_check(Panics));
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;

    let auth = process.auth.clone();
    let ended = tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await }).await;

    assert!(ended.is_err_and(|error| error.is_panic()), "the host's panic reaches the host");
    assert_eq!(process.kinds(&acme()).await, [EventKind::Started, EventKind::Failed], "and the log");
    assert!(process.auth.access_token(&acme()).await.unwrap_err().needs_reauthorization(), "the process continues");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_ends_one_flight_and_not_its_callers() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    for verb in [Verb::Load, Verb::Claim] {
        process.store.panic_once(verb);
        let error = process.auth.access_token(&acme()).await.unwrap_err();
        assert!(error.is_transient(), "{verb:?}: {error:?}");
    }
    stage.live(seconds(65)).await;

    process.token(&acme()).await;
    process.auth.shutdown().await;
}

#[test]
fn callers_on_another_runtime_are_told_when_the_one_of_build_is_gone() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = runtime();
    let (stage, process) = first.block_on(async {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        (stage, process)
    });
    stage.access_tokens_end();
    drop(first);

    let (done, told) = std::sync::mpsc::channel();
    let process = Arc::new(process);
    let caller = Arc::clone(&process);
    std::thread::spawn(move || {
        let ended = runtime().block_on(async { caller.auth.access_token(&acme()).await.map(drop) });
        done.send(ended).unwrap();
    });

    let ended = told.recv_timeout(seconds(10)).expect("the caller hangs");
    assert!(ended.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_flight_reads_the_store_for_all_callers() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process_with(|builder| builder.without_keeper().policy(policy())));
    stage.opt_in(&one, &acme()).await;

    let load = other.store.hold(Verb::Load, Moment::After);
    let callers = callers(&other, &acme(), 100);
    load.reached().await;
    load.release();
    join_all(callers).await.into_iter().for_each(|token| drop(token.unwrap()));

    assert_eq!(other.store.calls(Verb::Load), 1);
    assert_eq!(stage.refreshes(), 0);
}
