//! One world: its companies, its processes, their store and their UPS.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use batchsuite_auth::{
    AccessToken, ActorId, BatchSuiteAuth, Client, Environment, ImportedTokens, Policy,
    clock::{Timestamp, earlier, later},
    fake_ups::FakeUpsState,
    store::Store as _,
    test_util::ManualClock,
};
use batchsuite_store::MemoryStore;
use batchsuite_tests::{
    DAY, HOUR,
    virtual_time::{Clocks, Dice, micros},
};
use http::{Request, Response, StatusCode, header};
use tokio::time::{Instant, sleep_until};
use url::Url;

use super::{network::Network, plan::Plan};
use crate::{Kind, journal::company, traffic::Traffic};

const ACCESS_LIFETIME: Duration = HOUR;
/// A used company's token is refreshed this long after it was issued.
const FRESH_FOR: Duration = Duration::from_secs(45 * 60);
/// An idle company's refresh token is renewed this long after it was issued.
const RENEWED_AFTER: Duration = Duration::from_secs(53 * 86_400);
/// Idle companies are brought in this many times.
const BATCHES: usize = 1440;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) store: MemoryStore,
    ups: FakeUpsState,
    ups_clock: ManualClock,
    dice: Mutex<Dice>,
    traffic: Mutex<Traffic>,
    away: Mutex<Option<Kind>>,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Arc<Self> {
        let clocks = Clocks::new(plan.processes);
        let ups_clock = ManualClock::at(clocks.now());
        let ups = FakeUpsState::builder()
            .unsigned_access_tokens()
            .access_lifetime(ACCESS_LIFETIME)
            .manual_clock(ups_clock.clone())
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        Arc::new(Self {
            store: MemoryStore::with_clock(clocks.of_store()),
            clocks,
            ups,
            ups_clock,
            dice: Mutex::new(Dice::of(plan.seed)),
            traffic: Mutex::default(),
            away: Mutex::default(),
            plan: plan.clone(),
        })
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.dice)
    }

    pub(crate) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        lock(&self.traffic)
    }

    pub(crate) fn away(&self) -> Option<Kind> {
        *lock(&self.away)
    }

    pub(crate) fn set_away(&self, away: Option<Kind>) {
        *lock(&self.away) = away;
    }

    /// How long connecting, the way to UPS and the way back take.
    pub(crate) fn distances(&self) -> [Duration; 3] {
        let mut dice = self.dice();
        [dice.milliseconds(1..40), dice.milliseconds(5..80), dice.milliseconds(5..80)]
    }

    pub(crate) fn ups_answers(&self, request: &Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.ups_clock.set(self.clocks.now());
        self.ups.respond(request).response
    }

    /// Whether a UPS API accepts a token.
    pub(crate) fn accepts(&self, token: &AccessToken) -> bool {
        let request = Request::get("http://localhost/api/track/v1/details/1Z12345E0291980793")
            .header(header::AUTHORIZATION, token.header())
            .header("transId", "simulation")
            .header("transactionSrc", "simulation")
            .body(Vec::new());
        request.is_ok_and(|request| self.ups_answers(&request).status() == StatusCode::OK)
    }

    /// Starts a process of the service.
    pub(crate) fn process(self: &Arc<Self>, number: usize, has_keeper: bool) -> BatchSuiteAuth {
        let mut policy = Policy::default();
        policy.refresh_rate = self.plan.rate;
        let client = Client::new(FakeUpsState::CLIENT_ID, FakeUpsState::CLIENT_SECRET);
        let builder = BatchSuiteAuth::builder(Environment::Cie, client)
            .base_url(url("http://localhost/"))
            .redirect_uri(url(FakeUpsState::REDIRECT_URI))
            .store(self.store.clone())
            .http(Network(Arc::clone(self)))
            .clock(self.clocks.of_process(number))
            .policy(policy);
        let builder = if has_keeper { builder } else { builder.without_keeper() };
        builder.build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Brings all companies in, spread over a day, as if they had been there for long: each hour the same number of idle
    /// ones is looked at and renewed, and each minute the same number of used ones is refreshed. Returns when each idle
    /// company's renewal is due.
    pub(crate) async fn populate(self: &Arc<Self>) -> Vec<Timestamp> {
        let loader = self.process(0, true);
        let Plan { companies, in_use, .. } = self.plan;
        let (idle, began) = (companies - in_use, Instant::now());
        let mut renewals = Vec::with_capacity(idle);
        for batch in 0..BATCHES {
            sleep_until(began + (DAY - FRESH_FOR).mul_f64(batch as f64 / BATCHES as f64)).await;
            while renewals.len() < idle * (batch + 1) / BATCHES {
                let age = RENEWED_AFTER.mul_f64(self.dice().below(idle) as f64 / idle as f64);
                self.opts_in(&loader, in_use + renewals.len(), age).await;
                renewals.push(later(earlier(self.clocks.now(), age), RENEWED_AFTER));
            }
        }
        for number in 0..in_use {
            sleep_until(began + DAY - FRESH_FOR.mul_f64(1.0 - number as f64 / in_use as f64)).await;
            self.opts_in(&loader, number, Duration::ZERO).await;
            let used = self.store.record_use(Environment::Cie, &[company(number)]).await;
            used.unwrap_or_else(|error| panic!("{error}"));
        }
        sleep_until(began + DAY).await;
        loader.shutdown().await;
        renewals
    }

    /// A company opted in this long ago. No time passes meanwhile, so that nothing else happens while the store's clock
    /// is set back.
    async fn opts_in(&self, loader: &BatchSuiteAuth, number: usize, ago: Duration) {
        self.clocks.set_store(-micros(ago).cast_signed());
        self.ups_clock.set(earlier(self.clocks.now(), ago));
        let kept = self.ups.opt_in_elsewhere(FakeUpsState::USER);
        let mut tokens = ImportedTokens::new(kept.refresh_token)
            .unwrap_or_else(|error| panic!("{error}"))
            .with_issued_at(kept.issued_at)
            .with_refresh_expires_at(kept.refresh_expires_at);
        if ago.is_zero() {
            let access = tokens.with_access_token(kept.access_token, ACCESS_LIFETIME);
            tokens = access.unwrap_or_else(|error| panic!("{error}"));
        }
        let actor = ActorId::new("operator").unwrap_or_else(|error| panic!("{error}"));
        loader.import(&company(number), &actor, tokens).await.unwrap_or_else(|error| panic!("{error}"));
        self.clocks.set_store(micros(ago).cast_signed());
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}
