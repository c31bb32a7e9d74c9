//! The verbs of a connect link.

use super::BatchSuiteAuth;
use crate::{
    browser::LinkSecrets,
    consent::{ConnectLink, OpenLink, OptedIn, Trip},
    error::{AuthenticateError, CallbackError, LinkError},
    ids::{ActorId, CompanyId},
    secret::LinkToken,
};

impl BatchSuiteAuth {
    /// Makes a connect link for the colleague who holds the UPS.com password: whoever has its address may once, within 30
    /// minutes ([`Policy::connect_link_lifetime`](crate::Policy::connect_link_lifetime)), begin a consent of `actor` for
    /// `company`, in any browser and without an account at the host. Ask before whether `actor` may.
    ///
    /// - **The address.** It carries 256 random bits, of which the store keeps the SHA-256. So it cannot be guessed or altered,
    ///   and it can be ended; a signature would add nothing to that, and alone could not be used up.
    /// - **Looking is free.** Scanners open links in mails. Answer a GET with a page that names the company and has a button
    ///   ([`open_link`](Self::open_link)); only its POST [follows](Self::follow_link) the link.
    /// - **Once.** Of all browsers that follow it, in all processes, exactly one begins. What comes after is a trip like any other:
    ///   bound to that browser, ten minutes, one exchange. If it fails, a new link is needed. Until that browser comes back, it can
    ///   open and follow the link again, and gets the same trip: people press a button twice, or go back.
    /// - **Until it is followed** it counts as a pending consent of the company and of the actor: at their
    ///   [cap](crate::Policy::consents_per_company) the oldest pending one goes, be it a link or a trip. A removal of the
    ///   authorization ends it, and the [`OptInCheck`](crate::OptInCheck) is asked about its maker when it is opened, when it is
    ///   followed, and at the callback.
    /// - **Events**: [`LinkIssued`](crate::events::EventKind::LinkIssued), then
    ///   [`LinkFollowed`](crate::events::EventKind::LinkFollowed) and [`Started`](crate::events::EventKind::Started), then as
    ///   after any trip; each names `actor`, since nobody knows who held the UPS.com password.
    ///
    /// ```
    /// # use batchsuite_auth::{ActorId, BrowserSecret, CompanyId, LinkSecrets, LinkToken, error::LinkError, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # use http::{HeaderMap, HeaderValue, header};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("ada")?);
    /// let link = auth.connect_link(&company, &actor).await?;
    /// let address = link.address(&"https://batch.example.com/connect".parse()?); // …/connect/{token}
    ///
    /// // The colleague's browser. GET /connect/{token}: a page with a button, and a cookie.
    /// let token = LinkToken::new(address.path_segments().and_then(Iterator::last).unwrap_or_default());
    /// let none = LinkSecrets::default(); // Of the request: `auth.trip_cookie().links(&headers)`.
    /// assert_eq!(auth.open_link(&token, &none).await?.company, company);
    /// let set_cookie = auth.trip_cookie().header_of_link(&token, &BrowserSecret::random());
    /// # let mut headers = HeaderMap::new();
    /// # headers.insert(header::COOKIE, HeaderValue::from_str(set_cookie.to_str()?.split(';').next().unwrap_or_default())?);
    /// # let links = auth.trip_cookie().links(&headers);
    /// // POST /connect/{token}: 303 to `trip.url`, with `trip.set_cookie()`.
    /// let trip = auth.follow_link(&token, &links).await?;
    /// assert_eq!(auth.follow_link(&token, &links).await?.url, trip.url);
    /// assert!(matches!(auth.follow_link(&token, &none).await, Err(LinkError::Used)));
    ///
    /// // The callback. Nobody is signed in; the cookie says which link it was.
    /// # let query = ups.consent(&trip.url, FakeUps::USER).await;
    /// let links = auth.trip_cookie().links(&headers);
    /// let done = auth.callback_of_link(&query, &links).await?;
    /// assert_eq!(done.company, company);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AuthenticateError`]; there is no link.
    ///
    /// # Cancellation
    /// A link may be stored whose address nobody knows; it expires.
    pub async fn connect_link(&self, company: &CompanyId, actor: &ActorId) -> Result<ConnectLink, AuthenticateError> {
        self.consents.connect_link(company, actor).await
    }

    /// Looks at a connect link, and uses up nothing: for the page with the button. `links` are what
    /// [`TripCookie::links`](crate::TripCookie::links) finds in the request's cookies.
    ///
    /// # Errors
    /// [`LinkError`]: it cannot be followed, and why.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn open_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<OpenLink, LinkError> {
        self.consents.open_link(token, links).await
    }

    /// Uses a connect link up, and begins its trip in the browser that sent this request: for the button's POST. `links` are what
    /// [`TripCookie::links`](crate::TripCookie::links) finds in the request's cookies. Ask before
    /// whether the request comes from that page ([`is_same_origin`](crate::browser::is_same_origin)), or another site could
    /// have a visitor's browser follow a link that the visitor has never seen.
    ///
    /// # Errors
    /// [`LinkError`]; of several browsers at once, all but one get [`Used`](LinkError::Used).
    ///
    /// # Cancellation
    /// It goes on without its caller: the link may be used up, and a new one is needed.
    pub async fn follow_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<Trip, LinkError> {
        self.consents.follow_link(token, links).await
    }

    /// Completes a consent that began with a connect link in this browser; `links` are what
    /// [`TripCookie::links`](crate::TripCookie::links) finds in its cookies. Otherwise like [`callback`](Self::callback).
    ///
    /// Where somebody is signed in, call [`callback`](Self::callback) first, and this one if it says
    /// [`OtherBrowser`](CallbackError::OtherBrowser), [`NoBrowserSecret`](CallbackError::NoBrowserSecret) or
    /// [`UnknownState`](CallbackError::UnknownState): none of them has consumed anything.
    ///
    /// # Errors
    /// [`CallbackError`]; [`NoBrowserSecret`](CallbackError::NoBrowserSecret) if there is no link among `links` that was
    /// followed.
    ///
    /// # Cancellation
    /// The consent completes without its caller.
    pub async fn callback_of_link(
        &self,
        query: impl AsRef<str>,
        links: &LinkSecrets,
    ) -> Result<OptedIn, CallbackError> {
        self.consents.callback_of_link(query.as_ref(), links).await
    }
}
