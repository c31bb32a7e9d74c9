//! What an operator's program asks before it builds an authenticator, or instead of importing.

use super::{BatchSuiteAuth, ClientState};
use crate::{
    config::Environment,
    error::ImportError,
    ids::{ActorId, CompanyId},
    import::{Imported, ImportedTokens},
    rotation::client_state,
    store::{Store, StoreError},
};

impl BatchSuiteAuth {
    /// What the store holds about all companies of an environment's client: the client id that a service announced last,
    /// and what is amiss for all of them. A program that only looks after the store builds its authenticator with that
    /// id, so that no opt-in seems to belong to another client ([`ClientChanged`](crate::CauseKind::ClientChanged)).
    ///
    /// The keeper announces the id of its authenticator when it starts; an authenticator without a keeper never does.
    ///
    /// ```
    /// # use batchsuite_auth::{BatchSuiteAuth, Environment};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// assert_eq!(BatchSuiteAuth::client_state(&store, Environment::Cie).await?.client_id, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StoreError`]; [`Corrupt`](crate::store::StoreErrorKind::Corrupt) if the row that holds it cannot be read.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn client_state(store: &dyn Store, environment: Environment) -> Result<ClientState, StoreError> {
        client_state(store, environment).await
    }

    /// What [`import`](Self::import) would return now; stores nothing.
    ///
    /// ```
    /// # use batchsuite_auth::{ActorId, CompanyId, Imported, ImportedTokens, Status, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("import-2026-11")?);
    /// # let kept = ups.opt_in_elsewhere(FakeUps::USER);
    /// let tokens = ImportedTokens::new(kept.refresh_token)?.with_issued_at(kept.issued_at);
    /// assert_eq!(auth.try_import(&company, &actor, tokens).await?, Imported::Stored);
    /// assert_eq!(auth.status(&company).await?.status, Status::Unauthenticated);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ImportError`], as [`import`](Self::import) would return it.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn try_import(
        &self,
        company: &CompanyId,
        actor: &ActorId,
        tokens: ImportedTokens,
    ) -> Result<Imported, ImportError> {
        self.engine.try_import(company, actor, tokens).await
    }
}
