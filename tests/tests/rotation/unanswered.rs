//! Unanswered: nothing is sent before the lease ends. Then probes follow, one at a time, until UPS answers.

use batchsuite_auth::{
    error::{TokenError, Unavailable},
    events::EventKind,
    fake_ups::{Answer, Endpoint, Fault, Times},
    machine::CauseKind,
    test_util::machine::Phase,
};
use batchsuite_tests::{DAY, HOUR, Verb, acme, ada, company, eventually, seconds};

use crate::stage::Stage;

fn silences() -> Vec<(&'static str, Fault)> {
    vec![
        ("reset", Fault::Reset),
        ("5xx", Fault::Unavailable),
        ("a redirect", Fault::ErrorPage),
        ("an empty 200", Answer::status(200).into()),
        ("HTML with status 200", Answer::status(200).with_body("<html>").into()),
        ("a 2xx without tokens", Answer::status(200).with_body("{}").into()),
        ("408", Answer::status(408).into()),
        ("no answer before the deadline", Fault::Hang),
    ]
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_is_followed_by_no_other_before_its_lease_ends_and_then_by_one_probe() {
    for (words, silence) in silences() {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        stage.access_tokens_end();
        stage.ups.fault(Endpoint::Refresh, silence, Times::Once);

        let begun = tokio::time::Instant::now();
        let error = process.auth.access_token(&acme()).await.unwrap_err();
        assert!(error.is_transient() && error.retry_after().is_some(), "{words}: {error:?}");
        // The flight of a hanging request lasts until its deadline.
        tokio::time::sleep(seconds(35).saturating_sub(begun.elapsed())).await;
        let row = stage.grant_of(&acme()).await;
        assert!(row.unanswered.is_some() && matches!(row.phase, Phase::InDoubt { .. }), "{words}: {row:?}");
        for _ in 0..11 {
            stage.live(seconds(5)).await;
            assert!(process.auth.access_token(&acme()).await.is_err(), "{words}");
            assert_eq!(stage.refreshes(), 1, "{words}: nothing is sent within the lease");
        }
        stage.live(seconds(10)).await;

        assert_eq!(process.token(&acme()).await.revision().version, 2, "{words}");
        assert_eq!((stage.refreshes(), stage.rotations()), (2, 1), "{words}: one probe");
        assert!(process.kinds(&acme()).await.contains(&EventKind::RefreshUnanswered), "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_go_one_at_a_time_each_after_the_lease_of_the_one_before_with_back_off() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::UntilCleared);

    let (mut sent, mut last, mut gaps) = (0, 0, Vec::new());
    for second in 0..3600 {
        drop((one.caller(&acme()), other.caller(&acme())));
        stage.live(seconds(1)).await;
        let now = stage.refreshes();
        assert!(now - sent <= 1, "one at a time");
        if now > sent {
            gaps.push(second - last);
            (sent, last) = (now, second);
        }
    }

    let gaps = &gaps[1..];
    assert!(gaps.iter().all(|gap| *gap >= 60), "one probe per lease: {gaps:?}");
    assert!(gaps.windows(2).all(|pair| 10 * pair[1] >= 7 * pair[0]) && gaps.last() > Some(&300), "{gaps:?}");
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.ups.clock().advance(HOUR);
    one.token(&acme()).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_an_hour_at_ups_ends_with_every_opt_in_alive() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    let companies: Vec<_> = (0..20).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
        process.token(company).await;
    }
    stage.refreshes_are_due();
    stage.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::UntilCleared);

    for _ in 0..360 {
        stage.live(seconds(10)).await;
        companies.iter().for_each(|company| drop(process.caller(company)));
    }
    assert!(stage.refreshes() > 40, "UPS was asked");
    stage.ups.clear_faults(Endpoint::Refresh);
    stage.live(seconds(1500)).await;

    for company in &companies {
        process.token(company).await;
        assert_eq!(process.cause(company).await, None);
    }
    process.auth.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn rotated_and_then_dropped_is_told_as_rotation_lost_after_the_probe() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);

    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(process.cause(&acme()).await, None, "no verdict before UPS answers");
    stage.live(seconds(65)).await;
    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert!(matches!(&error, TokenError::ReauthRequired(cause) if cause.kind == CauseKind::RotationLost), "{error:?}");
    assert_eq!((stage.refreshes(), stage.rotations()), (2, 1));
    let TokenError::ReauthRequired(cause) = error else { unreachable!() };
    let evidence = cause.evidence.unwrap();
    assert_eq!((evidence.status, evidence.code.as_deref()), (Some(400), Some("10400")));
    assert!(evidence.attempt.is_some() && cause.at.is_some());
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_refusal_is_told_as_a_password_change() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    process.token(&acme()).await;
    stage.ups.change_password("demo@example.com");
    stage.access_tokens_end();

    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated));
    let tokens = stage.tokens_of(&acme()).await.unwrap();
    assert!(tokens.access.is_none() && tokens.refresh.is_some(), "the access token is erased");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_sent_is_tried_again_with_back_off_and_clears_no_doubt() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    // First an answer is lost, so that the opt-in is in doubt.
    stage.ups.fault(Endpoint::Refresh, Fault::DropAnswer, Times::Once);
    process.auth.access_token(&acme()).await.unwrap_err();
    stage.live(seconds(65)).await;

    stage.ups.go_offline().await;
    let error = process.auth.access_token(&acme()).await.unwrap_err();
    assert!(
        matches!(error, TokenError::Unavailable { reason: Unavailable::NotSent, retry_after } if retry_after >= seconds(1)),
        "{error:?}"
    );
    assert!(stage.grant_of(&acme()).await.unanswered.is_some(), "a release clears no doubt");
    let claims = process.store.calls(Verb::Claim);
    for _ in 0..100 {
        process.auth.access_token(&acme()).await.unwrap_err();
    }
    assert_eq!(process.store.calls(Verb::Claim), claims, "the company pauses");
    stage.ups.go_online().await;
    stage.live(seconds(10)).await;
    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
    assert!(process.kinds(&acme()).await.contains(&EventKind::RefreshFailed));
}

#[tokio::test(start_paused = true)]
async fn after_restore_a_spent_token_is_told_as_rotation_lost_and_not_as_a_password_change() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    process.token(&acme()).await;

    assert_eq!(process.auth.after_restore().await.unwrap(), 1);
    // The token counts as spent, because UPS has issued a later one.
    stage.ups.fault(Endpoint::Refresh, Fault::InvalidRefreshToken, Times::Once);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
}

#[tokio::test(start_paused = true)]
async fn after_restore_a_company_whose_token_is_good_works_on() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.auth.after_restore().await.unwrap();

    assert_eq!(process.token(&acme()).await.revision().version, 1);
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 2);
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    eventually("UPS rotates", async || stage.rotations() == 1).await;
    stage.ups.clock().advance(DAY);
    assert!(process.auth.access_token(&acme()).await.is_err());
}
