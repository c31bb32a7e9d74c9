//! Companies that have opted in, without the way through a browser.

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
    BatchSuiteAuth, BatchSuiteAuthBuilder, Client, CompanyId, Environment,
    http::{HttpClient, HttpError},
    store::{GrantKey, Store},
};
use batchsuite_store::MemoryStore;
use url::Url;

use crate::{life::Life, measure::Shuffled};

/// The client id of every grant.
pub const CLIENT_ID: &str = "bench-client";

/// How long an access token lives: UPS's four hours.
pub const ACCESS_LIFETIME: Duration = Duration::from_secs(4 * 3600);

/// The age of an opt-in whose access token has ended.
pub const ENDED: Duration = Duration::from_secs(4 * 3600 + 60);

/// The lengths of tokens like UPS's.
pub const ACCESS_LENGTH: usize = 2048;
/// The same of refresh tokens.
pub const REFRESH_LENGTH: usize = 256;

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

/// A token's text of so many characters, each time another one. As in UPS's tokens, a database finds nothing to compress in it.
pub fn text_of(length: usize) -> String {
    static LETTERS: LazyLock<String> = LazyLock::new(|| incompressible(4096));
    let mut text = text();
    text.push_str(&LETTERS[..length.saturating_sub(text.len())]);
    text
}

/// Letters and digits in which nobody finds anything to compress.
pub fn incompressible(length: usize) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut order = Shuffled::below(LETTERS.len());
    (0..length).map(|_| char::from(LETTERS[order.index()])).collect()
}

/// Where a company's grant is.
pub fn key(company: &CompanyId) -> GrantKey {
    GrantKey { environment: Environment::Cie, company: company.clone() }
}

/// A store in memory in which every company has just opted in.
pub async fn connected(companies: &[CompanyId]) -> MemoryStore {
    connected_ago(companies, Duration::ZERO).await
}

/// The same, so long ago.
pub async fn connected_ago(companies: &[CompanyId], age: Duration) -> MemoryStore {
    let (store, life) = (MemoryStore::new(), Life::begun_ago(age).await);
    for company in companies {
        life.opt_in(&store, company).await;
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
    answer_with(&text(), &text())
}

/// The same with tokens of the length of UPS's.
pub fn long_answer() -> Vec<u8> {
    answer_with(&text_of(ACCESS_LENGTH), &text_of(REFRESH_LENGTH))
}

fn answer_with(access: &str, refresh: &str) -> Vec<u8> {
    format!(
        r#"{{"refresh_token_expires_in":"7776000","refresh_token_status":"approved","token_type":"Bearer","issued_at":"0","client_id":"{CLIENT_ID}","access_token":"{access}","refresh_token":"{refresh}","refresh_token_issued_at":"0","expires_in":"14399","refresh_count":"1","status":"approved"}}"#
    )
    .into_bytes()
}
