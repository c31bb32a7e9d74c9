//! A process that stands still while UPS or the store answers: it reads the answers before it judges any deadline.

use std::time::Duration;

use batchsuite_auth::events::EventKind;
use batchsuite_tests::{Hold, Moment, Verb, acme, company, seconds};

use crate::stage::Stage;

/// The runtime reads the answers within half a second.
const TIME_TO_READ: Duration = Duration::from_millis(450);

#[tokio::test(start_paused = true)]
async fn a_pair_that_arrives_while_the_process_stands_still_is_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    let companies: Vec<_> = (0..3).map(|number| company(&format!("company {number}"))).collect();
    for company in &companies {
        stage.opt_in(&process, company).await;
    }
    stage.access_tokens_end();
    let answers: Vec<_> = companies.iter().map(|_| process.http.hold_answer()).collect();
    let callers: Vec<_> = companies.iter().map(|company| process.caller(company)).collect();
    for answer in &answers {
        answer.reached().await;
    }

    // Longer than the deadline and shorter than the lease. The fence is checked first; the answers leave the socket
    // later.
    tokio::time::advance(seconds(35)).await;
    tokio::time::sleep(TIME_TO_READ).await;
    answers.iter().for_each(Hold::release);
    for caller in callers {
        // The caller's own wait has ended, too. Whatever its result, nothing is lost.
        drop(caller.await.unwrap());
    }
    stage.live(seconds(2)).await;

    for company in &companies {
        assert_eq!(process.token(company).await.revision().version, 2, "{company}");
        assert!(!process.kinds(company).await.contains(&EventKind::RefreshUnanswered), "{company}");
    }
    assert_eq!((stage.refreshes(), stage.rotations()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_first_pair_that_arrives_while_the_process_stands_still_is_stored() {
    let stage = Stage::new().await;
    let process = stage.process();
    let (answer, callback) = stage.callback_before_the_answer(&process).await;

    tokio::time::advance(seconds(35)).await;
    tokio::time::sleep(TIME_TO_READ).await;
    answer.release();

    callback.await.unwrap().unwrap();
    process.token(&acme()).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_whose_wait_ended_while_the_process_stood_still_gets_what_arrived() {
    let stage = Stage::new().await;
    let process = stage.process();
    stage.opt_in(&process, &acme()).await;
    let (answer, caller) = stage.caller_before_the_answer(&process).await;

    tokio::time::advance(seconds(15)).await;
    tokio::time::sleep(TIME_TO_READ).await;
    answer.release();

    assert_eq!(caller.await.unwrap().unwrap().revision().version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_answered_while_the_process_stands_still_is_released_and_begun_anew() {
    let stage = Stage::new().await;
    let process = stage.process_with_policy(|policy| policy.store_deadline = seconds(30));
    stage.opt_in(&process, &acme()).await;
    stage.access_tokens_end();
    let claim = process.store.hold(Verb::Claim, Moment::After);
    let caller = process.caller(&acme());
    claim.reached().await;

    tokio::time::advance(seconds(35)).await;
    tokio::time::sleep(TIME_TO_READ).await;
    claim.release();
    drop(caller.await.unwrap());
    stage.live(seconds(2)).await;

    assert_eq!(process.token(&acme()).await.revision().version, 2);
    assert!(stage.grant_of(&acme()).await.suspect_until.is_none(), "nothing was left to a lease");
    assert_eq!(stage.refreshes(), 1);
}
