//! A store in its own schema, and data for it.

use std::{sync::OnceLock, time::Duration};

use batchsuite_auth::{
    BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment,
    events::{EventContent, EventKind},
    fake_ups::FakeUps,
    http::HttpClient,
    ids::{ConsentId, Revision},
    secret::{AccessTokenSecret, BrowserSecret, PkceVerifier, RefreshToken},
    store::{
        Consent, ConsentCaps, Document, EventOrder, EventQuery, ListQuery, ListedAs, NewConsent, NewEvent, Row, RowKey,
        Saved, Store, StoredTokens, Swap, TokenChange, Tokens, Wake,
    },
};
use batchsuite_store::{PostgresStore, PostgresStoreBuilder};
use batchsuite_tests::{
    Answer, HOUR, ada, eventually, opt_in,
    postgres::{Log, Server, TestSchema, keyring},
};
use serde_json::json;
use tokio_postgres::Client as PostgresClient;

pub(crate) const CLIENT: &str = "our-client";
const REDIRECT_URI: &str = "https://host.example/callback";
pub(crate) const CIE: Environment = Environment::Cie;

pub(crate) struct Stage {
    pub(crate) schema: TestSchema,
    pub(crate) store: PostgresStore,
}

/// This program's server. It logs everything, so that the tests can search the log for secrets.
pub(crate) fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Log::Everything))
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(server().url(), |builder| builder).await
    }

    /// A store on the server at `url`, configured by `set_up`.
    pub(crate) async fn with(url: &str, set_up: impl FnOnce(PostgresStoreBuilder) -> PostgresStoreBuilder) -> Self {
        let schema = TestSchema::new(server());
        let store = set_up(PostgresStore::at(url, keyring().await).schema(schema.name())).build().unwrap();
        store.migrate().await.unwrap();
        Self { schema, store }
    }

    /// Another store on the same schema, like another process's.
    pub(crate) async fn another(&self) -> PostgresStore {
        self.another_on(server()).await
    }

    /// The same on the test's own server.
    pub(crate) async fn another_on(&self, server: &Server) -> PostgresStore {
        PostgresStore::at(server.url(), keyring().await).schema(self.schema.name()).build().unwrap()
    }

    /// The processes of the server that listen for this stage, except `ended`. Waits until there are `number` of them.
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
        eventually("enough listeners", listen).await
    }

    /// Saves the company for the first time, with the tokens `"1"`.
    pub(crate) async fn paired(&self, key: &RowKey) -> Row {
        paired(&self.store, key).await
    }

    /// A process with this store that reaches UPS through `http`.
    pub(crate) fn process(&self, http: impl HttpClient) -> BatchSuiteAuthBuilder {
        BatchSuiteAuth::builder(CIE, Client::new(CLIENT, "secret"))
            .redirect_uri(REDIRECT_URI.parse().unwrap())
            .store(self.store.clone())
            .http(http)
    }

    /// Companies that have opted in through another process. Their access tokens live for four hours.
    pub(crate) async fn opted_in(&self, names: &str, number: usize) -> Vec<CompanyId> {
        let ups = FakeUps::builder()
            .client(CLIENT, "secret")
            .redirect_uri(REDIRECT_URI)
            .access_lifetime(4 * HOUR)
            .start()
            .await;
        let auth = ups.authenticator().store(self.another().await).without_keeper().build().unwrap();
        let companies: Vec<_> =
            (0..number).map(|number| batchsuite_tests::company(&format!("{names}-{number}"))).collect();
        for company in &companies {
            opt_in(&auth, &ups, company).await;
        }
        auth.shutdown().await;
        companies
    }

    /// Executes SQL on the schema.
    pub(crate) async fn execute(&self, sql: &str) {
        server().client().await.batch_execute(&sql.replace("{schema}", self.schema.name())).await.unwrap();
    }
}

/// Saves the company for the first time, with the tokens `"1"`.
pub(crate) async fn paired(store: &PostgresStore, key: &RowKey) -> Row {
    let row = store.load(key).await.unwrap();
    saved(store, rotation(&row, "1")).await
}

/// Saves and returns the stored row.
pub(crate) async fn saved(store: &PostgresStore, swap: Swap) -> Row {
    let key = swap.key.clone();
    let saved = store.save(swap).await.unwrap();
    assert!(matches!(saved, Saved::Yes { .. }), "{saved:?}");
    store.load(&key).await.unwrap()
}

pub(crate) fn company(name: &str) -> RowKey {
    RowKey::company(CIE, batchsuite_tests::company(name))
}

