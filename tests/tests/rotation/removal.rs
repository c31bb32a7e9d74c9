//! Remove auth and re-authentication during other work.

use std::{sync::Arc, time::Duration};

use batchsuite_auth::{
    Client, CompanyId,
    error::{CallbackError, TokenError},
    events::EventKind,
    fake_ups::FakeUps,
    machine::CauseKind,
    test_util::machine::Standing,
};
use batchsuite_tests::{Moment, Process, Verb, acme, ada, seconds};
use tokio::time::sleep;

use crate::stage::Stage;

async fn is_removed(process: &Process, company: &CompanyId) {
    let ended = process.auth.access_token(company).await;
    assert!(matches!(ended, Err(TokenError::NotAuthenticated)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn remove_during_a_flight_discards_its_pair() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let (answer, caller) = stage.caller_before_the_answer(&process).await;

    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    answer.release();

    assert!(matches!(caller.await.unwrap(), Err(TokenError::NotAuthenticated)));
    is_removed(&process, &acme()).await;
    assert!(stage.tokens_of(&acme()).await.is_none());
    assert!(!process.kinds(&acme()).await.contains(&EventKind::Refreshed));
}

#[tokio::test(start_paused = true)]
async fn remove_then_a_late_commit_stores_nothing() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let commit = process.store.hold(Verb::Commit, Moment::Before);
    drop(process.caller(&acme()));
    commit.reached().await;

    other.auth.remove_auth(&acme(), &ada()).await.unwrap();
    commit.release();
    stage.live(seconds(3)).await;

    is_removed(&process, &acme()).await;
    let row = stage.grant_of(&acme()).await;
    assert_eq!((row.standing, row.revision.epoch), (Standing::Unauthenticated, 2), "the epoch went up");
    assert!(stage.tokens_of(&acme()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn re_authentication_during_a_flight_wins_and_the_flights_pair_is_discarded() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let (answer, caller) = stage.caller_before_the_answer(&process).await;

    stage.opt_in(&process, &acme()).await;
    answer.release();
    let token = caller.await.unwrap().unwrap();

    assert_eq!((token.revision().epoch, token.revision().version), (2, 1));
    assert_eq!(stage.grant_of(&acme()).await.revision, token.revision());
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn re_authentication_after_a_refusal_is_not_undone_by_the_verdict() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    let settle = process.store.hold(Verb::Verdict, Moment::Before);
    let caller = process.caller(&acme());
    settle.reached().await;

    stage.opt_in(&process, &acme()).await;
    settle.release();

    assert_eq!(caller.await.unwrap().unwrap().revision().epoch, 2);
    assert_eq!(process.cause(&acme()).await, None);
}

#[tokio::test(start_paused = true)]
async fn callback_after_remove_auth_and_remove_during_the_exchange_store_nothing() {
    for moment in [Verb::UseConsent, Verb::Connect] {
        let stage = Stage::new().await;
        let process = stage.process();
        let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let hold = process.store.hold(moment, Moment::Before);
        let auth = process.auth.clone();
        let callback = tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await });
        hold.reached().await;

        process.auth.remove_auth(&acme(), &ada()).await.unwrap();
        hold.release();

        let ended = callback.await.unwrap();
        assert!(matches!(ended, Err(CallbackError::RemovedSince | CallbackError::UnknownState)), "{ended:?}");
        is_removed(&process, &acme()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_read_before_a_removal_does_not_reach_the_cache_after_it() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    stage.opt_in(&other, &acme()).await;
    sleep(Duration::from_millis(10)).await;
    for remover in [&process, &other] {
        let load = process.store.hold(Verb::Load, Moment::After);
        let caller = process.caller(&acme());
        load.reached().await;

        remover.auth.remove_auth(&acme(), &ada()).await.unwrap();
        // The feed is read before the row arrives.
        stage.live(seconds(2)).await;
        load.release();

        assert!(matches!(caller.await.unwrap(), Err(TokenError::NotAuthenticated)));
        is_removed(&process, &acme()).await;
        stage.opt_in(&other, &acme()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_connect_that_was_lost_is_found_stored() {
    let stage = Stage::new().await;
    let process = stage.process();

    process.store.fail_once(Verb::Connect, Moment::After);
    stage.opt_in(&process, &acme()).await;

    assert_eq!(stage.grant_of(&acme()).await.revision.version, 1);
    assert_eq!(process.kinds(&acme()).await, [EventKind::Started, EventKind::Authenticated]);
}

#[tokio::test(start_paused = true)]
async fn two_consents_of_one_company_keep_the_grant_that_ups_issued_later_whichever_is_stored_first() {
    for later_first in [false, true] {
        let stage = Stage::new().await;
        let process = Arc::new(stage.process());
        let mut callbacks = Vec::new();
        let mut holds = Vec::new();
        for _ in 0..2 {
            let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
            let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
            let hold = process.store.hold(Verb::Connect, Moment::Before);
            let auth = process.auth.clone();
            callbacks.push(tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await }));
            hold.reached().await;
            holds.push(hold);
            stage.ups.clock().advance(seconds(10));
        }
        if later_first {
            holds.reverse();
        }
        for hold in holds {
            hold.release();
            sleep(Duration::from_millis(1)).await;
        }
        for callback in callbacks {
            callback.await.unwrap().unwrap();
        }

        let issued = stage.grant_of(&acme()).await.issued_at.unwrap();
        let now = batchsuite_auth::clock::Clock::now(&stage.ups.clock());
        assert_eq!((now - issued).num_seconds(), 10, "later first: {later_first}");
        stage.access_tokens_end();
        process.token(&acme()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mistyped_client_id_says_client_changed_erases_nothing_and_repairs_itself() {
    let stage = Stage::new().await;
    let right = stage.process();
    stage.opt_in(&right, &acme()).await;
    let wrong = stage.process_as(Client::new("mistyped", FakeUps::CLIENT_SECRET));

    let error = wrong.auth.access_token(&acme()).await.unwrap_err();
    assert!(matches!(&error, TokenError::ReauthRequired(cause) if cause.kind == CauseKind::ClientChanged), "{error:?}");
    assert_eq!(wrong.cause(&acme()).await, Some(CauseKind::ClientChanged));
    assert_eq!(stage.refreshes(), 0);

    let corrected = stage.process();
    corrected.token(&acme()).await;
    stage.access_tokens_end();
    corrected.token(&acme()).await;
    assert_eq!(corrected.cause(&acme()).await, None);
}
