//! The simulation: the whole library in virtual time. Several processes, each a complete authenticator with its cache,
//! feed and keeper, share a store in memory and refresh at the fake UPS, whose network has a distance. UPS works for a
//! while, is away for hours, and comes back.

mod callers;
mod network;
mod plan;
mod world;

use std::{
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use batchsuite_auth::{BatchSuiteAuth, CompanyQuery, CompanyStatus, Status, clock::Timestamp, events::EventKind};
use batchsuite_tests::{seconds, virtual_time::in_virtual_time};
use tokio::time::sleep;

pub(crate) use self::plan::Plan;
use self::{
    callers::{Told, callers},
    world::World,
};
use crate::{
    Kind,
    journal::{Journal, company},
    table::{Seconds, Table},
    traffic::Phase,
};

/// How long UPS works before the outage.
const BEFORE: Duration = Duration::from_secs(600);
/// How often the event log is read.
const READ_EVERY: Duration = Duration::from_secs(10);
/// How much longer than computed the companies in use may take: the trial that finds UPS well, and the growth of the
/// rate. A hanging UPS holds the last trial for 20 s, and its company for a lease.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
const FOUND_WITHIN_IF_IT_HANGS: Duration = Duration::from_secs(120);
/// A tenth more than computed.
const MORE_THAN_COMPUTED: f64 = 1.1;

/// Runs one outage and prints its table; returns whether each demand is met.
pub(crate) fn run(plan: &Plan) -> bool {
    let began = wall_clock();
    let mut table = in_virtual_time(plan.seed, outage(plan));
    table.figure("wall clock", Seconds((wall_clock() - began).as_secs_f64()));
    table.figure("memory at most", peak_memory());
    print!("{table}");
    table.is_fine()
}

async fn outage(plan: &Plan) -> Table {
    let world = World::new(plan);
    let renewals = world.populate().await;
    eprintln!("{} companies are in after {:.0} s", plan.companies, wall_clock().as_secs_f64());
    let serve_from = world.clocks.now();
    let processes: Vec<_> = (0..plan.processes).map(|number| world.process(number, true)).collect();
    let told = Arc::new(Told::default());
    let calling = tokio::spawn(callers(Arc::clone(&world), processes.clone(), Arc::clone(&told)));
    let mut journal = Journal::of(plan.companies);
    journal.begin(&world.store).await;
    read_for(&world, &mut journal, BEFORE).await;
    let renewed: Vec<bool> = journal.refreshed().iter().map(Option::is_some).collect();

    journal.begin(&world.store).await;
    let before = said(&told);
    set(&world, Some(plan.kind), Phase::During);
    read_for(&world, &mut journal, plan.away).await;
    eprintln!("UPS comes back after {:.0} s", wall_clock().as_secs_f64());
    set(&world, None, Phase::After);
    let back_at = world.clocks.now();
    let during = said(&told);
    let is_waiting = |number: &usize| match number.checked_sub(plan.in_use) {
        None => true,
        // Those that were due before were renewed by the process that brought all in.
        Some(idle) => (serve_from..=back_at).contains(&renewals[idle]) && !renewed[*number],
    };
    let waiting: Vec<usize> = (0..plan.companies).filter(is_waiting).collect();
    let (in_use, idle) = waiting.split_at(plan.in_use);
    let is_served = |journal: &Journal| waiting.iter().all(|number| journal.refreshed()[*number].is_some());
    let patience = 4 * plan.computed() + seconds(3600);
    while !is_served(&journal) && (world.clocks.now() - back_at).to_std().is_ok_and(|passed| passed < patience) {
        read_for(&world, &mut journal, READ_EVERY).await;
    }
    // What is still to be written is written.
    read_for(&world, &mut journal, seconds(120)).await;
    eprintln!("the last is served after {:.0} s", wall_clock().as_secs_f64());
    calling.abort();

    let mut table = Table::default();
    describe(&mut table, plan, waiting.len());
    served(&mut table, plan, &journal, in_use, idle, back_at);
    requests(&mut table, &world);
    events(&mut table, plan, &journal);
    calls(&mut table, before, during, said(&told));
    lost(&mut table, &world, &processes).await;
    table
}

fn set(world: &World, away: Option<Kind>, phase: Phase) {
    world.set_away(away);
    world.traffic().begin(phase);
}

/// Lets time pass and reads the event log, which keeps the latest 100,000 events.
async fn read_for(world: &World, journal: &mut Journal, time: Duration) {
    let until = world.clocks.micros() + u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    while world.clocks.micros() < until {
        sleep(READ_EVERY.min(Duration::from_micros(until - world.clocks.micros()))).await;
        journal.read(&world.store).await;
    }
}

fn describe(table: &mut Table, plan: &Plan, waiting: usize) {
    let kind = if plan.kind == Kind::Refused { "refuses connections" } else { "hangs" };
    table.figure("companies, of them in use", format!("{}, {}", plan.companies, plan.in_use));
    table.figure("processes, refreshes a second at most", format!("{}, {} each", plan.processes, plan.rate));
    table.figure("UPS", format!("{kind} for {:.1} hours", plan.away.as_secs_f64() / 3600.0));
    table.figure("companies that wait for a refresh when it is back", waiting);
}

/// How soon after UPS's return the companies are served.
fn served(table: &mut Table, plan: &Plan, journal: &Journal, in_use: &[usize], idle: &[usize], back_at: Timestamp) {
    let after = |numbers: &[usize]| {
        let refreshed = numbers.iter().filter_map(|number| journal.refreshed()[*number]);
        let mut after: Vec<f64> = refreshed.map(|at| (at - back_at).as_seconds_f64()).collect();
        after.sort_unstable_by(f64::total_cmp);
        after
    };
    let found = if plan.kind == Kind::Refused { FOUND_WITHIN } else { FOUND_WITHIN_IF_IT_HANGS };
    let most = plan.computed().mul_f64(MORE_THAN_COMPUTED) + found;
    for (who, numbers) in [("in use", in_use), ("idle", idle)] {
        let after = after(numbers);
        table.at_most(format!("{who}, never served again"), numbers.len() - after.len(), 0);
        for (part, of) in [("half", 0.5), ("90 %", 0.9), ("all", 1.0)] {
            let last = ((after.len() as f64 * of).ceil() as usize).saturating_sub(1);
            let Some(last) = after.get(last).copied().map(Seconds) else { continue };
            let what = format!("{who}, {part} of {} served again after", numbers.len());
            match (who, part) {
                ("in use", "all") => table.at_most(what, last, Seconds(most.as_secs_f64())),
                _ => table.figure(what, last),
            }
        }
    }
    table.figure("computed for those in use", Seconds(plan.computed().as_secs_f64()));
}

fn requests(table: &mut Table, world: &World) {
    let traffic = world.traffic();
    for phase in Phase::ALL {
        table.figure(format!("requests that UPS saw {}", phase.words()), traffic.requests(phase));
        table.at_most(format!("within any second {}", phase.words()), traffic.most(phase), world.plan.limit());
    }
    table.at_most("connections open at once", traffic.most_open, world.plan.limit());
}

fn events(table: &mut Table, plan: &Plan, journal: &Journal) {
    let mut total = 0;
    for (kind, times) in journal.of_trouble() {
        table.figure(format!("events: {kind}"), times);
        total += times;
    }
    table.exactly("events of the beginning of the outage", journal.of_kind(EventKind::OutOfReach), 1);
    table.exactly("events of its end", journal.of_kind(EventKind::InReach), 1);
    table.at_most("events of the outage", total, 2 + 2 * plan.processes as u64);
}

type Said = [u64; 3];

fn said(told: &Told) -> Said {
    [&told.tokens, &told.transient, &told.wrong].map(|count| count.load(Relaxed))
}

fn calls(table: &mut Table, before: Said, during: Said, after: Said) {
    for (phase, from, to) in [("before", [0; 3], before), ("during", before, during), ("after", during, after)] {
        let [tokens, transient, wrong] = [0, 1, 2].map(|which| to[which] - from[which]);
        table
            .figure(format!("callers {phase}: got a token, were told to come later"), format!("{tokens}, {transient}"));
        table.at_most(format!("callers {phase}: were told anything else"), wrong, 0);
    }
}

/// Every opt-in must be authenticated, and every company in use must get a token that UPS's API accepts.
async fn lost(table: &mut Table, world: &World, processes: &[BatchSuiteAuth]) {
    let (mut authenticated, mut query) = (0, CompanyQuery::new().with_limit(1000));
    loop {
        let page = processes[0].companies(query).await.unwrap_or_else(|error| panic!("{error}"));
        let is_authenticated = |company: &&CompanyStatus| matches!(company.status, Status::Authenticated { .. });
        authenticated += page.items.iter().filter(is_authenticated).count();
        let Some(next) = page.next else { break };
        query = CompanyQuery::new().with_limit(1000).with_after(next);
    }
    let mut accepted = 0;
    for number in 0..world.plan.in_use {
        let token = processes[number % processes.len()].access_token(&company(number)).await;
        accepted += usize::from(token.is_ok_and(|token| world.accepts(&token)));
    }
    table.at_most("opt-ins lost", world.plan.companies - authenticated, 0);
    table.at_most("companies in use without a token that UPS accepts", world.plan.in_use - accepted, 0);
}

/// The most memory that this program had.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 = peak.and_then(|peak| peak.trim().split(' ').next()?.parse().ok()).unwrap_or_default();
    format!("{:.2} GiB", kilobytes / f64::from(1 << 20))
}

/// The time since the first call, for reporting only.
#[expect(clippy::disallowed_methods, reason = "how long the run takes")]
fn wall_clock() -> Duration {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGAN.get_or_init(std::time::Instant::now).elapsed()
}
