//! The consents of one environment: pending consents, and for a while used and expired ones.

use std::collections::{BTreeMap, BTreeSet};

use batchsuite_auth::{
    ActorId, CompanyId,
    clock::{Timestamp, later},
    ids::ConsentId,
    secret::SecretHash,
    store::{ConsentCaps, ConsentUse, FoundConsent, NewConsent, PendingConsent, USED_CONSENT_KNOWN, Verifier},
};

#[derive(Default)]
pub(super) struct Consents {
    /// Keyed by a number that goes up with every consent, so the smallest key is the oldest.
    by_number: BTreeMap<u64, Stored>,
    by_place: BTreeSet<(Place, u64)>,
    last: u64,
}

struct Stored {
    found: FoundConsent,
    places: [Place; 4],
}

/// An index key of a consent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Id(ConsentId),
    State([u8; 32]),
    Company(CompanyId),
    Actor(ActorId),
}

impl Stored {
    fn is_pending(&self, now: Timestamp) -> bool {
        self.found.used.is_none() && self.found.expires_at > now
    }

    fn is_known(&self, now: Timestamp) -> bool {
        let end = self.found.used.map_or(self.found.expires_at, |used| used.at);
        later(end, USED_CONSENT_KNOWN) > now
    }
}

impl Consents {
    /// Adds a consent, drops the oldest ones beyond its caps, and forgets those that ended long ago.
    pub(super) fn put(&mut self, new: NewConsent, caps: ConsentCaps, now: Timestamp) {
        // Stops at the first consent that is still remembered. If that one has a longer lifetime, later ones that ended
        // stay a little longer.
        while let Some((&number, oldest)) = self.by_number.first_key_value()
            && !oldest.is_known(now)
        {
            self.drop(number);
        }
        let NewConsent { consent, state, verifier, lifetime } = new;
        for repeated in self.numbers(Place::State(*state.as_bytes())) {
            self.drop(repeated);
        }

        self.last += 1;
        let (company, actor) = (Place::Company(consent.company.clone()), Place::Actor(consent.actor.clone()));
        let places = [Place::Id(consent.id), Place::State(*state.as_bytes()), company.clone(), actor.clone()];
        self.by_place.extend(places.clone().map(|place| (place, self.last)));
        let verifier = verifier.map_or(Verifier::None, Verifier::Readable);
        let found = FoundConsent { consent, verifier, expires_at: later(now, lifetime), used: None, as_of: now };
        self.by_number.insert(self.last, Stored { found, places });
        for (party, most) in [(company, caps.per_company), (actor, caps.per_actor)] {
            let mut pending = self.numbers(party);
            pending.retain(|number| self.by_number.get(number).is_some_and(|stored| stored.is_pending(now)));
            pending.truncate(pending.len().saturating_sub(most));
            pending.into_iter().for_each(|oldest| self.drop(oldest));
        }
    }

    pub(super) fn find(&self, state: &SecretHash, now: Timestamp) -> Option<FoundConsent> {
        let numbers = self.numbers(Place::State(*state.as_bytes()));
        let stored = self.by_number.get(numbers.first()?).filter(|stored| stored.is_known(now))?;
        let verifier = if stored.is_pending(now) { stored.found.verifier.clone() } else { Verifier::None };
        Some(FoundConsent { verifier, as_of: now, ..stored.found.clone() })
    }

    /// Uses a consent if it is pending; returns whether it was.
    pub(super) fn use_once(&mut self, id: ConsentId, with_event: bool, now: Timestamp) -> bool {
        let numbers = self.numbers(Place::Id(id));
        let stored = numbers.first().and_then(|number| self.by_number.get_mut(number));
        let Some(stored) = stored.filter(|stored| stored.is_pending(now)) else { return false };
        stored.found.used = Some(ConsentUse { at: now, with_event });
        stored.found.verifier = Verifier::None;
        true
    }

    /// The pending consents of a company, oldest first.
    pub(super) fn pending(&self, company: &CompanyId, now: Timestamp) -> Vec<PendingConsent> {
        let numbers = self.numbers(Place::Company(company.clone()));
        let stored = numbers.iter().filter_map(|number| self.by_number.get(number));
        let pending = stored.filter(|stored| stored.is_pending(now)).map(|Stored { found, .. }| PendingConsent {
            id: found.consent.id,
            removals: found.consent.removals,
            expires_at: found.expires_at,
        });
        pending.collect()
    }

    /// The consents under an index key, oldest first.
    fn numbers(&self, place: Place) -> Vec<u64> {
        self.by_place.range((place.clone(), 0)..=(place, u64::MAX)).map(|(_, number)| *number).collect()
    }

    fn drop(&mut self, number: u64) {
        for place in self.by_number.remove(&number).into_iter().flat_map(|stored| stored.places) {
            self.by_place.remove(&(place, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use batchsuite_auth::{Environment, secret::PkceVerifier, store::Consent};

    use super::*;

    const CAPS: ConsentCaps = ConsentCaps { per_company: 2, per_actor: 2 };
    const LIFETIME: Duration = Duration::from_secs(600);

    fn consent(number: u128) -> NewConsent {
        let consent = Consent {
            id: ConsentId::from_bits(number),
            environment: Environment::Cie,
            company: CompanyId::new("acme").unwrap(),
            actor: ActorId::new("alice").unwrap(),
            browser: SecretHash::of("browser"),
            redirect_uri: "https://example.com/callback".parse().unwrap(),
            client_id: "client".to_owned(),
            return_to: None,
            removals: 0,
        };
        NewConsent {
            consent,
            state: SecretHash::of(&number.to_string()),
            verifier: Some(PkceVerifier::new("verifier")),
            lifetime: LIFETIME,
        }
    }

    #[test]
    fn nothing_is_left_of_consents_that_were_dropped_repeated_or_ended_long_ago() {
        let now = Timestamp::UNIX_EPOCH;
        let mut consents = Consents::default();
        for number in [1, 2, 2, 3] {
            consents.put(consent(number), CAPS, now);
        }
        let pending: Vec<_> =
            consents.pending(&CompanyId::new("acme").unwrap(), now).iter().map(|one| one.id).collect();
        assert_eq!(pending, [2, 3].map(ConsentId::from_bits));
        assert_eq!(consents.by_number.len(), 2);
        assert!(consents.use_once(ConsentId::from_bits(2), false, now));

        let known = later(now, USED_CONSENT_KNOWN + LIFETIME - Duration::from_nanos(1));
        assert!(consents.find(&SecretHash::of("2"), known).is_none(), "the consent was used longer ago");
        assert!(consents.find(&SecretHash::of("3"), known).is_some());
        consents.put(consent(4), CAPS, later(now, USED_CONSENT_KNOWN + LIFETIME));

        assert_eq!(consents.by_number.len(), 1);
        assert_eq!(consents.by_place.len(), 4);
    }

    #[test]
    fn a_use_erases_the_verifier_itself() {
        let now = Timestamp::UNIX_EPOCH;
        let mut consents = Consents::default();
        consents.put(consent(1), CAPS, now);
        assert!(consents.by_number.values().all(|stored| matches!(stored.found.verifier, Verifier::Readable(_))));

        assert!(!consents.use_once(ConsentId::from_bits(1), false, later(now, LIFETIME)), "the lifetime has ended");
        assert!(consents.use_once(ConsentId::from_bits(1), false, later(now, LIFETIME - Duration::from_nanos(1))));

        assert!(consents.by_number.values().all(|stored| matches!(stored.found.verifier, Verifier::None)));
    }
}
