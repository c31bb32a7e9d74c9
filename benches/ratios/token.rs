//! Cached tokens, beside the hand-written floor.

use std::{hint::black_box, sync::Arc, thread, time::Duration};

use batchsuite_auth::{BatchSuiteAuth, CompanyId};
use batchsuite_benches::{
    companies,
    floor::Floor,
    measure::{Pace, Shuffled, median, nanoseconds, now},
    report,
};
use tokio::runtime::Runtime;

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    let runtime = Runtime::new().expect("a runtime");
    for (row, number) in [("token/floor/1k", 1000), ("token/floor/100k", 100_000), ("token/floor/1m", 1_000_000)] {
        beside_the_floor(&runtime, pace.in_short_batches(), row, number);
    }
    on_two_threads(&runtime, pace);
    p99(&runtime, pace);
}

fn beside_the_floor(runtime: &Runtime, pace: Pace, row: &str, number: usize) {
    let names = companies::names(number);
    let auth = runtime.block_on(companies::cached(&names));
    let floor = Floor::of(&names);
    let (mut for_ours, mut for_floor) = (Shuffled::below(number), Shuffled::below(number));

    let mut ours = |operations| runtime.block_on(companies::tokens(&auth, &names, &mut for_ours, operations));
    let mut reference = |operations| {
        // The same runtime as ours.
        runtime.block_on(async {
            for _ in 0..operations {
                black_box(floor.token(&names[for_floor.index()]).expect("a token"));
            }
        });
    };
    let [ours, reference] = pace.medians([&mut ours, &mut reference]);
    report::ratio(row, ours, reference);
}

/// Two threads on separate companies, and on the same company, beside one thread.
fn on_two_threads(runtime: &Runtime, pace: Pace) {
    let names = companies::names(1000);
    let auth = runtime.block_on(companies::cached(&names));
    for (row, asked) in [("token/threads", &names[..]), ("token/same", &names[..1])] {
        // Each thread gets one half of the companies. Both get the same company if there is only one.
        let halves = asked.split_at(asked.len() / 2);
        let halves = if asked.len() == 1 { [asked, asked] } else { [halves.0, halves.1] };
        let work = |share: &[CompanyId], operations| {
            runtime.block_on(companies::tokens(&auth, share, &mut Shuffled::below(share.len()), operations));
        };
        let mut together = |operations| {
            thread::scope(|scope| {
                scope.spawn(|| work(halves[0], operations));
                work(halves[1], operations);
            });
        };
        let mut alone = |operations| work(halves[0], operations);
        let [ours, reference] = pace.medians([&mut together, &mut alone]);
        report::ratio(row, ours, reference);
    }
}

/// The number of tasks for one p99, and the number of calls by each task.
const TASKS: usize = 64;
const ASKED: usize = 20_000;

/// The p99 of many tasks while another task refreshes a hundredth of the companies, beside the floor's p99.
fn p99(runtime: &Runtime, pace: Pace) {
    let names = Arc::new(companies::names(10_000));
    let auth = runtime.block_on(companies::cached(&names));
    let floor = Arc::new(Floor::of(&names));
    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    for round in 0..pace.of(9, 3) {
        let (rejecting, of_all) = (auth.clone(), Arc::clone(&names));
        let refreshing = runtime.spawn(async move {
            for company in of_all.iter().skip(round * of_all.len() / 100).take(of_all.len() / 100) {
                let token = rejecting.access_token(company).await.expect("a token");
                rejecting.report_rejected(company, &token).await.expect("another token");
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        });
        ours.push(runtime.block_on(p99_of(&names, &Side::Ours(auth.clone()))));
        runtime.block_on(refreshing).expect("the task ends");
        reference.push(runtime.block_on(p99_of(&names, &Side::Floor(Arc::clone(&floor)))));
    }
    report::ratio("token/p99", median(ours), median(reference));
}

#[derive(Clone)]
enum Side {
    Ours(BatchSuiteAuth),
    Floor(Arc<Floor>),
}

async fn p99_of(names: &Arc<Vec<CompanyId>>, side: &Side) -> f64 {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (names, side) = (Arc::clone(names), side.clone());
            tokio::spawn(async move {
                let mut order = Shuffled::below(names.len()).from(task);
                let mut times = Vec::with_capacity(ASKED);
                for asked in 0..ASKED {
                    let company = &names[order.index()];
                    let start = now();
                    match &side {
                        Side::Ours(auth) => drop(black_box(auth.access_token(company).await.expect("a token"))),
                        Side::Floor(floor) => drop(black_box(floor.token(company).expect("a token"))),
                    }
                    times.push(nanoseconds(start.elapsed(), 1));
                    if asked % 64 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                times
            })
        })
        .collect();
    let mut times = Vec::with_capacity(TASKS * ASKED);
    for task in tasks {
        times.extend(task.await.expect("the task ends"));
    }
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}
