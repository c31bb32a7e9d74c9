//! A database for one test, for tests that run on each store that outlives a process.

use std::{error::Error, fs, sync::Arc, time::Duration};

use batchsuite_auth::{clock::Clock, store::Store};
use batchsuite_store::{PostgresStore, SqliteStore};
use serde_json::Value;

use crate::{
    postgres::{Log, Server, TestSchema, keyring},
    sqlite::TestFile,
};

/// A store that outlives a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// `PostgresStore`.
    Postgres,
    /// `SqliteStore`.
    Sqlite,
}

/// Generates two tests from each function, one per [`Backend`], which the function takes as its argument. An omitted
/// function is dead code.
#[macro_export]
macro_rules! on_each_backend {
    ($($test:ident),+ $(,)?) => {
        $crate::on_each_backend!(@ postgres, Postgres, $($test)+);
        $crate::on_each_backend!(@ sqlite, Sqlite, $($test)+);
    };
    (@ $module:ident, $backend:ident, $($test:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    Box::pin(super::$test($crate::Backend::$backend)).await;
                }
            )+
        }
    };
}

/// A database for one test.
#[derive(Debug)]
pub enum Database {
    /// A schema, which uses the server's time.
    Postgres(TestSchema),
    /// A file, which uses each process's time.
    Sqlite(TestFile),
}

impl Database {
    /// A new database; in Postgres, on this program's server.
    ///
    /// # Panics
    /// If it cannot be created.
    pub async fn new(backend: Backend) -> Self {
        match backend {
            Backend::Postgres => Self::on(Server::shared(Log::Normal)).await,
            Backend::Sqlite => Self::Sqlite(TestFile::new()),
        }
    }

    /// A new schema on this server.
    ///
    /// # Panics
    /// If it cannot be created.
    pub async fn on(server: &'static Server) -> Self {
        let schema = TestSchema::new(server);
        let store = PostgresStore::at(server.url(), keyring().await).schema(schema.name()).build().expect("a store");
        store.migrate().await.expect("tables");
        Self::Postgres(schema)
    }

    /// The database's server, if it has one.
    pub fn server(&self) -> Option<&'static Server> {
        match self {
            Self::Postgres(schema) => Some(schema.server()),
            Self::Sqlite(_) => None,
        }
    }

    /// The arguments for [`open_store`]: the database and the schema.
    pub fn place(&self) -> [String; 2] {
        match self {
            Self::Postgres(schema) => [schema.server().url().to_owned(), schema.name().to_owned()],
            Self::Sqlite(file) => [format!("{SQLITE}{}", file.path().display()), String::new()],
        }
    }

    /// Another store on the database, like another process's.
    ///
    /// # Panics
    /// If the store cannot open the database.
    pub async fn store(&self, clock: impl Clock) -> Arc<dyn Store> {
        let [database, schema] = self.place();
        open_store(&database, &schema, clock).await.expect("a store")
    }

    /// Moves the database's own clock ahead, if it has one.
    ///
    /// # Panics
    /// If the clock does not move.
    pub async fn advance(&self, by: Duration) {
        if let Self::Postgres(schema) = self {
            schema.advance(by).await;
        }
    }

    /// Moves the database's own clock back, if it has one.
    ///
    /// # Panics
    /// If the clock does not move.
    pub async fn set_back(&self, by: Duration) {
        if let Self::Postgres(schema) = self {
            schema.set_back(by).await;
        }
    }

    /// Executes SQL behind the store's back; `{schema}` stands for the schema of the tables.
    ///
    /// # Panics
    /// If the database refuses it.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(schema) => {
                let sql = sql.replace("{schema}", schema.name());
                schema.server().client().await.batch_execute(&sql).await.expect("the server accepts the statement");
            }
            Self::Sqlite(file) => {
                let sql = sql.replace("{schema}", "main");
                file.connection().execute_batch(&sql).expect("the file accepts the statement");
            }
        }
    }

    /// Writes a field into the document of a company or of the client row (which has no name), like another release.
    ///
    /// # Panics
    /// If the database refuses it.
    pub async fn set_field(&self, company: &str, field: &str, value: &Value) {
        let value = value.to_string().replace('\'', "''");
        let set = match self {
            Self::Postgres(_) => format!("state = jsonb_set(state, '{{{field}}}', '{value}')"),
            Self::Sqlite(_) => format!("document = json_set(document, '$.{field}', json('{value}'))"),
        };
        self.execute(&format!("UPDATE {{schema}}.grants SET {set} WHERE company = '{company}'")).await;
    }

    /// All stored bytes, as a thief sees them.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn dump(&self) -> Vec<u8> {
        match self {
            Self::Postgres(schema) => schema.server().dump(schema.name()).into_bytes(),
            Self::Sqlite(file) => {
                let files = fs::read_dir(file.directory()).expect("the file's directory");
                files.flat_map(|entry| fs::read(entry.expect("a file").path()).expect("the file's bytes")).collect()
            }
        }
    }
}

/// The prefix of a file's name where a database can be of either kind.
const SQLITE: &str = "sqlite:";

/// A store on the database at this [`place`](Database::place). If the database has no clock of its own, the store uses
/// `clock`.
///
/// # Errors
/// The store cannot open the database.
pub async fn open_store(database: &str, schema: &str, clock: impl Clock) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    let keyring = keyring().await;
    Ok(match database.strip_prefix(SQLITE) {
        Some(path) => Arc::new(SqliteStore::open_with_clock(path, keyring, clock).await?),
        None => Arc::new(PostgresStore::at(database, keyring).schema(schema).build()?),
    })
}
