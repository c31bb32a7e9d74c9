//! The host's view of a browser's trip to UPS.com and back.

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
    /// The URL to send the browser to. It contains the state: keep it out of logs.
    pub url: Url,
    /// The secret for the browser's cookie; [`set_cookie`](Self::set_cookie) writes it.
    pub browser_secret: BrowserSecret,
    /// The deadline for the browser's return.
    pub expires_at: Timestamp,
    pub(crate) cookie: CookieOfTrip,
}

/// Which cookie a trip uses.
#[derive(Clone, Debug)]
pub(crate) enum CookieOfTrip {
    /// The browser's only secret.
    Usual(TripCookie),
    /// The browser came without a secret. Another tab may be given a different secret at the same moment, so both are
    /// kept, this one for this long.
    Beside(TripCookie, Duration),
    /// The browser followed a connect link.
    OfLink(TripCookie, LinkToken),
}

impl Trip {
    /// The value of the `Set-Cookie` header for the response that redirects to [`url`](Self::url). It suits the
    /// redirect URI's host: see [`TripCookie`]. A browser that came without a secret keeps this one under its own name
    /// until the trip ends, so that two tabs that begin at once can both return. A browser that followed a connect link
    /// keeps the link as well, so that the callback needs no signed-in person.
    #[must_use]
    pub fn set_cookie(&self) -> HeaderValue {
        match &self.cookie {
            CookieOfTrip::Usual(cookie) => cookie.header(&self.browser_secret),
            CookieOfTrip::Beside(cookie, lifetime) => cookie.header_beside(&self.browser_secret, *lifetime),
            CookieOfTrip::OfLink(cookie, token) => cookie.header_of_link(token, &self.browser_secret),
        }
    }
}

/// Omits the state (part of the URL) and the browser's secret.
impl fmt::Debug for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trip").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A connect link: a URL for the colleague who holds the UPS.com password, for use on another device where nobody is
/// signed in to the host. See [`BatchSuiteAuth::connect_link`](crate::BatchSuiteAuth::connect_link).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectLink {
    /// The last segment of the URL.
    pub token: LinkToken,
    /// The company to authenticate.
    pub company: CompanyId,
    /// When the link expires.
    pub expires_at: Timestamp,
}

impl ConnectLink {
    /// The URL to pass on: `page` with the token as an additional path segment. It is a secret until used: show it only
    /// to the person who requested it, and keep it out of logs.
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
    /// The company to authenticate.
    pub company: CompanyId,
    /// The person who made the link, in whose name the company is authenticated.
    pub actor: ActorId,
    /// When the link expires.
    pub expires_at: Timestamp,
}

/// A completed consent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OptedIn {
    /// The authenticated company.
    pub company: CompanyId,
    /// When the refresh token expires, if UPS said so.
    pub refresh_expires_at: Option<Timestamp>,
    /// The host's path to send the browser to.
    pub return_to: Option<String>,
}

/// The host's own rules for opt-ins, checked at two points of a callback. Either check may refuse; the person then gets
/// [`CallbackError::RefusedByHost`](crate::error::CallbackError::RefusedByHost), and an earlier opt-in of the company
/// is kept.
///
/// - [`before_sending`](Self::before_sending), before anything is sent: whether this person may (still) authenticate
///   this company.
/// - [`check`](Self::check), after the exchange and before storing: whether the access token belongs to this company.
///   UPS does not tell which UPS.com profile signed in; signing in with the wrong profile succeeds and fails later.
///
/// Both run in the callback's task: limit their duration.
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
    /// Checks the company and person of a consent before anything is sent to UPS. A refusal does not use up the
    /// consent: a person who regains the right within its lifetime can still complete it. Accepts by default.
    ///
    /// Also called before a connect link is followed; a refusal does not use up the link.
    ///
    /// # Errors
    /// [`OptInRefused`], with a reason to show to the person.
    async fn before_sending(&self, company: &CompanyId, actor: &ActorId) -> Result<(), OptInRefused> {
        let _ = (company, actor);
        Ok(())
    }

    /// Checks an opt-in that UPS has granted. A refused opt-in is not stored.
    ///
    /// # Errors
    /// [`OptInRefused`], with a reason to show to the person. A panic drops the pair as well; it reaches the caller of
    /// `callback`.
    async fn check(&self, opt_in: NewOptIn<'_>) -> Result<(), OptInRefused>;
}

/// An opt-in that UPS has granted and that is not yet stored.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewOptIn<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The person who opted in.
    pub actor: &'a ActorId,
    /// The opt-in's access token, for calls to UPS's APIs; `None`: UPS sent no usable one.
    pub token: Option<&'a AccessToken>,
}
