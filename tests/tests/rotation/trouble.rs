//! Store failures: no caller waits forever, no loop spins or floods the log, the log names the cause, and a value that
//! the store permanently rejects is not retried forever.

use std::time::Duration;

use batchsuite_auth::{
    CompanyQuery, Event, EventFilter, ImportedTokens, Policy,
    events::{EventKind, Evidence},
    fake_ups::{Answer, Endpoint, FakeUps, Times},
    http::HttpError,
    machine::CauseKind,
    store::{StoreError, StoreErrorKind},
    test_util::machine::Phase,
};
use batchsuite_tests::{CAUSE, HOUR, Moment, Process, Verb, acme, ada, company, eventually, log::Log, seconds};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::stage::{Stage, policy};

const BEGINS: &str = "the store fails";
const IS_OVER: &str = "the store works again";

/// A process whose pair waits for a store with this failure.
async fn with_a_pair_in_hand(stage: &Stage, kind: StoreErrorKind) -> Process {
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    process.store.fail_as(Verb::Commit, kind);
    drop(process.caller(&acme()));
    eventually("the commit", async || process.store.calls(Verb::Commit) > 0).await;
    process
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_never_given_up_and_retried_slowly_where_an_operator_must_look() {
    for kind in [StoreErrorKind::Misconfigured, StoreErrorKind::Corrupt, StoreErrorKind::Rejected] {
        let stage = Stage::new().await;
        let process = with_a_pair_in_hand(&stage, kind).await;

        stage.live(seconds(1800)).await;
        let tries = process.store.calls(Verb::Commit);
        assert!((50..=70).contains(&tries), "{kind:?}: {tries} tries in half an hour");
        process.store.mend(Verb::Commit);
        stage.live(seconds(30)).await;

        assert_eq!(process.token(&acme()).await.revision().version, 2, "{kind:?}");
        assert_eq!(stage.refreshes(), 1);
    }
}

/// The operator fixes the problem and restarts the service.
#[tokio::test(start_paused = true)]
async fn a_pair_is_retried_at_once_and_each_second_when_the_process_ends() {
    for is_mended in [true, false] {
        let stage = Stage::new().await;
        let process = with_a_pair_in_hand(&stage, StoreErrorKind::Misconfigured).await;
        stage.live(seconds(275)).await;
        let tries = process.store.calls(Verb::Commit);
        if is_mended {
            process.store.mend(Verb::Commit);
        }

        let began = Instant::now();
        let shutdown = process.auth.shutdown_within(seconds(9)).await;

        assert_eq!(shutdown.is_complete(), is_mended);
        let most = if is_mended { 0 } else { 9 };
        assert_eq!(began.elapsed().as_secs(), most);
        assert!((most as usize..=11).contains(&(process.store.calls(Verb::Commit) - tries)));
        assert_eq!(stage.grant_of(&acme()).await.revision.version, 1 + u64::from(is_mended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pair_is_retried_each_second_while_the_store_is_merely_away() {
    let stage = Stage::new().await;
    let process = with_a_pair_in_hand(&stage, StoreErrorKind::Unavailable).await;

    let tries = process.store.calls(Verb::Commit);
    stage.live(seconds(60)).await;

    // After an outage, other processes give the holder this much time before they send the spent token again.
    assert!((59..=61).contains(&(process.store.calls(Verb::Commit) - tries)));
}

#[tokio::test(start_paused = true)]
async fn a_pair_that_is_not_stored_is_logged_once_when_it_begins_and_once_when_it_is_over() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = with_a_pair_in_hand(&stage, StoreErrorKind::Unavailable).await;
    stage.live(seconds(300)).await;
    process.store.mend(Verb::Commit);
    stage.live(seconds(2)).await;

    let lines = [log.lines(BEGINS), log.lines(IS_OVER)];
    assert_eq!(lines.each_ref().map(Vec::len), [1, 1], "{lines:?}");
    assert!(lines[0][0].contains(CAUSE) && lines[0][0].contains("company=acme"), "{lines:?}");
    assert!(lines[1][0].contains("failures=30"), "the number of failures is logged: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_turns_into_something_for_an_operator_is_logged_again() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = with_a_pair_in_hand(&stage, StoreErrorKind::Unavailable).await;
    stage.live(seconds(10)).await;
    for _ in 0..5 {
        process.store.fail_as(Verb::Commit, StoreErrorKind::Misconfigured);
        stage.live(seconds(60)).await;
        process.store.fail_as(Verb::Commit, StoreErrorKind::Unavailable);
        stage.live(seconds(60)).await;
    }

    let begun = log.lines(BEGINS);
    assert_eq!(begun.len(), 2, "{begun:#?}");
    assert!(begun[0].contains("WARN") && begun[1].contains("ERROR"), "{begun:#?}");
}

/// An answer of UPS with a character that few encodings contain.
fn refusal(message: &str) -> Answer {
    let body = json!({"response": {"errors": [{"code": "10400", "message": message}]}});
    Answer::status(400).with_json(body)
}

#[tokio::test(start_paused = true)]
async fn a_verdict_whose_words_the_store_will_never_take_is_written_without_them() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.store.take_only_ascii();
    stage.access_tokens_end();
    let refusal = json!({"error": "invalid_grant", "error_description": "expired → sign in"});
    stage.ups.fault(Endpoint::Refresh, Answer::status(400).with_json(refusal), Times::Once);

    let error = process.auth.access_token(&acme()).await.unwrap_err();

    assert!(error.needs_reauthorization(), "{error:?}");
    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated));
    assert_eq!(process.store.calls(Verb::Verdict), 2, "once with the evidence, once without");
    let told = told_of(&process, EventKind::Invalidated).await;
    assert_eq!((told.status, told.code.as_deref()), (Some(400), Some("invalid_grant")));
    assert!(told.attempt.is_some() && told.message.is_some_and(|message| message.is_ascii()));
    assert_eq!(log.lines("it is written without them").len(), 1, "the log mentions it once");
}

#[tokio::test(start_paused = true)]
async fn a_release_and_an_event_whose_words_the_store_will_never_take_are_written_without_them() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    process.store.take_only_ascii();
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, refusal("Nobody knows →"), Times::Once);
    stage.ups.fault(Endpoint::Token, refusal("Nobody knows →"), Times::Once);

    process.auth.access_token(&acme()).await.unwrap_err();
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    process.auth.callback(&ada(), &query, &trip.browser_secret).await.unwrap_err();

    assert!(matches!(stage.grant_of(&acme()).await.phase, Phase::Idle));
    for kind in [EventKind::Misconfigured, EventKind::Failed] {
        assert_eq!(told_of(&process, kind).await.status, Some(400), "{kind}");
    }
    stage.ups.clock().advance(seconds(10));
    process.token(&acme()).await;
}

