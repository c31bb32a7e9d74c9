//! One environment's companies, consents and events, and the verbs that change them.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Timestamp, earlier, later},
    events::{Event, EventId, EventKind, Evidence},
    ids::{AttemptId, Revision},
    machine::{self, OptIn, Presented, Refusal, Standing, Verdict, judge_consent},
    status::CompanyStatus,
    store::{
        Changes, ClaimRefresh, Claimed, CommitRefresh, Committed, Connect, Connected, DueQuery, EventQuery, GiveBack,
        GrantKey, ListQuery, NewConsent, NewEvent, NewPair, Page, SettleRefresh, Snapshot, StoreError, TakeConsent,
        TakenConsent, Tokens, WarnExpiring, Written,
    },
};

use super::{
    consents::Consents,
    index::{Entry, Index},
    log::Log,
    row::Row,
};

/// Every method is one verb of the contract, called inside the critical section with its time.
pub(super) struct Ledger {
    environment: Environment,
    rows: BTreeMap<CompanyId, Row>,
    consents: Consents,
    log: Log,
    index: Index,
}

impl Ledger {
    pub(super) fn new(environment: Environment) -> Self {
        Self {
            environment,
            rows: BTreeMap::new(),
            consents: Consents::default(),
            log: Log::default(),
            index: Index::default(),
        }
    }

