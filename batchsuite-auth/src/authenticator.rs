//! The handle that a service holds. Its verbs read like UPS's guide.

mod authenticate;
mod builder;
mod connect_link;
mod event_stream;

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use url::Url;

pub use self::{authenticate::Authenticate, builder::BatchSuiteAuthBuilder, event_stream::EventStream};

#[cfg(doc)]
use crate::config::Policy;
pub use crate::rotation::{Reencrypted, Shutdown};
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
    store::{EventOrder, EventQuery, Page, StoreError},
};

/// Keeps companies' opt-ins at UPS alive and hands out their access tokens.
///
/// A clone is the same authenticator: keep one per application and UPS environment, and hand out clones. When the last
/// clone is dropped its background tasks end; call [`shutdown`](Self::shutdown) first, so that nothing under way is lost.
#[derive(Clone)]
pub struct BatchSuiteAuth {
    engine: Arc<Engine>,
    consents: Arc<Consents>,
}

impl BatchSuiteAuth {
    /// Begins a consent of `actor` for `company`: await it for the address to send the browser to, and the secret to keep in
    /// the browser's cookie. Options can be set before.
    ///
    /// The company's present opt-in, if any, keeps working until the consent completes.
    ///
    /// # Errors
    /// [`AuthenticateError`](crate::error::AuthenticateError); nothing has begun.
    ///
    /// # Cancellation
    /// A consent may be stored that nobody knows; it expires.
    pub fn authenticate<'a>(&'a self, company: &'a CompanyId, actor: &'a ActorId) -> Authenticate<'a> {
        Authenticate { consents: &self.consents, company, actor, options: AuthenticateOptions::default() }
    }

    /// Where UPS's APIs are: the environment's base URL, or the one that the builder was given.
    pub fn base_url(&self) -> &Url {
        self.engine.rotation.ups.base_url()
    }

    /// The same authenticator, whose callbacks and connect links ask `check` as well: after the one of the
    /// [builder](BatchSuiteAuthBuilder::opt_in_check), and not through other handles.
    #[must_use]
    pub fn with_opt_in_check(&self, check: impl OptInCheck) -> Self {
        Self { engine: Arc::clone(&self.engine), consents: Arc::new(self.consents.with_check(Arc::new(check))) }
    }

    /// The cookie that keeps browsers' secrets, as the redirect URI's host needs it.
    pub fn trip_cookie(&self) -> TripCookie {
        TripCookie::of(&self.consents.redirect_uri)
    }

    /// The callback URL, as it is registered at UPS.
    pub fn redirect_uri(&self) -> &Url {
        &self.consents.redirect_uri
    }

    /// The sources of a `form-action` directive (CSP) for pages with a button that begins a trip: `'self'` and the origins that
    /// a browser passes on its way to UPS's sign-in page. Browsers check each redirect that answers a form; with `'self'` alone
    /// nobody arrives at UPS.com.
    pub fn form_action(&self) -> String {
        let ups = self.engine.rotation.ups.issuer();
        // UPS redirects from its API's host to a sign-in page under `www.ups.com` (UPS), or another of its domains (its
        // description names none since 2026-01).
        let is_of_ups = ups.ends_with(".ups.com");
        format!("'self' {ups}{}", if is_of_ups { " https://*.ups.com" } else { "" })
    }

    /// Which company the consent is for that a callback's address speaks of; `None` unless it began in this browser, and was used
    /// or ended at most an hour ago. For a page that leads back to the company after a refusal.
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

    /// Completes a consent. `query` is the raw query of the callback's address, undecoded; `browser` is the secret from the
    /// browser's cookie, or all that its cookies hold, or `None` if it has none; `actor` is who is signed in now.
    ///
    /// A prefetch must not get here: [`is_visit`](crate::browser::is_visit). The same callback again (a reload, a second tab, the
    /// back button) of the same person and browser sends nothing: it waits for the one under way in this process and gets its
    /// outcome, or finds what it led to, or gets [`CallbackError::AlreadyUsed`].
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
        browser: impl PresentedSecrets,
    ) -> Result<OptedIn, CallbackError> {
        self.consents.callback(actor, query.as_ref(), browser.hashes()).await
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
    #[inline]
    pub fn access_token<'a>(
        &'a self,
        company: &'a CompanyId,
    ) -> impl Future<Output = Result<AccessToken, TokenError>> + Send + 'a {
        // By hand, not `async`: a cached token is then handed out by code that is part of the caller's.
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

    /// After an API answered 401 to `rejected`: another token, fetched from UPS if that very token is still the current one.
    ///
    /// Any number of callers with the same rejected token cause one refresh. A token that was itself fetched because of a
    /// rejection is not replaced again for [`Policy::rejection_pause`]: send the request once more with the new token, and take
    /// a second 401 as the API's answer. To report it within that pause asks UPS nothing and is
    /// [`Unavailable`](TokenError::Unavailable) for the rest of the pause, also if the password was changed meanwhile.
    ///
    /// The [`adapters`](crate::adapters) for HTTP clients do all of this.
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
        self.engine.report_rejected(company, rejected.revision()).await
    }

    /// Where a company stands. A caller waits at most [`Policy::max_wait`].
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn status(&self, company: &CompanyId) -> Result<CompanyStatus, StoreError> {
        let rotation = &self.engine.rotation;
        let row = rotation.read_for_caller(rotation.read(company)).await?;
        Ok(row.snapshot.status(&rotation.settings))
    }

    /// Companies that were seen, by id, a page at a time. A caller waits at most [`Policy::max_wait`].
    ///
    /// A page of a [`filter`](CompanyQuery::filter) may be short, or empty, and still have a `next`: while no keeper runs, many rows
    /// are looked at that do not stand so. No `next`: that was all.
    ///
    /// # Errors
    /// [`StoreError`]
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn companies(&self, query: CompanyQuery) -> Result<Page<CompanyStatus, CompanyId>, StoreError> {
        let listed = self.engine.list(query.filter, query.after, query.limit.unwrap_or(PAGE));
        self.engine.rotation.read_for_caller(listed).await
    }

    /// Removes a company's authorization here: its tokens are erased, what is under way is discarded, the history stays.
    ///
    /// UPS has no way to be told; the person can end it there by changing the UPS.com password. This process hands out no token
    /// afterwards, others not longer than [`Policy::cache_max_age`].
    ///
    /// # Errors
    /// [`StoreError`], at the latest after [`Policy::max_wait`]; whether it was removed is unknown, and the call can be repeated.
    ///
    /// # Cancellation
    /// It goes on without its caller.
    pub async fn remove_auth(&self, company: &CompanyId, actor: &ActorId) -> Result<(), StoreError> {
        self.engine.remove_auth(company, actor).await
    }

    /// Imports the tokens that another system kept for `company`, as if the company had opted in here. Stop that system first:
    /// [`moving_from_another_system`](crate::docs::moving_from_another_system) tells why.
    ///
    /// UPS is not asked, so a token that was used already is found at its first refresh, and reported as
    /// [`RotationLost`](crate::machine::CauseKind::RotationLost). An opt-in that is authenticated and that UPS issued later stays:
    /// without [`with_issued_at`](ImportedTokens::with_issued_at), any that is authenticated. The
    /// [opt-in check](crate::OptInCheck) is not called.
    ///
    /// The same refresh token again is [`AlreadyStored`](Imported::AlreadyStored), whatever became of its opt-in: a loop over many
    /// companies can be interrupted and repeated. Only a removal in between makes it a new import.
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
    /// [`ImportError`]; unless it is [`Store`](ImportError::Store), nothing has changed. A caller waits at most [`Policy::max_wait`].
    ///
    /// # Cancellation
    /// The import goes on without its caller, until the store has taken it.
    pub async fn import(
        &self,
        company: &CompanyId,
        actor: &ActorId,
        tokens: ImportedTokens,
    ) -> Result<Imported, ImportError> {
        self.engine.import(company, actor, tokens).await
    }

    /// The event log, a page at a time. A caller waits at most [`Policy::max_wait`].
    ///
    /// # Errors
    /// [`StoreError`]; [`Pruned`](crate::store::StoreErrorKind::Pruned) if the oldest come first and events behind the cursor were
    /// pruned: read on after the number that it names.
    ///
    /// # Cancellation
    /// Nothing happens.
    pub async fn events(&self, filter: EventFilter) -> Result<Page<Event, EventId>, StoreError> {
        let query = EventQuery {
            environment: self.engine.rotation.environment,
            company: filter.company,
            order: filter.order,
            after: filter.after,
            limit: filter.limit.unwrap_or(PAGE),
        };
        self.engine.rotation.read_for_caller(self.engine.rotation.store.events(query)).await
    }

    /// For operators, after a backup was restored or a fail-over lost commits, *before any process serves*: refresh tokens in the store
    /// may be spent. Marks every opt-in, so that a spent one is told as lost and never as a password change. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated, and goes on as of the time when it was first made.
    ///
    /// # Cancellation
    /// Some may be marked; the call can be repeated.
    pub async fn after_restore(&self) -> Result<u64, StoreError> {
        self.engine.after_restore().await
    }

    /// For operators, after a new key was added in front of the keyring: seals with it the tokens that are sealed with an older one, while
    /// everything goes on. Afterwards, and after [`Policy::consent_lifetime`] for trips that are under way, the older keys can be taken
    /// away, unless some tokens were unreadable.
    ///
    /// # Errors
    /// [`StoreError`]; the call can be repeated.
    ///
    /// # Cancellation
    /// Some are sealed anew; the call can be repeated.
    pub async fn reencrypt(&self) -> Result<Reencrypted, StoreError> {
        self.engine.reencrypt().await
    }

    /// For operators: deletes events that are older than `older_than`; returns how many. The opt-ins do not need them. Those that a
    /// delivery has not passed yet stay. A reader of the log whose cursor lies below a deleted event gets
    /// [`Pruned`](crate::store::StoreErrorKind::Pruned).
    ///
    /// # Errors
    /// [`StoreError`]; some may be deleted.
    ///
    /// # Cancellation
    /// Some may be deleted.
    pub async fn prune_events(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.engine.prune_events(older_than).await
    }

    /// From now on nothing begins by itself: the keeper stops, between two companies if it is at work, and no token is refreshed
    /// before it ends. Callers get cached tokens as before, and a caller who needs a refresh, or comes back from UPS.com, is still
    /// served; what is under way goes on. It cannot be undone.
    ///
    /// The first half of the end of a service: call it at the order to stop, before the requests that are under way are let
    /// finish, so that no refresh begins that the end of the process would cut off. Then comes [`shutdown`](Self::shutdown).
    pub fn quiesce(&self) {
        self.engine.quiesce();
    }

    /// Ends gracefully: nothing new begins, refreshes and callbacks under way come to their end, and a pair that the store has
    /// not taken yet is stored. Waits at most [`Policy::shutdown_limit`] (30 s by default).
    ///
    /// Give the process more time than that: work that is [`Incomplete`](Shutdown::Incomplete) is lost with the process.
    ///
    /// # Cancellation
    /// The end goes on as long as the runtime lives.
    pub async fn shutdown(&self) -> Shutdown {
        self.shutdown_within(self.engine.rotation.policy.shutdown_limit).await
    }

    /// The same with another limit: the rest of the time that the process has.
    ///
    /// # Cancellation
    /// The end goes on as long as the runtime lives.
    pub async fn shutdown_within(&self, limit: Duration) -> Shutdown {
        self.engine.shutdown(limit).await
    }
}

