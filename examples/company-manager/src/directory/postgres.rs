//! People and companies in Postgres, for any number of instances.

use std::fmt;

use async_trait::async_trait;
use batchsuite_auth::{ActorId, CompanyId, error::chain, store::Page};
use batchsuite_store::Keyring;
use secrecy::SecretString;
use tokio_postgres::{Row, types::Type};

use super::{
    AccessKey, Company, CompanyName, Directory, DirectoryError, Person, Role, Settings, StoredAccessKey, random_uuid,
};
use crate::{
    database::{self, Database, Parameter, Statement, Transaction, failed, unreadable},
    passwords,
};

/// A [`Directory`] in Postgres; access keys are encrypted.
#[derive(Clone)]
pub struct PostgresDirectory {
    database: Database,
    keyring: Keyring,
}

/// Somebody who shall be there.
#[derive(Clone, Debug)]
pub struct Newcomer<'a> {
    /// What they type to sign in.
    pub sign_in_name: &'a str,
    /// What they may see and do.
    pub role: Role,
    /// Their password; `None`: they cannot sign in.
    pub password: Option<&'a SecretString>,
    /// The companies that they bring along and administer.
    pub companies: Vec<CompanyName>,
}

impl PostgresDirectory {
    /// One whose tables are there ([`Database::migrate`]).
    pub fn new(database: Database, keyring: Keyring) -> Self {
        Self { database, keyring }
    }

    /// Those that can be read: a damaged one is logged, and hides no other.
    fn readable(&self, rows: &[Row]) -> Vec<Company> {
        rows.iter().filter_map(|row| self.read(row).ok()).collect()
    }

    fn read(&self, row: &Row) -> Result<Company, DirectoryError> {
        let number = |column: usize| -> Result<u8, DirectoryError> {
            let number: i16 = row.try_get(column).map_err(failed)?;
            number.try_into().map_err(|_| unreadable("settings"))
        };
        let id = CompanyId::new(row.try_get::<_, &str>(0).map_err(failed)?).map_err(|_| unreadable("company"))?;
        let access_key = match row.try_get::<_, Option<&[u8]>>(7).map_err(failed)? {
            None => StoredAccessKey::Absent,
            Some(sealed) if database::can_open_access_key(&self.keyring, &id, sealed) => StoredAccessKey::Configured,
            Some(_) => StoredAccessKey::Unreadable,
        };
        let admins: Vec<&str> = row.try_get(8).map_err(failed)?;
        Ok(Company {
            id,
            name: CompanyName::stored(row.try_get(1).map_err(failed)?),
            admins: admins.into_iter().map(ActorId::new).collect::<Result<_, _>>().map_err(|_| unreadable("person"))?,
            settings: Settings {
                pod_retention_years: number(2)?,
                batch_track: row.try_get(3).map_err(failed)?,
                custom_billing: row.try_get(4).map_err(failed)?,
                batch_rate: row.try_get(5).map_err(failed)?,
                minimum_quality_score: number(6)?,
            },
            access_key,
        })
    }

    /// Adds whoever is not there yet, with their companies. Of whoever is, the password becomes the given one; if it was
    /// another, their sessions end. All of it, or nothing, and one instance after the other.
    ///
    /// # Errors
    /// [`DirectoryError`], also if argon2 refuses a password.
    pub async fn welcome(&self, newcomers: &[Newcomer<'_>]) -> Result<(), DirectoryError> {
        self.database
            .one_at_a_time(async |transaction| {
                for newcomer in newcomers {
                    let known = transaction.row(SIGN_IN, &[&newcomer.sign_in_name]).await?;
                    match known {
                        Some(row) => set_password(transaction, &row, newcomer.password).await?,
                        None => add(transaction, newcomer).await?,
                    }
                }
                Ok(())
            })
            .await
    }
}

impl fmt::Debug for PostgresDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDirectory").field("database", &self.database).finish_non_exhaustive()
    }
}

const PERSON: Statement =
    Statement("SELECT id, sign_in_name, role FROM company_manager.people WHERE id = $1", &[Type::TEXT]);
