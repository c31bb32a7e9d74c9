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
    secret::{AccessToken, BrowserSecret, LinkToken},
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
#[derive(Clone, Debug)]
pub(crate) enum CookieOfTrip {
    /// The browser's one secret.
    Usual(TripCookie),
    /// The browser came without a secret. Another tab may be given another secret at this very moment, so this secret is kept
    /// beside that one, for this long.
    Beside(TripCookie, Duration),
    /// The browser followed a connect link.
    OfLink(TripCookie, LinkToken),
}

impl Trip {
    /// The value of the `Set-Cookie` header that the answer with [`url`](Self::url) needs. It is written for the redirect URI's
    /// host: see [`TripCookie`]. A browser that came without a secret keeps this one beside any other until the trip ends, so
    /// that two tabs that begin at once both come back. One that followed a connect link keeps which link that was, so that
    /// the callback needs nobody signed in.
    #[must_use]
    pub fn set_cookie(&self) -> HeaderValue {
        match &self.cookie {
            CookieOfTrip::Usual(cookie) => cookie.header(&self.browser_secret),
            CookieOfTrip::Beside(cookie, lifetime) => cookie.header_beside(&self.browser_secret, *lifetime),
            CookieOfTrip::OfLink(cookie, token) => cookie.header_of_link(token, &self.browser_secret),
        }
    }
}

/// Shows neither the state, which is in the address, nor the browser's secret.
impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trip").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A connect link: an address for the colleague who holds the UPS.com password, on another device, where nobody is signed in
/// to the host. See [`BatchSuiteAuth::connect_link`](crate::BatchSuiteAuth::connect_link).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectLink {
    /// The address ends with it.
    pub token: LinkToken,
    /// Which company it connects.
    pub company: CompanyId,
    /// Until when it can be followed.
    pub expires_at: Timestamp,
}

impl ConnectLink {
    /// The address to pass on: the token as one more segment of `page`'s path. It is a secret until it is used: show it to the
    /// person who asked for it, and keep it out of logs.
    #[must_use]
    pub fn address(&self, page: &Url) -> Url {
        let mut address = page.clone();
        if let Ok(mut path) = address.path_segments_mut() {
            path.pop_if_empty().push(self.token.expose_secret());
        }
        address
    }
}

/// A connect link that can be followed; see [`BatchSuiteAuth::open_link`](crate::BatchSuiteAuth::open_link).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenLink {
    /// Which company it connects.
    pub company: CompanyId,
    /// Who made it, in whose name the company is authenticated.
    pub actor: ActorId,
    /// Until when it can be followed.
    pub expires_at: Timestamp,
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

/// The host's own rules about opt-ins, asked at two points of a callback. Either may refuse; the person then gets
/// [`CallbackError::RefusedByHost`](crate::error::CallbackError::RefusedByHost), and an earlier opt-in of the company stays.
///
/// - [`before_sending`](Self::before_sending), when nothing has been sent yet: whether this person may (still) authenticate
///   this company.
/// - [`check`](Self::check), between the exchange and its storing: whether the access token is one for this company. UPS tells
///   nobody which UPS.com profile signed in; signing in with the wrong one succeeds and fails later.
///
/// Both run in the callback's task: bound their time.
///
/// ```
/// use std::collections::HashSet;
/// use async_trait::async_trait;
/// use batchsuite_auth::{ActorId, CompanyId, NewOptIn, OptInCheck, error::OptInRefused};
///
/// /// Who administers what, in place of the host's database.
/// #[derive(Debug)]
/// struct Administrators(HashSet<(ActorId, CompanyId)>);
///
/// #[async_trait]
/// impl OptInCheck for Administrators {
///     async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
///         match self.0.contains(&(actor.clone(), company.clone())) {
///             true => Ok(()),
///             false => Err(OptInRefused::new("you do not administer this company any more")),
///         }
///     }
///
///     async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused> {
///         // Here one of UPS's APIs could be asked, with `token.header()`, for the company's own shipper number.
///         opt_in.token.map(drop).ok_or_else(|| OptInRefused::new("UPS.com sent no access token; try again"))
///     }
/// }
/// # use batchsuite_auth::{BrowserSecret, error::CallbackError, fake_ups::FakeUps};
/// # use batchsuite_store::MemoryStore;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let ups = FakeUps::start().await;
/// # let (acme, ada, bob) = (CompanyId::new("acme")?, ActorId::new("ada")?, ActorId::new("bob")?);
///
/// let check = Administrators([(ada.clone(), acme.clone())].into());
/// let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).opt_in_check(check).build()?;
/// # for (actor, is_allowed) in [(bob, false), (ada, true)] {
/// #     let trip = auth.authenticate(&acme, &actor).await?;
/// #     let query = ups.consent(&trip.url, FakeUps::USER).await;
/// #     let done = auth.callback(&actor, &query, &trip.browser_secret).await;
/// #     assert_eq!(done.is_ok(), is_allowed);
/// #     assert!(is_allowed || matches!(done, Err(CallbackError::RefusedByHost(_))));
/// # }
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait OptInCheck: fmt::Debug + Send + Sync + 'static {
    /// Looks at whose consent it is, before anything is sent to UPS. A refused consent is not used: a person who gets the
    /// right back within its lifetime can still complete it. By default: yes.
    ///
    /// Asked as well before a connect link is followed, which a refusal does not use up either.
    ///
    /// # Errors
    /// [`OptInRefused`], with the reason for the person.
    async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        let _ = (company, actor);
        Ok(())
    }

    /// Looks at an opt-in that UPS has granted. A refused one is not stored.
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
