//! Round trips of a refresh on Postgres, counted on the wire.

use std::time::Duration;

use batchsuite_auth::{CompanyId, Environment, Policy, store::Store as _};
use batchsuite_benches::{
    companies::{self, ENDED},
    life::Life,
    report,
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::{
    postgres::{Log, Server, keyring},
    wire::Wire,
};

/// How many refreshes are listened to.
const REFRESHES: usize = 100;
/// What the keeper says once a round, for all the companies that it takes.
const ROUND: [&str; 2] = ["record_use", "wake"];

/// The row of refreshes by the keeper; those that a caller waits for are noted.
pub(crate) fn measure() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = Server::start(Log::Normal);
        let wire = Wire::before(&server).await;
        // One connection, and no notifications on it, so that nothing but refreshes is heard.
        let store = PostgresStore::at(&wire.url(), keyring().await).connections(1).listens_on(server.url()).build();
        let store = store.expect("the settings fit");
        store.migrate().await.expect("an empty database");

        let callers = by_callers(&wire, &store).await;
        let (kept, rounds) = by_the_keeper(&wire, &store).await;
        report::ratio("store/roundtrips", kept.len() as f64 / REFRESHES as f64, 2.0);
        report::note(format_args!(
            "by the keeper, {REFRESHES} at once; once a round besides: {}; a caller who finds a token at its end: {:.2}",
            rounds.join(", "),
            callers.len() as f64 / REFRESHES as f64
        ));
    });
}

async fn by_callers(wire: &Wire, store: &PostgresStore) -> Vec<String> {
    let auth = companies::listening(store.clone()).await;
    let ended = without_a_token(store, 0).await;
    // The first one prepares the statements.
    auth.access_token(&ended[REFRESHES]).await.expect("a token");
    wire.round_trips();
    for company in &ended[..REFRESHES] {
        auth.access_token(company).await.expect("a token");
    }
    auth.shutdown().await;
    wire.round_trips()
}

/// What was said for the companies, and what once a round.
async fn by_the_keeper(wire: &Wire, store: &PostgresStore) -> (Vec<String>, Vec<String>) {
    let ended = without_a_token(store, REFRESHES + 1).await;
    store.record_use(Environment::Cie, &ended[..REFRESHES]).await.expect("it is recorded");
    wire.round_trips();
    let mut policy = Policy::default();
    policy.keeper_interval = Duration::from_secs(1);
    policy.keeper_rate = 1000;
    let auth = companies::with_keeper(store.clone()).policy(policy).build().expect("the settings fit");
    let mut trips = Vec::new();
    while trips.iter().filter(|trip| *trip == "save_and_replace").count() < REFRESHES {
        tokio::time::sleep(Duration::from_millis(10)).await;
        trips.extend(wire.round_trips());
    }
    auth.shutdown().await;
    trips.into_iter().partition(|trip| !ROUND.contains(&trip.trim_start_matches("parse ")))
}

/// Companies whose access tokens have ended, one more than are refreshed.
async fn without_a_token(store: &PostgresStore, first: usize) -> Vec<CompanyId> {
    let life = Life::begun_ago(ENDED).await;
    let names: Vec<_> = (first..=first + REFRESHES).map(companies::name).collect();
    for name in &names {
        life.opt_in(store, name).await;
    }
    names
}