const SIGN_IN: Statement = Statement(
    "SELECT id, sign_in_name, role, password_hash FROM company_manager.people
    WHERE lower(sign_in_name) = lower($1 COLLATE \"C\")",
    &[Type::TEXT],
);
const ADD_PERSON: Statement = Statement(
    "INSERT INTO company_manager.people (id, sign_in_name, role, password_hash) VALUES ($1, $2, $3, $4)",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT],
);
const SET_PASSWORD: Statement = Statement(
    "WITH ended AS (DELETE FROM company_manager.sessions WHERE person = $1)
    UPDATE company_manager.people SET password_hash = $2 WHERE id = $1",
    &[Type::TEXT, Type::TEXT],
);

/// A company, as [`company`] reads it.
macro_rules! select_company {
    ($where:literal) => {
        concat!(
            "SELECT id, name, pod_retention_years, batch_track, custom_billing, batch_rate, minimum_quality_score,
                access_key,
                ARRAY(SELECT person FROM company_manager.company_admins WHERE company = companies.id)
            FROM company_manager.companies ",
            $where
        )
    };
}
const COMPANY: Statement = Statement(select_company!("WHERE id = $1"), &[Type::TEXT]);
const COMPANIES: Statement = Statement(select_company!("WHERE id = ANY($1) ORDER BY name, id"), &[Type::TEXT_ARRAY]);
const COMPANIES_OF: Statement = Statement(
    select_company!(
        "WHERE id IN (SELECT company FROM company_manager.company_admins WHERE person = $1)
        AND coalesce((name, id) > (SELECT name, id FROM company_manager.companies WHERE id = $2), true)
    ORDER BY name, id LIMIT $3"
    ),
    &[Type::TEXT, Type::TEXT, Type::INT8],
);
const ADD_COMPANY: Statement = Statement(
    "WITH company AS (
        INSERT INTO company_manager.companies (id, name, pod_retention_years, batch_track, custom_billing, batch_rate,
            minimum_quality_score)
        VALUES ($1, $2, $4, $5, $6, $7, $8) RETURNING id)
    INSERT INTO company_manager.company_admins (person, company) SELECT $3, id FROM company",
    &[Type::TEXT, Type::TEXT, Type::TEXT, Type::INT2, Type::BOOL, Type::BOOL, Type::BOOL, Type::INT2],
);
const SAVE_SETTINGS: Statement = Statement(
    "UPDATE company_manager.companies SET pod_retention_years = $2, batch_track = $3,
    custom_billing = $4, batch_rate = $5, minimum_quality_score = $6 WHERE id = $1",
    &[Type::TEXT, Type::INT2, Type::BOOL, Type::BOOL, Type::BOOL, Type::INT2],
);
const SAVE_ACCESS_KEY: Statement =
    Statement("UPDATE company_manager.companies SET access_key = $2 WHERE id = $1", &[Type::TEXT, Type::BYTEA]);

#[async_trait]
impl Directory for PostgresDirectory {
    async fn person(&self, id: &ActorId) -> Result<Option<Person>, DirectoryError> {
        self.database.row(PERSON, &[&id.as_str()]).await?.as_ref().map(person).transpose()
    }

    async fn sign_in(&self, name: &str) -> Result<Option<(Person, String)>, DirectoryError> {
        // Postgres keeps no text with a zero in it, so nobody has such a name.
        if name.contains('\0') {
            return Ok(None);
        }
        let Some(row) = self.database.row(SIGN_IN, &[&name]).await? else { return Ok(None) };
        let hash: Option<String> = row.try_get(3).map_err(failed)?;
        hash.map(|hash| Ok((person(&row)?, hash))).transpose()
    }

    async fn company(&self, id: &CompanyId) -> Result<Option<Company>, DirectoryError> {
        self.database.row(COMPANY, &[&id.as_str()]).await?.as_ref().map(|row| self.read(row)).transpose()
    }

    async fn companies(&self, ids: &[CompanyId]) -> Result<Vec<Company>, DirectoryError> {
        let ids: Vec<&str> = ids.iter().map(CompanyId::as_str).collect();
        Ok(self.readable(&self.database.rows(COMPANIES, &[&ids]).await?))
    }

