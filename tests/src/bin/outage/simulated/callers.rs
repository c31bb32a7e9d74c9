//! The callers of a service.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use batchsuite_auth::BatchSuiteAuth;
use tokio::time::{MissedTickBehavior, interval};

use super::world::World;
use crate::journal::company;

/// Each company in use asks for a token about this often, and all together not more often than this each second: a
/// million would ask 1,667 times a second.
const ASKS_EVERY: Duration = Duration::from_secs(600);
const MOST_CALLS: f64 = 50.0;
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) tokens: AtomicU64,
    pub(crate) transient: AtomicU64,
    /// Callers who were told that a person must act, or something else that is wrong.
    pub(crate) wrong: AtomicU64,
}

/// Companies in use ask for tokens, in a random order and at random processes, until the world ends.
pub(crate) async fn callers(world: Arc<World>, processes: Vec<BatchSuiteAuth>, told: Arc<Told>) {
    let in_use = world.plan.in_use;
    let mut order: Vec<u32> = (0..u32::try_from(in_use).unwrap_or(u32::MAX)).collect();
    for last in (1..in_use).rev() {
        order.swap(last, world.dice().below(last + 1));
    }
    let mut next = order.iter().cycle();
    let per_tick = (in_use as f64 / ASKS_EVERY.as_secs_f64()).min(MOST_CALLS) * TICK.as_secs_f64();
    let mut due = 0.0;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        due += per_tick;
        while due >= 1.0 {
            due -= 1.0;
            let process = &processes[world.dice().below(processes.len())];
            let Some(number) = next.next() else { return };
            tokio::spawn(call(process.clone(), *number as usize, Arc::clone(&told)));
        }
    }
}

async fn call(process: BatchSuiteAuth, number: usize, told: Arc<Told>) {
    let count = match process.access_token(&company(number)).await {
        Ok(_) => &told.tokens,
        Err(error) if error.is_transient() => &told.transient,
        Err(_) => &told.wrong,
    };
    count.fetch_add(1, Relaxed);
}
