//! A service's refreshes on Postgres, beside a careful user's hand-written version.

mod handwritten;

use std::{collections::BTreeMap, sync::Arc};

use batchsuite_auth::{BatchSuiteAuth, CompanyId, http::ReqwestClient};
use batchsuite_benches::{
    companies::{self, ENDED},
    life::Life,
    measure::{Pace, median, nanoseconds, now},
    report,
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{
    postgres::{self, Log},
    wire::Wire,
};
use tokio::{runtime::Runtime, task::JoinSet};
use url::Url;

use crate::server::{Role, SLOW, Server};
use handwritten::Handwritten;

/// Connections to the database.
const CONNECTIONS: usize = 8;
/// Callers, each with its own company.
const CALLERS: usize = 64;
/// The number of consecutive refreshes observed on the wire.
const HEARD: usize = 16;

/// As for the store's rows: commits are durable, and the server starts no work of its own.
const SETTINGS: &str = "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c max_wal_size=8GB \
                        -c checkpoint_timeout=1d -c autovacuum=off";

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    let runtime = Runtime::new().expect("a runtime");
    let (database, ups) = (postgres::Server::start_with(Log::Normal, &[], SETTINGS), Server::start(Role::SlowUps));
    report::note(format_args!(
        "service: {CALLERS} callers of {CALLERS} companies, {CONNECTIONS} connections, UPS answers after {} ms; {SETTINGS}",
        SLOW.as_millis()
    ));
    let bed = Bed { database, ups };
    runtime.block_on(async {
        bed.beside(pace).await;
        bed.statements().await;
    });
}

struct Bed {
    database: postgres::Server,
    ups: Server,
}

impl Bed {
    /// Measures the time and the WAL of a refresh, both sides in turn.
    async fn beside(&self, pace: Pace) {
        let ours = Ours::at(&self.database, self.database.url(), &self.ups, CONNECTIONS).await;
        let handwritten = Handwritten::at(self.database.url(), &self.ups).await;
        let names = companies::names(CALLERS + 1);
        let mut figures = [(); 4].map(|()| Vec::new());
        for round in 0..=pace.of(15, 5) {
            let auth = ours.authenticator_of(&names).await;
            let [time, wal] = self.measured(&names[1..], |company| Ours::refresh(auth.clone(), company)).await;
            auth.shutdown().await;
            handwritten.opt_in(&names).await;
            handwritten.clone().refresh(names[0].clone()).await;
            let by_hand = |company| handwritten.clone().refresh(company);
            let [time_by_hand, wal_by_hand] = self.measured(&names[1..], by_hand).await;
            // The first round warms up.
            if round > 0 {
                let round = [time, time_by_hand, wal, wal_by_hand];
                figures.iter_mut().zip(round).for_each(|(figures, figure)| figures.push(figure));
            }
        }
        let [time, time_by_hand, wal, wal_by_hand] = figures.map(median);
        report::ratio("service/handwritten", time, time_by_hand);
        report::ratio("service/wal", wal, wal_by_hand);
    }

    /// Refreshes all companies concurrently and returns nanoseconds and bytes of WAL per refresh.
    async fn measured<F>(&self, companies: &[CompanyId], refresh: impl Fn(CompanyId) -> F) -> [f64; 2]
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let client = self.database.client().await;
        let wal = async || client.query_one(WAL, &[]).await.expect("the server answers").get::<_, f64>(0);
        let (before, start) = (wal().await, now());
        let mut callers = JoinSet::new();
        for company in companies {
            callers.spawn(refresh(company.clone()));
        }
        callers.join_all().await;
        let taken = start.elapsed();
        let written = wal().await - before;
        [nanoseconds(taken, companies.len() as u64), written / companies.len() as f64]
    }

    /// The statements of a refresh on the wire.
    async fn statements(&self) {
        let wire = Wire::before(&self.database).await;
        let names = companies::names(HEARD + 1);
        // One connection, opened before the observation begins.
        let ours = Ours::at(&self.database, &wire.url(), &self.ups, 1).await;
        let auth = ours.authenticator_of(&names).await;
        wire.round_trips();
        for company in &names[1..] {
            Ours::refresh(auth.clone(), company.clone()).await;
        }
        let of_ours = statements(&wire);
        auth.shutdown().await;

        let handwritten = Handwritten::at(&wire.url(), &self.ups).await;
        handwritten.opt_in(&names).await;
        handwritten.clone().refresh(names[0].clone()).await;
        wire.round_trips();
        for company in &names[1..] {
            handwritten.clone().refresh(company.clone()).await;
        }
        let by_hand = statements(&wire);
        report::ratio("service/statements", of_ours as f64 / HEARD as f64, by_hand as f64 / HEARD as f64);
    }
}

/// The bytes written to the server's log so far.
const WAL: &str = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";

/// The statements since the last call, except those sent once per connection.
fn statements(wire: &Wire) -> usize {
    let said: Vec<_> = wire.round_trips().into_iter().filter(|trip| !trip.starts_with("parse ")).collect();
    let mut times = BTreeMap::new();
    for statement in &said {
        *times.entry(statement.as_str()).or_insert(0_u32) += 1;
    }
    report::note(format_args!("service/statements: {times:?}"));
    said.len()
}

/// Our side: a store, and the parts that its authenticators share.
struct Ours {
    store: PostgresStore,
    http: Arc<ReqwestClient>,
    ups: Url,
    life: Life,
}

impl Ours {
    /// Connects to the database at `url`.
    async fn at(database: &postgres::Server, url: &str, ups: &Server, connections: usize) -> Self {
        let store = PostgresStore::at(url, postgres::keyring().await).connections(connections);
        let store = store.listens_on(database.url()).build().expect("a store");
        store.migrate().await.expect("the schema can be made");
        let http = ReqwestClient::builder().allow_loopback_http().build().expect("the settings fit");
        Self { store, http: Arc::new(http), ups: ups.url(), life: Life::begun_ago(ENDED).await }
    }

    /// A new authenticator with none of these companies' tokens in its cache; all stored tokens have expired. It
    /// refreshes the first company, because few requests are sent concurrently until UPS has accepted the client's
    /// secret.
    async fn authenticator_of(&self, companies: &[CompanyId]) -> BatchSuiteAuth {
        for company in companies {
            self.life.opt_in(&self.store, company).await;
        }
        let auth = companies::authenticator(self.store.clone()).http(Arc::clone(&self.http)).base_url(self.ups.clone());
        let auth = companies::heard(auth).await;
        Self::refresh(auth.clone(), companies[0].clone()).await;
        auth
    }

    async fn refresh(auth: BatchSuiteAuth, company: CompanyId) {
        let token = auth.access_token(&company).await.expect("a token");
        assert_eq!(token.revision().version, 2, "the token was refreshed");
    }
}