    async fn companies_of(
        &self,
        admin: &ActorId,
        after: Option<&CompanyId>,
        limit: usize,
    ) -> Result<Page<Company, CompanyId>, DirectoryError> {
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let rows =
            self.database.rows(COMPANIES_OF, &[&admin.as_str(), &after.map(CompanyId::as_str), &one_more]).await?;
        let (page, more) = rows.split_at(limit.min(rows.len()));
        // Also behind a row that cannot be read.
        let last = page
            .last()
            .filter(|_| !more.is_empty())
            .and_then(|row| CompanyId::new(row.try_get::<_, &str>(0).ok()?).ok());
        Ok(Page { items: self.readable(page), next: last })
    }

    async fn add_company(&self, name: CompanyName, admin: &ActorId) -> Result<CompanyId, DirectoryError> {
        let id = CompanyId::from(random_uuid());
        let Columns { pod, track, billing, rate, score } = &Columns::from(Settings::default());
        let admin = admin.as_str();
        self.database
            .rows(ADD_COMPANY, &[&id.as_str(), &name.as_str(), &admin, pod, track, billing, rate, score])
            .await?;
        Ok(id)
    }

    async fn save_settings(&self, id: &CompanyId, settings: Settings) -> Result<(), DirectoryError> {
        let Columns { pod, track, billing, rate, score } = &Columns::from(settings);
        self.database.rows(SAVE_SETTINGS, &[&id.as_str(), pod, track, billing, rate, score]).await.map(drop)
    }

    async fn save_access_key(&self, id: &CompanyId, key: AccessKey) -> Result<(), DirectoryError> {
        let sealed = database::seal_access_key(&self.keyring, id, key.secret()).map_err(|error| {
            tracing::error!(error = %chain(&error), "an access key cannot be encrypted");
            DirectoryError
        })?;
        self.database.rows(SAVE_ACCESS_KEY, &[&id.as_str(), &sealed]).await.map(drop)
    }
}

/// [`Settings`] as the table has them.
struct Columns {
    pod: i16,
    track: bool,
    billing: bool,
    rate: bool,
    score: i16,
}

impl From<Settings> for Columns {
    fn from(settings: Settings) -> Self {
        Self {
            pod: settings.pod_retention_years.into(),
            track: settings.batch_track,
            billing: settings.custom_billing,
            rate: settings.batch_rate,
            score: settings.minimum_quality_score.into(),
        }
    }
}

async fn set_password(
    transaction: &mut Transaction,
    known: &Row,
    password: Option<&SecretString>,
) -> Result<(), DirectoryError> {
    let (id, hash): (&str, Option<&str>) = (known.try_get(0).map_err(failed)?, known.try_get(3).map_err(failed)?);
    match password {
        Some(password) if !hash.is_some_and(|hash| passwords::matches(password, hash)) => {
            transaction.row(SET_PASSWORD, &[&id, &hashed(password)?]).await.map(drop)
        }
        _ => Ok(()),
    }
}

async fn add(transaction: &mut Transaction, newcomer: &Newcomer<'_>) -> Result<(), DirectoryError> {
    let id = ActorId::from(random_uuid());
    let hash = newcomer.password.map(hashed).transpose()?;
    let parameters: &[Parameter<'_>] = &[&id.as_str(), &newcomer.sign_in_name, &name_of(newcomer.role), &hash];
    transaction.row(ADD_PERSON, parameters).await?;
    for name in &newcomer.companies {
        let company = CompanyId::from(random_uuid());
        let Columns { pod, track, billing, rate, score } = &Columns::from(Settings::default());
        let parameters: &[Parameter<'_>] =
            &[&company.as_str(), &name.as_str(), &id.as_str(), pod, track, billing, rate, score];
        transaction.row(ADD_COMPANY, parameters).await?;
    }
    Ok(())
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
    let role = match row.try_get(2).map_err(failed)? {
        "company_admin" => Role::CompanyAdmin,
        "admin_user" => Role::AdminUser,
        _ => return Err(unreadable("role")),
    };
    let id = ActorId::new(row.try_get::<_, &str>(0).map_err(failed)?).map_err(|_| unreadable("person"))?;
    Ok(Person { id, sign_in_name: row.try_get(1).map_err(failed)?, role })
}
