//! The consents of one environment: pending ones, and used and expired ones for a while.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    time::Duration,
};

use batchsuite_auth::{
    ActorId, CompanyId,
    clock::{Timestamp, later},
    ids::ConsentId,
    secret::{PkceVerifier, SecretHash},
    store2::{Consent, ConsentCaps, ConsentUse, FoundConsent, NewConsent, PendingConsent, Verifier},
};

/// How long a used or an expired consent stays known, so that its person is told what became of it.
const KNOWN_AFTER_ITS_END: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Consents {
    by_id: HashMap<ConsentId, Stored>,
    by_state: HashMap<SecretHash, ConsentId>,
    /// The unused ones, the oldest first.
    of_company: HashMap<CompanyId, Vec<ConsentId>>,
    of_actor: HashMap<ActorId, Vec<ConsentId>>,
    /// By when each is forgotten.
    by_end: BTreeSet<(Timestamp, ConsentId)>,
}

struct Stored {
    consent: Consent,
    state: SecretHash,
    verifier: Option<PkceVerifier>,
    expires_at: Timestamp,
    used: Option<ConsentUse>,
}

impl Stored {
    fn is_pending(&self, now: Timestamp) -> bool {
        self.used.is_none() && self.expires_at > now
    }

    fn known_until(&self) -> Timestamp {
        later(self.used.map_or(self.expires_at, |used| used.at), KNOWN_AFTER_ITS_END)
    }
}

impl Consents {
    /// Adds a consent, and drops the oldest ones over its caps.
    pub(super) fn put(&mut self, new: NewConsent, caps: ConsentCaps, now: Timestamp) {
        self.forget(now);
        let NewConsent { consent, state, verifier, lifetime } = new;
        let repeated = self.by_state.get(&state).copied();
        for id in repeated.into_iter().chain([consent.id]) {
            self.drop(id);
        }

        let (id, company, actor) = (consent.id, consent.company.clone(), consent.actor.clone());
        let stored = Stored { consent, state, verifier, expires_at: later(now, lifetime), used: None };
        self.by_end.insert((stored.known_until(), id));
        self.by_state.insert(state, id);
        self.by_id.insert(id, stored);
        self.of_company.entry(company.clone()).or_default().push(id);
        self.of_actor.entry(actor.clone()).or_default().push(id);

        let over_company = self.over(self.of_company.get(&company), caps.per_company, now);
        let over_actor = self.over(self.of_actor.get(&actor), caps.per_actor, now);
        for id in over_company.into_iter().chain(over_actor) {
            self.drop(id);
        }
    }

    pub(super) fn find(&self, state: &SecretHash, now: Timestamp) -> Option<FoundConsent> {
        let stored = self.by_id.get(self.by_state.get(state)?)?;
        let verifier = stored.verifier.clone().filter(|_| stored.is_pending(now));
        (stored.known_until() > now).then(|| FoundConsent {
            consent: stored.consent.clone(),
            verifier: verifier.map_or(Verifier::None, Verifier::Readable),
            expires_at: stored.expires_at,
            used: stored.used,
            as_of: now,
        })
    }

    /// Uses a consent that is pending, and erases its verifier; whether it was.
    pub(super) fn use_once(&mut self, id: ConsentId, with_event: bool, now: Timestamp) -> bool {
        let Some(stored) = self.by_id.get_mut(&id).filter(|stored| stored.is_pending(now)) else { return false };
        self.by_end.remove(&(stored.known_until(), id));
        stored.used = Some(ConsentUse { at: now, with_event });
        stored.verifier = None;
        self.by_end.insert((stored.known_until(), id));
        remove(&mut self.of_company, &stored.consent.company, id);
        remove(&mut self.of_actor, &stored.consent.actor, id);
        true
    }

    /// The pending ones of a company, the oldest first.
    pub(super) fn pending(&self, company: &CompanyId, now: Timestamp) -> Vec<PendingConsent> {
        let ids = self.of_company.get(company).into_iter().flatten();
        let pending = ids.filter_map(|id| self.by_id.get(id)).filter(|stored| stored.is_pending(now));
        pending
            .map(|Stored { consent, expires_at, .. }| PendingConsent {
                id: consent.id,
                removals: consent.removals,
                expires_at: *expires_at,
            })
            .collect()
    }

    /// The oldest pending ones of `ids` that are too many.
    fn over(&self, ids: Option<&Vec<ConsentId>>, most: usize, now: Timestamp) -> Vec<ConsentId> {
        let is_pending = |id: &&ConsentId| self.by_id.get(id).is_some_and(|stored| stored.is_pending(now));
        let mut pending: Vec<_> = ids.into_iter().flatten().filter(is_pending).copied().collect();
        pending.truncate(pending.len().saturating_sub(most));
        pending
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(&(end, id)) = self.by_end.first()
            && end <= now
        {
            self.drop(id);
        }
    }

    fn drop(&mut self, id: ConsentId) {
        let Some(stored) = self.by_id.remove(&id) else { return };
        self.by_state.remove(&stored.state);
        self.by_end.remove(&(stored.known_until(), id));
        remove(&mut self.of_company, &stored.consent.company, id);
        remove(&mut self.of_actor, &stored.consent.actor, id);
    }
}

/// Removes `id` under `key`, and the key with its last id.
fn remove<K: Hash + Eq>(index: &mut HashMap<K, Vec<ConsentId>>, key: &K, id: ConsentId) {
    if let Some(ids) = index.get_mut(key) {
        ids.retain(|other| *other != id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
