//! `moka`: one cache with an entry per company. Each entry has its own expiry.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use batchsuite_auth::CompanyId;
use batchsuite_benches::{companies, measure::now, report};
use moka::{Expiry, future::Cache};

use crate::{beside::Beside, version};

/// A token and its expiry.
struct Token {
    #[expect(dead_code, reason = "the cached value; it is returned, never read")]
    header: String,
    expires_at: Instant,
}

/// An entry expires with its token.
struct WithItsToken;

impl Expiry<CompanyId, Arc<Token>> for WithItsToken {
    fn expire_after_create(&self, _: &CompanyId, token: &Arc<Token>, created_at: Instant) -> Option<Duration> {
        Some(token.expires_at.saturating_duration_since(created_at))
    }
}

pub(crate) fn measure(beside: Beside<'_>) {
    report::note(format_args!(
        "token/moka: moka {}, future::Cache::get, an Expiry a token; one cache of 1,000 keys",
        version::of("moka"),
    ));
    let cache = beside.runtime.block_on(cache(beside.names));
    beside.cache("token/moka", async |name| {
        black_box(cache.get(name).await.expect("a token"));
    });
}

async fn cache(names: &[CompanyId]) -> Cache<CompanyId, Arc<Token>> {
    let cache = Cache::builder().expire_after(WithItsToken).build();
    let expires_at = now() + companies::ACCESS_LIFETIME;
    for name in names {
        let header = format!("Bearer {}", companies::text());
        cache.insert(name.clone(), Arc::new(Token { header, expires_at })).await;
    }
    cache.run_pending_tasks().await;
    cache
}
