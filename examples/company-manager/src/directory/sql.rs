//! People and companies in a database.

use std::fmt;

use async_trait::async_trait;
use batchsuite_auth::{ActorId, CompanyId, error::chain, store::Page};
use batchsuite_store::Keyring;
use secrecy::SecretString;

use super::{
    AccessKey, Company, CompanyName, Directory, DirectoryError, Person, Role, Settings, StoredAccessKey, random_uuid,
};
use crate::{
    database::{Database, Failure, Row, Transaction, access_key, parameters},
    passwords,
};

/// A [`Directory`] in a database. Access keys are encrypted.
#[derive(Clone)]
pub struct SqlDirectory {
    database: Database,
    keyring: Keyring,
}

/// A person to add.
#[derive(Clone, Debug)]
pub struct Newcomer<'a> {
    /// The name for signing in.
    pub sign_in_name: &'a str,
    /// The person's permissions.
    pub role: Role,
    /// The person's password; `None`: the person cannot sign in.
    pub password: Option<&'a SecretString>,
    /// The companies to add with the person, who administers them.
    pub companies: Vec<CompanyName>,
}

impl SqlDirectory {
    /// The directory of a database whose tables exist ([`Database::migrate`]).
    pub fn new(database: Database, keyring: Keyring) -> Self {
        Self { database, keyring }
    }

    /// The readable companies: a damaged one is logged, and does not hide the others.
    fn readable(&self, rows: &[Row]) -> Vec<Company> {
        rows.iter().filter_map(|row| self.read(row).ok()).collect()
    }

    fn read(&self, row: &Row) -> Result<Company, DirectoryError> {
        let id = company_id(row)?;
        let access_key = match row.get::<Option<Vec<u8>>>(7)? {
            None => StoredAccessKey::Absent,
            Some(sealed) if access_key::can_open(&self.keyring, &id, &sealed) => StoredAccessKey::Configured,
            Some(_) => StoredAccessKey::Unreadable,
        };
        let admins: String = row.get::<Option<_>>(8)?.unwrap_or_default();
        let admins = admins.lines().map(ActorId::new).collect::<Result<_, _>>();
        Ok(Company {
            id,
            name: CompanyName::stored(&row.get::<String>(1)?),
            admins: admins.map_err(|_| Failure::Unreadable("person"))?,
            settings: Settings {
                pod_retention_years: row.get(2)?,
                batch_track: row.get(3)?,
                custom_billing: row.get(4)?,
                batch_rate: row.get(5)?,
                minimum_quality_score: row.get(6)?,
            },
            access_key,
        })
    }

    /// Adds the missing people with their companies. Existing people get the given password; if it differs from theirs,
    /// their sessions end. Runs in one transaction, one instance at a time.
    ///
    /// # Errors
    /// [`DirectoryError`], also if argon2 rejects a password.
    pub async fn welcome(&self, newcomers: &[Newcomer<'_>]) -> Result<(), DirectoryError> {
        self.database
            .one_at_a_time(async |transaction| {
                for newcomer in newcomers {
                    let name = newcomer.sign_in_name.to_ascii_lowercase();
                    match transaction.rows(SIGN_IN, parameters![&name[..]]).await?.pop() {
                        Some(row) => set_password(transaction, &row, newcomer.password).await?,
                        None => add(transaction, newcomer).await?,
                    }
                }
                Ok(())
            })
            .await
    }
}

impl fmt::Debug for SqlDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlDirectory").field("database", &self.database).finish_non_exhaustive()
    }
}

/// Pages don't show the reason; the log does.
impl From<Failure> for DirectoryError {
    fn from(failure: Failure) -> Self {
        tracing::error!(error = %failure, "the application's data cannot be reached or read");
        Self
    }
}

const PERSON: &str = "SELECT id, sign_in_name, role FROM company_manager.people WHERE id = $1";
const SIGN_IN: &str = "SELECT id, sign_in_name, role, password_hash FROM company_manager.people
    WHERE lower(sign_in_name) = $1";
