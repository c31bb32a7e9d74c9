//! Redirects that lead nowhere: a browser that comes back as it was sent on went around in a circle.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::extract::{ConnectInfo, Request};
use batchsuite_auth::clock::{Timestamp, later};
use sha2::{Digest, Sha256};

/// A browser follows a redirect at once; a load balancer that looks at the application does so more seldom.
const WINDOW: Duration = Duration::from_secs(3);
const MOST_ENTRIES: usize = 10_000;

/// The requests that were redirected lately, by their hash; bounded.
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
        let sender = fingerprint(request);
        // A clock that was set back says nothing about how long ago that was.
        if sent_on.get(&sender).is_some_and(|before| *before <= now && later(*before, WINDOW) > now) {
            return true;
        }
        sent_on.insert(sender, now);
        false
    }
}

/// The hash of what one browser's repeated requests have in common, behind a proxy too.
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
