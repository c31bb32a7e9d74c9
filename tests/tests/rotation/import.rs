//! Import: another system's tokens become an opt-in and never replace a newer one.

use std::time::Duration;

use batchsuite_auth::{
    AccessToken, Client, CompanyId, Imported, ImportedTokens,
    clock::Timestamp,
    error::{ImplausibleTokens, ImportError, TokenError},
    events::EventKind,
    fake_ups::{FakeUps, KeptTokens},
    machine::CauseKind,
    status::Status,
};
use batchsuite_tests::{DAY, HOUR, Moment, Process, Verb, acme, ada, company, seconds};
use tokio::task::JoinHandle;

use crate::stage::Stage;

type Import = Result<Imported, ImportError>;

/// The refresh token alone.
pub(crate) fn bare(kept: &KeptTokens) -> ImportedTokens {
    ImportedTokens::new(kept.refresh_token.clone()).unwrap()
}

pub(crate) fn dated(kept: &KeptTokens) -> ImportedTokens {
    bare(kept).with_issued_at(kept.issued_at)
}

/// All data of the other system.
pub(crate) fn whole(kept: &KeptTokens) -> ImportedTokens {
    let dated = dated(kept).with_refresh_expires_at(kept.refresh_expires_at);
    dated.with_access_token(kept.access_token.clone(), kept.expires_in).unwrap()
}

impl Stage {
    /// An opt-in at another system.
    pub(crate) fn elsewhere(&self) -> KeptTokens {
        self.ups.opt_in_elsewhere(FakeUps::USER)
    }

    /// An opt-in whose refresh token the other system has used since.
    pub(crate) fn spent(&self) -> KeptTokens {
        let kept = self.elsewhere();
        self.ups.refresh_elsewhere(&kept.refresh_token).unwrap();
        kept
    }
}

pub(crate) async fn import(process: &Process, company: &CompanyId, tokens: ImportedTokens) -> Import {
    process.auth.import(company, &ada(), tokens).await
}

pub(crate) async fn imported(process: &Process, company: &CompanyId, tokens: ImportedTokens) {
    assert_eq!(import(process, company, tokens).await.unwrap(), Imported::Stored);
}

pub(crate) fn importing(process: &Process, tokens: ImportedTokens) -> JoinHandle<Import> {
    let auth = process.auth.clone();
    tokio::spawn(async move { auth.import(&acme(), &ada(), tokens).await })
}

/// An import that has read the row and is held before its save.
pub(crate) async fn before_its_save(
    process: &Process,
    tokens: ImportedTokens,
) -> (batchsuite_tests::Hold, JoinHandle<Import>) {
    let save = process.store.hold(Verb::Import, Moment::Before);
    let import = importing(process, tokens);
    save.reached().await;
    (save, import)
}

/// Allows for the store's rounding to seconds and for the real time of a test.
#[track_caller]
fn ends_at(token: &AccessToken, end: Timestamp) {
    let difference = (token.expires_at() - end).abs();
    assert!(difference.num_seconds() <= 20, "{:?} and not {end:?}", token.expires_at());
}

async fn is_lost(process: &Process, company: &CompanyId) {
    let error = process.auth.access_token(company).await.unwrap_err();
    assert!(error.needs_reauthorization() && error.to_string().contains("another system"), "{error}");
    assert_eq!(process.cause(company).await, Some(CauseKind::RotationLost));
}

