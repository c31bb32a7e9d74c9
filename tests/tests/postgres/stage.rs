//! A store in a schema of its own, and what to store in it.

use std::{sync::OnceLock, time::Duration};

use batchsuite_auth::{
    Environment,
    clock::Timestamp,
    ids::{AttemptId, ConsentId},
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::{
        ClaimRefresh, Claimed, CommitRefresh, Connect, Connected, DueQuery, GrantKey, NewConsent, NewPair, Snapshot,
        Store,
    },
};
use batchsuite_store::{PostgresStore, PostgresStoreBuilder};
use batchsuite_tests::{
    Answer, DAY, HOUR, ada, eventually, key,
    postgres::{Log, Server, TestSchema, keyring},
};
use serde_json::json;
use tokio_postgres::Client;

pub(crate) const CLIENT: &str = "our-client";

pub(crate) struct Stage {
    pub(crate) schema: TestSchema,
    pub(crate) store: PostgresStore,
}

/// The server of this program. It logs everything, so that what must not be logged would be found.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Log::Everything))
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(server().url(), |builder| builder).await
    }

    /// A store that reaches the server at `url`, set up in some way.
    pub(crate) async fn with(url: &str, set_up: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder) -> Self {
        let schema = TestSchema::new(server());
        let store = set_up(PostgresStore::at(url, keyring().await).schema(schema.name())).build().unwrap();
        store.migrate().await.unwrap();
        Self { schema, store }
    }

    /// Another store on the same schema, as another process would have.
    pub(crate) async fn another(&self) -> PostgresStore {
        self.another_on(server()).await
    }

    /// The same on a server of the test's own.
    pub(crate) async fn another_on(&self, server: &Server) -> PostgresStore {
        PostgresStore::at(server.url(), keyring().await).schema(self.schema.name()).build().unwrap()
    }

    /// The server's processes that listen for this stage, but for `ended`, once there are so many.
    pub(crate) async fn listeners(&self, number: usize, ended: &[i32]) -> Vec<i32> {
        let listeners = format!(
            "SELECT pid FROM pg_stat_activity
             WHERE query = 'LISTEN \"batchsuite_{}\"' AND state = 'idle' AND pid <> ALL ($1)",
            self.schema.name()
        );
        let client = server().client().await;
        let listen = async || {
            let found = client.query(&listeners, &[&ended]).await.unwrap();
            (found.len() == number).then(|| found.iter().map(|row| row.get(0)).collect())
        };
        eventually("so many listen", listen).await
    }

    /// The statement of this name.
    pub(crate) fn statement(&self, name: &str) -> String {
        let (_, sql) = self.store.statements().find(|(known, _)| *known == name).expect("a known statement");
        sql.to_owned()
    }

    /// An authenticated company with `pair("1")`.
    pub(crate) async fn authenticated(&self, key: &GrantKey) -> Snapshot {
        stored(self.store.connect(connect(key)).await.unwrap())
    }

    /// A new attempt that has claimed the refresh token of `grant`.
    pub(crate) async fn claimed(&self, grant: &Snapshot) -> AttemptId {
        let (key, revision, attempt) = (grant.key.clone(), grant.opt_in.revision, AttemptId::random());
        let claim = ClaimRefresh { key, revision, attempt, lease: Duration::from_secs(60) };
        assert_eq!(self.store.claim_refresh(claim).await.unwrap(), Claimed::Yes);
        attempt
    }
}

pub(crate) fn company(name: &str) -> GrantKey {
    key(&batchsuite_tests::company(name))
}

pub(crate) fn pair(name: &str) -> NewPair {
    NewPair {
        access_token: Some(AccessTokenSecret::new(format!("access-canary-{name}"))),
        access_lifetime: 4 * HOUR,
        refresh_after: 3 * HOUR,
        refresh_token: Some(RefreshToken::new(format!("refresh-canary-{name}"))),
        erases_refresh_token: false,
        refresh_lifetime: Some(60 * DAY),
        age: Duration::ZERO,
    }
}

pub(crate) fn connect(key: &GrantKey) -> Connect {
    Connect {
        key: key.clone(),
        consent: ConsentId::random(),
        removals: 0,
        actor: ada(),
        client_id: CLIENT.to_owned(),
        used_at: Timestamp::UNIX_EPOCH,
        issued_at: None,
        retry: false,
        pair: pair("1"),
        failures: 0,
    }
}

pub(crate) fn commit(grant: &Snapshot, attempt: AttemptId, pair: NewPair) -> CommitRefresh {
    let (key, revision) = (grant.key.clone(), grant.opt_in.revision);
    CommitRefresh { key, revision, attempt, pair, failures: 0, retry_in: None }
}

/// UPS without a network: every refresh gets the same new pair.
pub(crate) fn new_pair() -> Answer {
    let pair = json!({
        "access_token": "new-access", "refresh_token": "new-refresh", "token_type": "Bearer", "expires_in": "14399",
        "refresh_token_expires_in": "5184000", "status": "approved",
    });
    Ok(http::Response::new(pair.to_string().into_bytes()))
}

pub(crate) fn due() -> DueQuery {
    DueQuery {
        environment: Environment::Cie,
        client_id: CLIENT.to_owned(),
        used_within: DAY,
        keep_alive: 7 * DAY,
        reserve_for: Duration::from_secs(120),
        limit: 100,
    }
}

pub(crate) fn consent(key: &GrantKey) -> NewConsent {
    NewConsent {
        id: ConsentId::random(),
        key: key.clone(),
        actor: ada(),
        state: BrowserSecret::random().hash(),
        browser: BrowserSecret::random().hash(),
        verifier: Some(PkceVerifier::new("verifier-canary")),
        redirect_uri: "https://host.example/callback".parse().unwrap(),
        client_id: CLIENT.to_owned(),
        return_to: None,
        lifetime: Duration::from_secs(600),
        per_company: 10,
        per_actor: 10,
    }
}

/// Returns when so many statements on the schema wait for a lock.
pub(crate) async fn waiting(client: &Client, schema: &str, statements: i64) {
    let count =
        format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'");
    let wait = async || client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0) == statements;
    eventually("so many statements wait", wait).await;
}

#[track_caller]
pub(crate) fn stored(connected: Connected) -> Snapshot {
    let Connected::Stored(grant) = connected else { panic!("not stored: {connected:?}") };
    *grant
}
