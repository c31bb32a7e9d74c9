//! The measurement: real processes of a service with callers on all companies, a real database, and the fake UPS as a
//! process. Its port is closed for some minutes; later it hangs for as long.

mod stage;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use batchsuite_auth::{
    Environment, Policy,
    clock::{Clock as _, SystemClock, Timestamp},
    events::EventKind,
    store::{ListQuery, ListedAs},
};
use batchsuite_tests::{Backend, seconds};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

use self::stage::{Stage, Told, backend};
use crate::{
    Kind,
    journal::Journal,
    table::{Seconds, Table},
    traffic::Phase,
};

/// All companies must be served again within this time of UPS's return.
const SERVED_WITHIN: Seconds = Seconds(30.0);
/// How long the return is watched at most.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    companies: usize,
    processes: usize,
    away: Duration,
    backend: Backend,
    /// `None`: first one, then the other.
    kind: Option<Kind>,
}

impl Plan {
    /// The plan of these options; `None`: they make no sense.
    pub(crate) fn of(options: &[&str]) -> Option<Self> {
        let mut plan =
            Self { companies: 1500, processes: 4, away: seconds(300), backend: Backend::Postgres, kind: None };
        let (options, rest) = options.as_chunks();
        for option in options {
            match *option {
                ["--companies", companies] => plan.companies = companies.parse().ok()?,
                ["--processes", processes] => plan.processes = processes.parse().ok()?,
                ["--minutes", minutes] => {
                    plan.away = seconds(60).mul_f64(minutes.parse().ok().filter(|minutes| *minutes > 0.0)?);
                }
                ["--kind", "refused"] => plan.kind = Some(Kind::Refused),
                ["--kind", "hangs"] => plan.kind = Some(Kind::Hangs),
                ["--store", store] => plan.backend = backend(store)?,
                _ => return None,
            }
        }
        (rest.is_empty() && plan.companies > 0 && plan.processes > 0).then_some(plan)
    }

    /// So short that all tokens end during an outage.
    fn access_lifetime(&self) -> Duration {
        seconds(self.away.mul_f64(0.8).as_secs().max(1))
    }

    /// The most refreshes that UPS may see within a second.
    fn limit(&self) -> usize {
        self.processes * Policy::default().refresh_rate as usize
    }
}

/// Runs both outages and prints their tables; returns whether each demand is met.
pub(crate) fn run(plan: &Plan) -> bool {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let stage = Arc::new(Stage::set(plan).await);
        stage.opt_in(plan.companies).await;
        stage.serve(plan.companies).await;
        let mut is_fine = true;
        for kind in [Kind::Refused, Kind::Hangs].into_iter().filter(|kind| plan.kind.is_none_or(|only| only == *kind)) {
            let table = outage(plan, &stage, kind).await;
            println!("{table}");
            is_fine &= table.is_fine();
        }
        is_fine
    })
}

async fn outage(plan: &Plan, stage: &Stage, kind: Kind) -> Table {
    stage.traffic().begin(Phase::Before);
    sleep(plan.access_lifetime()).await;
    let mut journal = Journal::of(plan.companies);
    journal.begin(&*stage.store).await;
    let before = stage.told().await;
    stage.door.take_most_open();

    stage.traffic().begin(Phase::During);
    goes(stage, kind).await;
    sleep(plan.away).await;
    let during = stage.told().await;
    let (open, unserved) = (stage.door.take_most_open(), not_served(&during));
    let back_at = SystemClock.now();
    stage.traffic().begin(Phase::After);
    comes_back(stage, kind).await;
    let began = Instant::now();
    let after = stage.until_all_are_served(PATIENCE).await;
    eprintln!("all are served, or not, after {:.1} s", began.elapsed().as_secs_f64());
    // The end is told, and what is still to be written is written.
    sleep(seconds(70)).await;
    journal.read(&*stage.store).await;
    let told = stage.told().await;

    let mut table = Table::default();
    let away = if kind == Kind::Refused { "refuses connections" } else { "hangs" };
    table.figure("store, companies, processes", format!("{:?}, {}, {}", plan.backend, plan.companies, plan.processes));
    table.figure("UPS", format!("{away} for {:.1} minutes", plan.away.as_secs_f64() / 60.0));
    table.figure("companies without a token at its end", unserved);
    served(&mut table, kind, &after, back_at);
    requests(&mut table, plan, stage);
    table.at_most("connections to UPS open at once during the outage", open, plan.limit() as u64);
    events(&mut table, plan, kind, &journal);
    for (phase, from, to) in [("during", &before, &during), ("after", &during, &told)] {
        let figures = format!("{}, {}", to.tokens - from.tokens, to.transient - from.transient);
        table.figure(format!("callers {phase}: got a token, were told to come later"), figures);
    }
    lost(&mut table, plan, stage, &told).await;
    table
}

