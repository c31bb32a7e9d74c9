//! The Postgres store beside pgbench with the same statements, and beside itself with more rows. Throughput over 8
//! connections.

mod ours;
mod pgbench;
mod rounds;
mod seal;
mod snapshot;
mod sqlite;
mod statement;
mod tables;
mod upkeep;

use std::sync::Arc;

use batchsuite_benches::{
    measure::{Pace, median},
    report,
};
use batchsuite_store::PostgresStore;
use batchsuite_tests::postgres::{self, Log, Server};
use tokio::runtime::{Builder, Runtime};

use ours::{Following, Saves};
use pgbench::{Mode, Pgbench};
use rounds::{CLIENTS, Verb};
use statement::Statement;
use tables::Table;

/// A server with durable commits and enough memory for all tables. It starts no checkpoint and no vacuum by itself,
/// because they would slow down only one side.
const SETTINGS: &str = "-c fsync=on -c synchronous_commit=on -c full_page_writes=on -c shared_buffers=6GB \
                        -c max_wal_size=32GB -c checkpoint_timeout=1d -c autovacuum=off";

/// Measures the rows of this group.
pub(crate) fn measure(pace: Pace) {
    seal::measure(pace.in_short_batches());

    let mut bed = Bed::filled(pace);
    bed.listed();
    bed.fall_due();
    bed.listed_while_many_wake();
    for (row, verb, mode) in [
        ("store/load", Verb::Load, Mode::Prepared),
        ("store/claim", Verb::Claim, Mode::Prepared),
        ("store/commit", Verb::Commit, Mode::Prepared),
        ("store/wake100", Verb::Wake, Mode::Prepared),
        ("store/unnamed/load", Verb::Load, Mode::Extended),
    ] {
        bed.beside_pgbench(row, verb, mode);
    }
    bed.notify();
    for (row, verb) in
        [("store/scale/load", Verb::Load), ("store/scale/claim", Verb::Claim), ("store/scale/wake100", Verb::Wake)]
    {
        bed.scale(row, verb);
    }
    bed.sqlite();
}

/// Measures the rows that take many minutes each.
pub(crate) fn measure_long(pace: Pace) {
    let mut bed = Bed::filled(pace);
    bed.fall_due();
    bed.snapshot();
    bed.upkeep();
}

/// The databases and tools for the rows.
struct Bed {
    server: Server,
    runtime: Runtime,
    many: Table,
    few: Table,
    pgbench: Pgbench,
    saves: Arc<Saves>,
    pace: Pace,
}