/// The company in a key.
pub(crate) fn id(key: &RowKey) -> CompanyId {
    key.company.clone().unwrap()
}

/// A save that changes only the row's number.
pub(crate) fn unchanged(row: &Row) -> Swap {
    Swap {
        key: row.key.clone(),
        expected: row.number,
        decided_at: None,
        step: "a test's",
        document: row.document.clone(),
        revision: row.revision,
        listed_as: ListedAs::Authenticated,
        tokens: TokenChange::Keep,
        wake: None,
        used_at: row.used_at,
        events: Vec::new(),
        announce: false,
    }
}

/// A save of the next pair.
pub(crate) fn rotation(row: &Row, name: &str) -> Swap {
    Swap {
        document: Document::new(json!({ "pair": name }).to_string()),
        revision: Revision { version: row.revision.version + 1, ..row.revision },
        tokens: TokenChange::Replace(tokens(name)),
        wake: Some(Wake { at: Some(row.as_of), if_used: None }),
        events: vec![event(EventKind::Refreshed)],
        announce: true,
        ..unchanged(row)
    }
}

/// A save that erases the tokens.
pub(crate) fn removal(row: &Row) -> Swap {
    Swap {
        revision: Revision { epoch: row.revision.epoch + 1, version: 0 },
        listed_as: ListedAs::Unauthenticated,
        tokens: TokenChange::Erase,
        events: vec![event(EventKind::Removed)],
        ..rotation(row, "none")
    }
}

pub(crate) fn tokens(name: &str) -> Tokens {
    Tokens {
        access: Some(AccessTokenSecret::new(format!("access-canary-{name}"))),
        refresh: Some(RefreshToken::new(format!("refresh-canary-{name}"))),
    }
}

/// Whether these are `tokens(name)`.
pub(crate) fn are_tokens(stored: &StoredTokens, name: &str) -> bool {
    let (StoredTokens::Readable(stored), expected) = (stored, tokens(name)) else { return false };
    let (Some(access), Some(refresh)) = (&stored.access, &stored.refresh) else { return false };
    access.expose_secret() == expected.access.unwrap().expose_secret()
        && refresh.expose_secret() == expected.refresh.unwrap().expose_secret()
}

pub(crate) fn event(kind: EventKind) -> EventContent {
    EventContent::new(kind)
}

/// An event of a company.
pub(crate) fn told(key: &RowKey, kind: EventKind) -> NewEvent {
    NewEvent { company: key.company.clone(), event: event(kind) }
}

/// UPS without a network: every refresh gets the same new pair.
pub(crate) fn new_pair() -> Answer {
    let pair = json!({
        "access_token": "new-access", "refresh_token": "new-refresh", "token_type": "Bearer", "expires_in": "14399",
        "refresh_token_expires_in": "5184000", "status": "approved",
    });
    Ok(http::Response::new(pair.to_string().into_bytes()))
}

/// A query for the whole log, or for the first events after a cursor.
pub(crate) fn events() -> EventQuery {
    EventQuery { environment: CIE, company: None, order: EventOrder::OldestFirst, after: None, limit: 1000 }
}

/// A query for every row.
pub(crate) fn all() -> ListQuery {
    ListQuery { environment: CIE, listed_as: None, after: None, limit: 100 }
}

const CAPS: ConsentCaps = ConsentCaps { per_company: 10, per_actor: 100 };

pub(crate) fn consent(key: &RowKey) -> NewConsent {
    NewConsent {
        consent: Consent {
            id: ConsentId::random(),
            environment: key.environment,
            company: id(key),
            actor: ada(),
            browser: BrowserSecret::random().hash(),
            redirect_uri: REDIRECT_URI.parse().unwrap(),
            client_id: CLIENT.to_owned(),
            return_to: None,
            removals: 0,
        },
        state: BrowserSecret::random().hash(),
        verifier: Some(PkceVerifier::new("verifier-canary")),
        lifetime: Duration::from_secs(600),
    }
}

/// Stores a consent with its event.
pub(crate) async fn put(store: &PostgresStore, consent: NewConsent) -> Result<(), batchsuite_auth::store::StoreError> {
    let event = NewEvent { company: Some(consent.consent.company.clone()), event: event(EventKind::Started) };
    store.put_consent(consent, CAPS, event).await
}

/// Returns when this many statements on the schema wait for a lock.
pub(crate) async fn waiting(client: &PostgresClient, schema: &str, statements: i64) {
    let count =
        format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%'");
    let wait = async || client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0) == statements;
    eventually("enough waiting statements", wait).await;
}
