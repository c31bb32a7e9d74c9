use batchsuite_auth::{
    ActorId,
    ids::ConsentId,
    secret::{PkceVerifier, SecretHash},
    store::{Consent, ConsentCaps, ConsentUse, FoundConsent, NewConsent, NewEvent, USED_CONSENT_KNOWN, Verifier},
};

/// A stored consent, keyed by a number that goes up: the smallest is the oldest.
#[derive(Deserialize, Serialize)]
struct StoredConsent {
    id: ConsentId,
    company: CompanyId,
    actor: ActorId,
    browser: [u8; 32],
    redirect_uri: String,
    client_id: String,
    return_to: Option<String>,
    removals: u64,
    state: [u8; 32],
    /// Encrypted, bound to the consent's id.
    verifier: Option<String>,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    used_with_event: bool,
}

impl Verb<'_> {
    fn put_consent(&mut self, new: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        let consent = self.stored(new)?;
        let old: Vec<(String, StoredConsent)> = self.all("consent").map(|(name, old)| (name.to_owned(), old)).collect();
        let next = old.last().and_then(|(last, _)| last.parse::<u64>().ok()).unwrap_or_default() + 1;
        let is_over = |old: &StoredConsent| old.state == consent.state || !old.is_known(self.now);
        let (mut gone, left): (Vec<_>, Vec<_>) = old.into_iter().partition(|(_, old)| is_over(old));
        // The new consent counts towards both caps.
        let mut pending: Vec<_> = left.into_iter().filter(|(_, old)| old.is_pending(self.now)).collect();
        let parties = |old: &StoredConsent| [old.company == consent.company, old.actor == consent.actor];
        for (party, most) in [caps.per_company, caps.per_actor].into_iter().enumerate() {
            let of_party = pending.iter().filter(|(_, old)| parties(old)[party]).count();
            let mut over = (of_party + 1).saturating_sub(most);
            let (dropped, kept) = pending.into_iter().partition::<Vec<_>, _>(|(_, old)| {
                let is_dropped = over > 0 && parties(old)[party];
                over -= usize::from(is_dropped);
                is_dropped
            });
            gone.extend(dropped);
            pending = kept;
        }
        for (name, _) in gone {
            self.erase("consent", &name);
        }
        self.put("consent", &format!("{next:020}"), &consent)?;
        let company = consent.company.as_str();
        if self.find::<StoredRow>("row", company)?.is_none() {
            self.put("row", company, &StoredRow::default())?;
        }
        self.append(event)?;
        Ok(())
    }

    fn find_consent(&self, state: SecretHash) -> Result<Option<FoundConsent>> {
        let mut consents = self.all("consent").map(|(_, consent): (_, StoredConsent)| consent);
        let found = consents.find(|consent| consent.state == *state.as_bytes() && consent.is_known(self.now));
        found.map(|found| self.found(found)).transpose()
    }

    fn use_consent(&mut self, id: ConsentId, event: Option<NewEvent>) -> Result<Option<Timestamp>> {
        let is_usable = |consent: &StoredConsent| consent.id == id && consent.is_pending(self.now);
        let usable = self.all("consent").find(|(_, consent)| is_usable(consent));
        let Some((name, mut consent)) = usable.map(|(name, consent)| (name.to_owned(), consent)) else {
            return Ok(None);
        };
        consent.used_at = Some(self.now);
        consent.used_with_event = event.is_some();
        consent.verifier = None;
        self.put("consent", &name, &consent)?;
        event.map(|event| self.append(event)).transpose()?;
        Ok(consent.used_at)
    }

    /// The company's pending consents, oldest first.
    fn pending(&self, company: &CompanyId) -> Vec<PendingConsent> {
        let consents = self.all("consent").map(|(_, consent): (_, StoredConsent)| consent);
        let pending = consents.filter(|consent| consent.company == *company && consent.is_pending(self.now));
        let shown = |StoredConsent { id, removals, expires_at, .. }| PendingConsent { id, removals, expires_at };
        pending.map(shown).collect()
    }

    fn stored(&self, NewConsent { consent, state, verifier, lifetime }: NewConsent) -> Result<StoredConsent> {
        let grant = GrantKey { environment: consent.environment, company: consent.company.clone() };
        let binding = Binding::pkce_verifier(&grant, consent.id);
        let seal = |verifier: PkceVerifier| self.keyring.seal(&binding, verifier.expose_secret().as_bytes());
        let verifier = verifier.map(seal).transpose()?;
        Ok(StoredConsent {
            id: consent.id,
            company: consent.company,
            actor: consent.actor,
            browser: *consent.browser.as_bytes(),
            redirect_uri: consent.redirect_uri.into(),
            client_id: consent.client_id,
            return_to: consent.return_to,
            removals: consent.removals,
            state: *state.as_bytes(),
            verifier: verifier.map(|sealed| BASE64.encode(sealed)),
            expires_at: later(self.now, lifetime),
            used_at: None,
            used_with_event: false,
        })
    }

    fn found(&self, stored: StoredConsent) -> Result<FoundConsent> {
        let grant = GrantKey { environment: self.environment, company: stored.company.clone() };
        let sealed = stored.verifier.as_ref().filter(|_| stored.is_pending(self.now));
        let verifier = sealed.map(|sealed| self.open(&Binding::pkce_verifier(&grant, stored.id), sealed));
        let redirect_uri = stored.redirect_uri.parse().map_err(|_| StoreError::new(StoreErrorKind::Corrupt))?;
        Ok(FoundConsent {
            consent: Consent {
                id: stored.id,
                environment: self.environment,
                company: stored.company,
                actor: stored.actor,
                browser: SecretHash::from_bytes(stored.browser),
                redirect_uri,
                client_id: stored.client_id,
                return_to: stored.return_to,
                removals: stored.removals,
            },
            verifier: match verifier {
                None => Verifier::None,
                Some(Ok(verifier)) => Verifier::Readable(PkceVerifier::new(verifier)),
                Some(Err(error)) => Verifier::Unreadable(error),
            },
            expires_at: stored.expires_at,
            used: stored.used_at.map(|at| ConsentUse { at, with_event: stored.used_with_event }),
            as_of: self.now,
        })
    }
}

impl StoredConsent {
    fn is_pending(&self, now: Timestamp) -> bool {
        self.used_at.is_none() && self.expires_at > now
    }

    /// Used and expired consents are remembered for an hour, so that their person can be told the outcome.
    fn is_known(&self, now: Timestamp) -> bool {
        later(self.used_at.unwrap_or(self.expires_at), USED_CONSENT_KNOWN) > now
    }
}
