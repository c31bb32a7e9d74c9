//! The consents of one environment: pending ones, and expired ones for a while.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use batchsuite_auth::{
    ActorId, CompanyId,
    clock::{Timestamp, later},
    machine::{ConsentFacts, Presented, USED_CONSENT_KNOWN, UsedFacts, is_repeated},
    secret::SecretHash,
    store::{Consent, NewConsent, UsedConsent},
};

/// How long an expired consent stays known, so that its person is told that it expired.
const KNOWN_AFTER_ITS_END: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Consents {
    /// By a number that goes up with every consent, so that the smallest is the oldest.
    by_number: BTreeMap<u64, Pending>,
    by_state: HashMap<SecretHash, u64>,
    by_company: BTreeMap<CompanyId, BTreeSet<u64>>,
    by_actor: BTreeMap<ActorId, BTreeSet<u64>>,
    by_end: BTreeSet<(Timestamp, u64)>,
    last: u64,
    used: HashMap<SecretHash, Used>,
    /// The states of the used ones, in the order of their use.
    used_in_order: VecDeque<SecretHash>,
}

struct Used {
    consent: UsedConsent,
    actor: ActorId,
    browser: SecretHash,
}

struct Pending {
    consent: Consent,
    state: SecretHash,
    browser: SecretHash,
    expires_at: Timestamp,
}

impl Consents {
    /// Adds a consent, and drops the oldest ones over its caps.
    pub(super) fn add(&mut self, new: NewConsent, removals: u64, now: Timestamp) {
        self.forget_expired(now);
        // Two with one state do not happen by chance; a repeated call replaces its own.
        self.drop_state(new.state);

        self.last += 1;
        let number = self.last;
        let expires_at = later(now, new.lifetime);
        self.by_state.insert(new.state, number);
        self.by_company.entry(new.key.company.clone()).or_default().insert(number);
        self.by_actor.entry(new.actor.clone()).or_default().insert(number);
        self.by_end.insert((expires_at, number));

        let over_company = self.over(self.by_company.get(&new.key.company), number, new.per_company, now);
        let over_actor = self.over(self.by_actor.get(&new.actor), number, new.per_actor, now);
        let consent = Consent {
            id: new.id,
            key: new.key,
            actor: new.actor,
            verifier: new.verifier,
            redirect_uri: new.redirect_uri,
            client_id: new.client_id,
            return_to: new.return_to,
            removals,
            used_at: now,
        };
        self.by_number.insert(number, Pending { consent, state: new.state, browser: new.browser, expires_at });
        for number in over_company.into_iter().chain(over_actor) {
            self.drop_number(number);
        }
    }

    /// What decides who may take the consent with this state.
    pub(super) fn facts(&self, state: SecretHash) -> Option<(&CompanyId, ConsentFacts<'_>)> {
        let pending = self.by_number.get(self.by_state.get(&state)?)?;
        let facts = ConsentFacts {
            actor: &pending.consent.actor,
            browser: pending.browser,
            expires_at: pending.expires_at,
            removals: pending.consent.removals,
        };
        Some((&pending.consent.key.company, facts))
    }

    /// Takes the consent with this state out.
    pub(super) fn drop_state(&mut self, state: SecretHash) -> Option<Consent> {
        let number = *self.by_state.get(&state)?;
        self.drop_number(number)
    }

    /// Takes the consent with this state out for an exchange; it stays findable for its person and browser.
    pub(super) fn use_state(&mut self, state: SecretHash, presented: Presented<'_>, now: Timestamp) -> Option<Consent> {
        self.forget_used(now);
        let consent = self.drop_state(state)?;
        let used = UsedConsent {
            id: consent.id,
            key: consent.key.clone(),
            return_to: consent.return_to.clone(),
            removals: consent.removals,
            used_at: now,
        };
        self.used.insert(state, Used { consent: used, actor: presented.actor.clone(), browser: presented.browser });
        self.used_in_order.push_back(state);
        Some(consent)
    }

    /// The consent with this state, if the same person and browser used it before.
    pub(super) fn used(&self, state: SecretHash, presented: Presented<'_>, now: Timestamp) -> Option<UsedConsent> {
        let Used { consent, actor, browser } = self.used.get(&state)?;
        let facts = UsedFacts { actor, browser: *browser, used_at: consent.used_at };
        is_repeated(facts, presented, now).then(|| consent.clone())
    }

    fn forget_used(&mut self, now: Timestamp) {
        while let Some(state) = self.used_in_order.front()
            && self.used.get(state).is_none_or(|used| later(used.consent.used_at, USED_CONSENT_KNOWN) <= now)
        {
            self.used.remove(state);
            self.used_in_order.pop_front();
        }
    }

    /// Takes all consents of a company out.
    pub(super) fn drop_company(&mut self, company: &CompanyId) {
        for number in self.by_company.get(company).cloned().unwrap_or_default() {
            self.drop_number(number);
        }
    }

    /// Until when a consent of the company is pending.
    pub(super) fn pending_until(&self, company: &CompanyId, now: Timestamp) -> Option<Timestamp> {
        let numbers = self.by_company.get(company)?;
        let ends = numbers.iter().filter_map(|number| self.by_number.get(number)).map(|pending| pending.expires_at);
        ends.filter(|end| *end > now).max()
    }

    /// The oldest pending ones of `numbers` that are too many; `newest` is one of them and not stored yet.
    fn over(&self, numbers: Option<&BTreeSet<u64>>, newest: u64, most: usize, now: Timestamp) -> Vec<u64> {
        let is_pending = |number: &u64| {
            *number == newest || self.by_number.get(number).is_some_and(|pending| pending.expires_at > now)
        };
        let pending: Vec<u64> = numbers.into_iter().flatten().copied().filter(is_pending).collect();
        let over = pending.len().saturating_sub(most);
        pending.into_iter().take(over).collect()
    }

    fn drop_number(&mut self, number: u64) -> Option<Consent> {
        let pending = self.by_number.remove(&number)?;
        self.by_state.remove(&pending.state);
        self.by_end.remove(&(pending.expires_at, number));
        remove_from(&mut self.by_company, &pending.consent.key.company, number);
        remove_from(&mut self.by_actor, &pending.consent.actor, number);
        Some(pending.consent)
    }

    fn forget_expired(&mut self, now: Timestamp) {
        while let Some(&(end, number)) = self.by_end.first()
            && later(end, KNOWN_AFTER_ITS_END) <= now
        {
            self.drop_number(number);
        }
    }
}

/// Removes `number` under `key`, and the key with its last number.
fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, number: u64) {
    if let Some(numbers) = index.get_mut(key) {
        numbers.remove(&number);
        if numbers.is_empty() {
            index.remove(key);
        }
    }
}
