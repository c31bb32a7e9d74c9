//! A store that has lost rotations: a restored backup, or a fail-over to a server without them.

use batchsuite_auth::{
    machine::CauseKind,
    store::{ListedAs, Row, Saved, Store, StoredTokens, Swap, TokenChange, Wake},
};
use batchsuite_tests::{DAY, Process, acme, seconds};

use crate::stage::Stage;

/// Two rotations of acme. The store has lost the second.
async fn set_back(stage: &Stage, process: &Process) {
    stage.opt_in(process, &acme()).await;
    process.token(&acme()).await;
    let before = stage.row(&acme()).await;
    stage.access_tokens_end();
    assert_eq!(process.token(&acme()).await.revision().version, 2);
    put_back(stage, before).await;
}

/// Restores the row, except for its number, which never repeats.
async fn put_back(stage: &Stage, row: Row) {
    let StoredTokens::Readable(tokens) = row.tokens else { panic!("{:?}", row.tokens) };
    let swap = Swap {
        expected: stage.row(&acme()).await.number,
        decided_at: None,
        step: "test",
        document: row.document,
        revision: row.revision,
        listed_as: ListedAs::Authenticated,
        tokens: TokenChange::Replace(tokens),
        wake: Some(Wake { at: row.wake_at, if_used: None }),
        used_at: row.used_at,
        events: Vec::new(),
        announce: false,
        key: row.key,
    };
    assert!(matches!(stage.store.save(swap).await, Ok(Saved::Yes { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_saw_a_later_rotation_tells_a_spent_token_as_a_lost_rotation() {
    let stage = Stage::new().await;
    let process = stage.process();
    set_back(&stage, &process).await;

    stage.access_tokens_end();
    process.auth.access_token(&acme()).await.unwrap_err();

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
}

#[tokio::test(start_paused = true)]
async fn a_keeper_that_saw_a_later_rotation_does_so_too() {
    let stage = Stage::new().await;
    let process = stage.process_with(|builder| builder);
    set_back(&stage, &process).await;

    stage.ups.clock().advance(55 * DAY);
    stage.live(seconds(30)).await;

    assert_eq!(process.cause(&acme()).await, Some(CauseKind::RotationLost));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_set_back_and_whose_token_is_good_after_all_works_on() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    process.token(&acme()).await;
    let second = stage.row(&acme()).await;
    // The store has lost only its record of a third rotation, which UPS never made.
    stage.access_tokens_end();
    process.token(&acme()).await;
    let third = stage.row(&acme()).await;
    put_back(&stage, Row { document: second.document, revision: second.revision, ..third }).await;

    stage.access_tokens_end();

    assert_eq!(process.token(&acme()).await.revision().version, 3);
    assert!(stage.grant_of(&acme()).await.unanswered.is_none());
}
