//! The verbs of consents.

use std::sync::Arc;

use batchsuite_auth::{
    ActorId, CompanyId, Environment,
    clock::{Timestamp, earlier, later},
    ids::ConsentId,
    secret::SecretHash,
    store::{Consent, ConsentCaps, ConsentUse, FoundConsent, ListedAs, NewConsent, NewEvent, USED_CONSENT_KNOWN},
};
use rusqlite::params;

use super::{Session, bits, failure::Result, micros, time};
use crate::{
    columns::{limit, signed},
    seal,
};

impl Session<'_> {
    pub(super) fn put_consent(&mut self, new: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<()> {
        let NewConsent { consent, state, verifier, lifetime } = new;
        let (environment, company, actor) =
            (consent.environment.name(), consent.company.as_str(), consent.actor.as_str());
        let keys = self.sealing_keys()?;
        let verifier = verifier.map(|verifier| seal::seal_verifier(&keys, &consent, &verifier)).transpose()?;
        let (now, expires_at) = (micros(self.now()), later(self.now(), lifetime));
        let seen = "INSERT INTO grants (environment, company, listed_as) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.run(seen, (environment, company, ListedAs::default().name()))?;
        self.run("DELETE FROM consents WHERE ifnull(used_at, expires_at) <= ?1", [known_since(self.now())])?;
        let put = "INSERT OR REPLACE INTO consents (id, environment, company, actor, state, browser, verifier,
                redirect_uri, client_id, return_to, removals, expires_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let columns = params![
            consent.id.to_bits().to_be_bytes(),
            environment,
            company,
            actor,
            state.as_bytes(),
            consent.browser.as_bytes(),
            verifier,
            consent.redirect_uri.as_str(),
            consent.client_id,
            consent.return_to,
            signed(consent.removals),
            micros(expires_at),
        ];
        self.run(put, columns)?;
        for (column, owner, cap) in [("company", company, caps.per_company), ("actor", actor, caps.per_actor)] {
            let drop_oldest = format!(
                "DELETE FROM consents WHERE number IN (SELECT number FROM consents
                    WHERE environment = ?1 AND {column} = ?2 AND used_at IS NULL AND expires_at > ?3
                    ORDER BY number DESC LIMIT -1 OFFSET ?4)"
            );
            self.run(&drop_oldest, (environment, owner, now, limit(cap)))?;
        }
        self.append(consent.environment, event).map(drop)
    }

    pub(super) fn find_consent(&mut self, environment: Environment, state: SecretHash) -> Result<Option<FoundConsent>> {
        let (as_of, shared) = (self.now(), Arc::clone(&self.shared));
        let find =
            "SELECT id, company, actor, browser, verifier, redirect_uri, client_id, return_to, removals, expires_at,
                used_at, with_event
            FROM consents WHERE environment = ?1 AND state = ?2 AND ifnull(used_at, expires_at) > ?3";
        self.row(find, (environment.name(), state.as_bytes(), known_since(as_of)), |row| {
            let consent = Consent {
                id: ConsentId::from_bits(bits(row, "id")?),
                environment,
                company: CompanyId::new(row.get::<_, String>("company")?)?,
                actor: ActorId::new(row.get::<_, String>("actor")?)?,
                browser: SecretHash::from_bytes(row.get("browser")?),
                redirect_uri: row.get::<_, String>("redirect_uri")?.parse()?,
                client_id: row.get("client_id")?,
                return_to: row.get("return_to")?,
                removals: row.get("removals")?,
            };
            let (used_at, with_event) = (time(row, "used_at")?, row.get("with_event")?);
            let used = used_at.map(|at| ConsentUse { at, with_event });
            let expires_at = time(row, "expires_at")?.unwrap_or(as_of);
            let sealed = row.get::<_, Option<Vec<u8>>>("verifier")?.filter(|_| expires_at > as_of);
            let verifier = seal::open_verifier(&shared.keyring, &consent, sealed.as_deref());
            Ok(FoundConsent { consent, verifier, expires_at, used, as_of })
        })
    }

    pub(super) fn use_consent(
        &mut self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>> {
        let now = self.now();
        let use_up = "UPDATE consents SET used_at = ?3, with_event = ?4, verifier = NULL
            WHERE environment = ?1 AND id = ?2 AND used_at IS NULL AND expires_at > ?3 RETURNING number";
        let id = id.to_bits().to_be_bytes();
        let used = (environment.name(), id, micros(now), event.is_some());
        if self.row(use_up, used, |_| Ok(()))?.is_none() {
            return Ok(None);
        }
        event.map(|event| self.append(environment, event)).transpose()?;
        Ok(Some(now))
    }
}

/// Consents used or expired since this time are still remembered.
fn known_since(now: Timestamp) -> i64 {
    micros(earlier(now, USED_CONSENT_KNOWN))
}
