//! Findings while time passes: what is found while a token is still served, what a check adds, and what is found no more. Each
//! finding alone is in `tests/findings`.

use batchsuite_auth::{
    Diagnosis, FindingKind, KeeperHealth, Severity, UpsTroubleKind,
    error::Responsible,
    fake_ups::{Answer, Endpoint, FakeUps, Fault, Times},
    machine::{CauseKind, NextStepKind},
    store::StoreErrorKind,
};
use batchsuite_tests::{HOUR, Moment, Process, Verb, acme, ada, company, opt_in, seconds};
use tokio::time::sleep;

use crate::stage::Stage;

/// The kinds found for acme, the worst first.
async fn found(process: &Process) -> Vec<FindingKind> {
    kinds(&process.auth.diagnose(&acme()).await)
}

fn kinds(diagnosis: &Diagnosis) -> Vec<FindingKind> {
    diagnosis.findings.iter().map(|finding| finding.kind).collect()
}

/// A stage whose acme has opted in.
async fn opted_in() -> (Stage, Process) {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    (stage, process)
}

#[tokio::test(start_paused = true)]
async fn a_company_that_works_has_no_finding_and_one_that_never_opted_in_has_one() {
    let (_stage, process) = opted_in().await;

    let (well, never) = (process.auth.diagnose(&acme()).await, process.auth.diagnose(&company("never")).await);

    assert!(well.works() && well.findings.is_empty(), "{well}");
    assert_eq!(kinds(&never), [FindingKind::NotAuthenticated]);
    assert!(!never.works());
    assert!(never.to_string().contains("never: Not authenticated\n- Nobody has authenticated this company"), "{never}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_found_with_upss_words_and_the_second_opinion() {
    let (stage, process) = opted_in().await;
    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    stage.live(seconds(2)).await;

    let check = process.auth.check(&acme()).await;

    assert!(check.outcome.is_err_and(|error| error.needs_reauthorization()));
    let [finding] = &check.diagnosis.findings[..] else { panic!("{}", check.diagnosis) };
    assert_eq!(finding.kind, FindingKind::ReauthRequired(CauseKind::OptInInvalidated));
    assert_eq!((finding.severity, finding.responsible), (Severity::NoToken, Responsible::CompanyAdministrator));
    assert_eq!(finding.evidence.as_ref().and_then(|evidence| evidence.code.as_deref()), Some("10400"));
    assert_eq!(finding.next.map(|next| next.kind), Some(NextStepKind::SecondOpinion));
    let after = finding.next.and_then(|next| next.at).zip(finding.since).map(|(at, since)| (at - since).num_minutes());
    assert_eq!(after, Some(15));
    assert!(finding.message.contains("a change of billing"), "{}", finding.message);
}

#[tokio::test(start_paused = true)]
async fn what_ups_does_to_a_refresh_is_found() {
    let unknown = || Answer::status(400).with_body(r#"{"response":{"errors":[{"code":"1","message":"Never seen"}]}}"#);
    for (fault, while_served, without_token) in [
        (Fault::Unavailable, FindingKind::RefreshUnanswered, FindingKind::RefreshUnanswered),
        (Fault::from(unknown()), FindingKind::RefreshRejected, FindingKind::RefreshRejected),
    ] {
        let (stage, process) = opted_in().await;
        stage.ups.fault(Endpoint::Refresh, fault, Times::Once);
        stage.refreshes_are_due();
        process.token(&acme()).await;
        sleep(seconds(1)).await;

        let served = process.auth.diagnose(&acme()).await;
        assert_eq!((kinds(&served)[0], served.findings[0].severity), (while_served, Severity::AtRisk), "{served}");
        assert!(served.works() && served.findings[0].evidence.is_some(), "{served}");
        assert_eq!(served.findings[0].next.map(|next| next.kind), Some(NextStepKind::Retry));

        stage.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::UntilCleared);
        stage.ups.clock().advance(seconds(660));
        let check = process.auth.check(&acme()).await;
        assert!(check.outcome.is_err());
        assert!(kinds(&check.diagnosis).contains(&FindingKind::RefreshUnanswered), "{}", check.diagnosis);
        assert!(!check.diagnosis.works(), "{without_token:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn troubles_of_the_whole_client_are_found_for_each_company() {
    let limited = Fault::TooManyRequests { retry_after: None };
    for (fault, companies, expected) in [
        (Fault::InvalidClient, 2, UpsTroubleKind::ClientMisconfigured),
        (Fault::Blocked, 2, UpsTroubleKind::ClientBlocked),
        (Fault::InvalidRefreshToken, 3, UpsTroubleKind::RefusalWave),
        (limited, 1, UpsTroubleKind::RateLimited),
        (Fault::Reset, 3, UpsTroubleKind::OutOfReach),
    ] {
        let (stage, process) = opted_in().await;
        let others: Vec<_> = (0..companies).map(|number| company(&format!("company {number}"))).collect();
        for other in &others {
            stage.opt_in(&process, other).await;
        }
        stage.access_tokens_end();
        stage.live(seconds(2)).await;
        stage.ups.fault(Endpoint::Refresh, fault, Times::UntilCleared);
        for other in &others {
            process.auth.access_token(other).await.unwrap_err();
        }

        let diagnosis = process.auth.diagnose(&acme()).await;

        assert_eq!(kinds(&diagnosis), [FindingKind::Ups(expected)], "acme itself has tried nothing");
        assert!(!diagnosis.works(), "its token has ended, and none can be had: {diagnosis}");
        assert!(!process.auth.health().is_healthy() && process.auth.health().is_ready(), "{expected:?}");
        let check = process.auth.check(&acme()).await;
        assert!(!check.diagnosis.works(), "{}", check.diagnosis);
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_that_rejects_even_a_fresh_token_is_found() {
    let (_stage, process) = opted_in().await;
    let rejected = process.token(&acme()).await;

    let fresh = process.auth.report_rejected(&acme(), &rejected).await.unwrap();
    assert_eq!(found(&process).await, [FindingKind::TokenRejected]);

    process.auth.report_rejected(&acme(), &fresh).await.unwrap_err();
    let diagnosis = process.auth.diagnose(&acme()).await;
    assert_eq!(kinds(&diagnosis), [FindingKind::FreshTokenRejected]);
    assert!(!diagnosis.works() && diagnosis.to_string().contains("250002"), "{diagnosis}");

    sleep(seconds(301)).await;
    assert_eq!(found(&process).await, [], "forgotten with the pause");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_is_no_finding_of_the_tokens_that_came_later() {
    for is_opt_in in [true, false] {
        let (stage, process) = opted_in().await;
        let rejected = process.token(&acme()).await;
        let fresh = process.auth.report_rejected(&acme(), &rejected).await.unwrap();
        process.auth.report_rejected(&acme(), &fresh).await.unwrap_err();

        match is_opt_in {
            true => stage.opt_in(&process, &acme()).await,
            false => {
                stage.access_tokens_end();
                process.token(&acme()).await;
            }
        }

        let found = found(&process).await;
        assert!(!found.contains(&FindingKind::FreshTokenRejected), "{found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_the_finding_and_not_an_error() {
    let (_stage, process) = opted_in().await;
    process.store.fail_as(Verb::Load, StoreErrorKind::Misconfigured);

    let diagnosis = process.auth.diagnose(&acme()).await;

    assert_eq!((diagnosis.status.as_ref(), kinds(&diagnosis)), (None, vec![FindingKind::StoreFails]));
    assert_eq!(diagnosis.findings[0].responsible, Responsible::Operator);
    assert!(diagnosis.to_string().starts_with("acme: the store could not be read\n"), "{diagnosis}");
    let finding = &diagnosis.findings[0];
    assert_eq!(finding.next.map(|next| next.kind), Some(NextStepKind::Repetition));
    assert_eq!(finding.since, process.auth.health().store_fails_since, "since when, the process knows");
}

#[tokio::test(start_paused = true)]
async fn a_trip_under_way_and_a_pair_that_is_not_stored_are_found() {
    let (stage, process) = opted_in().await;
    let _trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    assert_eq!(found(&process).await, [FindingKind::ConsentPending]);
    stage.ups.clock().advance(HOUR);

    process.store.fail(Verb::Commit, Moment::Before);
    let caller = process.caller(&acme());
    sleep(seconds(3)).await;
    let diagnosis = process.auth.diagnose(&acme()).await;
    assert_eq!(process.auth.health().pairs_not_stored, 1);
    assert!(kinds(&diagnosis).contains(&FindingKind::PairsNotStored), "{diagnosis}");
    assert!(kinds(&diagnosis).contains(&FindingKind::RefreshUnderWay), "{diagnosis}");

    process.store.mend(Verb::Commit);
    caller.await.unwrap().unwrap();
    assert_eq!((found(&process).await, process.auth.health().pairs_not_stored), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_says_so_to_its_callers_and_in_its_findings() {
    let (stage, process) = opted_in().await;
    process.auth.shutdown().await;
    stage.access_tokens_end();

    let check = process.auth.check(&acme()).await;

    assert!(check.outcome.is_err());
    assert_eq!(kinds(&check.diagnosis), [FindingKind::Stopping]);
    assert!(!check.diagnosis.works());
    assert_eq!(process.auth.health().keeper, KeeperHealth::Off);
}

#[tokio::test(start_paused = true)]
async fn a_check_of_a_company_that_works_gets_its_token_and_shows_no_secret() {
    let (stage, process) = opted_in().await;
    let other = stage.process();
    opt_in(&other.auth, &stage.ups, &company("other")).await;

    let check = other.auth.check(&acme()).await;

    let token = check.outcome.as_ref().unwrap();
    let stored = process.token(&acme()).await;
    assert_eq!((token.revision, token.expires_at), (stored.revision(), stored.expires_at()));
    let json = serde_json::to_string(&check.diagnosis).unwrap();
    assert!(!format!("{check:?}{json}").contains(stored.header().to_str().unwrap()));
    assert!(json.contains(r#""status":"authenticated""#), "{json}");
}
