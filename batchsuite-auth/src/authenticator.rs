//! The handle that a service holds. Its verbs read like UPS's guide.

use std::{collections::VecDeque, fmt, future::IntoFuture, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, sync::watch, time::timeout};
use url::Url;

use crate::{
    cache::Cache,
    clock::{Clock, HotClock, SystemClock, Timestamp},
    config::{Client, Environment, FeedLost, Policy, is_https_or_loopback},
    error::{AuthenticateError, BuildError, CallbackError, OptInRefused, TokenError},
    events::{Event, EventId},
    http::HttpClient,
    ids::{ActorId, CompanyId},
    secret::{AccessToken, BrowserSecret},
    status::CompanyStatus,
    steps::{AuthenticateOptions, Core, Parts},
    store::{EventOrder, EventQuery, ListQuery, Page, StatusFilter, Store, StoreError},
    ups::{PairDefaults, Ups},
};

/// Keeps companies' opt-ins at UPS alive and hands out their access tokens.
///
/// A clone is the same authenticator: keep one per application and UPS environment, and hand out clones. When the last
/// clone is dropped its background tasks end; call [`shutdown`](Self::shutdown) first, so that nothing under way is lost.
#[derive(Clone)]
pub struct BatchSuiteAuth {
    core: Arc<Core>,
}

impl BatchSuiteAuth {
    /// Begins an authenticator for one application (`client`) at one UPS.
    pub fn builder(environment: Environment, client: Client) -> BatchSuiteAuthBuilder {
        BatchSuiteAuthBuilder {
            environment,
            client,
            base_url: None,
            redirect_uri: None,
            store: None,
            http: None,
            clock: None,
            policy: Policy::default(),
            opt_in_check: None,
            keeper: true,
        }
    }

