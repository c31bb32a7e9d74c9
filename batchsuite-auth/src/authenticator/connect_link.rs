//! The operations on a connect link.

use super::BatchSuiteAuth;
use crate::{
    browser::LinkSecrets,
    consent::{ConnectLink, OpenLink, OptedIn, Trip},
    error::{AuthenticateError, CallbackError, LinkError},
    ids::{ActorId, CompanyId},
    secret::LinkToken,
};

impl BatchSuiteAuth {
    /// Makes a connect link for the colleague who holds the UPS.com password. Anyone with its URL can, once and within
    /// 30 minutes ([`Policy::connect_link_lifetime`](crate::Policy::connect_link_lifetime)), begin a consent of `actor`
    /// for `company`, in any browser and without an account at the host. Check first that `actor` may authenticate
    /// `company`.
    ///
    /// - **URL.** It contains 256 random bits; the store keeps only their SHA-256. It cannot be guessed or altered, and
    ///   it can be revoked. A signature would add nothing, and a signature alone could not make the link single-use.
    /// - **Opening does not use the link.** Mail scanners open links. Answer a GET with a page that names the company
    ///   and has a button ([`open_link`](Self::open_link)); only the button's POST [follows](Self::follow_link) it. Send
    ///   that page with `Cache-Control: no-store`, `Referrer-Policy: strict-origin` and `frame-ancestors 'none'`, and keep
    ///   its path out of the log of requests.
    /// - **Single-use.** Of all browsers that follow the link, in all processes, exactly one begins a trip. That trip
    ///   is like any other: bound to its browser, ten minutes, one exchange. If it fails, a new link is needed. Until
    ///   the browser returns from UPS.com, it can open and follow the link again and gets the same trip, because people
    ///   press a button twice or go back.
    /// - **Until followed**, the link counts as a pending consent of the company and of the actor: at their
    ///   [cap](crate::Policy::consents_per_company) the oldest pending link or trip is dropped. Removing the
    ///   authorization ends the link. The [`OptInCheck`](crate::OptInCheck) is asked about the link's maker when the
    ///   link is opened, when it is followed, and at the callback.
    /// - **Events**: [`LinkIssued`](crate::events::EventKind::LinkIssued), then
    ///   [`LinkFollowed`](crate::events::EventKind::LinkFollowed) and [`Started`](crate::events::EventKind::Started),
    ///   then those of any trip. Each names `actor`, because the holder of the UPS.com password is unknown.
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
    /// let none = LinkSecrets::default(); // In a handler: `auth.trip_cookie().links(&headers)`.
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
    /// [`AuthenticateError`]; no link was made.
    ///
    /// # Cancellation
    /// A link may have been stored that no caller knows; it expires.
    pub async fn connect_link(&self, company: &CompanyId, actor: &ActorId) -> Result<ConnectLink, AuthenticateError> {
        self.consents.connect_link(company, actor).await
    }

    /// Looks up a connect link without using it, for the page with the button. `links` is the result of
    /// [`TripCookie::links`](crate::TripCookie::links) for the request.
    ///
    /// # Errors
    /// [`LinkError`]: the reason why the link cannot be followed.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn open_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<OpenLink, LinkError> {
        self.consents.open_link(token, links).await
    }

    /// Uses a connect link and begins its trip in the browser that sent this request, for the button's POST. `links` is
    /// the result of [`TripCookie::links`](crate::TripCookie::links) for the request. Check first that the request
    /// comes from the link's page ([`is_same_origin`](crate::browser::is_same_origin)); otherwise another site could
    /// make a visitor's browser follow a link that the visitor has never seen.
    ///
    /// # Errors
    /// [`LinkError`]; of several concurrent browsers, all but one get [`Used`](LinkError::Used).
    ///
    /// # Cancellation
    /// The call continues without its caller: the link may be used, and then a new one is needed.
    pub async fn follow_link(&self, token: &LinkToken, links: &LinkSecrets) -> Result<Trip, LinkError> {
        self.consents.follow_link(token, links).await
    }

    /// Completes a consent that began with a connect link in this browser. `links` is the result of
    /// [`TripCookie::links`](crate::TripCookie::links) for the request. Otherwise like [`callback`](Self::callback).
    ///
    /// If a person is signed in, call [`callback`](Self::callback) first, and this function if that returns
    /// [`OtherBrowser`](CallbackError::OtherBrowser), [`NoBrowserSecret`](CallbackError::NoBrowserSecret) or
    /// [`UnknownState`](CallbackError::UnknownState): none of these consumes the consent.
    ///
    /// # Errors
    /// [`CallbackError`]; [`NoBrowserSecret`](CallbackError::NoBrowserSecret) if none of `links` was followed.
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
