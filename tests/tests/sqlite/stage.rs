//! Saves of rows.

use batchsuite_auth::{
    CompanyId, Environment,
    events::{EventContent, EventKind},
    ids::Revision,
    secret::{AccessTokenSecret, RefreshToken},
    store::{Document, ListedAs, Row, RowKey, Saved, Store, StoreError, StoredTokens, Swap, TokenChange, Tokens},
};

pub(crate) const ACCESS: &str = "canary-of-an-access-token";
pub(crate) const REFRESH: &str = "canary-of-a-refresh-token";

pub(crate) fn key(company: &CompanyId) -> RowKey {
    RowKey::company(Environment::Cie, company.clone())
}

pub(crate) fn tokens(access: &str, refresh: &str) -> TokenChange {
    let (access, refresh) = (Some(AccessTokenSecret::new(access)), Some(RefreshToken::new(refresh)));
    TokenChange::Replace(Tokens { access, refresh })
}

/// The next rotation of a row, with the tokens of every test.
pub(crate) fn swap(row: &Row) -> Swap {
    Swap {
        key: row.key.clone(),
        expected: row.number,
        decided_at: None,
        step: "test",
        document: Document::new(r#"{"of": "a test"}"#),
        revision: Revision { version: row.revision.version + 1, ..row.revision },
        listed_as: ListedAs::Authenticated,
        tokens: tokens(ACCESS, REFRESH),
        wake: None,
        used_at: row.used_at,
        events: vec![EventContent::new(EventKind::Refreshed)],
        announce: true,
    }
}

/// Reads the row and saves its next rotation.
pub(crate) async fn rotate(store: &dyn Store, company: &CompanyId) -> Result<Saved, StoreError> {
    let row = store.load(&key(company)).await?;
    store.save(swap(&row)).await
}

/// The same where no failure is expected.
pub(crate) async fn rotated(store: &dyn Store, company: &CompanyId) {
    assert!(matches!(rotate(store, company).await, Ok(Saved::Yes { .. })), "there is no other writer");
}

/// The version of a row with readable tokens.
pub(crate) async fn version(store: &dyn Store, company: &CompanyId) -> u64 {
    let row = store.load(&key(company)).await.expect("the store answers");
    let StoredTokens::Readable(tokens) = row.tokens else { panic!("{:?}", row.tokens) };
    assert_eq!(tokens.refresh.expect("a refresh token").expose_secret(), REFRESH);
    row.revision.version
}

/// The line that an operator reads.
pub(crate) fn line(error: &StoreError) -> String {
    batchsuite_auth::error::chain(error).to_string()
}
