//! Whether the keys of this process are those of the database. Nothing is sealed before that is known.

use std::sync::Arc;

use batchsuite_auth::{
    error::chain,
    store::{StoreError, StoreErrorKind},
};

use super::{Inner, database::Parameter, failure, row::Columns};
use crate::{
    keyring::KeySet,
    seal::{KnownKey, exchanged_key, missing_key},
};

impl Inner {
    /// Compares the keys of this process, unless that was done.
    pub(super) async fn compare_keys(&self) -> Result<(), StoreError> {
        let Some(keys) = self.vault.not_compared() else { return Ok(()) };
        let known = self.known_keys().await?;
        match self.agree(keys, &known) {
            Err(error) if self.vault.has_sealing_keys() => {
                tracing::error!(error = %chain(&error), "the reloaded keys encrypt nothing; those before them still do");
                Ok(())
            }
            agreed => agreed,
        }
    }

    /// The same before something is sealed: from now on the database knows the primary key.
    pub(super) async fn ready_to_seal(&self) -> Result<(), StoreError> {
        self.compare_keys().await?;
        let Some(keys) = self.vault.not_recorded() else { return Ok(()) };
        let name = keys.primary().as_str();
        let Some(check_value) = keys.check_value(name) else { return Ok(()) };
        let parameters: &[Parameter<'_>] = &[&name, &&check_value[..]];
        self.database.rows(&self.statements.add_key, parameters).await?;
        // Read again: another process may have been the first, with another key of that name.
        let known = self.known_keys().await?;
        self.agree(Arc::clone(&keys), &known)?;
        self.vault.agree(keys, true);
        Ok(())
    }

    /// At a migration: the first process that comes is the one whose key counts.
    pub(super) async fn introduce_keys(&self) -> Result<(), StoreError> {
        match self.known_keys().await?.is_empty() {
            true => self.ready_to_seal().await,
            false => self.compare_keys().await,
        }
    }

    /// At a connection, before there may be a schema.
    pub(super) async fn compare_keys_if_there_are_any(&self) -> Result<(), StoreError> {
        match self.known_keys().await {
            Ok(known) => self.agree(self.vault.keys(), &known),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => Err(error),
            // A missing table is for migrate() to make and for check() to name.
            Err(_) => Ok(()),
        }
    }

    /// At a check: compared in any case, and the key that sealed last must be there.
    pub(super) async fn check_keys(&self) -> Result<(), StoreError> {
        let (known, keys) = (self.known_keys().await?, self.vault.keys());
        self.agree(Arc::clone(&keys), &known)?;
        missing_key(&known, &keys).map_or(Ok(()), |why| Err(failure::misconfigured(why)))
    }

    fn agree(&self, keys: Arc<KeySet>, known: &[KnownKey]) -> Result<(), StoreError> {
        if let Some(why) = exchanged_key(known, &keys) {
            self.vault.refuse(keys);
            return Err(failure::misconfigured(why));
        }
        let recorded = known.last().is_some_and(|latest| latest.name == keys.primary().as_str());
        self.vault.agree(keys, recorded);
        Ok(())
    }

    async fn known_keys(&self) -> Result<Vec<KnownKey>, StoreError> {
        let rows = self.database.rows(&self.statements.known_keys, &[]).await?;
        let known = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            Ok(KnownKey { name: columns.next()?, check_value: columns.next()? })
        });
        known.collect()
    }
}
