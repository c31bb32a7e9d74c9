//! Verifies that this process's keys are those of the database. Nothing is encrypted before that.

use std::sync::{Arc, MutexGuard, PoisonError};

use batchsuite_auth::{error::chain, store::StoreErrorKind};

use super::{
    Inner,
    connection::Parameter,
    failure::{self, Result},
    row::Columns,
    sealing::Sealing,
};
use crate::{
    keyring::KeySet,
    seal::{KnownKey, exchanged_key, missing_key},
};

impl Inner {
    fn sealing(&self) -> MutexGuard<'_, Option<Sealing>> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys for encryption. Compares the keyring's keys with the database's, unless that was done since the last
    /// reload.
    pub(super) async fn compare_keys(&self) -> Result<Sealing> {
        let (keys, before) = (self.keyring.keys(), self.sealing().clone());
        if let Some(before) = before.as_ref().filter(|before| Arc::ptr_eq(&before.compared, &keys)) {
            return Ok(before.clone());
        }
        let known = self.known_keys().await?;
        let sealing = match (agree(&known, &keys), before) {
            (Ok(()), _) => {
                let is_recorded = known.last().is_some_and(|latest| latest.name == keys.primary().as_str());
                Sealing { compared: Arc::clone(&keys), keys, is_recorded }
            }
            (Err(error), Some(before)) => {
                tracing::error!(error = %chain(&error), "the reloaded keys are refused; the previous keys still encrypt");
                Sealing { compared: keys, ..before }
            }
            (Err(error), None) => return Err(error),
        };
        Ok(self.sealing().insert(sealing).clone())
    }

    /// The same before encryption: ensures that the database records the primary key.
    pub(super) async fn ready_to_seal(&self) -> Result<Arc<KeySet>> {
        let sealing = self.compare_keys().await?;
        let name = sealing.keys.primary().as_str();
        if let Some(check_value) = sealing.keys.check_value(name).filter(|_| !sealing.is_recorded) {
            let parameters: &[Parameter<'_>] = &[&name, &&check_value[..]];
            self.rows(&self.statements.add_key, parameters).await?;
            // Read again: another process may have recorded a different key of the same name first.
            let known = self.known_keys().await?;
            agree(&known, &sealing.keys).inspect_err(|_| *self.sealing() = None)?;
            *self.sealing() = Some(Sealing { is_recorded: true, ..sealing.clone() });
        }
        Ok(sealing.keys)
    }

    /// At migration: the first process to migrate records its key.
    pub(super) async fn introduce_keys(&self) -> Result<()> {
        match self.known_keys().await?.is_empty() {
            true => self.ready_to_seal().await.map(drop),
            false => self.compare_keys().await.map(drop),
        }
    }

    /// When connecting, before the schema may exist.
    pub(super) async fn compare_keys_if_there_are_any(&self) -> Result<()> {
        match self.known_keys().await {
            Ok(known) => agree(&known, &self.keyring.keys()),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => Err(error),
            // migrate() creates a missing table, and check() reports it.
            Err(_) => Ok(()),
        }
    }

    /// For a check: always compares, and requires the key that encrypted last.
    pub(super) async fn check_keys(&self) -> Result<()> {
        let (known, keys) = (self.known_keys().await?, self.keyring.keys());
        agree(&known, &keys)?;
        missing_key(&known, &keys).map_or(Ok(()), |why| Err(failure::misconfigured(why)))
    }

    async fn known_keys(&self) -> Result<Vec<KnownKey>> {
        let rows = self.rows(&self.statements.known_keys, &[]).await?;
        let known = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            Ok(KnownKey { name: columns.next()?, check_value: columns.next()? })
        });
        known.collect()
    }
}

fn agree(known: &[KnownKey], keys: &KeySet) -> Result<()> {
    exchanged_key(known, keys).map_or(Ok(()), |why| Err(failure::misconfigured(why)))
}
