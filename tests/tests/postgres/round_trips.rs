//! The cost of a token on the wire: its round trips and their statements.

use std::{collections::BTreeMap, time::Duration};

use batchsuite_auth::{BatchSuiteAuthBuilder, Policy, store::Store};
use batchsuite_store::PostgresStoreBuilder;
use batchsuite_tests::{Gate, HOUR, wire::Wire};

use crate::stage::{CIE, Stage, new_pair, server};

/// A token that is in the store but not in the process's cache.
const MISS: &[&str] = &["load"];
/// A token that must be refreshed: one read, and the refresh's two writes.
const REFRESH: &[&str] = &["load", "save", "save_and_replace"];
/// A company that the keeper refreshes. `wake` returned its row.
const KEPT: &[&str] = &["save", "save_and_replace"];
/// The statements that a process sends once about its client.
const OF_CLIENT: &[&str] = &["load", "save_first"];
/// The keeper's other statements, once per round.
const ROUND: &[&str] = &["record_use", "wake"];

/// A store whose statements are observed. Its notifications bypass the wire, because their messages carry no name.
async fn overheard(set_up: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder) -> (Wire, Stage) {
    let wire = Wire::before(server()).await;
    // A single connection, so that only one must be opened.
    let stage = Stage::with(&wire.url(), |builder| set_up(builder.connections(1).listens_on(server().url()))).await;
    (wire, stage)
}

fn authenticator(stage: &Stage) -> BatchSuiteAuthBuilder {
    stage.process(Gate::answering(|_| new_pair()))
}

/// Checks the statements of misses and refreshes. `shown` gives their form in the store's mode.
async fn costs_of_a_caller(wire: &Wire, stage: &Stage, shown: fn(&str) -> String) {
    let auth = authenticator(stage).without_keeper().build().unwrap();
    let ended = stage.opted_in("ended", 4).await;
    stage.schema.advance(5 * HOUR).await;
    let stored = stage.opted_in("stored", 4).await;
    // The first calls prepare the connection's statements.
    for company in [&stored[0], &ended[0]] {
        auth.access_token(company).await.unwrap();
    }
    wire.round_trips();

    for (companies, expected) in [(stored, MISS), (ended, REFRESH)] {
        for company in &companies[1..] {
            auth.access_token(company).await.unwrap();
            let first = wire.round_trips();
            auth.access_token(company).await.unwrap();
            let again = wire.round_trips();

            assert_eq!(first, expected.iter().map(|statement| shown(statement)).collect::<Vec<_>>());
            assert_eq!(again, [""; 0], "the token is cached");
        }
    }
}

#[tokio::test]
async fn a_miss_is_one_round_trip_and_a_refresh_adds_a_claim_and_a_commit() {
    let (wire, stage) = overheard(|builder| builder).await;

    costs_of_a_caller(&wire, &stage, str::to_owned).await;
}

#[tokio::test]
async fn unnamed_statements_take_no_round_trip_more() {
    let (wire, stage) = overheard(PostgresStoreBuilder::unnamed_statements).await;

    costs_of_a_caller(&wire, &stage, |statement| format!("parse {statement}, {statement}")).await;
}

#[tokio::test]
async fn each_statement_is_prepared_once_a_connection() {
    let (wire, stage) = overheard(|builder| builder).await;
    let auth = authenticator(&stage).without_keeper().build().unwrap();
    let ended = stage.opted_in("ended", 2).await;
    stage.schema.advance(5 * HOUR).await;
    wire.round_trips();

    for company in &ended {
        auth.access_token(company).await.unwrap();
    }

    let prepared_first = REFRESH.iter().flat_map(|statement| [format!("parse {statement}"), (*statement).to_owned()]);
    let expected: Vec<_> = prepared_first.chain(REFRESH.iter().map(|statement| (*statement).to_owned())).collect();
    assert_eq!(wire.round_trips(), expected);
}

#[tokio::test]
async fn what_the_keeper_keeps_costs_the_same_statements_and_one_wake_for_all() {
    let (wire, stage) = overheard(|builder| builder).await;
    let number = 100;
    let kept = stage.opted_in("kept", number).await;
    stage.schema.advance(5 * HOUR).await;
    // The companies were used recently.
    stage.store.record_use(CIE, &kept).await.unwrap();
    wire.round_trips();
    let mut policy = Policy::default();
    // Longer than all refreshes take, so that there are fewer rounds than companies.
    policy.keeper_interval = Duration::from_secs(5);
    policy.refresh_rate = 1000;

    let auth = authenticator(&stage).policy(policy).build().unwrap();
    let mut counts = BTreeMap::<String, usize>::new();
    while counts.get("save_and_replace").is_none_or(|commits| *commits < number) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        for trip in wire.round_trips() {
            *counts.entry(trip).or_default() += 1;
        }
    }
    auth.shutdown().await;

    counts.retain(|trip, _| !trip.starts_with("parse "));
    let (of_rounds, of_companies): (BTreeMap<_, _>, BTreeMap<_, _>) =
        counts.into_iter().partition(|(trip, _)| ROUND.contains(&trip.as_str()));
    let of_companies: BTreeMap<_, _> =
        of_companies.into_iter().filter(|(trip, times)| *times > 1 || !OF_CLIENT.contains(&trip.as_str())).collect();
    assert_eq!(of_companies, KEPT.iter().map(|statement| ((*statement).to_owned(), number)).collect());
    assert!(of_rounds["wake"] * 10 < number, "{of_rounds:?}");
}
