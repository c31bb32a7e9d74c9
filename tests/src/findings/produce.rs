//! What has to happen so that a finding is there. Each step ends when it is.

use std::time::Duration;

use batchsuite_auth::{
    FindingKind, ImportedTokens,
    error::{TokenError, Unavailable},
    fake_ups::{Answer, Edit, Endpoint, FakeUps, Fault, Times},
    http::HttpErrorKind,
    store::StoreErrorKind,
};

use super::scene::{ANOTHER_CLIENT, Scene};
use crate::{DAY, HOUR, Moment, Process, Verb, ada, eventually, seconds};

/// More events than a diagnosis reads.
const MANY_TRIPS: usize = 60;

/// Longer than cached tokens are served without the feed.
pub(super) const FEED_LOST: Duration = Duration::from_secs(31);
/// So short that a test can wait for several.
const KEEPER_INTERVAL: Duration = Duration::from_millis(250);

/// A refusal that nobody has described.
pub(super) fn unknown_refusal() -> Answer {
    Answer::status(400).with_body(r#"{"response":{"errors":[{"code":"7","message":"On holiday"}]}}"#)
}

/// A caller asks for the company's token in vain.
async fn refused(scene: &Scene<'_>, process: &Process) -> TokenError {
    process.auth.access_token(&scene.company).await.expect_err("no token can be had")
}

/// The access token ends, and then UPS answers the refresh so.
async fn refresh_meets(scene: &Scene<'_>, process: &Process, fault: impl Into<Fault>) -> TokenError {
    scene.advance(HOUR).await;
    scene.ups.fault(Endpoint::Refresh, fault, Times::Once);
    refused(scene, process).await
}

/// The company's refresh is under way in this process, and UPS's answer does not come.
async fn refreshing(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(HOUR).await;
    let answer = process.http.hold_answer();
    drop(process.caller(&scene.company));
    answer.reached().await;
    process
}

/// Waits until the process has found this.
async fn find(scene: &Scene<'_>, process: &Process, kind: FindingKind) {
    eventually(kind.name(), async || {
        process.auth.diagnose(&scene.company).await.findings.iter().any(|finding| finding.kind == kind)
    })
    .await;
}

pub(super) async fn opt_in_invalidated(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.ups.change_password(FakeUps::USER);
    scene.advance(HOUR).await;
    assert!(refused(scene, &process).await.needs_reauthorization());
    process
}

pub(super) async fn rotation_lost(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    assert!(refresh_meets(scene, &process, Fault::DropAnswer).await.is_transient());
    scene.advance(seconds(120)).await;
    assert!(refused(scene, &process).await.needs_reauthorization());
    process
}

pub(super) async fn refresh_expired(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(61 * DAY).await;
    process
}

pub(super) async fn client_changed(scene: &Scene<'_>) -> Process {
    scene.opted_in().await;
    scene.process_of(ANOTHER_CLIENT)
}

pub(super) async fn not_renewable(scene: &Scene<'_>) -> Process {
    let edit = Edit::default().remove("refresh_token").remove("refresh_token_expires_in");
    scene.ups.fault(Endpoint::Token, edit, Times::Once);
    scene.opted_in().await
}

pub(super) async fn no_refresh_token(scene: &Scene<'_>) -> Process {
    let process = not_renewable(scene).await;
    scene.advance(HOUR).await;
    process
}

pub(super) async fn row_damaged(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.damage_row().await;
    process
}

pub(super) async fn tokens_unreadable(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.erase_tokens().await;
    process
}

pub(super) async fn expiring_soon(scene: &Scene<'_>) -> Process {
    let in_two_days = (2 * DAY).as_secs().to_string();
    let edit = Edit::default().set("refresh_token_expires_in", in_two_days);
    scene.ups.fault(Endpoint::Token, edit, Times::Once);
    scene.opted_in().await
}

pub(super) async fn refresh_abandoned(scene: &Scene<'_>) -> Process {
    // It dies as far as anybody can tell: its answer never comes.
    refreshing(scene).await;
    scene.advance(seconds(90)).await;
    scene.process()
}

pub(super) async fn refresh_under_way(scene: &Scene<'_>) -> Process {
    refreshing(scene).await
}

pub(super) async fn refresh_unanswered(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    let error = refresh_meets(scene, &process, Fault::Unavailable).await;
    assert!(matches!(error, TokenError::Unavailable { reason: Unavailable::Unanswered, .. }), "{error:?}");
    process
}

pub(super) async fn refresh_not_sent(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(HOUR).await;
    process.http.answer_next(Err(HttpErrorKind::Connect));
    let error = refused(scene, &process).await;
    assert!(matches!(error, TokenError::Unavailable { reason: Unavailable::NotSent, .. }), "{error:?}");
    process
}

pub(super) async fn refresh_rejected(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    refresh_meets(scene, &process, unknown_refusal()).await;
    process
}

pub(super) async fn tokens_unusable(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(HOUR).await;
    scene.ups.fault(Endpoint::Refresh, Edit::default().remove("access_token"), Times::UntilCleared);
    let error = refused(scene, &process).await;
    assert!(error.is_transient(), "{error:?}");
    process
}

/// So much happens after the failure that a diagnosis does not read as far back as its event.
pub(super) async fn paused(scene: &Scene<'_>) -> Process {
    let process = refresh_not_sent(scene).await;
    for _ in 0..MANY_TRIPS {
        process.auth.authenticate(&scene.company, &ada()).await.expect("a trip");
    }
    process
}

pub(super) async fn overdue(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(25 * HOUR).await;
    process
}

pub(super) async fn doubtful(scene: &Scene<'_>) -> Process {
    let process = scene.process();
    let kept = scene.ups.opt_in_elsewhere(FakeUps::USER);
    let tokens = ImportedTokens::new(kept.refresh_token).expect("a refresh token").with_issued_at(kept.issued_at);
    process.auth.import(&scene.company, &ada(), tokens).await.expect("an import");
    process
}

pub(super) async fn clock_set_back(scene: &Scene<'_>) -> Process {
    scene.opted_in().await;
    scene.set_back(HOUR).await;
    scene.process()
}

pub(super) async fn consent_pending(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    process.auth.authenticate(&scene.company, &ada()).await.expect("a trip");
    process
}

pub(super) async fn connect_link_pending(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    process.auth.connect_link(&scene.company, &ada()).await.expect("a link");
    process
}

pub(super) async fn token_rejected(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    let rejected = process.token(&scene.company).await;
    process.auth.report_rejected(&scene.company, &rejected).await.expect("a fresh token");
    process
}

pub(super) async fn fresh_token_rejected(scene: &Scene<'_>) -> Process {
    let process = token_rejected(scene).await;
    let fresh = process.token(&scene.company).await;
    process.auth.report_rejected(&scene.company, &fresh).await.expect_err("it has just been refreshed");
    process
}

/// UPS refuses, blocks or limits the client, or cannot be reached, as other companies have noticed.
pub(super) async fn ups(scene: &Scene<'_>, companies: usize, fault: impl Into<Fault>) -> Process {
    let process = scene.opted_in().await;
    scene.others_meet(&process, companies, fault).await;
    process
}

pub(super) async fn out_of_reach(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    let others = scene.others(&process, 3).await;
    scene.advance(HOUR).await;
    scene.cut(&process);
    for other in &others {
        process.auth.access_token(other).await.expect_err("UPS is out of reach");
    }
    process
}

/// The store answers the page's own questions and not the diagnosis's, so that there is a page.
pub(super) async fn store_fails(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    process.store.fail_as(Verb::Events, StoreErrorKind::Misconfigured);
    process
}

pub(super) async fn feed_stale(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    process.store.hang(Verb::Changes);
    let reads = process.store.calls(Verb::Changes);
    eventually("a read that hangs", async || process.store.calls(Verb::Changes) > reads).await;
    scene.advance(FEED_LOST).await;
    process
}

pub(super) async fn keeper_silent(scene: &Scene<'_>) -> Process {
    let process = scene.process_with_policy(|policy| policy.keeper_interval = KEEPER_INTERVAL);
    scene.opt_in(&process).await;
    process.store.hang(Verb::Wake);
    find(scene, &process, FindingKind::KeeperSilent).await;
    process
}

/// More companies than the keeper may refresh in the time of a test have waited for it; the company itself has not.
pub(super) async fn keeper_behind(scene: &Scene<'_>) -> Process {
    let first = scene.process();
    scene.others(&first, 60).await;
    // An opt-in is kept alive from three quarters of its 60 days on.
    scene.advance(46 * DAY).await;
    scene.opt_in(&first).await;
    let process = scene.process_with_policy(|policy| {
        policy.keeper_interval = KEEPER_INTERVAL;
        policy.refresh_rate = 1;
        policy.keep_alive_before_end = 30 * DAY;
    });
    find(scene, &process, FindingKind::KeeperBehind).await;
    process
}

pub(super) async fn pairs_not_stored(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    scene.advance(HOUR).await;
    process.store.fail(Verb::Commit, Moment::Before);
    drop(process.caller(&scene.company));
    find(scene, &process, FindingKind::PairsNotStored).await;
    process
}

pub(super) async fn stopping(scene: &Scene<'_>) -> Process {
    let process = scene.opted_in().await;
    process.auth.shutdown().await;
    process
}
