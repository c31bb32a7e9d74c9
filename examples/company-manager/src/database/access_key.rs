//! Access keys, encrypted with the keyring of the opt-ins.

use batchsuite_auth::{CompanyId, Environment, store::GrantKey};
use batchsuite_store::keyring::{Binding, HostField, Keyring, KeyringError};
use secrecy::{ExposeSecret, SecretString};

use super::{Database, DatabaseError, Failure, Transaction, parameters};

/// The name of the access key in the associated data of its encryption.
const ACCESS_KEY: HostField = HostField::from_static("access_key");

/// The access keys encrypted under a key other than the primary one.
const OTHERS: &str = "SELECT id, access_key FROM company_manager.companies
    WHERE substr(access_key, 1, length($1)) <> $1 FOR UPDATE";
const REPLACE: &str = "UPDATE company_manager.companies SET access_key = $2 WHERE id = $1";

/// Encrypts a company's access key.
pub(crate) fn seal(keyring: &Keyring, company: &CompanyId, key: &SecretString) -> Result<Vec<u8>, KeyringError> {
    keyring.seal(&Binding::host(&place(company), ACCESS_KEY), key.expose_secret().as_bytes())
}

/// Whether a company's encrypted access key can be decrypted.
pub(crate) fn can_open(keyring: &Keyring, company: &CompanyId, sealed: &[u8]) -> bool {
    keyring.open(&Binding::host(&place(company), ACCESS_KEY), sealed).is_ok()
}

impl Database {
    /// Re-encrypts access keys under the primary key. An unreadable one is logged and left as it is; its company can
    /// enter a new one. Returns the number of unreadable ones.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn reencrypt_access_keys(&self, keyring: &Keyring) -> Result<usize, DatabaseError> {
        self.one_at_a_time(async |transaction| Ok(reencrypt(transaction, keyring).await?)).await
    }
}

async fn reencrypt(transaction: &mut Transaction, keyring: &Keyring) -> Result<usize, Failure> {
    let mut unreadable = 0;
    for row in transaction.rows(OTHERS, parameters![&keyring.primary_header()[..]]).await? {
        let (id, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        match sealed_anew(keyring, &id, &sealed) {
            Ok(sealed) => transaction.run(REPLACE, parameters![&id[..], &sealed[..]]).await?,
            Err(reason) => {
                unreadable += 1;
                tracing::error!(company = id, reason, "an access key cannot be read; it is left as it is");
            }
        }
    }
    Ok(unreadable)
}

fn sealed_anew(keyring: &Keyring, id: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let company = CompanyId::new(id).map_err(|error| error.to_string())?;
    let key = keyring.open(&Binding::host(&place(&company), ACCESS_KEY), sealed).map_err(|error| error.to_string())?;
    let key = key.into_text().map_err(|error| error.to_string())?;
    seal(keyring, &company, &key.into()).map_err(|error| error.to_string())
}

/// The associated data names an environment. An access key belongs to the company in both environments, so this is
/// always the same one.
fn place(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Production, company: company.clone() }
}
