//! Shutdown: work that must not be lost is completed, and nothing else is waited for.

use std::time::Duration;

use batchsuite_auth::{
    Shutdown,
    error::TokenError,
    fake_ups::{Endpoint, Fault, Times},
    machine::CauseKind,
};
use batchsuite_tests::{DAY, HOUR, Hold, Moment, Process, Verb, acme, ada, company, eventually, seconds};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{Stage, policy};

/// Begins a shutdown and lets it run as far as possible without time passing.
async fn shutting_down(process: &Process) -> tokio::task::JoinHandle<Shutdown> {
    let auth = process.auth.clone();
    let ending = tokio::spawn(async move { auth.shutdown().await });
    sleep(Duration::from_millis(1)).await;
    ending
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_answer_and_its_commit() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.shutdown_limit = HOUR);
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let answer = process.http.hold_answer();
    drop(process.caller(&acme()));
    answer.reached().await;
    process.store.fail(Verb::Commit, Moment::Before);

    let ending = shutting_down(&process).await;
    answer.release();
    sleep(seconds(600)).await;
    assert!(!ending.is_finished(), "the pair is not stored yet");
    process.store.mend(Verb::Commit);
    assert_eq!(ending.await.unwrap(), Shutdown::Complete);

    assert_eq!(stage.grant_of(&acme()).await.revision.version, 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_callback_and_its_connect() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.shutdown_limit = HOUR);
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, "demo@example.com").await;
    process.store.fail(Verb::Connect, Moment::Before);
    let auth = process.auth.clone();
    drop(tokio::spawn(async move { auth.callback(&ada(), &query, &trip.browser_secret).await }));
    eventually("the connect", async || process.store.calls(Verb::Connect) > 0).await;

    let ending = shutting_down(&process).await;
    sleep(seconds(60)).await;
    assert!(!ending.is_finished());
    process.store.mend(Verb::Connect);
    ending.await.unwrap();

    assert_eq!(stage.grant_of(&acme()).await.revision.version, 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_waiting_flights_promptly_and_begins_nothing_new() {
    let stage = Stage::new().await;
    let (holder, waiting) = (stage.process(), stage.process());
    stage.opt_in(&holder, &acme()).await;
    stage.access_tokens_end();
    let answer = holder.http.hold_answer();
    drop(holder.caller(&acme()));
    answer.reached().await;
    let caller = waiting.caller(&acme());
    sleep(seconds(1)).await;

    let begun = Instant::now();
    waiting.auth.shutdown().await;

    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
    assert!(caller.await.unwrap().is_err());
    assert!(matches!(waiting.auth.access_token(&acme()).await, Err(TokenError::ShutDown)));
    assert!(waiting.auth.authenticate(&acme(), &ada()).await.is_err());
    answer.release();
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_flight_that_gives_another_holder_its_time() {
    let stage = Stage::new().await;
    let holder = stage.process();
    let waiting = stage.process_with_policy(|policy| policy.commit_retry = seconds(3600));
    stage.opt_in(&holder, &acme()).await;
    stage.access_tokens_end();
    let answer = holder.http.hold_answer();
    drop(holder.caller(&acme()));
    answer.reached().await;
    stage.ups.clock().advance(seconds(61));
    drop(waiting.caller(&acme()));
    sleep(Duration::from_millis(100)).await;

    let begun = Instant::now();
    waiting.auth.shutdown().await;

    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
    assert_eq!(stage.refreshes(), 1, "the process sends nothing afterwards");
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_verdict_that_the_store_does_not_take() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, Fault::Unavailable, Times::Once);
    process.store.fail(Verb::Verdict, Moment::Before);
    drop(process.caller(&acme()));
    eventually("the verdict", async || process.store.calls(Verb::Verdict) > 2).await;

    let begun = Instant::now();
    process.auth.shutdown().await;

    assert!(begun.elapsed() < seconds(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_cuts_no_write_off_that_is_under_way() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.ups.change_password("demo@example.com");
    stage.access_tokens_end();
    let settle = process.store.hold(Verb::Verdict, Moment::Before);
    drop(process.caller(&acme()));
    settle.reached().await;

    let ending = shutting_down(&process).await;
    settle.release();
    ending.await.unwrap();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated), "the verdict is not lost");
}

#[tokio::test(start_paused = true)]
async fn shutdown_returns_at_its_limit_and_says_what_is_not_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    process.store.fail(Verb::Commit, Moment::Before);
    drop(process.caller(&acme()));
    eventually("the commit", async || process.store.calls(Verb::Commit) > 0).await;

    let begun = Instant::now();
    let ended = timeout(HOUR, process.auth.shutdown()).await.expect("it has no limit");
    assert_eq!(begun.elapsed().as_secs(), 30, "the default");
    assert!(matches!(ended, Shutdown::Incomplete { under_way: 1, pairs: 1, .. }), "{ended:?}");
    assert!(!ended.is_complete());

    // The runtime is still there, so the pair is stored.
    process.store.mend(Verb::Commit);
    assert_eq!(process.auth.shutdown_within(seconds(2)).await, Shutdown::Complete);
    assert_eq!(stage.grant_of(&acme()).await.revision.version, 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_returns_at_its_limit_where_the_store_or_ups_never_answers() {
    for verb in [Verb::Load, Verb::Claim, Verb::Commit] {
        let stage = Stage::new().await;
        let process = stage.process();
        stage.opt_in(&process, &acme()).await;
        stage.access_tokens_end();
        process.store.hang(verb);
        let before = process.store.calls(verb);
        drop(process.caller(&acme()));
        eventually("the call", async || process.store.calls(verb) > before).await;

        let ended = timeout(HOUR, process.auth.shutdown_within(seconds(5))).await.expect("it has no limit");

        let in_hand = usize::from(verb == Verb::Commit);
        assert!(
            matches!(ended, Shutdown::Incomplete { under_way: 1, pairs, .. } if pairs == in_hand),
            "{verb:?}: {ended:?}"
        );
    }
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let _request = process.http.hold_request();
    drop(process.caller(&acme()));
    sleep(Duration::from_millis(1)).await;

    let ended = process.auth.shutdown_within(seconds(5)).await;

    assert!(matches!(ended, Shutdown::Incomplete { under_way: 1, pairs: 0, .. }), "{ended:?}");
}

/// A process after `quiesce()`, with a keeper. It has cached acme's token, which is in the early window.
async fn due_after_quiesce(stage: &Stage) -> Process {
    let process = stage.process_with(|builder| builder);
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    stage.live(seconds(15)).await;
    process.auth.quiesce();
    stage.refreshes_are_due();
    process
}

#[tokio::test(start_paused = true)]
async fn after_quiesce_nothing_begins_by_itself() {
    let stage = Stage::new().await;
    let process = due_after_quiesce(&stage).await;
    let due = process.store.calls(Verb::Wake);

    for _ in 0..60 {
        process.token(&acme()).await;
        stage.live(seconds(1)).await;
    }

    assert_eq!(
        (stage.refreshes(), process.store.calls(Verb::Wake)),
        (0, due),
        "neither the keeper nor the early window"
    );
}

#[tokio::test(start_paused = true)]
async fn after_quiesce_a_token_that_only_the_store_has_is_served_without_a_refresh_to_follow() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    other.auth.quiesce();
    stage.refreshes_are_due();

    other.token(&acme()).await;
    stage.live(seconds(5)).await;

    assert_eq!(stage.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_quiesce_callers_who_need_a_refresh_and_people_who_come_back_are_served() {
    let stage = Stage::new().await;
    let process = due_after_quiesce(&stage).await;

    let first = process.token(&acme()).await;
    assert_eq!(process.auth.report_rejected(&acme(), &first).await.unwrap().revision().version, 2);
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 3);
    stage.opt_in(&process, &company("another")).await;
    process.token(&company("another")).await;
    assert_eq!(process.auth.shutdown().await, Shutdown::Complete);
}

#[tokio::test(start_paused = true)]
async fn quiesce_stops_the_keepers_batch_between_two_companies() {
    let stage = Stage::new().await;
    let mut policy = policy();
    // One refresh begins at once.
    policy.refresh_rate = 10;
    let process = stage.process_with(|builder| builder.policy(policy));
    for number in 0..20 {
        stage.opt_in(&process, &company(&format!("company {number}"))).await;
    }
    stage.ups.clock().advance(55 * DAY);
    let answer = process.http.hold_answer();
    answer.reached().await;

    process.auth.quiesce();
    stage.live(seconds(30)).await;
    assert_eq!(stage.refreshes(), 1, "the rest of the batch does not begin");
    answer.release();

    assert_eq!(process.auth.shutdown().await, Shutdown::Complete);
    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1), "the refresh in flight completes");
}

