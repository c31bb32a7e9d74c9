//! The handle that a service holds. Its verbs follow UPS's guide.

mod authenticate;
mod builder;
mod connect_link;
mod deliver;
mod diagnose;
mod event_stream;
mod operator;

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use url::Url;

pub use self::{authenticate::Authenticate, builder::BatchSuiteAuthBuilder, event_stream::EventStream};

#[cfg(doc)]
use crate::config::Policy;
pub use crate::rotation::{ClientState, Reencrypted, Shutdown};
use crate::{
    browser::{PresentedSecrets, TripCookie},
    consent::{OptInCheck, OptedIn},
    error::{CallbackError, ImportError, TokenError},
    events::{Event, EventId},
    ids::{ActorId, CompanyId},
    import::{Imported, ImportedTokens},
    rotation::Engine,
    secret::AccessToken,
    status::{CompanyStatus, StatusFilter},
    steps::{AuthenticateOptions, Consents},
    store::{EventOrder, EventPage, EventQuery, Page, StoreError},
};

/// Keeps companies' opt-ins at UPS alive and hands out their access tokens.
///
/// A clone is a handle to the same authenticator: keep one per application and UPS environment, and pass clones around.
/// Dropping the last clone ends its background tasks; call [`shutdown`](Self::shutdown) first to lose no work in
/// progress.
#[derive(Clone)]
pub struct BatchSuiteAuth {
    engine: Arc<Engine>,
    consents: Arc<Consents>,
}

