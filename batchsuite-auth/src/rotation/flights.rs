//! The flights of a process, and its memory of rejected tokens.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{sync::watch, time::Instant};
use tracing::Span;

use crate::{
    clock::{Timestamp, earlier, later},
    error::TokenError,
    ids::{CompanyId, Revision},
    machine::{Demand, Mode, RejectedToken},
    secret::AccessToken,
};

pub(super) type TokenResult = Result<AccessToken, TokenError>;
pub(super) type Landing = watch::Receiver<Option<TokenResult>>;

/// The flights of a process, by company and purpose.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<(CompanyId, Purpose), Entry, RandomState>>);

/// An entry of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) landing: Landing,
    /// In the trace of the caller that started it.
    pub(super) span: Span,
}

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

    pub(super) fn list(&self) -> MutexGuard<'_, HashMap<(CompanyId, Purpose), Entry, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokens that were fetched because an API rejected their predecessors.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<HashMap<CompanyId, Replacement>>);

/// A token that was fetched because an API rejected its predecessor.
#[derive(Debug)]
struct Replacement {
    revision: Revision,
    at: Instant,
    /// Whether it was rejected as well.
    is_rejected: bool,
}

/// Above this number, expired entries are dropped.
const REMEMBERED: usize = 1024;

impl Rejections {
    /// How long `revision`, which an API has rejected, must still not be replaced after an earlier rejection.
    pub(crate) fn pause(&self, company: &CompanyId, revision: Revision, pause: Duration) -> Option<Duration> {
        let mut replacements = self.list();
        let replacement = replacements.get_mut(company)?;
        let rest = pause.saturating_sub(replacement.at.elapsed());
        if replacement.revision != revision || rest.is_zero() {
            return None;
        }
        replacement.is_rejected = true;
        Some(rest)
    }

    pub(crate) fn remember(&self, company: &CompanyId, revision: Revision, pause: Duration) {
        let mut replacements = self.list();
        if replacements.len() >= REMEMBERED {
            replacements.retain(|_, replacement| replacement.at.elapsed() < pause);
        }
        let replacement = Replacement { revision, at: Instant::now(), is_rejected: false };
        replacements.insert(company.clone(), replacement);
    }

    /// The company's replaced token at `now`, while its pause runs and, if that is known, it is the `current` one.
    pub(crate) fn of(
        &self,
        company: &CompanyId,
        current: Option<Revision>,
        pause: Duration,
        now: Timestamp,
    ) -> Option<RejectedToken> {
        let replacements = self.list();
        let replacement = replacements.get(company)?;
        if current.is_some_and(|current| current != replacement.revision) {
            return None;
        }
        let age = replacement.at.elapsed();
        let rejected = |rest| RejectedToken {
            since: earlier(now, age),
            until: later(now, rest),
            is_fresh: replacement.is_rejected,
        };
        pause.checked_sub(age).map(rejected)
    }

    fn list(&self) -> MutexGuard<'_, HashMap<CompanyId, Replacement>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PAUSE: Duration = Duration::from_secs(300);
    const REVISION: Revision = Revision { epoch: 1, version: 2 };

    fn company(number: usize) -> CompanyId {
        CompanyId::new(format!("company {number}")).unwrap()
    }

    fn remember(rejections: &Rejections, companies: std::ops::Range<usize>) {
        companies.for_each(|number| rejections.remember(&company(number), REVISION, PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_outlives_any_number_of_others_and_is_forgotten_when_it_is_over() {
        let rejections = Rejections::default();
        remember(&rejections, 0..1000);
        advance(PAUSE / 2).await;
        remember(&rejections, 1000..2000);
        for number in [0, 999, 1000, 1999] {
            assert!(rejections.pause(&company(number), REVISION, PAUSE).is_some(), "{number}");
        }

        advance(PAUSE / 2).await;
        remember(&rejections, 2000..2001);

        assert_eq!(rejections.list().len(), 1001, "the first thousand pauses are over");
        assert!(rejections.pause(&company(1000), REVISION, PAUSE).is_some());
    }
}