    /// Begins a consent of `actor` for `company`: await it for the address to send the browser to, and the secret to keep in
    /// the browser's cookie. Options can be set before.
    ///
    /// The company's present opt-in, if any, keeps working until the consent completes.
    ///
    /// # Errors
    /// [`AuthenticateError`]; nothing has begun.
    ///
    /// # Cancellation
    /// A consent may be stored that nobody knows; it expires.
    pub fn authenticate<'a>(&'a self, company: &'a CompanyId, actor: &'a ActorId) -> Authenticate<'a> {
        Authenticate { core: &self.core, company, actor, options: AuthenticateOptions::default() }
    }

    /// Completes a consent. `query` is the raw query of the callback's address, undecoded; `browser` is the secret from the
    /// browser's cookie; `actor` is who is signed in now.
    ///
    /// # Errors
    /// [`CallbackError`]; an earlier opt-in of the company is as it was.
    ///
    /// # Cancellation
    /// The consent completes without its caller: a browser that goes away loses nothing.
    pub async fn callback(
        &self,
        actor: &ActorId,
        query: impl AsRef<str>,
        browser: &BrowserSecret,
    ) -> Result<OptedIn, CallbackError> {
        self.core.callback(actor, query.as_ref(), browser).await
    }

    /// An access token of the company that is valid now.
    ///
    /// Costs nanoseconds while one is cached; one read of the store when not; one call of UPS when it must be refreshed, for
    /// all callers of all processes together.
    ///
    /// # Errors
    /// [`TokenError`]: ask it [`needs_reauthorization`](TokenError::needs_reauthorization),
    /// [`is_transient`](TokenError::is_transient) and [`retry_after`](TokenError::retry_after). A caller waits at most
    /// [`Policy::max_wait`].
    ///
    /// # Cancellation
    /// A refresh goes on without its callers.
    pub async fn access_token(&self, company: &CompanyId) -> Result<AccessToken, TokenError> {
        match self.core.cached(company) {
            Some(token) => Ok(token),
            // Boxed, so that the future of a hit stays small.
            None => Box::pin(self.core.token(company)).await,
        }
    }

    /// After an API answered 401 to `rejected`: another token, fetched from UPS if that very token is still the current one.
    ///
    /// Any number of callers with the same rejected token cause one refresh. A token that was itself fetched because of a
    /// rejection is not replaced again for [`Policy::rejection_pause`]: send the request once more with the new token, and take
    /// a second 401 as the API's answer.
    ///
    /// # Errors
    /// [`TokenError`], like [`access_token`](Self::access_token).
    ///
    /// # Cancellation
    /// A refresh goes on without its callers.
    pub async fn report_rejected(
        &self,
        company: &CompanyId,
        rejected: &AccessToken,
    ) -> Result<AccessToken, TokenError> {
        self.core.report_rejected(company, rejected.revision()).await
    }

    /// Where a company stands.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn status(&self, company: &CompanyId) -> Result<CompanyStatus, StoreError> {
        let snapshot = self.core.store.load(&self.core.key(company)).await?;
        Ok(snapshot.status(&self.core.client_id, self.core.policy.warning_window()))
    }

    /// Companies that were seen, by id, a page at a time.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn companies(&self, query: CompanyQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        let query = ListQuery {
            environment: self.core.environment,
            client_id: self.core.client_id.clone(),
            warning_window: self.core.policy.warning_window(),
            filter: query.filter,
            after: query.after,
            limit: query.limit.unwrap_or(PAGE),
        };
        self.core.store.list(query).await
    }

    /// Removes a company's authorization here: its tokens are erased, what is under way is discarded, the history stays.
    ///
    /// UPS has no way to be told; the person can end it there by changing the UPS.com password. This process hands out no token
    /// afterwards, others not longer than [`Policy::max_age`].
    ///
    /// # Errors
    /// [`StoreError`]; whether it was removed is unknown, and the call can be repeated.
    ///
    /// # Cancellation
    /// It goes on without its caller.
    pub async fn remove_auth(&self, company: &CompanyId, actor: &ActorId) -> Result<(), StoreError> {
        self.core.remove_auth(company, actor).await
    }

    /// The event log, a page at a time.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn events(&self, filter: EventFilter) -> Result<Page<Event, EventId>, StoreError> {
        let query = EventQuery {
            environment: self.core.environment,
            company: filter.company,
            order: filter.order,
            after: filter.after,
            limit: filter.limit.unwrap_or(PAGE),
        };
        self.core.store.events(query).await
    }

    /// Events as they happen, of all processes, from after `after` on; `None`: from the first call of
    /// [`next`](EventStream::next) on.
    ///
    /// It reads the log by its cursor, so it misses none and tells each once.
    pub fn event_stream(&self, after: Option<EventId>) -> EventStream {
        EventStream { news: self.core.news(), auth: self.clone(), cursor: after, read: VecDeque::new() }
    }

    /// For operators, after a backup was restored or a fail-over lost commits: refresh tokens in the store may be spent. Marks
    /// every opt-in, so that a spent one is told as lost and never as a password change. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated.
    ///
    /// # Cancellation
    /// Some may be marked; the call can be repeated.
    pub async fn after_restore(&self) -> Result<u64, StoreError> {
        let marked = self.core.store.mark_unanswered(self.core.environment).await;
        self.core.cache.clear();
        marked
    }

    /// Ends gracefully: nothing new begins, refreshes and callbacks under way come to their end, and a pair that the store has
    /// not taken yet is stored. Waits as long as that takes: put a time-out around it if you must, and know that what is not
    /// stored by then is lost with the process.
    ///
    /// # Cancellation
    /// The end goes on as long as the runtime lives.
    pub async fn shutdown(&self) {
        self.core.shutdown().await;
    }
}

/// How many items a page has if the host does not say.
const PAGE: usize = 100;

impl fmt::Debug for BatchSuiteAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSuiteAuth")
            .field("environment", &self.core.environment)
            .field("client_id", &self.core.client_id)
            .finish_non_exhaustive()
    }
}

/// Which companies to list.
#[derive(Clone, Debug, Default)]
pub struct CompanyQuery {
    /// Only those that stand so.
    pub filter: Option<StatusFilter>,
    /// Only those after this one.
    pub after: Option<CompanyId>,
    /// How many at most; `None`: 100.
    pub limit: Option<usize>,
}

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only those of this company.
    pub company: Option<CompanyId>,
    /// In which order.
    pub order: EventOrder,
    /// Where to read on, exclusively.
    pub after: Option<EventId>,
    /// How many at most; `None`: 100.
    pub limit: Option<usize>,
}

