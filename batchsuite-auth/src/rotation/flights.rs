//! The flights of a process, and its memory of rejected tokens.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::watch, time::Instant};

use crate::{
    error::TokenError,
    ids::{CompanyId, Revision},
    machine::{Demand, Mode},
    secret::AccessToken,
};

pub(super) type TokenResult = Result<AccessToken, TokenError>;
pub(super) type Landing = watch::Receiver<Option<TokenResult>>;

/// The flights of a process, by company and purpose.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<(CompanyId, Purpose), Landing, RandomState>>);

/// The purpose of a flight. Callers content with the stored token don't queue behind a refresh that replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// A token that works.
    Token,
    /// A token newer than the stored one.
    Renewal,
}

impl Purpose {
    pub(super) fn of(demand: Demand, mode: Mode) -> Self {
        match (demand, mode) {
            (Demand::Token, Mode::Foreground) => Self::Token,
            (Demand::Rejected(_) | Demand::Renew(_), _) | (_, Mode::Background) => Self::Renewal,
        }
    }
}

impl Flights {
    /// Runs `something` while no flight can start.
    pub(super) fn between_two(&self, something: impl FnOnce()) {
        let _flights = self.list();
        something();
    }

    pub(super) fn list(&self) -> MutexGuard<'_, HashMap<(CompanyId, Purpose), Landing, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokens that were fetched because an API rejected their predecessors.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<HashMap<CompanyId, (Revision, Instant)>>);

/// Above this number, expired entries are dropped.
const REMEMBERED: usize = 1024;

impl Rejections {
    /// How long `revision` must still not be replaced after a rejection.
    pub(crate) fn pause(&self, company: &CompanyId, revision: Revision, pause: Duration) -> Option<Duration> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (fetched, at) = remembered.get(company)?;
        let rest = pause.saturating_sub(at.elapsed());
        (*fetched == revision && !rest.is_zero()).then_some(rest)
    }

    pub(crate) fn remember(&self, company: &CompanyId, revision: Revision, pause: Duration) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.retain(|_, (_, at)| at.elapsed() < pause);
        }
        remembered.insert(company.clone(), (revision, Instant::now()));
    }
}