/// How many items a page has if the host does not say.
const PAGE: usize = 100;

impl fmt::Debug for BatchSuiteAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchSuiteAuth")
            .field("environment", &self.engine.rotation.environment)
            .field("client_id", &self.engine.rotation.settings.client_id)
            .finish_non_exhaustive()
    }
}

/// Which companies to list.
///
/// ```
/// use batchsuite_auth::{CompanyQuery, StatusFilter};
///
/// let query = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired).with_limit(20);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CompanyQuery {
    /// Only those that stand so; `None`: all.
    pub filter: Option<StatusFilter>,
    /// Only those after this one: the `next` of the page before.
    pub after: Option<CompanyId>,
    /// How many at most; `None`: 100.
    pub limit: Option<usize>,
}

impl CompanyQuery {
    /// All companies, from the first one on, 100 a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those that stand so.
    #[must_use]
    pub fn with_filter(self, filter: impl Into<Option<StatusFilter>>) -> Self {
        Self { filter: filter.into(), ..self }
    }

    /// Only those after this one: the `next` of the page before.
    #[must_use]
    pub fn with_after(self, after: impl Into<Option<CompanyId>>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// At most so many.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }
}

/// Which events to read.
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
    /// Only those of this company; `None`: all.
    pub company: Option<CompanyId>,
    /// In which order.
    pub order: EventOrder,
    /// Where to read on, exclusively.
    pub after: Option<EventId>,
    /// How many at most; `None`: 100.
    pub limit: Option<usize>,
}

impl EventFilter {
    /// All events, the oldest first, 100 a page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those of this company.
    #[must_use]
    pub fn with_company(self, company: impl Into<Option<CompanyId>>) -> Self {
        Self { company: company.into(), ..self }
    }

    /// In this order.
    #[must_use]
    pub fn with_order(self, order: EventOrder) -> Self {
        Self { order, ..self }
    }

    /// From there on, exclusively: the `next` of the page before.
    #[must_use]
    pub fn with_after(self, after: impl Into<Option<EventId>>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// At most so many.
    #[must_use]
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
