//! A careful user's version: the row stays locked from the read until the new pair is stored, so that no token is sent
//! twice.

use std::time::Duration;

use batchsuite_auth::CompanyId;
use batchsuite_benches::companies::{ACCESS_LENGTH, REFRESH_LENGTH, text_of};
use deadpool_postgres::{Manager, Pool};
use oauth2::RefreshToken;
use tokio_postgres::NoTls;

use super::CONNECTIONS;
use crate::{
    oauth::{Http, Ups},
    server::Server,
};

/// Unencrypted tokens, and no event log.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS opt_ins (
        company           text PRIMARY KEY,
        access_token      text NOT NULL,
        access_expires_at timestamptz NOT NULL,
        refresh_token     text NOT NULL,
        refreshed_at      timestamptz NOT NULL
    )";

const OPT_IN: &str = "
    INSERT INTO opt_ins VALUES ($1, $2, now() - interval '1 minute', $3, now() - interval '4 hours')
    ON CONFLICT (company) DO UPDATE SET
        access_token = EXCLUDED.access_token, access_expires_at = EXCLUDED.access_expires_at,
        refresh_token = EXCLUDED.refresh_token, refreshed_at = EXCLUDED.refreshed_at";

const LOOK: &str = "
    SELECT access_token, access_expires_at > now(), refresh_token FROM opt_ins WHERE company = $1 FOR UPDATE";

const STORE: &str = "
    UPDATE opt_ins SET access_token = $2, access_expires_at = now() + make_interval(secs => $3), refresh_token = $4,
        refreshed_at = now()
    WHERE company = $1";

/// The user's service.
#[derive(Clone)]
pub(super) struct Handwritten {
    pool: Pool,
    ups: Ups,
}

impl Handwritten {
    /// Connects to the database at `url`.
    pub(super) async fn at(url: &str, ups: &Server) -> Self {
        let manager = Manager::new(url.parse().expect("a connection string"), NoTls);
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build().expect("a pool");
        let connection = pool.get().await.expect("a connection");
        connection.batch_execute(TABLE).await.expect("a table");
        Self { pool, ups: Ups::at(ups, Http::bare()) }
    }

    /// Opts companies in with expired access tokens.
    pub(super) async fn opt_in(&self, companies: &[CompanyId]) {
        let connection = self.pool.get().await.expect("a connection");
        for company in companies {
            let (access, refresh) = (text_of(ACCESS_LENGTH), text_of(REFRESH_LENGTH));
            connection.execute(OPT_IN, &[&company.as_str(), &access, &refresh]).await.expect("an opt-in");
        }
    }

    /// Returns a valid token, which must be fetched.
    pub(super) async fn refresh(self, company: CompanyId) {
        let mut connection = self.pool.get().await.expect("a connection");
        let transaction = connection.transaction().await.expect("a transaction");
        let look = transaction.prepare_cached(LOOK).await.expect("a statement");
        let row = transaction.query_one(&look, &[&company.as_str()]).await.expect("an opt-in");
        assert!(!row.get::<_, bool>(1), "the token has expired");
        let pair = self.ups.refreshed(&RefreshToken::new(row.get(2))).await;
        let lifetime = Duration::from_secs(pair.expires_in.parse().expect("a number"));
        let store = transaction.prepare_cached(STORE).await.expect("a statement");
        let (access, refresh) = (pair.access_token.secret(), pair.refresh_token.secret());
        let stored = transaction
            .execute(&store, &[&company.as_str(), access, &lifetime.as_secs_f64(), refresh])
            .await
            .expect("the pair is stored");
        assert_eq!(stored, 1);
        transaction.commit().await.expect("the pair is committed");
    }
}
