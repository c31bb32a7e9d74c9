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

/// The number of observed refreshes.
const REFRESHES: usize = 100;
/// The keeper's statements once per round, for all companies of the round.
const ROUND: [&str; 2] = ["record_use", "wake"];

/// Measures the row for refreshes by the keeper. A note gives refreshes that a caller waits for.
pub(crate) fn measure() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let server = Server::start(Log::Normal);
        let wire = Wire::before(&server).await;
        // One connection without notifications, so that only refreshes are observed.
        let store = PostgresStore::at(&wire.url(), keyring().await).connections(1).listens_on(server.url()).build();
        let store = store.expect("the settings fit");
        store.migrate().await.expect("an empty database");
        let unheard = PostgresStore::at(server.url(), keyring().await).build().expect("the settings fit");

        let callers = by_callers(&wire, &store).await;
        let heard = by_the_keeper(&wire, &store, &unheard).await;
        report::ratio("store/roundtrips", heard.of_refreshes.len() as f64 / REFRESHES as f64, 2.0);
        report::note(format_args!(
            "by the keeper, {REFRESHES} at once; the first one before them, with what is said once: {}; once a round: {}; a \
             caller who finds a token at its end: {:.2}",
            heard.of_start.iter().filter(|trip| !trip.contains('\n')).cloned().collect::<Vec<_>>().join(", "),
            heard.of_rounds.join(", "),
            callers.len() as f64 / REFRESHES as f64
        ));
    });
}

async fn by_callers(wire: &Wire, store: &PostgresStore) -> Vec<String> {
    let auth = companies::listening(store.clone()).await;
    let ended = without_a_token(store, 0).await;
    // The first refresh prepares the statements.
    auth.access_token(&ended[REFRESHES]).await.expect("a token");
    wire.round_trips();
    for company in &ended[..REFRESHES] {
        auth.access_token(company).await.expect("a token");
    }
    auth.shutdown().await;
    wire.round_trips()
}

/// A keeper's statements.
struct Heard {
    of_start: Vec<String>,
    of_refreshes: Vec<String>,
    of_rounds: Vec<String>,
}

/// Refreshes one company before the others: that refresh includes the writes that a process makes once about its
/// client, and the preparation of statements on a connection. All later statements count except those of the rounds.
/// The companies opt in through a store that is not observed.
async fn by_the_keeper(wire: &Wire, store: &PostgresStore, unheard: &PostgresStore) -> Heard {
    wire.round_trips();
    let mut policy = Policy::default();
    policy.keeper_interval = Duration::from_secs(1);
    policy.refresh_rate = 1000;
    let auth = companies::with_keeper(store.clone()).policy(policy).build().expect("the settings fit");
    let ended = without_a_token(unheard, REFRESHES + 1).await;
    let (others, first) = ended.split_at(REFRESHES);
    unheard.record_use(Environment::Cie, first).await.expect("the use is recorded");
    let of_start = heard_until(wire, "save_and_replace", 1).await;
    unheard.record_use(Environment::Cie, others).await.expect("the uses are recorded");
    let trips = heard_until(wire, "save_and_replace", REFRESHES).await;
    auth.shutdown().await;
    let (of_rounds, of_refreshes) = trips.into_iter().partition(|trip| ROUND.contains(&trip.as_str()));
    Heard { of_start, of_refreshes, of_rounds }
}

/// All statements until `statement` has been sent `times` times.
async fn heard_until(wire: &Wire, statement: &str, times: usize) -> Vec<String> {
    let mut trips = Vec::new();
    while trips.iter().filter(|trip| *trip == statement).count() < times {
        tokio::time::sleep(Duration::from_millis(10)).await;
        trips.extend(wire.round_trips());
    }
    trips
}

/// Companies with expired access tokens, one more than are refreshed.
async fn without_a_token(store: &PostgresStore, first: usize) -> Vec<CompanyId> {
    let life = Life::begun_ago(ENDED).await;
    let names: Vec<_> = (first..=first + REFRESHES).map(companies::name).collect();
    for name in &names {
        life.opt_in(store, name).await;
    }
    names
}
