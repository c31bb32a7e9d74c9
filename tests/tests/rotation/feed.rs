//! The change feed: no token outlives a change by more than the bounded age.

use batchsuite_auth::{config::FeedLost, error::TokenError, store::StoreErrorKind};
use batchsuite_tests::{CAUSE, Moment, Process, Verb, acme, ada, company, eventually, log::Log, seconds};

use crate::stage::Stage;

fn is_served(process: &Process, stage: &Stage) -> impl Future<Output = bool> {
    let _ = stage;
    let auth = process.auth.clone();
    async move { auth.access_token(&acme()).await.is_ok() }
}

#[tokio::test(start_paused = true)]
async fn after_remove_auth_in_another_process_no_token_is_handed_out_once_the_feed_was_read() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    other.token(&acme()).await;

    one.auth.remove_auth(&acme(), &ada()).await.unwrap();
    stage.live(seconds(2)).await;

    assert!(matches!(other.auth.access_token(&acme()).await, Err(TokenError::NotAuthenticated)));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_in_another_process_is_served_once_the_feed_was_read() {
    let stage = Stage::new().await;
    let (one, other) = (stage.process(), stage.process());
    stage.opt_in(&one, &acme()).await;
    other.token(&acme()).await;
    let first = one.token(&acme()).await;
    one.auth.report_rejected(&acme(), &first).await.unwrap();

    stage.live(seconds(2)).await;

    assert_eq!(other.token(&acme()).await.revision().version, 2);
    assert_eq!(stage.refreshes(), 1);
}

/// A process with a cached token that can no longer read the feed; another process removes the authorization.
async fn cut_off(stage: &Stage, feed_lost: FeedLost) -> Process {
    let one = stage.process();
    let other = stage.process_with_policy(|policy| policy.feed_lost = feed_lost);
    stage.opt_in(&one, &acme()).await;
    other.store.fail(Verb::Changes, Moment::Before);
    stage.live(seconds(3)).await;
    other.token(&acme()).await;
    one.auth.remove_auth(&acme(), &ada()).await.unwrap();
    other
}

#[tokio::test(start_paused = true)]
async fn with_the_feed_lost_cached_tokens_are_served_until_they_end_by_default() {
    let stage = Stage::new().await;
    let other = cut_off(&stage, FeedLost::Serve).await;

    stage.live(seconds(300)).await;
    assert!(is_served(&other, &stage).await);
    stage.access_tokens_end();
    assert!(!is_served(&other, &stage).await);
}

#[tokio::test(start_paused = true)]
async fn with_the_feed_lost_no_cached_token_is_served_beyond_the_bounded_age_where_the_policy_refuses() {
    let stage = Stage::new().await;
    let other = cut_off(&stage, FeedLost::Refuse).await;

    stage.live(seconds(20)).await;
    assert!(is_served(&other, &stage).await, "within the bounded age");
    stage.live(seconds(11)).await;
    assert!(!is_served(&other, &stage).await);
}

#[tokio::test(start_paused = true)]
async fn what_a_process_changes_itself_does_not_count_as_a_look_at_the_feed() {
    let stage = Stage::new().await;
    let other = cut_off(&stage, FeedLost::Refuse).await;

    for number in 0..4 {
        stage.live(seconds(10)).await;
        let company = company(&format!("company {number}"));
        stage.opt_in(&other, &company).await;
        other.auth.remove_auth(&company, &ada()).await.unwrap();
    }

    assert!(!is_served(&other, &stage).await);
}

#[tokio::test(start_paused = true)]
async fn with_the_feed_back_cached_tokens_are_served_without_the_store() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.feed_lost = FeedLost::Refuse);
    stage.opt_in(&process, &acme()).await;
    process.store.fail(Verb::Changes, Moment::Before);
    stage.live(seconds(60)).await;
    process.store.mend(Verb::Changes);
    stage.live(seconds(3)).await;
    process.token(&acme()).await;
    let loads = process.store.calls(Verb::Load);

    for _ in 0..100 {
        process.token(&acme()).await;
    }

    assert_eq!(process.store.calls(Verb::Load), loads);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_first_cursor_is_read_again() {
    let stage = Stage::new().await;
    let one = stage.process();
    stage.opt_in(&one, &acme()).await;

    // This process caches a token before it knows its position in the feed; the feed does not contain a removal in
    // between.
    let other = stage.process();
    let first = other.store.hold(Verb::Changes, Moment::Before);
    other.token(&acme()).await;
    first.reached().await;
    one.auth.remove_auth(&acme(), &ada()).await.unwrap();
    first.release();
    stage.live(seconds(2)).await;

    assert!(!is_served(&other, &stage).await);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_fails_is_not_read_in_a_busy_loop() {
    let stage = Stage::new().await;
    let process = stage.process();
    process.store.fail(Verb::Changes, Moment::Before);
    eventually("the feed is read", async || process.store.calls(Verb::Changes) > 0).await;
    let calls = process.store.calls(Verb::Changes);

    stage.live(seconds(60)).await;

    assert!(process.store.calls(Verb::Changes) - calls <= 61);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_fails_is_logged_once_when_it_begins_and_once_when_it_is_over() {
    let stage = Stage::new().await;
    let (log, _guard) = Log::of_this_test();
    let process = stage.process();
    stage.live(seconds(3)).await;
    for _ in 0..2 {
        process.store.fail(Verb::Changes, Moment::Before);
        stage.live(seconds(120)).await;
        process.store.mend(Verb::Changes);
        stage.live(seconds(5)).await;
    }

    let lines = [log.lines("the store fails"), log.lines("the store works again")];
    assert_eq!(lines.each_ref().map(Vec::len), [2, 2], "{lines:#?}");
    assert!(lines[0][0].contains("reading the change feed") && lines[0][0].contains(CAUSE), "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_an_operator_must_repair_is_read_more_and_more_slowly() {
    let stage = Stage::new().await;
    let process = stage.process();
    process.store.fail_as(Verb::Changes, StoreErrorKind::Misconfigured);

    stage.live(seconds(600)).await;
    let tries = process.store.calls(Verb::Changes);
    assert!((15..=30).contains(&tries), "{tries}");
    process.store.mend(Verb::Changes);
    stage.live(seconds(30)).await;
    assert!(process.store.calls(Verb::Changes) > tries, "the feed is read again after the repair");
}

#[tokio::test(start_paused = true)]
async fn many_changes_at_once_are_read_together() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    let companies: Vec<_> = (0..20).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&other, company).await;
        process.token(company).await;
    }
    stage.live(seconds(1)).await;
    let looks = process.store.calls(Verb::Changes);

    for company in &companies {
        other.auth.remove_auth(company, &ada()).await.unwrap();
        // No time passes, but the feed could read.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    stage.live(seconds(1)).await;

    let looks = process.store.calls(Verb::Changes) - looks;
    assert!(looks < 5, "{looks} looks for {} changes", companies.len());
    for company in &companies {
        process.auth.access_token(company).await.unwrap_err();
    }
}