impl BatchSuiteAuth {
    /// Begins a consent of `actor` for `company`. Await it to get the URL to send the browser to and the secret to keep
    /// in the browser's cookie. Set options before awaiting.
    ///
    /// The company's current opt-in, if any, keeps working until the consent completes.
    ///
    /// # Errors
    /// [`AuthenticateError`](crate::error::AuthenticateError); no consent was begun.
    ///
    /// # Cancellation
    /// A consent may have been stored without a caller to use it; it expires.
    pub fn authenticate<'a>(&'a self, company: &'a CompanyId, actor: &'a ActorId) -> Authenticate<'a> {
        Authenticate { consents: &self.consents, company, actor, options: AuthenticateOptions::default() }
    }

    /// The base URL of UPS's APIs: the environment's, or the one given to the builder.
    pub fn base_url(&self) -> &Url {
        self.engine.rotation.ups.base_url()
    }

    /// Returns the same authenticator with one more check: its callbacks and connect links ask `check` after the
    /// [builder](BatchSuiteAuthBuilder::opt_in_check)'s check. Other handles are unaffected.
    #[must_use]
    pub fn with_opt_in_check(&self, check: impl OptInCheck) -> Self {
        Self { engine: Arc::clone(&self.engine), consents: Arc::new(self.consents.with_check(Arc::new(check))) }
    }

    /// The cookie that keeps browser secrets, with the attributes that the redirect URI's host needs.
    pub fn trip_cookie(&self) -> TripCookie {
        TripCookie::of(&self.consents.redirect_uri)
    }

    /// The callback URL, as registered at UPS.
    pub fn redirect_uri(&self) -> &Url {
        &self.consents.redirect_uri
    }

    /// The sources of a `form-action` directive (CSP) for pages with a button that begins a trip: `'self'` and the
    /// origins that a browser passes on its way to UPS's sign-in page. Browsers check each redirect that answers a
    /// form; `'self'` alone blocks the redirect to UPS.com.
    pub fn form_action(&self) -> String {
        let ups = self.engine.rotation.ups.issuer();
        // UPS redirects from its API host to a sign-in page under `www.ups.com` (UPS), or on another of its domains
        // (its API description has named none since 2026-01).
        let is_of_ups = ups.ends_with(".ups.com");
        format!("'self' {ups}{}", if is_of_ups { " https://*.ups.com" } else { "" })
    }

    /// The company whose consent a callback URL belongs to. `None` unless the consent began in this browser and is
    /// pending, or was used or expired at most an hour ago. Use it to link back to the company from an error page.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn company_of_return(
        &self,
        query: impl AsRef<str>,
        browser: impl PresentedSecrets,
    ) -> Result<Option<CompanyId>, StoreError> {
        self.consents.company_of_return(query.as_ref(), &browser.hashes()).await
    }

    /// Completes a consent. `query` is the raw, undecoded query of the callback URL. `browser` is the secret from the
    /// browser's cookie, all secrets from its cookies, or `None` if there are none. `actor` is the signed-in person.
    ///
    /// Filter out prefetches first: [`is_visit`](crate::browser::is_visit). When the same person and browser repeat a
    /// callback (a reload, a second tab, the back button), nothing is sent to UPS. The repetition waits for the
    /// callback in progress in this process and gets its outcome, or finds the resulting opt-in, or gets
    /// [`CallbackError::AlreadyUsed`].
    ///
    /// # Errors
    /// [`CallbackError`]; an earlier opt-in of the company is unchanged.
    ///
    /// # Cancellation
    /// The consent completes in the background: closing the browser loses nothing.
    pub async fn callback(
        &self,
        actor: &ActorId,
        query: impl AsRef<str>,
        browser: impl PresentedSecrets,
    ) -> Result<OptedIn, CallbackError> {
        self.consents.callback(actor, query.as_ref(), browser.hashes()).await
    }

    /// Returns a valid access token of the company.
    ///
    /// Costs nanoseconds if the token is cached, one read of the store if not, and one request to UPS if the token must
    /// be refreshed. All callers in all processes share that request.
    ///
    /// # Errors
    /// [`TokenError`]: see its [`needs_reauthorization`](TokenError::needs_reauthorization),
    /// [`is_transient`](TokenError::is_transient) and [`retry_after`](TokenError::retry_after). Waits at most
    /// [`Policy::max_wait`].
    ///
    /// # Cancellation
    /// A refresh continues without its callers.
    #[inline]
    pub fn access_token<'a>(
        &'a self,
        company: &'a CompanyId,
    ) -> impl Future<Output = Result<AccessToken, TokenError>> + Send + 'a {
        // Written by hand, not `async`, so that the compiler can inline the cache hit into the caller.
        let mut fetching = None;
        poll_fn(move |context| {
            let fetching = match &mut fetching {
                Some(fetching) => fetching,
                None => match self.engine.cached(company) {
                    Some(token) => return Poll::Ready(Ok(token)),
                    None => fetching.insert(self.engine.fetched(company)),
                },
            };
            fetching.as_mut().poll(context)
        })
    }

    /// Call this after an API answered 401 to the token `rejected`. Returns another token, refreshed at UPS if
    /// `rejected` is still the current one.
    ///
    /// Any number of callers with the same rejected token cause one refresh. A token that was fetched because of a
    /// rejection is not replaced again for [`Policy::rejection_pause`]: repeat the request once with the new token, and
    /// treat a second 401 as the API's answer. Reporting the new token within that pause sends nothing to UPS and
    /// returns [`Unavailable`](TokenError::Unavailable) for the rest of the pause, even if the password was changed in
    /// the meantime.
    ///
    /// The [`adapters`](crate::adapters) for HTTP clients do this for you.
    ///
    /// # Errors
    /// [`TokenError`], like [`access_token`](Self::access_token).
    ///
    /// # Cancellation
    /// A refresh continues without its callers.
    pub async fn report_rejected(
        &self,
        company: &CompanyId,
        rejected: &AccessToken,
    ) -> Result<AccessToken, TokenError> {
        self.engine.report_rejected(company, rejected).await
    }

    /// The authorization status of a company. Waits at most [`Policy::max_wait`].
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn status(&self, company: &CompanyId) -> Result<CompanyStatus, StoreError> {
        let rotation = &self.engine.rotation;
        let row = rotation.read_for_caller(rotation.read(company)).await?;
        Ok(row.snapshot.status(&rotation.settings))
    }

    /// Lists the known companies by id, one page at a time. Waits at most [`Policy::max_wait`].
    ///
    /// With a [`filter`](CompanyQuery::filter), a page may be short or empty and still have a `next`: while no keeper
    /// runs, many rows are read that do not match. The last page has no `next`.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn companies(&self, query: CompanyQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        let listed = self.engine.list(query.filter, query.after, query.limit.unwrap_or(PAGE));
        self.engine.rotation.read_for_caller(listed).await
    }

    /// Removes a company's authorization here: erases its tokens and discards work in progress. The history stays.
    ///
    /// UPS offers no way to revoke it; the person can end it at UPS by changing the UPS.com password. Afterwards this
    /// process hands out no token; other processes may hand out a cached one for up to [`Policy::cache_max_age`].
    ///
    /// # Errors
    /// [`StoreError`], after at most [`Policy::max_wait`]; the removal may or may not have happened. Repeating the call
    /// is safe.
    ///
    /// # Cancellation
    /// The removal continues without its caller.
    pub async fn remove_auth(&self, company: &CompanyId, actor: &ActorId) -> Result<(), StoreError> {
        self.engine.remove_auth(company, actor).await
    }

    /// Imports the tokens that another system kept for `company`, as if the company had opted in here. Stop that system
    /// first; see [`moving_from_another_system`](crate::docs::moving_from_another_system).
    ///
    /// Sends nothing to UPS, so an already used refresh token is detected at its first refresh and reported as
    /// [`RotationLost`](crate::machine::CauseKind::RotationLost). The [opt-in check](crate::OptInCheck) is not called.
    ///
    /// An authenticated opt-in is kept if UPS issued it later, or if it has rotated here since the imported tokens were
    /// issued; without [`with_issued_at`](ImportedTokens::with_issued_at), any authenticated opt-in is kept. So is an
    /// opt-in that UPS has refused, as long as UPS is to be asked again, because it may have refused by mistake.
    ///
    /// Importing the refresh token of the last import again stores nothing, whatever the state of its opt-in or of a
    /// later one: the result is [`AlreadyStored`](Imported::AlreadyStored), or
    /// [`NewerOptIn`](ImportError::NewerOptIn) if there is one. So a loop over many companies can be interrupted and
    /// repeated. Only a removal in between makes it a new import.
    ///
    /// ```
    /// # use batchsuite_auth::{ActorId, CompanyId, Imported, ImportedTokens, fake_ups::FakeUps};
    /// # use batchsuite_store::MemoryStore;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ups = FakeUps::start().await;
    /// # let auth = ups.authenticator().store(MemoryStore::with_clock(ups.clock())).build()?;
    /// # let (company, actor) = (CompanyId::new("acme")?, ActorId::new("import-2026-11")?);
    /// # let kept = ups.opt_in_elsewhere(FakeUps::USER);
    /// let tokens = ImportedTokens::new(kept.refresh_token)?.with_issued_at(kept.issued_at);
    /// assert_eq!(auth.import(&company, &actor, tokens).await?, Imported::Stored);
    /// let token = auth.access_token(&company).await?; // UPS has taken the refresh token, and issued the next one
    /// # assert_eq!(token.revision().version, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ImportError`]; nothing has changed unless it is [`Store`](ImportError::Store). Waits at most
    /// [`Policy::max_wait`].
    ///
    /// # Cancellation
    /// The import continues without its caller until the store has accepted it.
    pub async fn import(
        &self,
        company: &CompanyId,
        actor: &ActorId,
        tokens: ImportedTokens,
    ) -> Result<Imported, ImportError> {
        self.engine.import(company, actor, tokens).await
    }

    /// Reads the event log, one page at a time. Waits at most [`Policy::max_wait`].
    ///
    /// An event that this release cannot read is left out, and the log of the process has an error line. (A
    /// [delivery](Self::deliver) tells its handler.)
    ///
    /// # Errors
    /// [`StoreError`]; [`Pruned`](crate::store::StoreErrorKind::Pruned) if the order is oldest first and events after
    /// the cursor were pruned: continue after the event number that it contains.
    ///
    /// # Cancellation
    /// Cancel-safe.
    pub async fn events(&self, filter: EventFilter) -> Result<Page<Event, EventId>, StoreError> {
        let query = EventQuery {
            environment: self.engine.rotation.environment,
            company: filter.company,
            order: filter.order,
            after: filter.after,
            limit: filter.limit.unwrap_or(PAGE),
        };
        let EventPage { items, next, .. } =
            self.engine.rotation.read_for_caller(self.engine.rotation.store.events(query)).await?;
        Ok(Page { items, next })
    }

    /// For operators, after restoring a backup or a fail-over that lost commits, *before any process serves*: refresh
    /// tokens in the store may already be spent. Marks every opt-in, so that a spent token is reported as lost and
    /// never as a password change. Returns the number of marked opt-ins.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated, and keeps the time of the first call.
    ///
    /// # Cancellation
    /// Some opt-ins may be marked; repeat the call.
    pub async fn after_restore(&self) -> Result<u64, StoreError> {
        self.engine.after_restore().await
    }

    /// For operators, after adding a new key at the front of the keyring: re-encrypts tokens sealed with older keys,
    /// without downtime. Afterwards the older keys can be removed, once [`Policy::consent_lifetime`] has passed for
    /// trips in progress, unless some tokens were unreadable.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated.
    ///
    /// # Cancellation
    /// Some tokens may be re-encrypted; repeat the call.
    pub async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        self.engine.reencrypt().await
    }

    /// For operators: deletes events older than `older_than` and returns their number. Opt-ins do not depend on events.
    /// Events that a delivery has not passed yet are kept. A log reader whose cursor is below a deleted event gets
    /// [`Pruned`](crate::store::StoreErrorKind::Pruned).
    ///
    /// # Errors
    /// [`StoreError`]; some events may be deleted.
    ///
    /// # Cancellation
    /// Some events may be deleted.
    pub async fn prune_events(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.engine.prune_events(older_than, false).await
    }

    /// As [`prune_events`](Self::prune_events), and deletes events that a delivery has not passed yet as well, e.g.
    /// because its consumer is no longer begun anywhere. A consumer that has not seen them is told of the gap
    /// ([`EventHandler::missed`](crate::EventHandler::missed)).
    ///
    /// # Errors
    /// [`StoreError`]; some events may be deleted.
    ///
    /// # Cancellation
    /// Some events may be deleted.
    pub async fn prune_undelivered_events(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.engine.prune_events(older_than, true).await
    }

    /// Stops starting background work: the keeper stops (between two companies if it is running), and no token is
    /// refreshed before it expires. Callers still get cached tokens; a caller that needs a refresh, and a browser that
    /// returns from UPS.com, are still served; work in progress continues. [Deliveries](crate::deliveries) end after the
    /// event in progress, and another process takes them over. Irreversible.
    ///
    /// The first half of stopping a service: call it on the signal to stop, before draining requests, so that no new
    /// refresh is cut off by the end of the process. Then call [`shutdown`](Self::shutdown).
    pub fn quiesce(&self) {
        self.engine.quiesce();
    }

    /// Shuts down gracefully: starts nothing new, completes refreshes and callbacks in progress, and stores a token
    /// pair that the store has not accepted yet. Waits at most [`Policy::shutdown_limit`] (30 s by default).
    ///
    /// Give the process more time than that: [`Incomplete`](Shutdown::Incomplete) work is lost when the process ends.
    ///
    /// # Cancellation
    /// The shutdown continues as long as the runtime lives.
    pub async fn shutdown(&self) -> Shutdown {
        self.shutdown_within(self.engine.rotation.policy.shutdown_limit).await
    }

    /// Like [`shutdown`](Self::shutdown), with another limit, e.g. the rest of the process's grace period.
    ///
    /// # Cancellation
    /// The shutdown continues as long as the runtime lives.
    pub async fn shutdown_within(&self, limit: Duration) -> Shutdown {
        self.engine.shutdown(limit).await
    }
}