const ADD_PERSON: &str =
    "INSERT INTO company_manager.people (id, sign_in_name, role, password_hash) VALUES ($1, $2, $3, $4)";
const END_SESSIONS: &str = "DELETE FROM company_manager.sessions WHERE person = $1";
const SET_PASSWORD: &str = "UPDATE company_manager.people SET password_hash = $2 WHERE id = $1";

/// Selects a company as [`SqlDirectory::read`] reads it. The ids of its admins are separated by line breaks, which no
/// id contains.
macro_rules! select_company {
    ($where:literal) => {
        concat!(
            "SELECT id, name, pod_retention_years, batch_track, custom_billing, batch_rate, minimum_quality_score,
                access_key,
                (SELECT string_agg(person, '\n') FROM company_manager.company_admins WHERE company = companies.id)
            FROM company_manager.companies AS companies ",
            $where
        )
    };
}
const COMPANY: &str = select_company!("WHERE id = $1");
const COMPANIES: &str = select_company!("WHERE id IN (SELECT jsonb_array_elements_text($1::jsonb)) ORDER BY name, id");
const COMPANIES_OF: &str = select_company!(
    "WHERE id IN (SELECT company FROM company_manager.company_admins WHERE person = $1)
        AND coalesce((name, id) > (SELECT name, id FROM company_manager.companies WHERE id = $2), true)
    ORDER BY name, id LIMIT $3"
);
const ADD_COMPANY: &str = "INSERT INTO company_manager.companies
        (id, name, pod_retention_years, batch_track, custom_billing, batch_rate, minimum_quality_score)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
const ADD_ADMIN: &str = "INSERT INTO company_manager.company_admins (company, person) VALUES ($1, $2)";
const SAVE_SETTINGS: &str = "UPDATE company_manager.companies SET pod_retention_years = $2, batch_track = $3,
    custom_billing = $4, batch_rate = $5, minimum_quality_score = $6 WHERE id = $1";
const SAVE_ACCESS_KEY: &str = "UPDATE company_manager.companies SET access_key = $2 WHERE id = $1";

#[async_trait]
impl Directory for SqlDirectory {
    async fn person(&self, id: &ActorId) -> Result<Option<Person>, DirectoryError> {
        self.database.row(PERSON, parameters![id.as_str()]).await?.as_ref().map(person).transpose()
    }

