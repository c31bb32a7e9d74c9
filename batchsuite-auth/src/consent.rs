//! A browser's trip to UPS.com and back, as the host sees it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use http::HeaderValue;
use url::Url;

use crate::{
    browser::TripCookie,
    clock::Timestamp,
    error::OptInRefused,
    ids::{ActorId, CompanyId},
    secret::{AccessToken, BrowserSecret},
};

/// A browser's trip to UPS.com.
#[derive(Clone)]
#[non_exhaustive]
pub struct Trip {
    /// Where to send the browser. It carries the state: keep it out of logs.
    pub url: Url,
    /// What to keep in the browser's cookie; [`set_cookie`](Self::set_cookie) writes it.
    pub browser_secret: BrowserSecret,
    /// Until when the browser can come back.
    pub expires_at: Timestamp,
    pub(crate) cookie: CookieOfTrip,
}

/// How the cookie of one trip is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CookieOfTrip {
    pub(crate) cookie: TripCookie,
    /// The browser came without a secret. Another tab may be given another secret at this very moment, so this secret is kept
    /// beside that one, for this long.
    pub(crate) is_beside: Option<Duration>,
}

impl Trip {
    /// The value of the `Set-Cookie` header that the answer with [`url`](Self::url) needs. It is written for the redirect URI's
    /// host: see [`TripCookie`]. A browser that came without a secret keeps this one beside any other until the trip ends, so
    /// that two tabs that begin at once both come back.
    #[must_use]
    pub fn set_cookie(&self) -> HeaderValue {
        let CookieOfTrip { cookie, is_beside } = self.cookie;
        match is_beside {
            Some(lifetime) => cookie.header_beside(&self.browser_secret, lifetime),
            None => cookie.header(&self.browser_secret),
        }
    }
}

/// Shows neither the state, which is in the address, nor the browser's secret.
impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trip").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A completed consent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OptedIn {
    /// Which company.
    pub company: CompanyId,
    /// When the refresh token ends, as far as UPS said.
    pub refresh_expires_at: Option<Timestamp>,
    /// Where the host wanted the browser afterwards.
    pub return_to: Option<String>,
}

/// Looks at an opt-in between the exchange and its storing, and may refuse it: for instance because the shipper number is
/// not on the UPS profile that signed in (UPS tells nobody which profile that was; signing in with the wrong one succeeds
/// and fails later), or because the person may no longer act for the company.
///
/// A refused opt-in is not stored; an earlier one stays. The check runs in the callback's task: bound its time.
#[async_trait]
pub trait OptInCheck: fmt::Debug + Send + Sync + 'static {
    /// Looks at the opt-in.
    ///
    /// # Errors
    /// [`OptInRefused`], with the reason for the person.
    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused>;
}

/// An opt-in that UPS has granted and that is not stored yet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewOptIn<'a> {
    /// Of which company.
    pub company: &'a CompanyId,
    /// Who opted in.
    pub actor: &'a ActorId,
    /// Its access token, to ask UPS's APIs with; `None`: UPS sent none that can be used.
    pub token: Option<&'a AccessToken>,
}
