//! Companies that have opted in, without the way through a browser.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    ActorId, BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment,
    clock::Timestamp,
    http::{HttpClient, HttpError},
    ids::ConsentId,
    secret::{AccessTokenSecret, RefreshToken},
    store::{Connect, GrantKey, NewPair, Store},
};
use batchsuite_store::MemoryStore;
use url::Url;

use crate::measure::Shuffled;

/// The client id of every grant.
pub const CLIENT_ID: &str = "bench-client";

/// How long an access token lives: UPS's four hours.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// The names of so many companies.
pub fn names(number: usize) -> Vec<CompanyId> {
    (0..number).map(name).collect()
}

/// The name of one company: as long as a UUID, the usual key of a tenant.
///
/// # Panics
/// Never: the name is valid.
pub fn name(number: usize) -> CompanyId {
    CompanyId::new(format!("0b9fb1e0-5d0c-4c5e-9d9c-{number:012}")).expect("a valid name")
}

/// A token's text, each time another one.
pub fn text() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("token-{:058}", NEXT.fetch_add(1, Relaxed))
}

/// A token's text of so many characters, each time another one.
pub fn text_of(length: usize) -> String {
    let mut text = text();
    text.extend(std::iter::repeat_n('x', length.saturating_sub(text.len())));
    text
}

/// A fresh pair.
pub fn pair(access: String, refresh: String) -> NewPair {
    NewPair {
        access_token: Some(AccessTokenSecret::new(access)),
        access_lifetime: ACCESS_LIFETIME,
        refresh_after: Duration::from_secs(3 * 3600),
        refresh_token: Some(RefreshToken::new(refresh)),
        erases_refresh_token: false,
        refresh_lifetime: Some(Duration::from_secs(90 * 24 * 3600)),
        age: Duration::ZERO,
    }
}

/// Where a company's grant is.
pub fn key(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Cie, company: company.clone() }
}

/// Lets a company have opted in with `pair`.
///
/// # Panics
/// If the store does not take it.
pub async fn connect(store: &dyn Store, company: &CompanyId, pair: NewPair) {
    let connect = Connect {
        key: key(company),
        consent: ConsentId::random(),
        removals: 0,
        actor: ActorId::new("bench").expect("a valid name"),
        client_id: CLIENT_ID.to_owned(),
        used_at: Timestamp::UNIX_EPOCH,
        issued_at: None,
        retry: false,
        pair,
        failures: 0,
    };
    store.connect(connect).await.expect("the store takes it");
}

/// A store in memory in which every company has opted in.
pub async fn connected(companies: &[CompanyId]) -> MemoryStore {
    connected_for(companies, ACCESS_LIFETIME).await
}

/// The same with access tokens that live so long.
pub async fn connected_for(companies: &[CompanyId], access_lifetime: Duration) -> MemoryStore {
    let store = MemoryStore::new();
    for company in companies {
        connect(&store, company, NewPair { access_lifetime, ..pair(text(), text()) }).await;
    }
    store
}

/// An authenticator over `store`; no keeper, and an HTTP client that answers at once.
pub fn authenticator(store: impl Store) -> BatchSuiteAuthBuilder {
    with_keeper(store).without_keeper()
}

/// The same with its keeper.
///
/// # Panics
/// Never: the settings fit.
pub fn with_keeper(store: impl Store) -> BatchSuiteAuthBuilder {
    let uri = Url::parse("http://localhost/callback").expect("a URL");
    BatchSuiteAuth::builder(Environment::Cie, Client::new(CLIENT_ID, "bench-secret"))
        .redirect_uri(uri)
        .store(store)
        .http(AtOnce)
}

/// The same with every token cached.
///
/// # Panics
/// If a token cannot be had.
pub async fn cached(companies: &[CompanyId]) -> BatchSuiteAuth {
    let auth = listening(connected(companies).await).await;
    cache_all(&auth, companies).await;
    auth
}

/// Lets every company's token be cached.
///
/// # Panics
/// If a token cannot be had.
pub async fn cache_all(auth: &BatchSuiteAuth, companies: &[CompanyId]) {
    for company in companies {
        auth.access_token(company).await.expect("a token");
    }
}

/// Asks so many times for the cached token of one of `companies`.
///
/// # Panics
/// If a token cannot be had.
pub async fn tokens(auth: &BatchSuiteAuth, companies: &[CompanyId], order: &mut Shuffled, operations: u64) {
    for _ in 0..operations {
        black_box(auth.access_token(&companies[order.index()]).await.expect("a token"));
    }
}

/// An authenticator that has had its first look at the feed, which drops what was cached before it.
///
/// # Panics
/// Never: the settings fit.
pub async fn listening(store: impl Store) -> BatchSuiteAuth {
    heard(authenticator(store)).await
}

/// Builds it, and lets it have that look.
///
/// # Panics
/// If the settings do not fit.
pub async fn heard(builder: BatchSuiteAuthBuilder) -> BatchSuiteAuth {
    let auth = builder.build().expect("the settings fit");
    tokio::time::sleep(Duration::from_millis(50)).await;
    auth
}

/// UPS without a network: every refresh gets a new pair at once.
#[derive(Debug)]
pub struct AtOnce;

#[async_trait]
impl HttpClient for AtOnce {
    async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        Ok(http::Response::new(answer()))
    }
}

/// The body of an answer with a new pair, in UPS's shape: every number a string.
pub fn answer() -> Vec<u8> {
    let (access, refresh) = (text(), text());
    format!(
        r#"{{"refresh_token_expires_in":"7776000","refresh_token_status":"approved","token_type":"Bearer","issued_at":"0","client_id":"{CLIENT_ID}","access_token":"{access}","refresh_token":"{refresh}","refresh_token_issued_at":"0","expires_in":"14399","refresh_count":"1","status":"approved"}}"#
    )
    .into_bytes()
}
