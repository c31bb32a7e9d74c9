//! The queue while a transaction holds a snapshot open, so that vacuum removes no dead rows.

use std::time::Duration;

use batchsuite_auth::{
    Environment,
    clock::{Clock as _, SystemClock, later},
    ids::Revision,
    store::{Row, Saved, Store as _, Swap, TokenChange, Wake},
};
use batchsuite_benches::{
    companies::{ACCESS_LENGTH, REFRESH_LENGTH, text_of},
    life::tokens,
    measure::{median, nanoseconds, now},
    report,
};
use batchsuite_store::PostgresStore;
use tokio::{task::JoinSet, time::interval};

use super::{
    Bed, Saves,
    pgbench::Mode,
    rounds::{CLIENTS, WOKEN_AT_ONCE},
};

/// The refresh rate of a keeper with 1,000,000 companies.
const REFRESHES_A_SECOND: f64 = 370.0;

impl Bed {
    /// Measures the keeper's work without a snapshot, and then with an open snapshot.
    pub(super) fn snapshot(&self) {
        let [alone, held] = self.pace.of([60, 600], [15, 15]).map(Duration::from_secs);
        let store = self.store("many", Mode::Prepared);
        let [without, with] = self.runtime.block_on(async {
            let client = self.server.client().await;
            client.batch_execute("VACUUM many.grants").await.expect("a vacuum");
            let without = self.keep(&store, alone).await;
            client.batch_execute("VACUUM many.grants").await.expect("a vacuum");
            let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM many.grants LIMIT 1";
            client.batch_execute(snapshot).await.expect("a snapshot");
            let with = self.keep(&store, held).await;
            client.batch_execute("COMMIT").await.expect("the snapshot ends");
            [without, with]
        });
        told("no snapshot", alone, &without);
        told("a snapshot", held, &with);
        let [with, without] = [with, without].map(|times| median(late(&times)));
        report::ratio("store/snapshot/wake100", with, without);
    }

    /// Wakes rows and refreshes them at that rate. Returns the nanoseconds that each `wake` took.
    async fn keep(&self, store: &PostgresStore, watched: Duration) -> Vec<f64> {
        super::ours::connect(store).await;
        let mut rounds = interval(Duration::from_secs_f64(WOKEN_AT_ONCE as f64 / REFRESHES_A_SECOND));
        let (start, mut times) = (now(), Vec::new());
        while start.elapsed() < watched {
            rounds.tick().await;
            let asked = now();
            let rows = store.wake(Environment::Cie, WOKEN_AT_ONCE as usize).await.expect("the store answers");
            times.push(nanoseconds(asked.elapsed(), 1));
            assert_eq!(rows.len() as u64, WOKEN_AT_ONCE, "enough rows are due");
            let mut refreshes = JoinSet::new();
            for rows in rows.chunks(rows.len().div_ceil(CLIENTS as usize)) {
                let swaps: Vec<_> = rows.iter().map(|row| refresh(&self.saves, row)).collect();
                refreshes.spawn(saved(store.clone(), swaps));
            }
            refreshes.join_all().await;
        }
        times
    }
}

/// The second half, after dead rows have accumulated.
fn late(times: &[f64]) -> Vec<f64> {
    times[times.len() / 2..].to_vec()
}

/// Notes the rate, and the times that the median hides: now and then, a read begins at the head of the queue.
fn told(name: &str, watched: Duration, times: &[f64]) {
    let late = late(times);
    report::note(format_args!(
        "store/snapshot: {name} for {} s: {:.0} refreshes a second; wake in the second half: median {:.1} ms, mean {:.1} ms, \
         longest {:.1} ms",
        watched.as_secs(),
        times.len() as f64 * WOKEN_AT_ONCE as f64 / watched.as_secs_f64(),
        median(late.clone()) / 1e6,
        late.iter().sum::<f64>() / late.len() as f64 / 1e6,
        late.iter().copied().fold(0.0, f64::max) / 1e6,
    ));
}

/// The claim of a woken row, and the commit that follows.
fn refresh(saves: &Saves, row: &Row) -> [Swap; 2] {
    let now = SystemClock.now();
    let (key, expected, revision) = (row.key.clone(), row.number, row.revision);
    let claim = Swap { key: key.clone(), expected, decided_at: Some(now), revision, ..saves.claim.clone() };
    let tomorrow = Wake { at: Some(later(now, Duration::from_secs(86_400))), if_used: None };
    let commit = Swap {
        key,
        revision: Revision { version: revision.version + 1, ..revision },
        tokens: TokenChange::Replace(tokens(text_of(ACCESS_LENGTH), text_of(REFRESH_LENGTH))),
        wake: Some(tomorrow),
        used_at: row.used_at,
        ..saves.commit.clone()
    };
    [claim, commit]
}

async fn saved(store: PostgresStore, swaps: Vec<[Swap; 2]>) {
    for [claim, commit] in swaps {
        let Saved::Yes { number, .. } = store.save(claim).await.expect("the store answers") else {
            panic!("there is no other writer");
        };
        let committed = store.save(Swap { expected: number, ..commit }).await.expect("the store answers");
        assert!(matches!(committed, Saved::Yes { .. }), "nobody else writes");
    }
}
