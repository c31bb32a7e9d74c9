//! Redirects that lead nowhere: a browser that comes back as it was sent on went around in a circle.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::Request;
use batchsuite_auth::clock::{Timestamp, later};
use http::header;
use sha2::{Digest, Sha256};

/// A browser follows a redirect at once.
const WINDOW: Duration = Duration::from_secs(10);
const MOST_ENTRIES: usize = 10_000;

/// Who was sent on lately, by a hash of the request; bounded.
#[derive(Debug, Default)]
pub(crate) struct Redirects(Mutex<HashMap<[u8; 32], Timestamp>>);

impl Redirects {
    /// Whether the same request was sent on just before; if not, it is from now on.
    pub(crate) fn is_circle(&self, request: &Request, now: Timestamp) -> bool {
        let mut sent_on = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent_on.len() >= MOST_ENTRIES {
            sent_on.retain(|_, at| later(*at, WINDOW) > now);
        }
        if sent_on.len() >= MOST_ENTRIES {
            sent_on.clear();
        }
        let before = sent_on.insert(fingerprint(request), now);
        before.is_some_and(|before| later(before, WINDOW) > now)
    }
}

/// What one browser's requests have in common, behind a proxy too.
fn fingerprint(request: &Request) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes);
        hash.update([0]);
    };
    part(request.method().as_str().as_bytes());
    part(request.uri().to_string().as_bytes());
    part(
        format!(
            "{:?}",
            request.extensions().get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip())
        )
        .as_bytes(),
    );
    let names = [
        header::HOST.as_str(),
        header::USER_AGENT.as_str(),
        header::ACCEPT_LANGUAGE.as_str(),
        "x-forwarded-for",
        "x-forwarded-proto",
    ];
    for name in names {
        request.headers().get_all(name).iter().for_each(|value| part(value.as_bytes()));
        part(b"");
    }
    hash.finalize().into()
}