/// Events as they happen; see [`BatchSuiteAuth::event_stream`].
#[derive(Debug)]
pub struct EventStream {
    auth: BatchSuiteAuth,
    news: watch::Receiver<u64>,
    cursor: Option<EventId>,
    read: VecDeque<Event>,
}

impl EventStream {
    /// The next event; waits for it. `None` once the authenticator is shut down.
    ///
    /// # Errors
    /// [`StoreError`]; the next call reads from the same place.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Result<Event, StoreError>> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(Ok(event));
            }
            if self.auth.core.is_ended() {
                return None;
            }
            if let Err(error) = self.read_on().await {
                return Some(Err(error));
            }
            if self.read.is_empty() {
                // News is a hint: not every event comes with it, so the log is read now and then in any case.
                tokio::select! {
                    _ = timeout(self.auth.core.policy.feed_interval, self.news.changed()) => {}
                    () = self.auth.core.ending() => {}
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(cursor) = self.cursor else {
            let newest = EventFilter { order: EventOrder::NewestFirst, limit: Some(1), ..EventFilter::default() };
            let newest = self.auth.events(newest).await?;
            self.cursor = Some(newest.items.first().map_or(EventId::START, |event| event.id));
            return Ok(());
        };
        let page = self.auth.events(EventFilter { after: Some(cursor), ..EventFilter::default() }).await?;
        self.cursor = page.next.or(self.cursor);
        self.read.extend(page.items);
        Ok(())
    }
}

/// A consent about to begin; see [`BatchSuiteAuth::authenticate`].
#[derive(Debug)]
#[must_use = "nothing begins until it is awaited"]
pub struct Authenticate<'a> {
    core: &'a Arc<Core>,
    company: &'a CompanyId,
    actor: &'a ActorId,
    options: AuthenticateOptions,
}

impl Authenticate<'_> {
    /// The secret that this browser has already (from its cookie), so that two consents of it work side by side.
    pub fn browser_secret(mut self, secret: BrowserSecret) -> Self {
        self.options.browser_secret = Some(secret);
        self
    }

    /// Where the host wants the browser after the callback: a path of its own, at most 2,048 bytes, handed back as
    /// [`OptedIn::return_to`].
    pub fn return_to(mut self, path: impl Into<String>) -> Self {
        self.options.return_to = Some(path.into());
        self
    }
}

impl<'a> IntoFuture for Authenticate<'a> {
    type Output = Result<Trip, AuthenticateError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.core.authenticate(self.company, self.actor, self.options))
    }
}

/// A browser's trip to UPS.com.
#[derive(Clone)]
#[non_exhaustive]
pub struct Trip {
    /// Where to send the browser. It carries the state: keep it out of logs.
    pub url: Url,
    /// What to keep in the browser's cookie (`HttpOnly`, `SameSite=Lax`, and `Secure` over https).
    pub browser_secret: BrowserSecret,
    /// Until when the browser can come back.
    pub expires_at: Timestamp,
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

/// Makes a [`BatchSuiteAuth`].
#[derive(Debug)]
#[must_use = "nothing begins until build()"]
pub struct BatchSuiteAuthBuilder {
    environment: Environment,
    client: Client,
    base_url: Option<Url>,
    redirect_uri: Option<Url>,
    store: Option<Arc<dyn Store>>,
    http: Option<Arc<dyn HttpClient>>,
    clock: Option<Arc<dyn Clock>>,
    policy: Policy,
    opt_in_check: Option<Arc<dyn OptInCheck>>,
    keeper: bool,
}

impl BatchSuiteAuthBuilder {
    /// The callback URL, exactly as it is registered at UPS: https, or http on this very machine.
    pub fn redirect_uri(mut self, uri: Url) -> Self {
        self.redirect_uri = Some(uri);
        self
    }