async fn goes(stage: &Stage, kind: Kind) {
    match kind {
        Kind::Refused => stage.door.close(),
        Kind::Hangs => {
            let fault = json!({"endpoint": "refresh", "fault": "hang", "times": "until_cleared"});
            stage.ups.control("faults", fault).await;
        }
    }
}

async fn comes_back(stage: &Stage, kind: Kind) {
    match kind {
        Kind::Refused => stage.door.open(),
        Kind::Hangs => {
            stage.ups.control("faults", json!({"endpoint": "refresh"})).await;
        }
    }
}

fn not_served(told: &Told) -> usize {
    told.served_since.iter().filter(|since| since.is_none()).count()
}

/// How soon after UPS's return the callers of each company got tokens for good.
fn served(table: &mut Table, kind: Kind, told: &Told, back_at: Timestamp) {
    let back_at = back_at.timestamp_micros();
    let mut after: Vec<f64> =
        told.served_since.iter().flatten().map(|since| (since - back_at).max(0) as f64 / 1e6).collect();
    after.sort_unstable_by(f64::total_cmp);
    table.at_most("companies not served again", not_served(told), 0);
    for (part, of) in [("half", 0.5), ("90 %", 0.9), ("all", 1.0)] {
        let last = ((after.len() as f64 * of).ceil() as usize).saturating_sub(1);
        let Some(last) = after.get(last).copied().map(Seconds) else { continue };
        let what = format!("{part} served again after");
        match (kind, part) {
            (Kind::Refused, "all") => table.at_most(what, last, SERVED_WITHIN),
            _ => table.figure(what, last),
        }
    }
}

fn requests(table: &mut Table, plan: &Plan, stage: &Stage) {
    let traffic = stage.traffic();
    for phase in Phase::ALL {
        table.figure(format!("refreshes that UPS saw {}", phase.words()), traffic.requests(phase));
        table.at_most(format!("within any second {}", phase.words()), traffic.most(phase), plan.limit());
    }
}

fn events(table: &mut Table, plan: &Plan, kind: Kind, journal: &Journal) {
    for (what, kind) in [("beginning", EventKind::OutOfReach), ("end", EventKind::InReach)] {
        table.exactly(format!("events of the {what} of the outage"), journal.of_kind(kind), 1);
    }
    let mut of_companies = 0;
    for (kind, times) in journal.of_trouble() {
        table.figure(format!("events: {kind}"), times);
        of_companies += times;
    }
    if kind == Kind::Refused {
        // Two requests of each process may fail before the third shows that it is an outage.
        table.at_most("events of the outage", of_companies, 2 + 2 * plan.processes as u64);
    }
}

/// No opt-in may need a person, by the store, by the callers, and by what UPS refused.
async fn lost(table: &mut Table, plan: &Plan, stage: &Stage, told: &Told) {
    let (mut authenticated, mut after) = (0, None);
    loop {
        let listed_as = Some(vec![ListedAs::Authenticated, ListedAs::ExpiringSoon]);
        let query = ListQuery { environment: Environment::Cie, listed_as, after, limit: 1000 };
        let page = stage.store.list(query).await.expect("the store answers");
        authenticated += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    table.at_most("opt-ins lost", plan.companies - authenticated, 0);
    table.at_most("callers who were told anything but to come later", told.wrong.len(), 0);
    for wrong in told.wrong.iter().take(5) {
        table.figure("  one of them", wrong);
    }
    let refreshes: BTreeMap<String, u64> = match stage.ups.refreshes().await {
        Value::Object(outcomes) => {
            outcomes.into_iter().filter_map(|(outcome, times)| Some((outcome, times.as_u64()?))).collect()
        }
        _ => BTreeMap::new(),
    };
    let refused = refreshes.iter().filter(|(outcome, _)| !matches!(outcome.as_str(), "ok" | "unprocessed"));
    table.at_most("refreshes that UPS refused", refused.map(|(_, times)| times).sum::<u64>(), 0);
}
