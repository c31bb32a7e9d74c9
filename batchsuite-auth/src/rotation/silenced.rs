//! The companies whose requests UPS left unanswered, or that waited for it.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::ids::CompanyId;

/// The most companies that are remembered. The pauses of others end by themselves, after minutes.
const MOST_REMEMBERED: usize = 10_000;

/// The companies whose requests UPS left unanswered, and those whose row the keeper took while UPS was out of reach, until
/// UPS answers again.
#[derive(Debug, Default)]
pub(super) struct Silenced(Mutex<BTreeSet<CompanyId>>);

impl Silenced {
    pub(super) fn remember(&self, company: &CompanyId) {
        let mut companies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if companies.len() < MOST_REMEMBERED {
            companies.insert(company.clone());
        }
    }

    pub(super) fn take(&self) -> BTreeSet<CompanyId> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