/// Default number of items per page.
const PAGE: usize = 100;

impl fmt::Debug for BatchSuiteAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSuiteAuth")
            .field("environment", &self.engine.rotation.environment)
            .field("client_id", &self.engine.rotation.settings.client_id)
            .finish_non_exhaustive()
    }
}

/// Selects the companies to list.
///
/// ```
/// use batchsuite_auth::{CompanyQuery, StatusFilter};
///
/// let query = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired).with_limit(20);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompanyQuery {
    /// Only companies with this status; `None`: all.
    pub filter: Option<StatusFilter>,
    /// Only companies after this id: the `next` of the previous page.
    pub after: Option<CompanyId>,
    /// Maximum number of companies; `None`: 100.
    pub limit: Option<usize>,
}

impl CompanyQuery {
    /// All companies, from the first, 100 per page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only companies with this status.
    #[must_use]
    pub fn with_filter(self, filter: impl Into<Option<StatusFilter>>) -> Self {
        Self { filter: filter.into(), ..self }
    }

    /// Only companies after this id: the `next` of the previous page.
    #[must_use]
    pub fn with_after(self, after: impl Into<Option<CompanyId>>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// At most this many per page.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// Selects the events to read.
///
/// ```
/// use batchsuite_auth::{CompanyId, EventFilter, EventOrder};
///
/// let latest = EventFilter::new().with_company(CompanyId::new("acme")?).with_order(EventOrder::NewestFirst).with_limit(10);
/// # Ok::<(), batchsuite_auth::InvalidId>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EventFilter {
    /// Only events of this company; `None`: all.
    pub company: Option<CompanyId>,
    /// Oldest or newest first.
    pub order: EventOrder,
    /// Exclusive cursor.
    pub after: Option<EventId>,
    /// Maximum number of events; `None`: 100.
    pub limit: Option<usize>,
}

impl EventFilter {
    /// All events, oldest first, 100 per page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only events of this company.
    #[must_use]
    pub fn with_company(self, company: impl Into<Option<CompanyId>>) -> Self {
        Self { company: company.into(), ..self }
    }

    /// In this order.
    #[must_use]
    pub fn with_order(self, order: EventOrder) -> Self {
        Self { order, ..self }
    }

    /// After this event, exclusively: the `next` of the previous page.
    #[must_use]
    pub fn with_after(self, after: impl Into<Option<EventId>>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// At most this many per page.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
