//! The database: one pool, which the application's own data and the opt-ins share; and the application's own tables.

use batchsuite_auth::{
    CompanyId, Environment,
    error::chain,
    store::{GrantKey, StoreError},
};
use batchsuite_store::{
    PostgresPool, PostgresTransaction,
    keyring::{Binding, HostField, Keyring, KeyringError},
};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use crate::directory::DirectoryError;

/// What a migration has to begin with: whoever starts at the same time waits here, and then finds everything done.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('start of company_manager', 0))";
/// The tables, whatever of them is there already.
const TABLES: &str = include_str!("database/tables.sql");

/// Connections of one instance, for its own data and the opt-ins together.
const CONNECTIONS: usize = 12;

/// The access key's name in what its ciphertext is bound to.
const ACCESS_KEY: HostField = HostField::from_static("access_key");

/// The library's pool, which the opt-ins share. A clone shares it, too.
#[derive(Clone, Debug)]
pub struct Database(PostgresPool);

/// One statement, and the types of its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement(pub(crate) &'static str, pub(crate) &'static [Type]);

/// A parameter of a statement.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Database {
    /// Makes the pool, once a connection could be made. What `url` may say, and what becomes of a connection that is silent
    /// or broken, is in the library's documentation of [`PostgresPool`].
    ///
    /// # Errors
    /// [`DatabaseError`], which shows nothing of `url` but the name of a parameter.
    pub async fn connect(url: &SecretString) -> Result<Self, DatabaseError> {
        let pool = PostgresPool::at(url.expose_secret()).connections(CONNECTIONS).build();
        let pool = pool.map_err(|error| DatabaseError::Url(chain(&error).to_string()))?;
        let answer = pool.rows("SELECT 1", &[], &[]).await;
        answer.map_err(|error| DatabaseError::Unreachable(chain(&error).to_string()))?;
        Ok(Self(pool))
    }

    /// The pool, for the opt-ins.
    pub fn pool(&self) -> PostgresPool {
        self.0.clone()
    }

    /// Makes the application's tables, or brings them up to date: all of it, or nothing, and one instance after the other.
    /// Where they are up to date, it needs no right but to read.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut transaction = self.0.begin_without_time_limit().await?;
        transaction.run(ONE_AT_A_TIME).await?;
        if !is_applied(&mut transaction).await? {
            transaction.run(TABLES).await?;
            let note = "INSERT INTO company_manager.applied (checksum) VALUES (sha256(convert_to($1, 'UTF8')))";
            transaction.rows(note, &[Type::TEXT], &[&TABLES]).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Encrypts access keys under the primary key that are under another. One that cannot be read is logged and left: its
    /// company can be given a new one. How many were left.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn reencrypt_access_keys(&self, keyring: &Keyring) -> Result<usize, DatabaseError> {
        let mut transaction = self.0.begin_without_time_limit().await?;
        transaction.run(ONE_AT_A_TIME).await?;
        let unreadable = reencrypt_access_keys(&mut transaction, keyring).await?;
        transaction.commit().await?;
        Ok(unreadable)
    }

    /// Runs what must not be done twice at once; it is all done, or nothing.
    pub(crate) async fn one_at_a_time<T>(
        &self,
        work: impl AsyncFnOnce(&mut Transaction) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut transaction = Transaction(self.0.begin_without_time_limit().await.map_err(unreachable)?);
        transaction.0.run(ONE_AT_A_TIME).await.map_err(unreachable)?;
        let done = work(&mut transaction).await?;
        transaction.0.commit().await.map_err(unreachable)?;
        Ok(done)
    }

    /// Runs one statement, which is one transaction.
    pub(crate) async fn rows(
        &self,
        Statement(sql, types): Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DirectoryError> {
        self.0.rows(sql, types, parameters).await.map_err(unreachable)
    }

    /// The same, of a statement that answers with at most one row.
    pub(crate) async fn row(
        &self,
        statement: Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, DirectoryError> {
        Ok(self.rows(statement, parameters).await?.pop())
    }
}

/// A transaction on the application's own data.
pub(crate) struct Transaction(PostgresTransaction);

impl Transaction {
    /// Runs one statement that answers with at most one row.
    pub(crate) async fn row(
        &mut self,
        Statement(sql, types): Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, DirectoryError> {
        Ok(self.0.rows(sql, types, parameters).await.map_err(unreachable)?.pop())
    }
}

/// The database cannot be used. In one line that shows no value of a setting or a row.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is none.
    #[error("DATABASE_URL cannot be read; it is postgres://user:password@host/database ({0})")]
    Url(String),
    /// There is no connection.
    #[error("the database of DATABASE_URL cannot be reached: {0}")]
    Unreachable(String),
    /// It does not do what it must.
    #[error("the database of DATABASE_URL refuses: {0}")]
    Refused(String),
}

impl From<StoreError> for DatabaseError {
    fn from(error: StoreError) -> Self {
        Self::Refused(chain(&error).to_string())
    }
}

/// Encrypts a company's access key.
pub(crate) fn seal_access_key(
    keyring: &Keyring,
    company: &CompanyId,
    key: &SecretString,
) -> Result<Vec<u8>, KeyringError> {
    keyring.seal(&Binding::host(&place(company), ACCESS_KEY), key.expose_secret().as_bytes())
}

/// Whether a company's encrypted access key can be decrypted.
pub(crate) fn can_open_access_key(keyring: &Keyring, company: &CompanyId, sealed: &[u8]) -> bool {
    keyring.open(&Binding::host(&place(company), ACCESS_KEY), sealed).is_ok()
}

/// A binding names an environment. An access key is the company's in both, so it is always this one.
fn place(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Production, company: company.clone() }
}

