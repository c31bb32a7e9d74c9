//! The verbs of a consent.

use batchsuite_auth::{
    ids::ConsentId,
    machine::ConsentRefusal,
    store::{Consent, GrantKey, NewConsent, StoreError, TakeConsent, TakenConsent, UsedConsent},
};
use url::Url;
use uuid::Uuid;

use super::{
    PostgresStore,
    events::Told,
    failure,
    row::{self, Columns, limit, seconds},
};

impl PostgresStore {
    pub(super) async fn begin(&self, consent: NewConsent) -> Result<(), StoreError> {
        let verifier = consent.verifier.as_ref();
        if verifier.is_some() {
            self.0.ready_to_seal().await?;
        }
        let verifier =
            verifier.map(|verifier| self.0.vault.seal_verifier(&consent.key, consent.id, verifier)).transpose()?;
        self.0
            .database
            .rows(
                &self.0.statements.begin_consent,
                &[
                    &row::uuid_of_consent(consent.id),
                    &consent.key.environment.name(),
                    &consent.key.company.as_str(),
                    &consent.actor.as_str(),
                    &&consent.state.as_bytes()[..],
                    &&consent.browser.as_bytes()[..],
                    &verifier,
                    &consent.redirect_uri.as_str(),
                    &consent.client_id,
                    &consent.return_to,
                    &seconds(consent.lifetime),
                    &limit(consent.per_company),
                    &limit(consent.per_actor),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn take(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        let kind = take.event.as_ref().map(|(kind, _)| kind.name());
        let told = Told::of(take.event.as_ref().and_then(|(_, evidence)| evidence.as_ref()));
        let found = self
            .0
            .database
            .row(
                &self.0.statements.take_consent,
                &[
                    &take.environment.name(),
                    &&take.state.as_bytes()[..],
                    &&take.browser.as_bytes()[..],
                    &take.actor.as_str(),
                    &kind,
                    &told.status,
                    &told.code,
                    &told.message,
                    &told.attempt,
                ],
            )
            .await?;
        let Some(found) = found else { return self.used(take).await };
        let mut columns = Columns::of(&found);
        let refusal = match columns.next()? {
            "taken" => None,
            "other_browser" => Some(ConsentRefusal::OtherBrowser),
            "other_actor" => Some(ConsentRefusal::OtherActor),
            "expired" => Some(ConsentRefusal::Expired),
            "removed_since" => Some(ConsentRefusal::RemovedSince),
            _ => return Err(failure::corrupt("the verdict about a consent is unknown")),
        };
        if let Some(refusal) = refusal {
            return Ok(TakenConsent::Refused(refusal));
        }
        let id = ConsentId::from_bits(columns.next::<Uuid>()?.as_u128());
        let key = GrantKey { environment: take.environment, company: columns.company()? };
        let actor = row::actor(columns.next()?)?;
        let verifier: Option<&[u8]> = columns.next()?;
        let verifier = verifier.map(|sealed| self.0.vault.open_verifier(&key, id, sealed)).transpose()?;
        let redirect_uri = Url::parse(columns.next()?).map_err(|_| failure::corrupt("a redirect URI is no URL"))?;
        Ok(TakenConsent::Taken(Box::new(Consent {
            id,
            key,
            actor,
            verifier,
            redirect_uri,
            client_id: columns.next()?,
            return_to: columns.next()?,
            removals: columns.number()?,
            used_at: columns.next()?,
        })))
    }

    /// The consent, if the same person and browser took it before.
    async fn used(&self, take: TakeConsent) -> Result<TakenConsent, StoreError> {
        let found = self
            .0
            .database
            .row(
                &self.0.statements.used_consent,
                &[
                    &take.environment.name(),
                    &&take.state.as_bytes()[..],
                    &&take.browser.as_bytes()[..],
                    &take.actor.as_str(),
                ],
            )
            .await?;
        let Some(found) = found else { return Ok(TakenConsent::Unknown) };
        let mut columns = Columns::of(&found);
        Ok(TakenConsent::Used(Box::new(UsedConsent {
            id: ConsentId::from_bits(columns.next::<Uuid>()?.as_u128()),
            key: GrantKey { environment: take.environment, company: columns.company()? },
            return_to: columns.next()?,
            removals: columns.number()?,
            used_at: columns.next()?,
        })))
    }
}