async fn told_of(process: &Process, kind: EventKind) -> Evidence {
    let events = process.events(&acme()).await;
    events.into_iter().find(|event| event.kind == kind).unwrap().evidence.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_verdict_that_the_store_will_never_take_at_all_is_given_up_and_said_so() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, refusal("Invalid Refresh Token"), Times::Once);
    process.store.fail_as(Verb::Verdict, StoreErrorKind::Rejected);

    process.auth.access_token(&acme()).await.unwrap_err();
    stage.live(seconds(30)).await;

    assert_eq!(process.store.calls(Verb::Verdict), 2);
    assert_eq!(log.lines("it is given up").len(), 1);
    // The claim's lease ends by itself.
    stage.live(seconds(40)).await;
    process.token(&acme()).await;
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_log_tells_the_innermost_cause_and_no_line_twice() {
    for verb in Verb::ALL {
        let stage = Stage::new().await;
        let process = stage.process_with(|builder| builder);
        stage.opt_in(&process, &acme()).await;
        process.token(&acme()).await;
        let (log, guard) = Log::of_this_test();
        process.store.fail(verb, Moment::Before);
        process.auth.deliver("mails", |_: Event| async { Ok(()) }).unwrap();
        let mut stream = process.auth.event_stream(None);
        let following = tokio::spawn(async move {
            for _ in 0..1000 {
                let _ = stream.next().await;
            }
        });
        stage.live(seconds(60)).await;
        exercise(&stage, &process).await;
        stage.live(seconds(60)).await;
        following.abort();
        drop(guard);

        // Failures of a caller's own request are reported to that caller.
        let is_told_to_the_caller = matches!(
            verb,
            Verb::PutConsent | Verb::UseConsent | Verb::Remove | Verb::List | Verb::Notify | Verb::Postpone
        );
        let causes = log.lines(CAUSE);
        assert_eq!(causes.is_empty(), is_told_to_the_caller, "{verb:?}: {causes:#?}");
        assert_eq!(
            log.lines("the store cannot be reached; try again").len(),
            causes.len(),
            "{verb:?}: without its cause"
        );
        if !matches!(verb, Verb::Load | Verb::Claim | Verb::Append) {
            assert!(causes.len() <= 2, "{verb:?}: {causes:#?}");
        }
    }
}

