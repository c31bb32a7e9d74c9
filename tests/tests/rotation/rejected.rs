//! report_rejected: one refresh for a token that an API refused, and never a loop.

use batchsuite_auth::error::{TokenError, Unavailable};
use batchsuite_tests::{Moment, Process, Verb, acme, company, eventually, seconds};
use futures_util::future::join_all;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_number_of_rejected_callers_cause_one_rotation() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    let rejected = one.token(&acme()).await;
    other.token(&acme()).await;

    let report = |process: &Process| {
        let (auth, rejected) = (process.auth.clone(), rejected.clone());
        tokio::spawn(async move { auth.report_rejected(&acme(), &rejected).await.unwrap() })
    };
    let reports: Vec<_> = (0..200).map(|number| report(if number % 2 == 0 { &one } else { &other })).collect();

    for token in join_all(reports).await {
        assert_eq!(token.unwrap().revision().version, 2);
    }
    assert_eq!(stage.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_that_is_no_longer_the_current_one_causes_no_rotation() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let old = process.token(&acme()).await;
    stage.access_tokens_end();
    process.token(&acme()).await;

    for _ in 0..10 {
        assert_eq!(process.auth.report_rejected(&acme(), &old).await.unwrap().revision().version, 2);
    }
    assert_eq!(stage.refreshes(), 1);
}

/// Two opt-ins of the same age have the same revision.
#[tokio::test(start_paused = true)]
async fn a_rejected_token_of_another_company_causes_no_rotation() {
    let stage = Stage::new().await;
    let (process, uncached) = (stage.process(), stage.process());
    let bolt = company("bolt");
    for company in [acme(), bolt.clone()] {
        stage.opt_in(&process, &company).await;
    }
    let (of_acme, of_bolt) = (process.token(&acme()).await, process.token(&bolt).await);
    assert_eq!(of_acme.revision(), of_bolt.revision());

    for process in [&process, &uncached] {
        let token = process.auth.report_rejected(&acme(), &of_bolt).await.unwrap();
        assert_eq!(token.expose_secret(), of_acme.expose_secret());
    }

    assert_eq!(stage.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_never_hands_out_an_older_token_than_the_rejected_one() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    // This process has the first token and learns of no other.
    other.store.fail(Verb::Changes, Moment::Before);
    stage.live(seconds(3)).await;
    other.token(&acme()).await;
    let first = one.token(&acme()).await;
    let second = one.auth.report_rejected(&acme(), &first).await.unwrap();

    let third = other.auth.report_rejected(&acme(), &second).await.unwrap();

    assert_eq!((second.revision().version, third.revision().version), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_every_token_causes_one_refresh_and_never_a_loop() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let first = process.token(&acme()).await;
    let second = process.auth.report_rejected(&acme(), &first).await.unwrap();

    for _ in 0..50 {
        let error = process.auth.report_rejected(&acme(), &second).await.unwrap_err();
        assert!(
            matches!(error, TokenError::Unavailable { reason: Unavailable::Unusable, retry_after } if !retry_after.is_zero()),
            "{error:?}"
        );
        assert_eq!(process.token(&acme()).await.revision().version, 2, "other callers can continue with it");
    }
    assert_eq!(stage.refreshes(), 1);
    tokio::time::advance(seconds(300)).await;

    assert_eq!(process.auth.report_rejected(&acme(), &second).await.unwrap().revision().version, 3);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_joins_the_refresh_that_is_under_way() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let rejected = process.token(&acme()).await;
    stage.refreshes_are_due();
    let answer = process.http.hold_answer();
    process.token(&acme()).await;
    answer.reached().await;

    let auth = process.auth.clone();
    let report = tokio::spawn(async move { auth.report_rejected(&acme(), &rejected).await.unwrap() });
    tokio::task::yield_now().await;
    answer.release();

    assert_eq!(report.await.unwrap().revision().version, 2);
    eventually("UPS is asked", async || stage.refreshes() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_rejection_waits_for_an_answer_of_ups_that_takes_its_time() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let rejected = process.token(&acme()).await;
    let answer = process.http.hold_answer();
    let auth = process.auth.clone();
    let report = tokio::spawn(async move { auth.report_rejected(&acme(), &rejected).await });
    answer.reached().await;
    stage.live(seconds(2)).await;
    assert!(!report.is_finished());

    answer.release();

    assert_eq!(report.await.unwrap().unwrap().revision().version, 2);
}
