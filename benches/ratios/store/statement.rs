//! The store's own statements.

use batchsuite_auth::{CompanyId, store::Store as _};
use batchsuite_store::{PostgresPool, PostgresStore};
use batchsuite_tests::postgres::{Server, keyring};
use tokio_postgres::types::Type;

use super::{ours::Saves, rounds::Verb};

/// A statement as the server has prepared it.
pub(super) struct Statement {
    pub(super) sql: String,
    /// The types of its parameters.
    pub(super) types: Vec<String>,
}

impl Statement {
    /// The store's statement for a verb: the store prepares it on a connection, and `pg_prepared_statements` of that
    /// connection shows it.
    pub(super) async fn of(server: &Server, schema: &str, verb: Verb, saves: &Saves) -> Self {
        let pool = PostgresPool::at(server.url()).connections(1).build().expect("a pool");
        let store = PostgresStore::builder(pool.clone(), keyring().await).schema(schema).build().expect("a store");
        run_in_vain(&store, verb, saves).await;
        let name = match verb {
            Verb::Load => "load",
            Verb::Claim => "save",
            Verb::Commit => "save_and_replace",
            Verb::Wake => "wake",
        };
        let prepared = pool.rows(PREPARED, &[Type::TEXT], &[&format!("/* batchsuite {name} */")]).await;
        let prepared = prepared.expect("the server answers");
        let [row] = prepared.as_slice() else { panic!("{name} is prepared {} times", prepared.len()) };
        Self { sql: row.get(0), types: row.get(1) }
    }
}

const PREPARED: &str =
    "SELECT statement, parameter_types::text[] FROM pg_prepared_statements WHERE starts_with(statement, $1)";

/// Changes nothing: the company does not exist, and no row is woken.
async fn run_in_vain(store: &PostgresStore, verb: Verb, saves: &Saves) {
    let nobody = CompanyId::new("nobody").expect("a valid name");
    let swap = match verb {
        Verb::Load => return drop(store.load(&super::ours::key(nobody)).await.expect("the store answers")),
        Verb::Wake => {
            return drop(store.wake(batchsuite_auth::Environment::Cie, 0).await.expect("the store answers"));
        }
        Verb::Claim => saves.claim(nobody, 1),
        Verb::Commit => saves.commit(nobody, 1),
    };
    let _ = store.save(swap).await.expect("the store answers");
}