/// Another system's tokens.
fn kept(stage: &Stage) -> ImportedTokens {
    ImportedTokens::new(stage.ups.opt_in_elsewhere(FakeUps::USER).refresh_token).unwrap()
}

/// Does everything that a process can do.
async fn exercise(stage: &Stage, process: &Process) {
    let _ = process.auth.companies(CompanyQuery::default()).await;
    let _ = process.auth.after_restore().await;
    stage.ups.fault(Endpoint::Token, refusal("Nobody knows"), Times::Once);
    if let Ok(trip) = process.auth.authenticate(&company("another"), &ada()).await {
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let _ = process.auth.callback(&ada(), &query, &trip.browser_secret).await;
    }
    if let Ok(trip) = process.auth.authenticate(&company("third"), &ada()).await {
        let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
        let _ = process.auth.callback(&ada(), &query, &trip.browser_secret).await;
    }
    let _ = process.auth.import(&company("moved"), &ada(), kept(stage)).await;
    stage.access_tokens_end();
    let _ = process.auth.access_token(&acme()).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, refusal("Nobody knows"), Times::Once);
    let _ = process.auth.access_token(&acme()).await;
    stage.live(seconds(60)).await;
    stage.access_tokens_end();
    stage.ups.fault(Endpoint::Refresh, refusal("Invalid Refresh Token"), Times::Once);
    let _ = process.auth.access_token(&acme()).await;
    let _ = process.auth.remove_auth(&company("third"), &ada()).await;
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_why_ups_cannot_be_reached() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    stage.opt_in(&stage.process(), &acme()).await;
    let process = stage.process();
    process.http.answer_by(|_| Some(Err(HttpError::not_sent().with_source(std::io::Error::other("no such name")))));
    stage.access_tokens_end();

    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(log.lines("no connection to UPS; nothing was sent: no such name").len(), 1);
}

#[tokio::test]
async fn a_deadline_of_no_time_is_refused() {
    let stage = Stage::new().await;
    let mut policy = Policy::default();
    policy.store_deadline = Duration::ZERO;

    let built = stage.ups.authenticator().store(stage.store.clone()).policy(policy).build();

    assert!(built.unwrap_err().to_string().contains("store_deadline"));
}

