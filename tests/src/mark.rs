//! When a task passed a place, and the time between two places.

use std::time::Duration;

use tokio::{
    task::{Id, try_id},
    time::Instant,
};

/// A task passed a place.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    task: Option<Id>,
    at: Instant,
}

impl Mark {
    /// The current task, now.
    pub(crate) fn here() -> Self {
        Self { task: try_id(), at: Instant::now() }
    }
}

/// The times that tasks took from one place to another: for each of `ends`, since the same task's last mark in
/// `starts`. An end without a start is skipped.
pub fn gaps(starts: &[Mark], ends: &[Mark]) -> Vec<Duration> {
    let gap = |end: &Mark| {
        let mut starts = starts.iter().rev().filter(|start| start.task == end.task);
        Some(end.at - starts.find(|start| start.at <= end.at)?.at)
    };
    ends.iter().filter_map(gap).collect()
}