    async fn sign_in(&self, name: &str) -> Result<Option<(Person, String)>, DirectoryError> {
        // Postgres rejects text with a NUL character, so no person has such a name.
        if name.contains('\0') {
            return Ok(None);
        }
        let row = self.database.row(SIGN_IN, parameters![&name.to_ascii_lowercase()[..]]).await?;
        let Some(row) = row else { return Ok(None) };
        let hash: Option<String> = row.get(3)?;
        hash.map(|hash| Ok((person(&row)?, hash))).transpose()
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, DirectoryError> {
        self.database.row(COMPANY, parameters![id.as_str()]).await?.map(|row| self.read(&row)).transpose()
    }

    async fn companies(&self, ids: &[CompanyId]) -> Result<Vec<Company>, DirectoryError> {
        let ids: Vec<&str> = ids.iter().map(CompanyId::as_str).collect();
        let ids = serde_json::to_string(&ids).map_err(|_| Failure::Unreadable("company"))?;
        Ok(self.readable(&self.database.rows(COMPANIES, parameters![&ids[..]]).await?))
    }

    async fn companies_of(
        &self,
        admin: &ActorId,
        after: Option<&CompanyId>,
        limit: usize,
    ) -> Result<Page<Company, CompanyId>, DirectoryError> {
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let page = parameters![admin.as_str(), after.map(CompanyId::as_str), one_more];
        let rows = self.database.rows(COMPANIES_OF, page).await?;
        let (page, more) = rows.split_at(limit.min(rows.len()));
        // Also after an unreadable row.
        let last = page.last().filter(|_| !more.is_empty()).and_then(|row| company_id(row).ok());
        Ok(Page { items: self.readable(page), next: last })
    }

    async fn add_company(&self, name: CompanyName, admin: &ActorId) -> Result<CompanyId, DirectoryError> {
        self.database.all_or_nothing(async |transaction| Ok(add_company(transaction, &name, admin).await?)).await
    }

    async fn save_settings(&self, id: &CompanyId, settings: Settings) -> Result<(), DirectoryError> {
        let Settings { pod_retention_years, batch_track, custom_billing, batch_rate, minimum_quality_score } = settings;
        let columns = parameters![
            id.as_str(),
            pod_retention_years,
            batch_track,
            custom_billing,
            batch_rate,
            minimum_quality_score
        ];
        Ok(self.database.run(SAVE_SETTINGS, columns).await?)
    }

    async fn save_access_key(&self, id: &CompanyId, key: AccessKey) -> Result<(), DirectoryError> {
        let sealed = access_key::seal(&self.keyring, id, key.secret()).map_err(|error| {
            tracing::error!(error = %chain(&error), "an access key cannot be encrypted");
            DirectoryError
        })?;
        Ok(self.database.run(SAVE_ACCESS_KEY, parameters![id.as_str(), &sealed[..]]).await?)
    }
}

async fn set_password(
    transaction: &mut Transaction,
    known: &Row,
    password: Option<&SecretString>,
) -> Result<(), DirectoryError> {
    let (id, hash): (String, Option<String>) = (known.get(0)?, known.get(3)?);
    match password {
        Some(password) if !hash.is_some_and(|hash| passwords::matches(password, &hash)) => {
            transaction.run(END_SESSIONS, parameters![&id[..]]).await?;
            Ok(transaction.run(SET_PASSWORD, parameters![&id[..], &hashed(password)?[..]]).await?)
        }
        _ => Ok(()),
    }
}

async fn add(transaction: &mut Transaction, newcomer: &Newcomer<'_>) -> Result<(), DirectoryError> {
    let id = ActorId::from(random_uuid());
    let hash = newcomer.password.map(hashed).transpose()?;
    let columns = parameters![id.as_str(), newcomer.sign_in_name, name_of(newcomer.role), hash.as_deref()];
    transaction.run(ADD_PERSON, columns).await?;
    for name in &newcomer.companies {
        add_company(transaction, name, &id).await?;
    }
    Ok(())
}

async fn add_company(transaction: &mut Transaction, name: &CompanyName, admin: &ActorId) -> Result<CompanyId, Failure> {
    let id = CompanyId::from(random_uuid());
    let Settings { pod_retention_years, batch_track, custom_billing, batch_rate, minimum_quality_score } =
        Settings::default();
    let columns = parameters![
        id.as_str(),
        name.as_str(),
        pod_retention_years,
        batch_track,
        custom_billing,
        batch_rate,
        minimum_quality_score
    ];
    transaction.run(ADD_COMPANY, columns).await?;
    transaction.run(ADD_ADMIN, parameters![id.as_str(), admin.as_str()]).await?;
    Ok(id)
}

fn hashed(password: &SecretString) -> Result<String, DirectoryError> {
    passwords::hash(password).map_err(|error| {
        tracing::error!(error = %chain(&error), "a password cannot be used");
        DirectoryError
    })
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::CompanyAdmin => "company_admin",
        Role::AdminUser => "admin_user",
    }
}

fn person(row: &Row) -> Result<Person, DirectoryError> {
    let role = match &row.get::<String>(2)?[..] {
        "company_admin" => Role::CompanyAdmin,
        "admin_user" => Role::AdminUser,
        _ => return Err(Failure::Unreadable("role").into()),
    };
    let id = ActorId::new(row.get::<String>(0)?).map_err(|_| Failure::Unreadable("person"))?;
    Ok(Person { id, sign_in_name: row.get(1)?, role })
}

fn company_id(row: &Row) -> Result<CompanyId, Failure> {
    CompanyId::new(row.get::<String>(0)?).map_err(|_| Failure::Unreadable("company"))
}