    /// Where opt-ins are kept.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Another UPS than the environment's: https, or http on this very machine.
    pub fn base_url(mut self, url: Url) -> Self {
        self.base_url = Some(url);
        self
    }

    /// Another HTTP client than the one on reqwest (feature `reqwest`).
    pub fn http(mut self, http: impl HttpClient) -> Self {
        self.http = Some(Arc::new(http));
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Another policy than the default one.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// A check of each opt-in before it is stored.
    pub fn opt_in_check(mut self, check: impl OptInCheck) -> Self {
        self.opt_in_check = Some(Arc::new(check));
        self
    }

    /// No keeper in this process: nothing is refreshed before somebody asks, and no expiry warnings are raised.
    pub fn without_keeper(mut self) -> Self {
        self.keeper = false;
        self
    }

    /// Checks the settings and begins, on the tokio runtime that it is called in.
    ///
    /// # Errors
    /// [`BuildError`]: which setting does not fit, and why.
    pub fn build(self) -> Result<BatchSuiteAuth, BuildError> {
        let runtime = Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        self.policy.check().map_err(|reason| BuildError::Invalid { setting: "policy", reason })?;
        let store = self.store.ok_or(BuildError::Missing("the store"))?;
        let redirect_uri = self.redirect_uri.ok_or(BuildError::Missing("redirect_uri"))?;
        if !is_https_or_loopback(&redirect_uri) || redirect_uri.fragment().is_some() {
            let reason = "it must be https, or http on localhost, and have no fragment";
            return Err(BuildError::Invalid { setting: "redirect_uri", reason });
        }
        if self.client.id.trim().is_empty() || self.client.secret.expose_secret().is_empty() {
            return Err(BuildError::Invalid { setting: "client", reason: "id and secret must not be empty" });
        }
        let base_url = match self.base_url {
            Some(url) => url,
            None => Url::parse(self.environment.base_url())
                .map_err(|_| BuildError::Invalid { setting: "environment", reason: "it has no base URL" })?,
        };
        if !is_https_or_loopback(&base_url) || base_url.query().is_some() || !base_url.username().is_empty() {
            let reason = "it must be https, or http on localhost, without query and user";
            return Err(BuildError::Invalid { setting: "base_url", reason });
        }
        let http = self.http.map_or_else(|| default_http(&base_url), Ok)?;
        let defaults =
            PairDefaults { access_lifetime: self.policy.assumed_access_lifetime, client_id: self.client.id.clone() };
        let client_id = self.client.id.clone();
        let ups = Ups::new(&base_url, self.client, http, self.policy.request_deadline, defaults)
            .ok_or(BuildError::Invalid { setting: "base_url", reason: "it cannot carry a path" })?;
        let hot_clock = self.clock.clone().map_or(HotClock::System, HotClock::Host);
        let refuse_after = (self.policy.feed_lost == FeedLost::Refuse).then_some(self.policy.max_age);
        let parts = Parts {
            environment: self.environment,
            client_id,
            redirect_uri,
            store,
            ups,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            opt_in_check: self.opt_in_check,
            cache: Cache::new(hot_clock, refuse_after),
            policy: self.policy,
            keeper: self.keeper,
        };
        Ok(BatchSuiteAuth { core: Core::start(parts, runtime) })
    }
}

#[cfg(feature = "reqwest")]
fn default_http(base_url: &Url) -> Result<Arc<dyn HttpClient>, BuildError> {
    let mut client = crate::http::ReqwestClient::builder();
    if base_url.scheme() == "http" {
        // Only loopback gets here.
        client = client.allow_loopback_http();
    }
    let reason = "the default one could not be made: TLS or the system's certificates are not usable";
    let client = client.build().map_err(|_| BuildError::Invalid { setting: "http", reason })?;
    Ok(Arc::new(client))
}

#[cfg(not(feature = "reqwest"))]
fn default_http(_: &Url) -> Result<Arc<dyn HttpClient>, BuildError> {
    Err(BuildError::Missing("the HTTP client (http; or the feature `reqwest`)"))
}
