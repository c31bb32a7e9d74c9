//! When a task came by a place, and how long it took from one place to another.

use std::time::Duration;

use tokio::{
    task::{Id, try_id},
    time::Instant,
};

/// A task came by.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    task: Option<Id>,
    at: Instant,
}

impl Mark {
    /// The task that runs here is here now.
    pub(crate) fn here() -> Self {
        Self { task: try_id(), at: Instant::now() }
    }
}

/// How long it took tasks from one place to another: for each of `ends`, since the last of `starts` of the same task. An end
/// without a start is left out.
pub fn gaps(starts: &[Mark], ends: &[Mark]) -> Vec<Duration> {
    let gap = |end: &Mark| {
        let mut starts = starts.iter().rev().filter(|start| start.task == end.task);
        Some(end.at - starts.find(|start| start.at <= end.at)?.at)
    };
    ends.iter().filter_map(gap).collect()
}
