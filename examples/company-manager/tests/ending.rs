//! The end of the program, on paused time: what begins after the order to stop, what comes home, and how long it takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::{future::pending, time::Duration};

use batchsuite_auth::{
    ActorId, BatchSuiteAuth, CompanyId, Shutdown,
    fake_ups::{Endpoint, FakeUps, Fault, Outcome, Times},
};
use batchsuite_store::MemoryStore;
use company_manager::ending::end;
use tokio::time::{Instant, sleep};

const TIME: Duration = Duration::from_secs(10);

/// A service with a keeper, whose companies have used their tokens.
async fn service(companies: usize) -> (FakeUps, BatchSuiteAuth, Vec<CompanyId>) {
    let ups = FakeUps::start().await;
    let store = MemoryStore::with_clock(ups.clock());
    let auth = ups.authenticator().http(ups.in_process()).store(store).build().unwrap();
    let companies: Vec<_> = (0..companies).map(|number| CompanyId::new(format!("acme-{number}")).unwrap()).collect();
    let ada = ActorId::new("ada").unwrap();
    for company in &companies {
        let trip = auth.authenticate(company, &ada).await.unwrap();
        let query = ups.consent(&trip.url, FakeUps::USER).await;
        auth.callback(&ada, &query, &trip.browser_secret).await.unwrap();
        auth.access_token(company).await.unwrap();
    }
    // The keeper records their use.
    sleep(Duration::from_secs(15)).await;
    (ups, auth, companies)
}

fn refreshes(ups: &FakeUps) -> u64 {
    ups.requests().total(Endpoint::Refresh)
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_due_does_not_begin_while_a_half_open_request_holds_the_end() {
    let (ups, auth, companies) = service(3).await;
    let half_open = async {
        // Every refresh is due from now on.
        ups.clock().advance(Duration::from_secs(55 * 60));
        while auth.access_token(&companies[0]).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };

    let began = Instant::now();
    let ended = end(&auth, half_open, Duration::from_secs(100)).await;

    assert_eq!(ended, Shutdown::Complete);
    assert_eq!(began.elapsed().as_secs(), 40, "four tenths are for requests; the keeper looks every ten seconds");
    assert_eq!(refreshes(&ups), 0, "nothing new began");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_under_way_at_the_order_to_stop_comes_home() {
    let (ups, auth, companies) = service(3).await;
    let late = Fault::Delay { milliseconds: 8000 };
    ups.fault(Endpoint::Refresh, late, Times::Once);
    ups.clock().advance(Duration::from_secs(55 * 60));
    auth.access_token(&companies[0]).await.unwrap();
    while refreshes(&ups) == 0 {
        sleep(Duration::from_millis(1)).await;
    }

    let began = Instant::now();
    let ended = end(&auth, pending::<()>(), TIME).await;

    assert_eq!(ended, Shutdown::Complete);
    assert!(began.elapsed() < TIME, "{:?}", began.elapsed());
    assert_eq!((refreshes(&ups), ups.requests().count(Endpoint::Refresh, Outcome::Ok)), (1, 1));
    // It is stored: another process goes on with it.
}

#[tokio::test(start_paused = true)]
async fn it_ends_in_time_whatever_hangs() {
    let (ups, auth, companies) = service(1).await;
    ups.fault(Endpoint::Refresh, Fault::Hang, Times::UntilCleared);
    ups.clock().advance(Duration::from_secs(2 * 3600));
    let waiting = auth.clone();
    tokio::spawn(async move { waiting.access_token(&companies[0]).await });
    while refreshes(&ups) == 0 {
        sleep(Duration::from_millis(1)).await;
    }

    let began = Instant::now();
    let ended = end(&auth, pending::<()>(), TIME).await;

    assert!(matches!(ended, Shutdown::Incomplete { under_way: 1, pairs: 0, .. }), "{ended:?}");
    assert!(began.elapsed() < TIME, "{:?}", began.elapsed());
}
