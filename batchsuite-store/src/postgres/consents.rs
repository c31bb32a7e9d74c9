//! The verbs of a consent.

use batchsuite_auth::{
    Environment,
    clock::Timestamp,
    ids::ConsentId,
    secret::SecretHash,
    store::{Consent, ConsentCaps, ConsentUse, FoundConsent, ListedAs, NewConsent, NewEvent, StoreError},
};
use url::Url;

use super::{
    PostgresStore,
    database::Parameter,
    events::object,
    failure,
    row::{Columns, limit, seconds, signed, uuid_of_consent},
};

impl PostgresStore {
    pub(super) async fn put(&self, new: NewConsent, caps: ConsentCaps, event: NewEvent) -> Result<(), StoreError> {
        let NewConsent { consent, state, verifier, lifetime } = new;
        if verifier.is_some() {
            self.0.ready_to_seal().await?;
        }
        let sealed = self.0.vault.seal_verifier(&consent, verifier.as_ref())?;
        let parameters: &[Parameter<'_>] = &[
            &consent.environment.name(),
            &uuid_of_consent(consent.id),
            &consent.company.as_str(),
            &consent.actor.as_str(),
            &&state.as_bytes()[..],
            &&consent.browser.as_bytes()[..],
            &sealed,
            &consent.redirect_uri.as_str(),
            &consent.client_id,
            &consent.return_to,
            &signed(consent.removals),
            &seconds(lifetime),
            &limit(caps.per_company),
            &limit(caps.per_actor),
            &ListedAs::default().name(),
            &event.company.as_ref().map(|company| company.as_str()),
            &object(&event.event).to_string(),
        ];
        self.0.database.rows(&self.0.statements.put_consent, parameters).await?;
        self.0.feed.announce();
        Ok(())
    }

    pub(super) async fn find(
        &self,
        environment: Environment,
        state: &SecretHash,
    ) -> Result<Option<FoundConsent>, StoreError> {
        self.0.compare_keys().await?;
        let parameters: &[Parameter<'_>] = &[&environment.name(), &&state.as_bytes()[..]];
        let Some(found) = self.0.database.row(&self.0.statements.find_consent, parameters).await? else {
            return Ok(None);
        };
        let mut columns = Columns::of(&found);
        let consent = Consent {
            environment,
            id: columns.consent()?,
            company: columns.company()?,
            actor: columns.actor()?,
            browser: SecretHash::from_bytes(
                columns.next::<&[u8]>()?.try_into().map_err(|_| failure::corrupt("the hash of a secret is none"))?,
            ),
            redirect_uri: Url::parse(columns.next()?).map_err(|_| failure::corrupt("a redirect URI is no URL"))?,
            client_id: columns.next()?,
            return_to: columns.next()?,
            removals: columns.number()?,
        };
        let expires_at = columns.next()?;
        let (used_at, with_event): (Option<Timestamp>, _) = (columns.next()?, columns.next()?);
        let used = used_at.map(|at| ConsentUse { at, with_event });
        let as_of = columns.next()?;
        let verifier = self.0.vault.open_verifier(&consent, columns.next()?);
        Ok(Some(FoundConsent { consent, verifier, expires_at, used, as_of }))
    }

    pub(super) async fn use_once(
        &self,
        environment: Environment,
        id: ConsentId,
        event: Option<NewEvent>,
    ) -> Result<Option<Timestamp>, StoreError> {
        let company = event.as_ref().and_then(|event| event.company.as_ref()).map(|company| company.as_str());
        let told = event.as_ref().map(|event| object(&event.event).to_string());
        let parameters: &[Parameter<'_>] = &[&environment.name(), &uuid_of_consent(id), &company, &told];
        let used = self.0.database.row(&self.0.statements.use_consent, parameters).await?;
        if used.is_some() && event.is_some() {
            self.0.feed.announce();
        }
        used.map(|used| Columns::of(&used).next()).transpose()
    }
}