#[tokio::test(start_paused = true)]
async fn an_import_is_an_opt_in_with_its_event_and_its_token_is_handed_out() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    let kept = stage.elsewhere();

    imported(&process, &acme(), whole(&kept)).await;

    for process in [&process, &other] {
        let token = process.token(&acme()).await;
        assert_eq!(token.expose_secret(), kept.access_token.expose_secret());
        ends_at(&token, kept.issued_at + kept.expires_in);
    }
    assert_eq!(stage.refreshes(), 0);
    assert_eq!(process.store.calls(Verb::Load), 1, "the importing process has cached the token");
    let status = process.auth.status(&acme()).await.unwrap();
    let Status::Authenticated { refresh_expires_at, .. } = status.status else { panic!("{status:?}") };
    assert_eq!((refresh_expires_at, status.actor), (Some(kept.refresh_expires_at), Some(ada())));
    let events = process.events(&acme()).await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind, &events[0].actor), (EventKind::Authenticated, &Some(ada())));
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 2, "the opt-in lives on");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_alone_is_enough() {
    let stage = Stage::new().await;
    let process = stage.process();

    imported(&process, &acme(), bare(&stage.elsewhere())).await;

    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert_eq!((stage.refreshes(), stage.rotations()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_remaining_life_of_the_access_token_counts_from_the_call() {
    let stage = Stage::new().await;
    let process = stage.process();
    let kept = stage.elsewhere();
    stage.ups.clock().advance(seconds(3000));
    let tokens = dated(&kept).with_access_token(kept.access_token.clone(), seconds(600)).unwrap();
    process.store.go_away();
    let import = importing(&process, tokens);
    stage.live(seconds(60)).await;
    process.store.come_back();
    stage.live(seconds(5)).await;

    assert!(import.await.unwrap().unwrap_err().is_transient());
    ends_at(&process.token(&acme()).await, kept.issued_at + HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_the_other_system_spent_is_told_as_a_lost_rotation_and_not_as_a_password_change() {
    let stage = Stage::new().await;
    let process = stage.process();
    imported(&process, &acme(), whole(&stage.spent())).await;
    let kept = stage.elsewhere();
    imported(&process, &company("later"), whole(&kept)).await;
    // The other system was not stopped and used the token.
    stage.ups.refresh_elsewhere(&kept.refresh_token).unwrap();

    stage.access_tokens_end();

    is_lost(&process, &acme()).await;
    is_lost(&process, &company("later")).await;
}

#[tokio::test(start_paused = true)]
async fn after_its_first_clean_rotation_a_password_change_is_told_as_one() {
    let stage = Stage::new().await;
    let process = stage.process();
    imported(&process, &acme(), bare(&stage.elsewhere())).await;
    stage.ups.clock().advance(seconds(2));
    process.token(&acme()).await;

    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated));
}

/// A bad file from the other system must not stop the companies that work.
#[tokio::test(start_paused = true)]
async fn many_spent_tokens_in_a_row_do_not_stop_the_client() {
    let stage = Stage::new().await;
    let process = stage.process();
    for number in 0..10 {
        let name = company(&format!("spent-{number}"));
        imported(&process, &name, dated(&stage.spent())).await;
        is_lost(&process, &name).await;
    }

    imported(&process, &acme(), bare(&stage.elsewhere())).await;

    process.token(&acme()).await;
}

/// A rotation shows that UPS accepted the opt-in later than it issued the older tokens.
/// UPS may have refused by mistake: until it has been asked again, the refused opt-in counts.
/// A loop over all companies may be run again at any time.
#[tokio::test(start_paused = true)]
async fn what_happens_during_an_import_stays() {
    for is_removed in [true, false] {
        let stage = Stage::new().await;
        let (process, other) = (stage.process(), stage.process());
        // The import is refused because the company was removed or authenticated after the import had read the row.
        let (save, import) = before_its_save(&process, bare(&stage.elsewhere())).await;

        match is_removed {
            true => other.auth.remove_auth(&acme(), &ada()).await.unwrap(),
            false => stage.opt_in(&other, &acme()).await,
        }
        let before = stage.row(&acme()).await;
        save.release();

        let refused = import.await.unwrap();
        assert!(matches!(refused, Err(ImportError::ChangedSince)), "{refused:?}");
        assert_eq!(stage.row(&acme()).await.number, before.number);
        match is_removed {
            true => assert!(stage.tokens_of(&acme()).await.is_none()),
            false => assert_eq!(process.token(&acme()).await.revision().epoch, 1),
        }
    }
}

/// A row may change without a new opt-in or a removal.
#[tokio::test(start_paused = true)]
async fn a_row_that_another_step_changed_meanwhile_is_read_again() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let (save, import) = before_its_save(&process, whole(&stage.elsewhere())).await;

    assert_eq!(other.token(&acme()).await.revision().version, 2);
    save.release();

    assert_eq!(import.await.unwrap().unwrap(), Imported::Stored);
    assert_eq!(stage.grant_of(&acme()).await.revision.epoch, 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_tokens_again_are_found_stored_whatever_became_of_them() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    let kept = stage.elsewhere();
    imported(&process, &acme(), bare(&kept)).await;
    let again = async |when: &str| {
        for process in [&process, &other] {
            for tokens in [bare(&kept), whole(&kept)] {
                let before = stage.row(&acme()).await.number;
                assert_eq!(import(process, &acme(), tokens).await.unwrap(), Imported::AlreadyStored, "{when}");
                assert_eq!(stage.row(&acme()).await.number, before, "{when}: nothing is written");
            }
        }
    };

    again("at once").await;
    stage.ups.clock().advance(seconds(2));
    process.token(&acme()).await;
    again("after a rotation: they are spent").await;
    stage.access_tokens_end();
    process.token(&acme()).await;
    stage.ups.change_password(FakeUps::USER);
    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();
    again("after a password change").await;
    assert_eq!(process.cause(&acme()).await, Some(CauseKind::OptInInvalidated), "the cause stays");
    stage.ups.clock().advance(90 * DAY);
    again("after their own end").await;
    let kinds = process.kinds(&acme()).await;
    assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Authenticated).count(), 1, "{kinds:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_removal_the_same_tokens_are_a_new_import_and_nothing_from_before_counts() {
    let stage = Stage::new().await;
    let process = stage.process();
    let kept = stage.elsewhere();
    imported(&process, &acme(), bare(&kept)).await;
    let answer = process.http.hold_answer();
    let caller = process.caller(&acme());
    answer.reached().await;

    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    imported(&process, &acme(), bare(&kept)).await;
    answer.release();

    assert!(caller.await.unwrap().is_err());
    assert_eq!(stage.grant_of(&acme()).await.revision.version, 1, "the pair from before the removal is discarded");
    is_lost(&process, &acme()).await;
}

#[tokio::test(start_paused = true)]
async fn two_imports_of_the_same_tokens_at_once_are_one_opt_in() {
    let stage = Stage::new().await;
    let (process, other) = (stage.process(), stage.process());
    let kept = stage.elsewhere();
    let (first_save, first) = before_its_save(&process, bare(&kept)).await;
    let (second_save, second) = before_its_save(&other, bare(&kept)).await;

    second_save.release();
    assert_eq!(second.await.unwrap().unwrap(), Imported::Stored);
    first_save.release();

    assert_eq!(first.await.unwrap().unwrap(), Imported::AlreadyStored);
    assert_eq!(process.kinds(&acme()).await, [EventKind::Authenticated]);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_dated_in_the_future_or_have_ended_are_refused() {
    let stage = Stage::new().await;
    let process = stage.process();
    let kept = stage.elsewhere();
    let tolerance = seconds(300);
    for (tokens, has_ended) in [
        (bare(&kept).with_issued_at(kept.issued_at + tolerance + seconds(1)), false),
        (bare(&kept).with_issued_at(kept.issued_at + 365 * DAY), false),
        (dated(&kept).with_refresh_expires_at(kept.issued_at), true),
        (dated(&kept).with_refresh_expires_at(kept.issued_at - DAY), true),
    ] {
        let refused = import(&process, &acme(), tokens.clone()).await;
        let is_right = match has_ended {
            true => matches!(refused, Err(ImportError::Ended)),
            false => matches!(refused, Err(ImportError::Implausible(ImplausibleTokens::IssuedAhead))),
        };
        assert!(is_right, "{tokens:?}: {refused:?}");
    }
    assert_eq!(stage.row(&acme()).await.number, batchsuite_auth::store::RowNumber::NEVER_SAVED);

    imported(&process, &acme(), bare(&kept).with_issued_at(kept.issued_at + tolerance)).await;
}

/// With seconds in place of milliseconds, every token would have expired in 1970.
#[tokio::test(start_paused = true)]
async fn tokens_that_are_dated_before_any_that_could_live_are_a_mistake_of_the_export_and_have_not_ended() {
    let stage = Stage::new().await;
    let process = stage.process();
    let kept = stage.elsewhere();
    let seconds_for_milliseconds = Timestamp::from_timestamp_millis(kept.issued_at.timestamp()).unwrap();
    for issued_at in [seconds_for_milliseconds, Timestamp::UNIX_EPOCH, Timestamp::MIN_UTC] {
        for tokens in [bare(&kept), bare(&kept).with_refresh_expires_at(seconds_for_milliseconds + 60 * DAY)] {
            let refused = import(&process, &acme(), tokens.with_issued_at(issued_at)).await;
            let is_right = matches!(refused, Err(ImportError::Implausible(ImplausibleTokens::IssuedLongAgo)));
            assert!(is_right, "{issued_at}: {refused:?}");
        }
    }
    assert_eq!(stage.row(&acme()).await.number, batchsuite_auth::store::RowNumber::NEVER_SAVED);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_far_away_counts_as_unknown() {
    let stage = Stage::new().await;
    let process = stage.process();
    let kept = stage.elsewhere();

    imported(&process, &acme(), bare(&kept).with_refresh_expires_at(kept.issued_at + 4000 * DAY)).await;

    let status = process.auth.status(&acme()).await.unwrap().status;
    assert!(matches!(status, Status::Authenticated { refresh_expires_at: None, refreshable: true, .. }), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn tokens_that_were_imported_as_another_client_are_not_used() {
    let stage = Stage::new().await;
    let wrong = stage.process_as(Client::new("mistyped", FakeUps::CLIENT_SECRET));
    let kept = stage.elsewhere();
    imported(&wrong, &acme(), dated(&kept)).await;
    let right = stage.process();

    let error = right.auth.access_token(&acme()).await.unwrap_err();
    assert!(matches!(&error, TokenError::ReauthRequired(cause) if cause.kind == CauseKind::ClientChanged), "{error:?}");
    assert_eq!(stage.refreshes(), 0);

    right.auth.remove_auth(&acme(), &ada()).await.unwrap();
    imported(&right, &acme(), dated(&kept)).await;
    right.token(&acme()).await;
}

/// No process ran when the renewal was due. That does not count as a failure.
#[tokio::test(start_paused = true)]
async fn an_import_without_an_access_token_that_is_renewed_late_warns_nobody() {
    let stage = Stage::new().await;
    let kept = stage.elsewhere();
    stage.ups.clock().advance(54 * DAY);
    let tokens = dated(&kept).with_refresh_expires_at(kept.refresh_expires_at);
    imported(&stage.process(), &acme(), tokens).await;
    stage.ups.clock().advance(5 * DAY + 8 * HOUR);

    let process = stage.process_with(|builder| builder);
    stage.live(seconds(60)).await;

    assert_eq!(process.kinds(&acme()).await, [EventKind::Authenticated, EventKind::Refreshed]);
}

#[tokio::test(start_paused = true)]
async fn no_time_and_no_duration_makes_an_import_panic() {
    let stage = Stage::new().await;
    let process = stage.process();
    for (number, time) in [Timestamp::MIN_UTC, Timestamp::MAX_UTC, Timestamp::UNIX_EPOCH].into_iter().enumerate() {
        let kept = stage.elsewhere();
        let endless = bare(&kept).with_access_token(kept.access_token.clone(), Duration::MAX).unwrap();
        for tokens in [endless.clone().with_issued_at(time), endless.clone().with_refresh_expires_at(time)] {
            let _ = import(&process, &acme(), tokens.with_issued_at(time)).await;
        }
        let company = company(&format!("company-{number}"));
        imported(&process, &company, endless).await;
        let token = process.token(&company).await;
        assert!(token.expires_at() <= kept.issued_at + 3651 * DAY, "{:?}", token.expires_at());
    }
}
