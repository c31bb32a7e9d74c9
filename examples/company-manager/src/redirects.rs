//! Detects redirect loops: a browser that returns with the same request right after a redirect.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::{ConnectInfo, Request};
use batchsuite_auth::clock::{Timestamp, later};
use sha2::{Digest, Sha256};

/// A browser follows a redirect at once; a load balancer's health checks are further apart.
const WINDOW: Duration = Duration::from_secs(3);
const MOST_ENTRIES: usize = 10_000;

/// The recently redirected requests, by hash; bounded.
#[derive(Debug, Default)]
pub(crate) struct Redirects(Mutex<HashMap<[u8; 32], Timestamp>>);

impl Redirects {
    /// Whether the same request was redirected just before; records it if not.
    pub(crate) fn is_circle(&self, request: &Request, now: Timestamp) -> bool {
        let mut sent_on = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sent_on.len() >= MOST_ENTRIES {
            sent_on.retain(|_, at| later(*at, WINDOW) > now);
        }
        if sent_on.len() >= MOST_ENTRIES {
            sent_on.clear();
        }
        let sender = fingerprint(request);
        // If the clock was set back, the elapsed time is unknown.
        if sent_on.get(&sender).is_some_and(|before| *before <= now && later(*before, WINDOW) > now) {
            return true;
        }
        sent_on.insert(sender, now);
        false
    }
}

/// The hash of the parts that one browser's repeated requests share, also behind a proxy.
fn fingerprint(request: &Request) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes);
        hash.update([0]);
    };
    part(request.method().as_str().as_bytes());
    part(request.uri().to_string().as_bytes());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
    part(peer.unwrap_or_default().as_bytes());
    for name in ["host", "user-agent", "accept-language", "x-forwarded-for", "x-forwarded-proto"] {
        request.headers().get_all(name).iter().for_each(|value| part(value.as_bytes()));
        part(b"");
    }
    hash.finalize().into()
}
