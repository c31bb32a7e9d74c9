//! Each rotation is sent once, however many callers ask for it.

use batchsuite_auth::fake_ups::{Endpoint, Fault, Times};
use batchsuite_tests::{Backend, Worker, eventually, on_each_backend};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::stage::{World, server_that_waits_for_its_disk};

on_each_backend!(
    four_processes_with_200_callers_each_rotate_50_times_for_50_ends_of_the_access_token,
    two_processes_with_1000_companies_refresh_each_once,
    a_thousand_callers_who_are_dropped_at_any_moment_change_nothing,
    two_keepers_share_100_idle_companies_and_refresh_each_once,
    every_answer_is_stored_once_and_the_gap_between_the_two_is_told,
);

async fn four_processes_with_200_callers_each_rotate_50_times_for_50_ends_of_the_access_token(backend: Backend) {
    let world = World::with(backend).await;
    let workers = world.workers(4).await;
    world.opt_in("acme").await;

    for round in 1..=50 {
        world.access_tokens_end(&workers.iter().collect::<Vec<_>>()).await;
        let order = json!({"do": "callers", "company": "acme", "callers": 200});
        let answers = join_all(workers.iter().map(|worker| worker.ask(order.clone()))).await;

        assert_eq!((world.rotations(), world.refreshes()), (round, round));
        let first = answers[0]["tokens"].clone();
        assert!(answers.iter().all(|answer| answer["tokens"] == first && answer["errors"] == json!({})), "{answers:?}");
        let (token, callers) = first.as_object().unwrap().iter().next().unwrap();
        assert_eq!(callers, 200, "every caller has the one new token");
        world.assert_works(&json!({"token": token}));
    }
    world.end().await;
}

async fn two_processes_with_1000_companies_refresh_each_once(backend: Backend) {
    let world = World::with(backend).await;
    world.companies("acme", 1000).await;
    let workers = world.workers(2).await;

    let answers = join_all(workers.iter().map(|worker| worker.each("acme", 1000))).await;

    assert_eq!((world.rotations(), world.refreshes()), (1000, 1000));
    for answer in &answers {
        assert_eq!(answer["errors"], json!({}));
        assert_eq!(answer["tokens"].as_object().unwrap().len(), 1000, "each company has a token of its own");
    }
    assert_eq!(answers[0]["tokens"], answers[1]["tokens"], "both processes return the same tokens");
    assert_eq!(gaps(&[&workers[0], &workers[1]], "1000 at once").await.len(), 1000);
    world.end().await;
}

async fn a_thousand_callers_who_are_dropped_at_any_moment_change_nothing(backend: Backend) {
    let world = World::with(backend).await;
    world.companies("acme", 20).await;
    let workers = world.workers(2).await;
    // Half the wait of the most patient callers, so that many callers are dropped on any machine.
    world.ups.fault(Endpoint::Refresh, Fault::Delay { milliseconds: 30 }, Times::UntilCleared);

    let (mut dropped, mut rounds) = (0, 0);
    while dropped < 1000 {
        rounds += 1;
        let order = json!({"do": "drop", "company": "acme", "companies": 20, "callers": 400});
        for answer in join_all(workers.iter().map(|worker| worker.ask(order.clone()))).await {
            assert_eq!(answer["failed"], 0, "{answer}");
            dropped += answer["dropped"].as_u64().unwrap();
        }
        let order = json!({"do": "each", "company": "acme", "companies": 20});
        for answer in join_all(workers.iter().map(|worker| worker.ask(order.clone()))).await {
            assert_eq!(answer["errors"], json!({}));
            answer["tokens"].as_object().unwrap().keys().for_each(|token| world.assert_works(&json!({"token": token})));
        }
        // Every flight of a dropped caller has completed.
        assert_eq!((world.rotations(), world.refreshes()), (20 * rounds, 20 * rounds));
        assert!(rounds < 50, "too few callers are dropped: {dropped}");
        world.access_tokens_end(&[&workers[0], &workers[1]]).await;
    }
    world.end().await;
}

async fn two_keepers_share_100_idle_companies_and_refresh_each_once(backend: Backend) {
    let world = World::with(backend).await;
    world.companies("acme", 100).await;
    let keepers = [world.keeper().await, world.keeper().await];
    for keeper in &keepers {
        keeper.stop_at("after_due").await;
        keeper.is_at("after_due").await;
    }
    world.idle_weeks_pass(&[&keepers[0], &keepers[1]]).await;

    // Each keeper takes its first companies before either refreshes any.
    for keeper in &keepers {
        keeper.stop_at("after_due").await;
        keeper.go().await;
        keeper.is_at("after_due").await;
    }
    join_all(keepers.iter().map(Worker::go)).await;
    eventually("all are refreshed", async || world.rotations() >= 100).await;

    let order = json!({"do": "each", "company": "acme", "companies": 100});
    for answer in join_all(keepers.iter().map(|keeper| keeper.ask(order.clone()))).await {
        assert_eq!(answer["errors"], json!({}));
    }
    assert_eq!((world.rotations(), world.refreshes()), (100, 100));
    for keeper in &keepers {
        let share = gaps(&[keeper], "by a keeper").await.len();
        assert!((10..=90).contains(&share), "a share of {share}");
    }
    world.end().await;
}

/// The gap between the answer and its storage is the only window in which the end of a process costs an opt-in. Here
/// the database waits for its disk, as a file always does. The test prints the figures (`--nocapture`) and has no bound
/// for them, because the machine is shared.
async fn every_answer_is_stored_once_and_the_gap_between_the_two_is_told(backend: Backend) {
    let world = match backend {
        Backend::Postgres => World::on(server_that_waits_for_its_disk()).await,
        Backend::Sqlite => World::with(backend).await,
    };
    world.companies("acme", 300).await;
    let worker = world.worker().await;

    for index in 0..300 {
        world.assert_works(&worker.token(&format!("acme-{index}")).await);
    }

    assert_eq!(gaps(&[&worker], "one after the other").await.len(), 300, "each answer has its commit");
    world.end().await;
}

/// The times from an answer to its commit in microseconds, shortest first. Prints them (`--nocapture`).
async fn gaps(workers: &[&Worker], how: &str) -> Vec<u64> {
    let mut gaps = Vec::new();
    for worker in workers {
        let told = worker.ask(json!({"do": "gaps"})).await;
        gaps.extend(told["microseconds"].as_array().unwrap().iter().filter_map(Value::as_u64));
    }
    gaps.sort_unstable();
    let (median, p99, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() * 99 / 100], gaps[gaps.len() - 1]);
    #[allow(clippy::print_stderr, reason = "a measurement")]
    {
        eprintln!("from answer to commit, {how}: median {median} µs, p99 {p99} µs, longest {longest} µs");
    }
    gaps
}
