//! Companies that have opted in without a browser.

use std::{
    hint::black_box,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use batchsuite_auth::{
    BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment, Policy,
    http::{HttpClient, HttpError},
    store::{GrantKey, Store},
};
use batchsuite_store::MemoryStore;
use url::Url;

use crate::{life::Life, measure::Shuffled};

/// The client id of every grant.
pub const CLIENT_ID: &str = "bench-client";

/// The lifetime of an access token: UPS's four hours.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// The age of an opt-in with an expired access token.
pub const ENDED: Duration = Duration::from_secs(4 * 3600 + 60);

/// The length of an access token like UPS's.
pub const ACCESS_LENGTH: usize = 2048;
/// The length of a refresh token like UPS's.
pub const REFRESH_LENGTH: usize = 256;

/// The names of the first `number` companies.
pub fn names(number: usize) -> Vec<CompanyId> {
    (0..number).map(name).collect()
}

/// The name of a company: as long as a UUID, the usual key of a tenant.
///
/// # Panics
/// Never: the name is valid.
pub fn name(number: usize) -> CompanyId {
    CompanyId::new(format!("0b9fb1e0-5d0c-4c5e-9d9c-{number:012}")).expect("a valid name")
}

/// The text of a new token, different on each call.
pub fn text() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("token-{:058}", NEXT.fetch_add(1, Relaxed))
}

/// The text of a new token with this many characters. Like UPS's tokens, a database cannot compress it.
pub fn text_of(length: usize) -> String {
    static LETTERS: LazyLock<String> = LazyLock::new(|| incompressible(4096));
    let mut text = text();
    text.push_str(&LETTERS[..length.saturating_sub(text.len())]);
    text
}

/// Letters and digits that cannot be compressed.
pub fn incompressible(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut order = Shuffled::below(LETTERS.len());
    (0..length).map(|_| char::from(LETTERS[order.index()])).collect()
}

/// The key of a company's grant.
pub fn key(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Cie, company: company.clone() }
}

/// A store in memory in which all companies have just opted in.
pub async fn connected(companies: &[CompanyId]) -> MemoryStore {
    connected_ago(companies, Duration::ZERO).await
}

/// The same with opt-ins of this age.
pub async fn connected_ago(companies: &[CompanyId], age: Duration) -> MemoryStore {
    let (store, life) = (MemoryStore::new(), Life::begun_ago(age).await);
    for company in companies {
        life.opt_in(&store, company).await;
    }
    store
}

/// An authenticator over `store` without a keeper. Its HTTP client answers at once.
pub fn authenticator(store: impl Store) -> BatchSuiteAuthBuilder {
    with_keeper(store).without_keeper()
}

/// The same with a keeper.
///
/// # Panics
/// Never: the settings fit.
pub fn with_keeper(store: impl Store) -> BatchSuiteAuthBuilder {
    let uri = Url::parse("http://localhost/callback").expect("a URL");
    let mut policy = Policy::default();
    // No measurement waits for its turn.
    policy.refresh_rate = 1_000_000;
    BatchSuiteAuth::builder(Environment::Cie, Client::new(CLIENT_ID, "bench-secret"))
        .policy(policy)
        .redirect_uri(uri)
        .store(store)
        .http(AtOnce)
}

/// The same with every token in the cache.
///
/// # Panics
/// If a token cannot be fetched.
pub async fn cached(companies: &[CompanyId]) -> BatchSuiteAuth {
    let auth = listening(connected(companies).await).await;
    cache_all(&auth, companies).await;
    auth
}

/// Caches every company's token.
///
/// # Panics
/// If a token cannot be fetched.
pub async fn cache_all(auth: &BatchSuiteAuth, companies: &[CompanyId]) {
    for company in companies {
        auth.access_token(company).await.expect("a token");
    }
}

/// Takes cached tokens of `companies`, as many as `operations`.
///
/// # Panics
/// If a token cannot be fetched.
pub async fn tokens(auth: &BatchSuiteAuth, companies: &[CompanyId], order: &mut Shuffled, operations: u64) {
    for _ in 0..operations {
        black_box(auth.access_token(&companies[order.index()]).await.expect("a token"));
    }
}

/// An authenticator that has read the feed once. The first read drops everything cached before it.
///
/// # Panics
/// Never: the settings fit.
pub async fn listening(store: impl Store) -> BatchSuiteAuth {
    heard(authenticator(store)).await
}

/// Builds an authenticator and waits for its first read of the feed.
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

/// The body of an answer with a new pair in UPS's format: every number is a string.
pub fn answer() -> Vec<u8> {
    answer_with(&text(), &text())
}

/// The same with tokens as long as UPS's.
pub fn long_answer() -> Vec<u8> {
    answer_with(&text_of(ACCESS_LENGTH), &text_of(REFRESH_LENGTH))
}

fn answer_with(access: &str, refresh: &str) -> Vec<u8> {
    format!(
        r#"{{"refresh_token_expires_in":"7776000","refresh_token_status":"approved","token_type":"Bearer","issued_at":"0","client_id":"{CLIENT_ID}","access_token":"{access}","refresh_token":"{refresh}","refresh_token_issued_at":"0","expires_in":"14399","refresh_count":"1","status":"approved"}}"#
    )
    .into_bytes()
}