/// Whether this version's tables are there. Asked first: to create what exists needs a right that the role may not have.
async fn is_applied(transaction: &mut PostgresTransaction) -> Result<bool, DatabaseError> {
    let exists = "SELECT 1 WHERE to_regclass('company_manager.applied') IS NOT NULL";
    if transaction.rows(exists, &[], &[]).await?.is_empty() {
        return Ok(false);
    }
    let applied = "SELECT 1 FROM company_manager.applied WHERE checksum = sha256(convert_to($1, 'UTF8'))";
    Ok(!transaction.rows(applied, &[Type::TEXT], &[&TABLES]).await?.is_empty())
}

async fn reencrypt_access_keys(
    transaction: &mut PostgresTransaction,
    keyring: &Keyring,
) -> Result<usize, DatabaseError> {
    let others = "SELECT id, access_key FROM company_manager.companies
        WHERE substring(access_key FOR length($1::bytea)) <> $1 FOR UPDATE";
    let mut unreadable = 0;
    for row in transaction.rows(others, &[Type::BYTEA], &[&keyring.primary_header()]).await? {
        let (id, ciphertext): (&str, Vec<u8>) = (row.try_get(0).map_err(refused)?, row.try_get(1).map_err(refused)?);
        match sealed_anew(keyring, id, &ciphertext) {
            Ok(sealed) => {
                let write = "UPDATE company_manager.companies SET access_key = $2 WHERE id = $1";
                transaction.rows(write, &[Type::TEXT, Type::BYTEA], &[&id, &sealed]).await?;
            }
            Err(reason) => {
                unreadable += 1;
                tracing::error!(company = id, reason, "an access key cannot be read; it is left as it is");
            }
        }
    }
    Ok(unreadable)
}

fn sealed_anew(keyring: &Keyring, id: &str, ciphertext: &[u8]) -> Result<Vec<u8>, String> {
    let company = CompanyId::new(id).map_err(|error| error.to_string())?;
    let key =
        keyring.open(&Binding::host(&place(&company), ACCESS_KEY), ciphertext).map_err(|error| error.to_string())?;
    let key = key.into_text().map_err(|error| error.to_string())?;
    seal_access_key(keyring, &company, &key.into()).map_err(|error| error.to_string())
}

/// Logs why a row cannot be read: pages don't tell.
pub(crate) fn failed(error: tokio_postgres::Error) -> DirectoryError {
    tracing::error!(error = %chain(&error), "the application's data cannot be read");
    DirectoryError
}

/// The same of a row that another version, or a hand, has written.
pub(crate) fn unreadable(what: &'static str) -> DirectoryError {
    tracing::error!(what, "the application's data cannot be read");
    DirectoryError
}

fn unreachable(error: StoreError) -> DirectoryError {
    tracing::error!(error = %chain(&error), "the application's data cannot be reached");
    DirectoryError
}

fn refused(error: tokio_postgres::Error) -> DatabaseError {
    DatabaseError::Refused(chain(&error).to_string())
}
