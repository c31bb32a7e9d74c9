//! The database: one pool, which the application's own data and the opt-ins share; and the application's own tables.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use batchsuite_auth::{CompanyId, Environment, store::GrantKey};
use batchsuite_store::keyring::{Binding, HostField, Keyring, KeyringError};
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Transaction};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{Config, Row, types::ToSql};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::directory::DirectoryError;

/// What a migration has to begin with: whoever starts at the same time waits here, and then finds everything done.
const ONE_AT_A_TIME: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;
    SELECT pg_advisory_xact_lock(hashtextextended('start of company_manager', 0))";
/// The tables, whatever of them is there already.
const TABLES: &str = include_str!("database/tables.sql");

/// Ends what hangs. The library asks the same of a pool that is not its own.
const SESSION: &str = "-c default_transaction_isolation=read\\ committed -c statement_timeout=10s -c lock_timeout=8s \
                       -c idle_in_transaction_session_timeout=10s";
/// Connections of one instance, for its own data and the opt-ins together.
const CONNECTIONS: usize = 12;
/// How long connecting takes at most, and waiting for a free connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long unanswered bytes keep a connection alive.
const SILENCE: Duration = Duration::from_secs(15);

/// The access key's name in what its ciphertext is bound to.
const ACCESS_KEY: HostField = HostField::from_static("access_key");

/// The pool. A clone shares it.
#[derive(Clone)]
pub struct Database(Pool);

/// A parameter of a statement.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

impl Database {
    /// Makes the pool, once a connection could be made.
    ///
    /// TLS is `url`'s `sslmode`; a server that offers it shows a certificate that this machine trusts.
    ///
    /// # Errors
    /// [`DatabaseError`], which shows nothing of `url`.
    pub async fn connect(url: &SecretString) -> Result<Self, DatabaseError> {
        // The parser's error repeats parts of the URL.
        let mut config: Config = url.expose_secret().parse().map_err(|_| DatabaseError::Url)?;
        config.options([config.get_options().unwrap_or_default(), SESSION].join(" ").trim_start());
        config.application_name("company-manager").connect_timeout(PATIENCE).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE);
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_platform_verifier())
            .map_err(|error| DatabaseError::Tls(error.to_string()))?
            .with_no_client_auth();
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, MakeRustlsConnect::new(tls), manager);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(2 * PATIENCE))
            .build()
            .map_err(|error| DatabaseError::Refused(error.to_string()))?;
        drop(pool.get().await.map_err(|error| DatabaseError::Unreachable(told_of_pool(&error)))?);
        Ok(Self(pool))
    }

    /// The pool, for the opt-ins.
    pub fn pool(&self) -> Pool {
        self.0.clone()
    }

    /// Makes the application's tables, or brings them up to date: all of it, or nothing, and one instance after the other.
    /// Where they are up to date, it needs no right but to read.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut client = self.0.get().await.map_err(|error| DatabaseError::Unreachable(told_of_pool(&error)))?;
        let transaction = client.transaction().await.map_err(refused)?;
        transaction.batch_execute(ONE_AT_A_TIME).await.map_err(refused)?;
        if !is_applied(&transaction).await? {
            transaction.batch_execute(TABLES).await.map_err(refused)?;
            let note = "INSERT INTO company_manager.applied (checksum) VALUES (sha256(convert_to($1, 'UTF8')))";
            transaction.execute(note, &[&TABLES]).await.map_err(refused)?;
        }
        transaction.commit().await.map_err(refused)
    }

    /// Encrypts access keys under the primary key that are under another. One that cannot be read is logged and left: its
    /// company can be given a new one. How many were left.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing was changed.
    pub async fn reencrypt_access_keys(&self, keyring: &Keyring) -> Result<usize, DatabaseError> {
        let mut client = self.0.get().await.map_err(|error| DatabaseError::Unreachable(told_of_pool(&error)))?;
        let transaction = client.transaction().await.map_err(refused)?;
        transaction.batch_execute(ONE_AT_A_TIME).await.map_err(refused)?;
        let unreadable = reencrypt_access_keys(&transaction, keyring).await?;
        transaction.commit().await.map_err(refused)?;
        Ok(unreadable)
    }

    /// Runs what must not be done twice at once; it is all done, or nothing.
    pub(crate) async fn one_at_a_time<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, DirectoryError>,
    ) -> Result<T, DirectoryError> {
        let mut client = self.0.get().await.map_err(unreachable)?;
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(ONE_AT_A_TIME).await.map_err(failed)?;
        let done = work(&transaction).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(done)
    }

    /// Runs one statement, which is one transaction.
    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, DirectoryError> {
        let client = self.0.get().await.map_err(unreachable)?;
        let statement = client.prepare_cached(sql).await.map_err(failed)?;
        client.query(&statement, parameters).await.map_err(failed)
    }

    /// The same, of a statement that answers with at most one row.
    pub(crate) async fn row(
        &self,
        sql: &'static str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, DirectoryError> {
        Ok(self.rows(sql, parameters).await?.pop())
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("connections", &self.0.status().size).finish_non_exhaustive()
    }
}

