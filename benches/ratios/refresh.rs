//! A whole refresh, beside the `oauth2` crate over the same HTTP client; and one refresh for many callers.

mod peer;

use std::{thread, time::Duration};

use batchsuite_auth::{BatchSuiteAuth, CompanyId, http::ReqwestClient};
use batchsuite_benches::{
    companies::{self, ENDED},
    life::Life,
    measure::{Pace, now, processor_time},
    report,
};
use batchsuite_store::MemoryStore;
use tokio::runtime::Runtime;

use crate::{
    oauth::Http,
    server::{CLIENTS, DISTANCE, Role, Server},
};
use peer::Peer;

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    let runtime = Runtime::new().expect("a runtime");
    beside_oauth2(&runtime, pace);
    report::note(format_args!("refresh/herd: the server answers after {} ms", DISTANCE.as_millis()));
    let [ours, reference] = herd(&runtime, pace, Role::DistantUps);
    report::ratio("refresh/herd", ours, reference);
    let [ours, reference] = herd(&runtime, pace, Role::Ups);
    report::note(format_args!(
        "the same with a server that answers at once: {:.0} µs, one refresh {:.0} µs: {:.2}",
        ours / 1e3,
        reference / 1e3,
        ours / reference,
    ));
}

fn beside_oauth2(runtime: &Runtime, pace: Pace) {
    report::note(
        "oauth2 5.0, exchange_refresh_token(..).request_async(..) over reqwest 0.13, an answer type of its own",
    );
    let server = Server::start(Role::Ups);
    let companies = Companies::new(runtime, &server);
    let auth = companies.auth.clone();
    let [bare, guarded] = [Http::bare(), Http::guarded()].map(|http| Peer::new(&server, http));

    let mut ours = |operations| {
        let companies = companies.expired(runtime, operations);
        let auth = auth.clone();
        metered(|| {
            at_once(runtime, companies, move |company| {
                let auth = auth.clone();
                async move { drop(auth.access_token(&company).await.expect("a token")) }
            });
        })
    };
    let [mut reference, mut over_ours] = [bare, guarded].map(|peer| {
        move |operations| {
            let companies = companies::names(operations as usize);
            peer.opt_in(&companies);
            let peer = peer.clone();
            metered(|| {
                at_once(runtime, companies, move |company| {
                    let peer = peer.clone();
                    async move { peer.refresh(&company).await }
                });
            })
        }
    });
    let [ours, reference, over_ours] = pace.with_batches(5).medians_of([&mut ours, &mut reference, &mut over_ours]);
    report::ratio("refresh/oauth2", ours[0], reference[0]);
    report::ratio("refresh/cpu", ours[1], reference[1]);
    report::note(format_args!(
        "oauth2 over our own adapter, guards included: {:.2} of the time, {:.2} of the processor time",
        ours[0] / over_ours[0],
        ours[1] / over_ours[1],
    ));
}

/// The number of callers of one company.
const CALLERS: usize = 1000;

/// The time until all callers of one company have its token, and the same for a single caller.
fn herd(runtime: &Runtime, pace: Pace, role: Role) -> [f64; 2] {
    let server = Server::start(role);
    let mut sides = [CALLERS, 1].map(|callers| {
        let companies = Companies::new(runtime, &server);
        move |operations| {
            let expired = companies.expired(runtime, operations);
            let start = now();
            for company in expired {
                runtime.block_on(all_have_the_token(&companies.auth, company, callers));
            }
            [start.elapsed()]
        }
    });
    pace.with_batches(3).medians_of(sides.each_mut().map(|side| side as _)).map(|[median]| median)
}

async fn all_have_the_token(auth: &BatchSuiteAuth, company: CompanyId, callers: usize) {
    let asking: Vec<_> = (0..callers)
        .map(|_| {
            let (auth, company) = (auth.clone(), company.clone());
            tokio::spawn(async move { auth.access_token(&company).await.expect("a token") })
        })
        .collect();
    let mut tokens = Vec::with_capacity(callers);
    for token in asking {
        tokens.push(token.await.expect("the task ends"));
    }
    let one = tokens[0].expose_secret();
    assert!(tokens.iter().all(|token| token.expose_secret() == one), "one refresh for all");
}

/// Companies with an expired access token. Every batch uses the same names.
struct Companies {
    auth: BatchSuiteAuth,
    store: MemoryStore,
    life: Life,
}

impl Companies {
    fn new(runtime: &Runtime, server: &Server) -> Self {
        let store = MemoryStore::new();
        let http = ReqwestClient::builder().allow_loopback_http().build().expect("the settings fit");
        let life = runtime.block_on(Life::begun_ago(ENDED));
        let _inside = runtime.enter();
        let auth = companies::authenticator(store.clone()).http(http).base_url(server.url()).build();
        Self { auth: auth.expect("the settings fit"), store, life }
    }

    /// Opts this many companies in anew, with an expired access token.
    fn expired(&self, runtime: &Runtime, number: u64) -> Vec<CompanyId> {
        let names = companies::names(number as usize);
        runtime.block_on(async {
            for company in &names {
                self.life.opt_in(&self.store, company).await;
            }
        });
        settle();
        names
    }
}

/// Waits for background work: the change feed reads the writes.
fn settle() {
    thread::sleep(Duration::from_millis(10));
}

/// The duration of `work`, and the processor time of `work` and its background tasks.
fn metered(work: impl FnOnce()) -> [Duration; 2] {
    let (processor, start) = (processor_time(), now());
    work();
    let taken = start.elapsed();
    settle();
    [taken, processor_time() - processor]
}

/// Refreshes all companies, [`CLIENTS`] concurrently.
fn at_once<F>(runtime: &Runtime, companies: Vec<CompanyId>, refresh: impl Fn(CompanyId) -> F + Clone + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    let share = companies.len().div_ceil(CLIENTS);
    let working: Vec<_> = companies
        .chunks(share)
        .map(|share| {
            let (share, refresh) = (share.to_vec(), refresh.clone());
            runtime.spawn(async move {
                for company in share {
                    refresh(company).await;
                }
            })
        })
        .collect();
    for client in working {
        runtime.block_on(client).expect("the task ends");
    }
}
