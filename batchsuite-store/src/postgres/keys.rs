//! Whether the keys of this process are those of the database. Nothing is sealed before that is known.

use std::sync::Arc;

use batchsuite_auth::{
    error::chain,
    store::{StoreError, StoreErrorKind},
};

use super::{Inner, database::Parameter, failure, row::Columns};
use crate::keyring::{KeyId, KeySet};

/// A key that the database knows: its name, and what tells it from others.
struct Known {
    name: String,
    check_value: Vec<u8>,
}

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

    /// At a check: compared in any case, and the key that sealed last must be there. Without it, these may be the keys of
    /// another database, and what others have just sealed cannot be read.
    pub(super) async fn check_keys(&self) -> Result<(), StoreError> {
        let (known, keys) = (self.known_keys().await?, self.vault.keys());
        self.agree(Arc::clone(&keys), &known)?;
        let Some(latest) = known.last() else { return Ok(()) };
        let declared_lost = KeyId::new(&latest.name).is_ok_and(|name| keys.is_lost(&name));
        if keys.check_value(&latest.name).is_some() || declared_lost {
            return Ok(());
        }
        let name = &latest.name;
        Err(failure::misconfigured(format!(
            "the keys are not those of this database: there is no key named {name}; add it, or, if it is lost, write {name}:lost"
        )))
    }

    fn agree(&self, keys: Arc<KeySet>, known: &[Known]) -> Result<(), StoreError> {
        let is_another = |known: &&Known| keys.check_value(&known.name).is_some_and(|value| known.check_value != value);
        let Some(Known { name, .. }) = known.iter().find(is_another) else {
            let recorded = known.last().is_some_and(|latest| latest.name == keys.primary().as_str());
            self.vault.agree(keys, recorded);
            return Ok(());
        };
        self.vault.refuse(keys);
        Err(failure::misconfigured(format!(
            "the keys are not those of this database: the key named {name} is another one here than the one that has encrypted \
             what is stored; restore it, and give a new key a new name"
        )))
    }

    async fn known_keys(&self) -> Result<Vec<Known>, StoreError> {
        let rows = self.database.rows(&self.statements.known_keys, &[]).await?;
        let known = rows.iter().map(|row| {
            let mut columns = Columns::of(row);
            Ok(Known { name: columns.next()?, check_value: columns.next()? })
        });
        known.collect()
    }
}