/// The database cannot be used. In one line that shows no value of a setting or a row.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is none.
    #[error("DATABASE_URL cannot be read; it is postgres://user:password@host/database")]
    Url,
    /// TLS cannot be set up.
    #[error("TLS to the database cannot be set up: {0}")]
    Tls(String),
    /// There is no connection.
    #[error("the database of DATABASE_URL cannot be reached: {0}")]
    Unreachable(String),
    /// It does not do what it must.
    #[error("the database of DATABASE_URL refuses: {0}")]
    Refused(String),
}

/// Encrypts a company's access key.
pub(crate) fn seal_access_key(
    keyring: &Keyring,
    company: &CompanyId,
    key: &SecretString,
) -> Result<Vec<u8>, KeyringError> {
    keyring.seal(&Binding::host(&place(company), ACCESS_KEY), key.expose_secret().as_bytes())
}

/// A binding names an environment. An access key is the company's in both, so it is always this one.
fn place(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Production, company: company.clone() }
}

/// Whether this version's tables are there. Asked first: to create what exists needs a right that the role may not have.
async fn is_applied(transaction: &Transaction<'_>) -> Result<bool, DatabaseError> {
    let exists = "SELECT to_regclass('company_manager.applied') IS NOT NULL";
    if !transaction.query_one(exists, &[]).await.and_then(|row| row.try_get::<_, bool>(0)).map_err(refused)? {
        return Ok(false);
    }
    let applied = "SELECT FROM company_manager.applied WHERE checksum = sha256(convert_to($1, 'UTF8'))";
    Ok(transaction.query_opt(applied, &[&TABLES]).await.map_err(refused)?.is_some())
}

async fn reencrypt_access_keys(transaction: &Transaction<'_>, keyring: &Keyring) -> Result<usize, DatabaseError> {
    let others = "SELECT id, access_key FROM company_manager.companies
        WHERE substring(access_key FOR length($1::bytea)) <> $1 FOR UPDATE";
    let mut unreadable = 0;
    for row in transaction.query(others, &[&keyring.primary_header()]).await.map_err(refused)? {
        let (id, ciphertext): (&str, Vec<u8>) = (row.try_get(0).map_err(refused)?, row.try_get(1).map_err(refused)?);
        match sealed_anew(keyring, id, &ciphertext) {
            Ok(sealed) => {
                let write = "UPDATE company_manager.companies SET access_key = $2 WHERE id = $1";
                transaction.execute(write, &[&id, &sealed]).await.map_err(refused)?;
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

/// Logs why the data cannot be reached: pages don't tell.
pub(crate) fn failed(error: tokio_postgres::Error) -> DirectoryError {
    tracing::error!(reason = told(&error), "the application's data cannot be reached");
    DirectoryError
}

/// The same of a row that another version, or a hand, has written.
pub(crate) fn unreadable(what: &'static str) -> DirectoryError {
    tracing::error!(what, "the application's data cannot be read");
    DirectoryError
}

fn unreachable(error: PoolError) -> DirectoryError {
    tracing::error!(reason = told_of_pool(&error), "the application's data cannot be reached");
    DirectoryError
}

fn refused(error: tokio_postgres::Error) -> DatabaseError {
    DatabaseError::Refused(told(&error))
}

fn told_of_pool(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => told(error),
        PoolError::Timeout(_) => "no connection in time".to_owned(),
        _ => "no connection".to_owned(),
    }
}

/// An error in one line. Of a statement's, never the detail, which shows rows, and the message only where it speaks of
/// rights, names and connections.
fn told(error: &tokio_postgres::Error) -> String {
    let line = match (error.as_db_error(), error.source()) {
        (Some(answer), _) => match answer.code().code() {
            code if ["08", "28", "3D", "3F", "42", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                format!("{} ({code})", answer.message())
            }
            code => format!("SQLSTATE {code}"),
        },
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    };
    line.replace(['\r', '\n'], " ")
}
