//! The rows that wake.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    CompanyId, Environment,
    clock::Timestamp,
    store::{Row, StoreError},
};
use tokio::time::Instant;

use super::{
    PostgresStore,
    database::Parameter,
    row::{Shown, limit, readable},
};
use crate::left_out::LeftOut;

/// How many rows one call hands out at most.
const WOKEN_AT_ONCE: usize = 1000;
/// How many companies one statement marks as used, so that none takes long.
const USED_AT_ONCE: usize = 5000;
/// With fewer dead rows in the table, the whole queue is read each time.
const FEW_DEAD_ROWS: i64 = 10_000;
/// How often it is read from its head if there are more.
const FROM_THE_HEAD: Duration = Duration::from_secs(30);

impl PostgresStore {
    pub(super) async fn wake_rows(&self, environment: Environment, most: usize) -> Result<Vec<Row>, StoreError> {
        self.0.compare_keys().await?;
        let begin = self.0.queue.begin(environment);
        let parameters: &[Parameter<'_>] = &[&environment.name(), &limit(most.min(WOKEN_AT_ONCE)), &begin];
        let rows = self.0.database.rows(&self.0.statements.wake, parameters).await?;
        let mut left_out = LeftOut::of("row that wakes");
        let woken: Vec<_> = rows
            .iter()
            .filter_map(|row| readable(row, environment, &Shown::With(&self.0.vault), &mut left_out))
            .collect();
        let many_dead =
            rows.first().is_some_and(|row| row.try_get("dead").is_ok_and(|dead: i64| dead >= FEW_DEAD_ROWS));
        let overdue = woken.iter().filter_map(|row| row.wake_at.filter(|at| *at <= row.as_of)).max();
        self.0.queue.handed_out(environment, begin.is_some(), overdue.filter(|_| many_dead));
        Ok(woken)
    }

    pub(super) async fn use_of(&self, environment: Environment, companies: &[CompanyId]) -> Result<(), StoreError> {
        for companies in companies.chunks(USED_AT_ONCE) {
            let companies: Vec<&str> = companies.iter().map(CompanyId::as_str).collect();
            self.0.database.rows(&self.0.statements.record_use, &[&environment.name(), &companies]).await?;
        }
        Ok(())
    }
}

/// Where a reading of the queue begins.
///
/// A row that was dealt with leaves a dead entry behind, at the head of the index of wake times, until the server clears it away.
/// While some snapshot is held open the server cannot, and each reading would walk over all of them. So a reading begins
/// where the last one ended, and from time to time at the head again: for rows that were handed out in vain, and for
/// wake times that were set into the past.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<BTreeMap<&'static str, Reached>>);

#[derive(Clone, Copy, Debug)]
struct Reached {
    wake_at: Timestamp,
    read_from_head: Instant,
}

impl Queue {
    /// `None`: at the head.
    fn begin(&self, environment: Environment) -> Option<Timestamp> {
        let reached = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(environment.name()).copied();
        reached.filter(|reached| reached.read_from_head.elapsed() < FROM_THE_HEAD).map(|reached| reached.wake_at)
    }

    /// A reading ended at `wake_at`; `None`: it need not be remembered where.
    fn handed_out(&self, environment: Environment, from_reached: bool, wake_at: Option<Timestamp>) {
        let mut reached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reached.get(environment.name()).filter(|_| from_reached).map(|reached| reached.read_from_head);
        match wake_at {
            Some(wake_at) => {
                let read_from_head = before.unwrap_or_else(Instant::now);
                reached.insert(environment.name(), Reached { wake_at, read_from_head });
            }
            None if before.is_none() => {
                reached.remove(environment.name());
            }
            None => {}
        }
    }
}
