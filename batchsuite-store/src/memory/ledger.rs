//! One environment's rows, consents, events and deliveries, and the verbs that need several of them.

use std::time::Duration;

use batchsuite_auth::{
    CompanyId, Environment,
    clock::{Timestamp, earlier},
    events::{Event, EventId},
    ids::{ConsentId, Revision},
    store2::{
        Changes, ConsentCaps, ListQuery, MOST_AGE, NewConsent, NewEvent, Page, Prune, Pruned, Row, RowKey, Saved,
        StoredTokens, Swap, SwapEvent, TokenChange,
    },
};

use super::{
    consents::Consents,
    deliveries::Deliveries,
    log::Log,
    rows::{Rows, Stored},
};

/// So many rows are read for one page of a list.
const MOST_READ: usize = 1_000;
/// A use so soon after the recorded one is not written.
const USE_RECORDED_FOR: Duration = Duration::from_secs(300);

/// Every method is called inside the critical section, with its time.
pub(super) struct Ledger {
    environment: Environment,
    rows: Rows,
    pub(super) consents: Consents,
    pub(super) log: Log,
    pub(super) deliveries: Deliveries,
}

impl Ledger {
    pub(super) fn new(environment: Environment) -> Self {
        Self {
            environment,
            rows: Rows::default(),
            consents: Consents::default(),
            log: Log::default(),
            deliveries: Deliveries::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn load(&self, company: &Option<CompanyId>, now: Timestamp) -> Row {
        let tokens = |row: &Stored| StoredTokens::Readable(row.tokens.clone());
        self.row(company.clone(), self.rows.find(company), tokens, now)
    }

    pub(super) fn save(&mut self, swap: Swap, now: Timestamp) -> Saved {
        let stored = self.rows.find(&swap.key.company);
        let is_late = |decided: Timestamp| (now - decided).abs().to_std().is_ok_and(|age| age > MOST_AGE);
        if stored.map(|row| row.number).unwrap_or_default() != swap.expected || swap.decided_at.is_some_and(is_late) {
            return Saved::Conflict;
        }
        let number = swap.expected.next(now);
        let company = &swap.key.company;
        let events = swap.events.into_iter();
        let last = events.map(|event| self.write(company.clone(), event, swap.revision, now)).last();
        let change = self.rows.change(company, |row| {
            row.number = number;
            row.revision = swap.revision;
            row.document = swap.document;
            row.listed_as = swap.listed_as;
            match swap.tokens {
                TokenChange::Keep => {}
                TokenChange::Replace(tokens) => row.tokens = tokens,
                TokenChange::Erase => row.tokens = Default::default(),
            }
            if let Some(wake) = swap.wake {
                let used_since = row.used_at > swap.used_at;
                row.wake_at = if used_since { earliest(wake.at, wake.if_used) } else { wake.at };
                row.wake_if_used = wake.if_used;
                row.hidden_until = None;
            }
            row.change = last.filter(|_| swap.announce).unwrap_or(row.change);
            row.change
        });
        Saved::Yes { number, change, at: now }
    }

    pub(super) fn put_consent(&mut self, consent: NewConsent, caps: ConsentCaps, event: NewEvent, now: Timestamp) {
        // Seen from now on.
        self.rows.change(&Some(consent.consent.company.clone()), |_| ());
        self.consents.put(consent, caps, now);
        self.append(event, now);
    }

    pub(super) fn use_consent(&mut self, id: ConsentId, event: Option<NewEvent>, now: Timestamp) -> Option<Timestamp> {
        if !self.consents.use_once(id, event.is_some(), now) {
            return None;
        }
        if let Some(event) = event {
            self.append(event, now);
        }
        Some(now)
    }

    pub(super) fn wake(&mut self, limit: usize, now: Timestamp) -> Vec<Row> {
        let woken = self.rows.wake(limit, now);
        woken.iter().map(|company| self.load(company, now)).collect()
    }

    pub(super) fn record_use(&mut self, companies: &[CompanyId], now: Timestamp) {
        for company in companies.iter().cloned().map(Some) {
            let Some(row) = self.rows.find(&company) else { continue };
            let wake_at = earliest(row.wake_at, row.wake_if_used);
            let is_recent = |used: Timestamp| (now - used).abs().to_std().is_ok_and(|age| age < USE_RECORDED_FOR);
            if wake_at == row.wake_at && row.used_at.is_some_and(is_recent) {
                continue;
            }
            self.rows.change(&company, |row| {
                row.wake_at = wake_at;
                row.used_at = Some(now);
            });
        }
    }

    pub(super) fn list(&self, query: &ListQuery, now: Timestamp) -> Page<Row, CompanyId> {
        let tokens = |_: &Stored| StoredTokens::Sealed { with_older_key: false };
        let is_wanted = |row: &Stored| {
            let wakes = row.wake_at.is_some_and(|at| at <= now);
            query.listed_as.as_ref().is_none_or(|listed| wakes || listed.contains(&row.listed_as))
        };
        let (mut items, mut next) = (Vec::new(), query.after.as_ref());
        let mut rows = self.rows.after(&query.after).peekable();
        for _ in 0..MOST_READ {
            if items.len() == query.limit {
                break;
            }
            let Some((company, row)) = rows.next() else { break };
            next = Some(company);
            if is_wanted(row) {
                items.push(self.row(Some(company.clone()), Some(row), tokens, now));
            }
        }
        Page { items, next: rows.peek().and(next).cloned() }
    }

    pub(super) fn append(&mut self, event: NewEvent, now: Timestamp) -> EventId {
        let revision = self.rows.find(&event.company).map(|row| row.revision).unwrap_or_default();
        self.write(event.company, event.event, revision, now)
    }

    pub(super) fn prune(&mut self, prune: Prune, now: Timestamp) -> Pruned {
        let passed = if prune.undelivered { None } else { self.deliveries.passed() };
        self.log.prune(earlier(now, prune.older_than), passed, prune.limit)
    }

    pub(super) fn changes(&self, after: Option<EventId>) -> Changes {
        let changed = after.into_iter().flat_map(|after| self.rows.changed_after(after));
        Changes { changed: changed.map(|(id, company)| (company.clone(), *id)).collect(), cursor: self.log.last() }
    }

    fn row(
        &self,
        company: Option<CompanyId>,
        stored: Option<&Stored>,
        tokens: impl FnOnce(&Stored) -> StoredTokens,
        now: Timestamp,
    ) -> Row {
        let consents = company.as_ref().map(|company| self.consents.pending(company, now)).unwrap_or_default();
        let empty = Row::empty(RowKey { environment: self.environment, company }, now);
        let Some(stored) = stored else { return Row { consents, ..empty } };
        let has_tokens = stored.tokens.access.is_some() || stored.tokens.refresh.is_some();
        Row {
            number: stored.number,
            revision: stored.revision,
            document: stored.document.clone(),
            tokens: if has_tokens { tokens(stored) } else { StoredTokens::None },
            change: stored.change,
            wake_at: stored.wake_at,
            used_at: stored.used_at,
            consents,
            ..empty
        }
    }

    fn write(&mut self, company: Option<CompanyId>, event: SwapEvent, revision: Revision, now: Timestamp) -> EventId {
        let SwapEvent { kind, actor, evidence, cause } = event;
        let environment = self.environment;
        self.log.append(|id| Event { id, at: now, environment, company, actor, kind, revision, evidence, cause })
    }
}

/// The earlier of two wake times; `None`: never.
fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}
