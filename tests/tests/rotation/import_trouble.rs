//! Imports that meet a dropped caller, store failures or a shutdown.

use batchsuite_auth::{
    Environment, Imported, Shutdown,
    error::ImportError,
    events::EventKind,
    store::{RowKey, StoreErrorKind},
    test_util::machine::Standing,
};
use batchsuite_tests::{HOUR, Moment, Verb, acme, ada, company, eventually, seconds};

use crate::{
    import::{bare, before_its_save, import, imported, importing, whole},
    stage::{Stage, policy},
};

#[tokio::test(start_paused = true)]
async fn an_import_whose_caller_goes_away_is_stored_also_when_the_store_was_away() {
    for is_away in [false, true] {
        let stage = Stage::new().await;
        let process = stage.process();
        let kept = stage.elsewhere();
        let (save, import) = before_its_save(&process, bare(&kept)).await;
        import.abort();
        assert!(import.await.unwrap_err().is_cancelled());
        if is_away {
            process.store.go_away();
        }
        save.release();
        stage.live(seconds(60)).await;
        process.store.come_back();
        stage.live(seconds(5)).await;

        assert_eq!(process.token(&acme()).await.revision().version, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_an_import_that_was_lost_is_found_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    let tokens = whole(&stage.elsewhere());

    process.store.fail_once(Verb::Import, Moment::After);

    assert_eq!(import(&process, &acme(), tokens).await.unwrap(), Imported::AlreadyStored);
    assert_eq!(process.kinds(&acme()).await, [EventKind::Authenticated]);
    assert_eq!(stage.grant_of(&acme()).await.revision.epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_max_wait_for_a_store_and_the_import_goes_on() {
    for hangs in [true, false] {
        let stage = Stage::new().await;
        let process = stage.process_with_policy(|policy| policy.store_deadline = seconds(30));
        match hangs {
            true => process.store.hang(Verb::Load),
            false => process.store.fail(Verb::Import, Moment::Before),
        }
        let began = tokio::time::Instant::now();

        let failed = import(&process, &acme(), bare(&stage.elsewhere())).await.unwrap_err();

        assert!(matches!(&failed, ImportError::Store(error) if error.is_transient()), "{failed:?}");
        assert!(failed.is_transient());
        assert_eq!(began.elapsed(), policy().max_wait);
        process.store.mend(Verb::Load);
        process.store.mend(Verb::Import);
        stage.live(seconds(60)).await;
        assert_eq!(stage.grant_of(&acme()).await.standing, Standing::Authenticated);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_an_operator_must_repair_is_told_at_once_and_the_import_ends() {
    for kind in [StoreErrorKind::Misconfigured, StoreErrorKind::Corrupt, StoreErrorKind::Rejected] {
        let stage = Stage::new().await;
        let process = stage.process();
        process.store.fail_as(Verb::Import, kind);

        let failed = import(&process, &acme(), bare(&stage.elsewhere())).await.unwrap_err();

        assert!(matches!(&failed, ImportError::Store(error) if error.kind() == kind), "{failed:?}");
        stage.live(seconds(60)).await;
        assert_eq!(process.store.calls(Verb::Import), 1);
        assert_eq!(process.auth.shutdown().await, Shutdown::Complete);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_an_import_and_none_begins_after_it() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.shutdown_limit = HOUR);
    process.store.fail(Verb::Import, Moment::Before);
    drop(importing(&process, bare(&stage.elsewhere())));
    eventually("the import", async || process.store.calls(Verb::Import) > 0).await;
    let auth = process.auth.clone();
    let ending = tokio::spawn(async move { auth.shutdown().await });
    tokio::time::sleep(seconds(60)).await;
    assert!(!ending.is_finished());
    process.store.mend(Verb::Import);

    assert_eq!(ending.await.unwrap(), Shutdown::Complete);
    assert_eq!(stage.grant_of(&acme()).await.standing, Standing::Authenticated);
    let late = import(&process, &company("late"), bare(&stage.elsewhere())).await;
    assert!(matches!(late, Err(ImportError::ShutDown)), "{late:?}");
    assert_eq!(stage.grant_of(&company("late")).await.standing, Standing::Unauthenticated);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_is_left_to_an_operator() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.write_document(&RowKey::company(Environment::Cie, acme()), "[]").await;
    let before = stage.row(&acme()).await;

    let failed = import(&process, &acme(), whole(&stage.elsewhere())).await.unwrap_err();

    assert!(matches!(&failed, ImportError::Store(error) if error.kind() == StoreErrorKind::Corrupt), "{failed:?}");
    assert_eq!(stage.row(&acme()).await.number, before.number);
    process.auth.remove_auth(&acme(), &ada()).await.unwrap();
    imported(&process, &acme(), whole(&stage.elsewhere())).await;
}
