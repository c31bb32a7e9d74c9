//! Where a process can be made to stop, and how long it took from one place to another.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::Notify,
    task::{Id, try_id},
    time::Instant,
};

/// A place that a refresh, or the keeper, comes by. Its name is the one in orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    AfterLoad,
    BeforeClaim,
    AfterClaim,
    BeforeSend,
    BeforeCommit,
    AfterCommit,
    AfterSettle,
    AfterDue,
}

impl Point {
    const ALL: [(Self, &str); 8] = [
        (Self::AfterLoad, "after_load"),
        (Self::BeforeClaim, "before_claim"),
        (Self::AfterClaim, "after_claim"),
        (Self::BeforeSend, "before_send"),
        (Self::BeforeCommit, "before_commit"),
        (Self::AfterCommit, "after_commit"),
        (Self::AfterSettle, "after_settle"),
        (Self::AfterDue, "after_due"),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(point, _)| *point)
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(point, _)| *point == self).map_or("", |(_, name)| *name)
    }
}

/// Lets everybody pass but the next one at the point that was named.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Mutex<Option<Point>>,
    go: Notify,
    answers: Mutex<HashMap<Id, Instant>>,
    gaps: Mutex<Vec<Duration>>,
}

impl Gate {
    /// The next one who comes to `point` stops there.
    pub(crate) fn stop_at(&self, point: Point) {
        *lock(&self.closed) = Some(point);
    }

    /// Whoever stopped goes on.
    pub(crate) fn go(&self) {
        self.go.notify_one();
    }

    pub(crate) async fn pass(&self, point: Point) {
        let stops = lock(&self.closed).take_if(|closed| *closed == point).is_some();
        if stops {
            println!("{}", json!({"at": point.name()}));
            self.go.notified().await;
        }
    }

    /// UPS's answer has arrived in this task.
    pub(crate) fn answered(&self) {
        if let Some(task) = try_id() {
            lock(&self.answers).insert(task, Instant::now());
        }
    }

    /// What it brought is stored.
    pub(crate) fn committed(&self) {
        let answered = try_id().and_then(|task| lock(&self.answers).remove(&task));
        lock(&self.gaps).extend(answered.map(|answered| answered.elapsed()));
    }

    /// How long each answer waited for its commit.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        lock(&self.gaps).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