#[tokio::test(start_paused = true)]
async fn quiesce_during_the_keepers_reading_begins_none_of_what_was_read() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    stage.opt_in(&process, &acme()).await;
    stage.ups.clock().advance(55 * DAY);
    let due = process.store.hold(Verb::Wake, Moment::After);
    due.reached().await;

    process.auth.quiesce();
    due.release();
    stage.live(seconds(30)).await;

    assert_eq!(stage.refreshes(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_quiesce_a_refresh_in_the_background_that_waited_for_another_process_sends_nothing() {
    let stage = Stage::new().await;
    let (holder, waiting) = (stage.process(), stage.process_with(|builder| builder));
    stage.opt_in(&holder, &acme()).await;
    stage.ups.clock().advance(55 * DAY);
    // The keeper begins with a company that another process has claimed meanwhile, and waits for that process.
    let due = waiting.store.hold(Verb::Wake, Moment::After);
    due.reached().await;
    let claim = holder.store.hold(Verb::Claim, Moment::After);
    drop(holder.caller(&acme()));
    claim.reached().await;
    due.release();
    eventually("the keeper reads the row", async || waiting.store.calls(Verb::Load) > 1).await;
    let claims = waiting.store.calls(Verb::Claim);

    waiting.auth.quiesce();
    stage.live(seconds(70)).await;

    assert_eq!(
        (waiting.store.calls(Verb::Claim), stage.refreshes()),
        (claims, 0),
        "nothing begins after the end of the lease"
    );
    assert_eq!(waiting.auth.shutdown().await, Shutdown::Complete);
    claim.release();
}

#[tokio::test(start_paused = true)]
async fn after_quiesce_a_refresh_in_the_background_that_waited_for_others_of_its_client_sends_nothing() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies: Vec<_> = (0..5).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
    }
    stage.refreshes_are_due();
    // UPS has not accepted the client for a while, so only three requests are in flight at once.
    let answers = [(); 3].map(|()| process.http.hold_answer());
    for company in &companies {
        process.token(company).await;
    }
    for answer in &answers {
        answer.reached().await;
    }

    process.auth.quiesce();
    answers.iter().for_each(Hold::release);
    stage.live(seconds(10)).await;

    assert_eq!((stage.refreshes(), stage.rotations()), (3, 3));
    assert_eq!(process.auth.shutdown().await, Shutdown::Complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_flight_begins_once_shutdown_has_returned() {
    let stage = Stage::new().await;
    let opted_in = stage.process();
    let companies: Vec<_> = (0..20).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&opted_in, company).await;
    }
    for _ in 0..50 {
        stage.access_tokens_end();
        let process = stage.process();
        let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
        process.auth.shutdown().await;
        let sent = stage.refreshes();
        let claims = process.store.calls(Verb::Claim);
        for caller in callers {
            let _ = caller.await.unwrap();
        }
        assert_eq!((process.store.calls(Verb::Claim), stage.refreshes()), (claims, sent));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_ends_the_background_tasks_without_shutdown() {
    let stage = Stage::new().await;
    let mut policy = policy();
    policy.feed_interval = seconds(30);
    policy.keeper_interval = seconds(3600);
    let process = stage.process_with(|builder| builder.policy(policy));
    stage.opt_in(&process, &acme()).await;
    process.token(&acme()).await;
    sleep(seconds(1)).await;
    let Process { auth, store, .. } = process;

    let another = auth.clone();
    drop(auth);
    sleep(seconds(60)).await;
    assert!(std::sync::Arc::strong_count(&store) > 1, "a handle is left");
    drop(another);
    sleep(seconds(1)).await;

    assert_eq!(std::sync::Arc::strong_count(&store), 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_a_removal_or_a_new_consent_that_is_never_answered_no_longer_than_a_caller() {
    for verb in [Verb::Remove, Verb::PutConsent] {
        let stage = Stage::new().await;
        let process = stage.process();
        process.store.hang(verb);
        match verb {
            Verb::Remove => assert!(process.auth.remove_auth(&acme(), &ada()).await.is_err()),
            _ => assert!(process.auth.authenticate(&acme(), &ada()).await.is_err()),
        }

        assert_eq!(process.auth.shutdown().await, Shutdown::Complete, "{verb:?}");
    }
}