/// The default policy: a store call that is not answered in time is given up or repeated.
fn impatient(stage: &Stage) -> Process {
    let mut policy = Policy::default();
    policy.feed_interval = seconds(1);
    stage.process_with(|builder| builder.without_keeper().policy(policy))
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_never_answers_longer_than_max_wait() {
    let stage = Stage::new().await;
    let process = impatient(&stage);
    stage.opt_in(&process, &acme()).await;
    let trip = process.auth.authenticate(&acme(), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    stage.access_tokens_end();
    Verb::ALL.into_iter().for_each(|verb| process.store.hang(verb));
    let auth = &process.auth;
    let max_wait = policy().max_wait;

    let begun = Instant::now();
    let waits = async {
        let stored = |error: Option<StoreError>| assert_eq!(error.unwrap().kind(), StoreErrorKind::Unavailable);
        stored(auth.status(&acme()).await.err());
        stored(auth.companies(CompanyQuery::default()).await.err());
        stored(auth.events(EventFilter::default()).await.err());
        stored(auth.event_stream(None).next().await.unwrap().err());
        stored(auth.remove_auth(&acme(), &ada()).await.err());
        assert!(auth.access_token(&acme()).await.unwrap_err().is_transient());
        assert!(auth.authenticate(&acme(), &ada()).await.unwrap_err().is_transient());
        assert!(auth.import(&acme(), &ada(), kept(&stage)).await.unwrap_err().is_transient());
    };
    timeout(HOUR, waits).await.expect("a caller waits forever");
    assert!(begun.elapsed() <= max_wait * 8 + seconds(1), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let back = timeout(HOUR, async { auth.callback(&ada(), &query, &trip.browser_secret).await });
    assert!(back.await.expect("the call waits forever").unwrap_err().is_transient());
    assert!(begun.elapsed() <= max_wait + policy().request_deadline, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_after_a_restore() {
    let stage = Stage::new().await;
    let process = impatient(&stage);
    process.store.hang(Verb::Other);

    let marked = timeout(HOUR, process.auth.after_restore()).await.expect("the call waits forever");

    assert_eq!(marked.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_its_caller_gave_up_is_not_cut_off() {
    let stage = Stage::new().await;
    let process = impatient(&stage);
    stage.opt_in(&process, &acme()).await;
    let remove = process.store.hold(Verb::Remove, Moment::Before);
    let begin = process.store.hold(Verb::PutConsent, Moment::Before);
    let connect = process.store.hold(Verb::Connect, Moment::Before);

    process.auth.remove_auth(&acme(), &ada()).await.unwrap_err();
    process.auth.authenticate(&company("begun"), &ada()).await.unwrap_err();
    let trip = process.auth.authenticate(&company("back"), &ada()).await.unwrap();
    let query = stage.ups.consent(&trip.url, FakeUps::USER).await;
    let actor = ada();
    let waits = timeout(seconds(20), process.auth.callback(&actor, &query, &trip.browser_secret));
    assert!(waits.await.is_err(), "a browser that goes away");
    [remove, begin, connect].iter().for_each(|hold| hold.release());
    stage.live(seconds(1)).await;

    assert!(stage.tokens_of(&acme()).await.is_none());
    assert_eq!(process.kinds(&company("begun")).await, [EventKind::Started]);
    process.token(&company("back")).await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_never_answered_is_repeated_and_one_that_comes_home_late_counts() {
    for late in [false, true] {
        let stage = Stage::new().await;
        let process = impatient(&stage);
        stage.opt_in(&process, &acme()).await;
        stage.access_tokens_end();
        let commit = process.store.hold(Verb::Commit, Moment::Before);
        if late {
            process.store.fail(Verb::Commit, Moment::Before);
        }
        drop(process.caller(&acme()));
        commit.reached().await;
        stage.live(seconds(40)).await;
        if late {
            commit.release();
            stage.live(seconds(2)).await;
            assert_eq!(process.token(&acme()).await.revision().version, 2, "served although the store fails");
        }

        assert_eq!(stage.grant_of(&acme()).await.revision.version, 2, "late: {late}");
        assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "no doubt before the lease ends");
        let commits = process.store.calls(Verb::Commit);
        assert!(if late { commits > 5 } else { commits == 2 }, "late: {late}: {commits}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_loop_stops_for_good_at_a_store_that_does_not_answer_once() {
    let stage = Stage::new().await;
    let mut impatient = Policy::default();
    impatient.feed_interval = seconds(1);
    let process = stage.process_with(|builder| builder.policy(impatient));
    stage.opt_in(&process, &acme()).await;
    for verb in [Verb::Changes, Verb::Wake, Verb::RecordUse, Verb::Load, Verb::Claim] {
        let _never_released = process.store.hold(verb, Moment::Before);
    }
    process.token(&acme()).await;
    stage.live(seconds(180)).await;

    let calls = |verb| process.store.calls(verb);
    let before = [Verb::Changes, Verb::Wake].map(calls);
    stage.live(seconds(30)).await;
    let after = [Verb::Changes, Verb::Wake].map(calls);

    assert!(before.iter().zip(after).all(|(before, after)| *before < after), "{before:?} {after:?}");
    stage.access_tokens_end();
    stage.live(seconds(60)).await;
    process.token(&acme()).await;
}
