//! The companies whose requests UPS left unanswered.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use foldhash::fast::RandomState;

use crate::ids::CompanyId;

/// The most companies that are remembered. The pauses of others end by themselves, after minutes.
const MOST_REMEMBERED: usize = 10_000;

/// The companies whose requests UPS left unanswered, until UPS answers again.
#[derive(Debug, Default)]
pub(super) struct Silenced(Mutex<HashSet<CompanyId, RandomState>>);

impl Silenced {
    pub(super) fn remember(&self, company: &CompanyId) {
        let mut companies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if companies.len() < MOST_REMEMBERED {
            companies.insert(company.clone());
        }
    }

    pub(super) fn take(&self) -> HashSet<CompanyId, RandomState> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