impl Bed {
    fn filled(pace: Pace) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let server = Server::start_with(Log::Normal, &[], SETTINGS);
        let (many, few) = (pace.of(1_000_000, 100_000), 10_000);
        let bed = Self {
            many: runtime.block_on(Table::filled(&server, "many", many)),
            few: runtime.block_on(Table::filled(&server, "few", few)),
            pgbench: Pgbench::of(&server),
            saves: Arc::new(runtime.block_on(Saves::of_the_library())),
            server,
            runtime,
            pace,
        };
        report::note(format_args!(
            "store: {}; {SETTINGS}; its files are where the temporary files are",
            bed.pgbench.version()
        ));
        report::note(format_args!("store: {many} rows, {few} in the smaller table; access tokens of 2 KB"));
        bed
    }

    fn fall_due(&self) {
        for table in [&self.many, &self.few] {
            self.runtime.block_on(table.fall_due(&self.server));
        }
    }

    /// The number of operations per client in a round.
    fn share(&self, verb: Verb) -> u64 {
        let (full, quick) = verb.share();
        self.pace.of(full, quick)
    }

    fn rounds(&self, verb: Verb) -> usize {
        let (full, quick) = verb.rounds();
        self.pace.of(full, quick)
    }

    /// Each round begins with new connections on both sides, without prepared statements and without warm server
    /// processes. The time excludes connecting on both sides.
    fn beside_pgbench(&mut self, row: &str, verb: Verb, mode: Mode) {
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        // Planning a statement on each call takes five times as long.
        let share = self.share(verb) / if mode == Mode::Extended { 5 } else { 1 };
        let statement = self.runtime.block_on(Statement::of(&self.server, "many", verb, &self.saves));
        let script = self.pgbench.script(&statement, verb);
        for round in 0..=self.rounds(verb) {
            let work = self.runtime.block_on(self.many.next(&self.server, verb, share));
            let store = self.store("many", mode);
            let time = self.runtime.block_on(async {
                ours::connect(&store).await;
                ours::run(&store, &self.saves, &work).await
            });
            drop(store);
            let done = self.runtime.block_on(self.many.done(&self.server, &work, round == 0));

            let next = self.runtime.block_on(self.many.next(&self.server, verb, share));
            let reference_time = self.pgbench.run(&script, mode, &self.saves, &next);
            let done_by_pgbench = self.runtime.block_on(self.many.done(&self.server, &next, round == 0));
            // The first round warms up.
            if round > 0 {
                ours.push(time / done);
                reference.push(reference_time / done_by_pgbench);
            }
        }
        told(row, &ours, &reference);
        report::ratio(row, median(ours), median(reference));
    }

    /// Measures commits while another process follows the changes, with notifications and without.
    fn notify(&mut self) {
        let share = self.share(Verb::Commit);
        let sides = [true, false].map(|notified| {
            let keyring = self.runtime.block_on(postgres::keyring());
            let [store, follower] = [(); 2].map(|()| {
                let builder = PostgresStore::builder(ours::pool(&self.server), keyring.clone()).schema("many");
                let builder = if notified { builder.listens_on(self.server.url()) } else { builder };
                builder.build().expect("a store")
            });
            self.runtime.block_on(ours::connect(&store));
            (store, follower)
        });
        let mut times = [Vec::new(), Vec::new()];
        let mut heard = [0, 0];
        for round in 0..=self.rounds(Verb::Commit) {
            for (((store, follower), times), heard) in sides.iter().zip(&mut times).zip(&mut heard) {
                let work = self.runtime.block_on(self.many.next(&self.server, Verb::Commit, share));
                let following = self.runtime.block_on(Following::begin(follower));
                let time = self.runtime.block_on(ours::run(store, &self.saves, &work));
                let changes = self.runtime.block_on(following.end());
                if round > 0 {
                    times.push(time);
                    *heard += changes;
                }
            }
        }
        let [on, off] = times;
        told("store/notify", &on, &off);
        report::note(format_args!("store/notify: looks that found changes, notified {}, not {}", heard[0], heard[1]));
        assert!(heard[0] > heard[1], "notifications do not arrive");
        report::ratio("store/notify", median(on), median(off));
    }

    /// Measures the same rounds over many rows and over few, with a share that fits the few.
    fn scale(&mut self, row: &str, verb: Verb) {
        let share = verb.share_of_few();
        let [many, few] = ["many", "few"].map(|schema| self.store(schema, Mode::Prepared));
        let (mut ours, mut reference) = (Vec::new(), Vec::new());
        for round in 0..=self.rounds(verb) {
            let of = |store: &PostgresStore, table: &mut Table| {
                let work = self.runtime.block_on(table.next(&self.server, verb, share));
                let time = self.runtime.block_on(ours::run(store, &self.saves, &work));
                time / self.runtime.block_on(table.done(&self.server, &work, round == 0))
            };
            let (of_many, of_few) = (of(&many, &mut self.many), of(&few, &mut self.few));
            if round > 0 {
                ours.push(of_many);
                reference.push(of_few);
            }
        }
        told(row, &ours, &reference);
        report::ratio(row, median(ours), median(reference));
    }

    fn store(&self, schema: &str, mode: Mode) -> PostgresStore {
        let keyring = self.runtime.block_on(postgres::keyring());
        let builder = PostgresStore::at(self.server.url(), keyring).schema(schema).connections(CLIENTS as usize);
        let builder = if mode == Mode::Extended { builder.unnamed_statements() } else { builder };
        builder.build().expect("a store")
    }
}

/// Notes the range of the rounds.
fn told(row: &str, ours: &[f64], reference: &[f64]) {
    let range = |times: &[f64]| {
        let times = times.iter().map(|time| time / 1e3);
        let (least, most) = (times.clone().fold(f64::INFINITY, f64::min), times.fold(0.0, f64::max));
        format!("{least:.1} to {most:.1} µs")
    };
    report::note(format_args!("{row}: ours {}, beside {}", range(ours), range(reference)));
}
