//! The pending faults.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Fault, Times};
use crate::fake_ups::requests::Endpoint;

/// The pending faults by endpoint. Those of one endpoint occur in the order in which they were set.
#[derive(Debug, Default)]
pub(in crate::fake_ups) struct Faults {
    /// Lets a request without a fault take no lock.
    set: AtomicUsize,
    queues: Mutex<[VecDeque<(Fault, Times)>; Endpoint::ALL.len()]>,
}

/// The maximum number of pending faults per endpoint.
const MOST_FAULTS: usize = 1_000;

impl Faults {
    pub(in crate::fake_ups) fn push(&self, endpoint: Endpoint, fault: Fault, times: Times) -> Result<(), String> {
        fault.check(endpoint)?;
        if times == Times::Exactly(0) {
            return Ok(());
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = &mut queues[endpoint as usize];
        if queue.len() >= MOST_FAULTS {
            return Err(format!("{endpoint} has {MOST_FAULTS} faults in waiting already"));
        }
        queue.push_back((fault, times));
        self.set.fetch_add(1, Ordering::Release);
        Ok(())
    }

    pub(in crate::fake_ups) fn clear(&self, endpoint: Endpoint) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let cleared = std::mem::take(&mut queues[endpoint as usize]);
        self.set.fetch_sub(cleared.len(), Ordering::Release);
    }

    pub(in crate::fake_ups) fn clear_all(&self) {
        Endpoint::ALL.iter().copied().for_each(|endpoint| self.clear(endpoint));
    }

    /// Takes the fault to apply now, if any.
    pub(in crate::fake_ups) fn take(&self, endpoint: Endpoint) -> Option<Fault> {
        if self.set.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = &mut queues[endpoint as usize];
        let (fault, times) = queue.front_mut()?;
        match times {
            Times::UntilCleared => return Some(fault.clone()),
            Times::Exactly(left) if *left > 1 => {
                *left -= 1;
                return Some(fault.clone());
            }
            Times::Once | Times::Exactly(_) => {}
        }
        self.set.fetch_sub(1, Ordering::Release);
        queue.pop_front().map(|(fault, _)| fault)
    }

    /// The pending faults, for display.
    pub(in crate::fake_ups) fn list(&self) -> Vec<(Endpoint, Fault, Times)> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        Endpoint::ALL
            .iter()
            .copied()
            .flat_map(|endpoint| queues[endpoint as usize].iter().map(move |(f, times)| (endpoint, f.clone(), *times)))
            .collect()
    }
}