    pub(super) fn companies(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn latest_event(&self) -> EventId {
        self.log.last()
    }

    pub(super) fn begin_consent(&mut self, consent: NewConsent, now: Timestamp) {
        let (company, actor) = (consent.key.company.clone(), consent.actor.clone());
        self.change(&company, now, |_| ());
        self.consents.add(consent, self.opt_in(&company).removals, now);
        self.tell(Some(&company), Some(actor), EventKind::Started, None, now);
    }

    pub(super) fn take_consent(&mut self, take: TakeConsent, now: Timestamp) -> TakenConsent {
        let presented = Presented { actor: &take.actor, browser: take.browser };
        let Some((company, facts)) = self.consents.facts(take.state) else {
            let used = self.consents.used(take.state, presented, now);
            return used.map_or(TakenConsent::Unknown, |used| TakenConsent::Used(Box::new(used)));
        };
        if let Err(refusal) = judge_consent(facts, presented, self.opt_in(company).removals, now) {
            if refusal.consumes() {
                self.consents.drop_state(take.state);
            }
            return TakenConsent::Refused(refusal);
        }
        let consent = match take.event {
            // It comes to nothing: there is nothing to lead anybody to.
            Some(_) => self.consents.drop_state(take.state),
            None => self.consents.use_state(take.state, presented, now),
        };
        let Some(mut consent) = consent else { return TakenConsent::Unknown };
        if let Some((kind, evidence)) = take.event {
            self.tell(Some(&consent.key.company), Some(take.actor), kind, evidence, now);
        }
        consent.used_at = now;
        TakenConsent::Taken(Box::new(consent))
    }

    pub(super) fn connect(&mut self, connect: Connect, now: Timestamp) -> Connected {
        let company = connect.key.company.clone();
        let event = machine::Event::Connect {
            consent: connect.consent,
            removals: connect.removals,
            issued_at: connect.issued_at.unwrap_or_else(|| earlier(now, connect.pair.age)),
            turn: connect.turn(&self.snapshot(&company, now)),
        };
        let opt_in = match self.opt_in(&company).on(&event, now) {
            Ok(transition) => transition.to,
            Err(Refusal::RemovedSince) => return Connected::RemovedSince,
            Err(Refusal::AlreadyConnected) => return Connected::AlreadyStored(self.boxed(&company, now)),
            Err(_) => return Connected::Superseded(self.boxed(&company, now)),
        };
        let event = (Some(connect.actor.clone()), EventKind::Authenticated, None);
        self.change_and_tell(&company, event, now, |row| {
            let grant = Snapshot {
                opt_in,
                tokens: Some(Tokens::of_pair(connect.pair, None, now)),
                client_id: Some(connect.client_id),
                actor: Some(connect.actor),
                authenticated_at: Some(now),
                failures: connect.failures,
                ..Snapshot::empty(connect.key, now)
            };
            row.begin_anew(grant);
        });
        Connected::Stored(self.boxed(&company, now))
    }

    /// The grant as of now. (`load` and the answers of the writing verbs.)
    pub(super) fn snapshot(&self, company: &CompanyId, now: Timestamp) -> Snapshot {
        let key = GrantKey { environment: self.environment, company: company.clone() };
        let grant = self.rows.get(company).map_or_else(|| Snapshot::empty(key, now), |row| row.grant.clone());
        Snapshot { as_of: now, consent_pending_until: self.consents.pending_until(company, now), ..grant }
    }

    pub(super) fn claim_refresh(&mut self, claim: &ClaimRefresh, now: Timestamp) -> Claimed {
        let ClaimRefresh { revision, attempt, lease, .. } = *claim;
        let event = machine::Event::Claim { revision, attempt, lease };
        let row = self.rows.get(&claim.key.company);
        if row.is_some_and(|row| row.grant.facts("").paused_until(now).is_some()) {
            return Claimed::Lost;
        }
        match self.opt_in(&claim.key.company).on(&event, now) {
            Ok(transition) => {
                self.change(&claim.key.company, now, |row| row.apply(transition));
                Claimed::Yes
            }
            Err(_) => Claimed::Lost,
        }
    }

    pub(super) fn give_back(&mut self, give_back: GiveBack, now: Timestamp) -> Written {
        let GiveBack { key: GrantKey { company, .. }, revision, attempt, retry_in, event } = give_back;
        let Ok(transition) = self.opt_in(&company).on(&machine::Event::GiveBack { revision, attempt }, now) else {
            return Written::No;
        };
        self.change(&company, now, |row| {
            row.apply(transition);
            row.grant.retry_at = Some(later(now, retry_in));
            row.grant.failures = row.grant.failures.saturating_add(u32::from(event.is_some()));
        });
        if let Some((kind, evidence)) = event {
            self.tell(Some(&company), None, kind, Some(evidence), now);
        }
        Written::Yes
    }

    pub(super) fn commit_refresh(&mut self, commit: CommitRefresh, now: Timestamp) -> Committed {
        let CommitRefresh { key: GrantKey { company, .. }, revision, attempt, pair, failures, retry_in } = commit;
        let event = machine::Event::Commit { revision, keeps_refresh_token: pair.keeps_refresh_token() };
        let before = self.opt_in(&company);
        let Ok(transition) = before.on(&event, now) else {
            return match self.holds(&company, revision, &pair) {
                true => Committed::AlreadyStored(self.boxed(&company, now)),
                false => Committed::Moved,
            };
        };
        let kind = match before.standing {
            Standing::ReauthRequired(_) => EventKind::Recovered,
            Standing::Unauthenticated | Standing::Authenticated => EventKind::Refreshed,
        };
        self.change_and_tell(&company, (None, kind, Some(evidence_of(attempt))), now, |row| {
            row.apply(transition);
            if !pair.keeps_refresh_token() {
                row.warned = None;
            }
            row.reserved_until = None;
            row.grant.tokens = Some(Tokens::of_pair(pair, row.grant.tokens.as_ref(), now));
            row.grant.cause = None;
            row.grant.failures = failures;
            row.grant.retry_at = retry_in.map(|pause| later(now, pause));
        });
        Committed::Stored(self.boxed(&company, now))
    }

    pub(super) fn settle_refresh(&mut self, settle: SettleRefresh, now: Timestamp) -> Written {
        let SettleRefresh { key: GrantKey { company, .. }, revision, attempt, verdict, evidence, retry_in } = settle;
        let Ok(transition) = self.opt_in(&company).on(&machine::Event::Settle { revision, attempt, verdict }, now)
        else {
            return Written::No;
        };
        let kind = match verdict {
            Verdict::Refused => EventKind::Invalidated,
            Verdict::Unanswered => EventKind::RefreshUnanswered,
        };
        self.change_and_tell(&company, (None, kind, Some(evidence.clone())), now, |row| {
            row.apply(transition);
            match verdict {
                Verdict::Refused => row.grant.cause = Some((now, evidence)),
                Verdict::Unanswered => {
                    let lease_end = transition.to.phase.lease_until().unwrap_or(now);
                    row.grant.retry_at = Some(later(lease_end, retry_in));
                    row.grant.failures = row.grant.failures.saturating_add(1);
                }
            }
        });
        Written::Yes
    }

    pub(super) fn remove(&mut self, company: &CompanyId, actor: &ActorId, now: Timestamp) -> Snapshot {
        // Never refused, says the machine.
        if let Ok(transition) = self.opt_in(company).on(&machine::Event::Remove, now) {
            self.consents.drop_company(company);
            self.change_and_tell(company, (Some(actor.clone()), EventKind::Removed, None), now, |row| {
                let key = row.grant.key.clone();
                row.begin_anew(Snapshot { opt_in: transition.to, ..Snapshot::empty(key, now) });
            });
        }
        self.snapshot(company, now)
    }

    pub(super) fn mark_unanswered(&mut self, now: Timestamp) -> u64 {
        let mut marked = 0;
        for row in self.rows.values_mut() {
            if let Ok(transition) = row.grant.opt_in.on(&machine::Event::Restore, now) {
                // The marks of a rotation are in no index.
                row.apply(transition);
                marked += 1;
            }
        }
        self.tell(None, None, EventKind::Restored, None, now);
        marked
    }

    pub(super) fn record(&mut self, event: NewEvent, now: Timestamp) -> EventId {
        self.tell(event.company.as_ref(), event.actor, event.kind, event.evidence, now)
    }

    pub(super) fn due(&mut self, query: &DueQuery, now: Timestamp) -> Vec<Snapshot> {
        let since = |company: &CompanyId| Some((self.rows.get(company)?.due_since(query, now)?, company.clone()));
        let mut due = Vec::new();
        for hour in self.index.used(earlier(now, query.used_within)) {
            // In the order of their turn: later ones of this hour are none of the first.
            due.extend(hour.range(..=now).filter_map(|(_, company)| since(company)).take(query.limit));
        }
        for (_, ending) in self.index.ending() {
            due.extend(ending.range(now..=later(now, query.keep_alive)).filter_map(|(_, company)| since(company)));
        }
        due.extend(self.index.open_ended(..=earlier(now, query.keep_alive)).filter_map(since));
        let dated_ahead = self.index.is_dated_ahead_of(now);
        if dated_ahead {
            // Their turn would come when the clock has caught up. No index finds them, as this happens hardly ever.
            due.extend(self.rows.keys().filter_map(since));
        }
        due.sort_unstable();
        due.dedup();
        due.truncate(query.limit);
        if dated_ahead {
            let obtained = self.rows.values().filter_map(|row| Some(row.refreshable_times()?.obtained_at));
            self.index.latest_pair_is(obtained.max());
        }
        for (_, company) in &due {
            self.change(company, now, |row| row.reserved_until = Some(later(now, query.reserve_for)));
        }
        due.iter().map(|(_, company)| self.snapshot(company, now)).collect()
    }

    pub(super) fn record_use(&mut self, companies: &[CompanyId], now: Timestamp) {
        for company in companies {
            if self.rows.contains_key(company) {
                self.change(company, now, |row| row.used_at = Some(now));
            }
        }
    }

    pub(super) fn warn_expiring(&mut self, query: &WarnExpiring, now: Timestamp) -> u64 {
        let windows = || query.windows.iter().copied().chain([Duration::ZERO]);
        let mut due = Vec::new();
        for (raised, ending) in self.index.ending() {
            // What was raised already is not looked at.
            let next = windows().filter(|window| raised.is_none_or(|raised| *window < raised)).max();
            let entered = next.into_iter().flat_map(|next| ending.range(..=later(now, next)));
            let warned = entered.filter_map(|(end, company)| {
                Some((end, company.clone(), self.rows.get(company)?.warning(query, now)?))
            });
            due.extend(warned.take(query.limit));
        }
        due.sort_unstable();
        due.truncate(query.limit);
        for (_, company, window) in &due {
            self.change(company, now, |row| row.warned = Some(*window));
            let kind = if window.is_zero() { EventKind::Expired } else { EventKind::ExpiringSoon };
            self.tell(Some(company), None, kind, None, now);
        }
        due.len() as u64
    }

    pub(super) fn list(&mut self, query: &ListQuery, now: Timestamp) -> Page<CompanyStatus, CompanyId> {
        let consents = &self.consents;
        let from = query.after.as_ref().map_or(Unbounded, Excluded);
        let mut matching = self.rows.range_mut::<CompanyId, _>((from, Unbounded)).filter_map(|(company, row)| {
            row.grant.as_of = now;
            let mut status = row.grant.status(&query.client_id, query.warning_window);
            let accepted = query.filter.is_none_or(|filter| filter.accepts(&status.status));
            status.consent_pending_until = accepted.then(|| consents.pending_until(company, now)).flatten();
            accepted.then_some(status)
        });
        let items: Vec<_> = matching.by_ref().take(query.limit).collect();
        let next = match matching.next() {
            Some(_) => items.last().map(|status| status.company.clone()),
            None => None,
        };
        Page { items, next }
    }

    pub(super) fn events(&self, query: &EventQuery) -> Result<Page<Event, EventId>, StoreError> {
        self.log.read(query)
    }

    pub(super) fn prune_events(&mut self, older_than: Duration, now: Timestamp) -> u64 {
        self.log.prune(earlier(now, older_than))
    }

    pub(super) fn changes(&self, after: Option<EventId>) -> Changes {
        let changed = after.into_iter().flat_map(|after| self.index.changed((Excluded(after), Unbounded)));
        Changes { changed: changed.map(|(id, company)| (company.clone(), id)).collect(), cursor: self.log.last() }
    }

    fn opt_in(&self, company: &CompanyId) -> OptIn {
        self.rows.get(company).map(|row| row.grant.opt_in).unwrap_or_default()
    }

    /// Whether the pair that replaces `revision` is the one that is stored.
    fn holds(&self, company: &CompanyId, revision: Revision, pair: &NewPair) -> bool {
        self.rows.get(company).is_some_and(|row| {
            row.grant.opt_in.revision.epoch == revision.epoch
                && row.grant.tokens.as_ref().is_some_and(|tokens| tokens.is_pair(pair))
        })
    }

    fn boxed(&self, company: &CompanyId, now: Timestamp) -> Box<Snapshot> {
        Box::new(self.snapshot(company, now))
    }

    /// Changes a company's row, which there is afterwards, and what finds it.
    fn change(&mut self, company: &CompanyId, now: Timestamp, change: impl FnOnce(&mut Row)) {
        let key = || GrantKey { environment: self.environment, company: company.clone() };
        let row = self.rows.entry(company.clone()).or_insert_with(|| Row::new(key(), now));
        let before = Entry::of(row);
        change(row);
        self.index.replace(company, before, Entry::of(row));
    }

    /// Writes an event down.
    fn tell(
        &mut self,
        company: Option<&CompanyId>,
        actor: Option<ActorId>,
        kind: EventKind,
        evidence: Option<Evidence>,
        now: Timestamp,
    ) -> EventId {
        let revision = company.map(|company| self.opt_in(company).revision).unwrap_or_default();
        self.log.append(|id| Event {
            id,
            at: now,
            environment: self.environment,
            company: company.cloned(),
            actor,
            kind,
            revision,
            evidence,
            cause: None,
        })
    }

    /// The same for a change that the change feed tells of, with its event.
    fn change_and_tell(
        &mut self,
        company: &CompanyId,
        (actor, kind, evidence): (Option<ActorId>, EventKind, Option<Evidence>),
        now: Timestamp,
        change: impl FnOnce(&mut Row),
    ) {
        let id = self.log.next();
        self.change(company, now, |row| {
            change(row);
            row.grant.change = id;
        });
        self.tell(Some(company), actor, kind, evidence, now);
    }
}

fn evidence_of(attempt: AttemptId) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.attempt = Some(attempt);
    evidence
}
