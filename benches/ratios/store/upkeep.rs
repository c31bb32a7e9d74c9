//! Operators' tasks: lists, counts, and work over all companies.

use batchsuite_auth::{CompanyQuery, Environment, status::StatusFilter};
use batchsuite_benches::{
    companies,
    measure::{median, nanoseconds, now},
    report,
};
use batchsuite_store::{
    PostgresStore,
    keyring::{KeySet, Keyring, StaticKeySource},
};

use super::{
    Bed,
    pgbench::Mode,
    rounds::{CLIENTS, Verb},
    statement::Statement,
    tables::TO_OPT_IN_AGAIN,
};

/// The number of lists and overviews.
const LOOKS: usize = 11;

/// A read without an index, for comparison.
const SCAN: &str = "
    SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off; SET max_parallel_workers_per_gather = 0;
    SELECT count(*) FROM many.grants WHERE environment = 'cie' AND listed_as = 'reauth_required'";

impl Bed {
    /// Measures the list of the few companies that need a person, and the count of all companies.
    pub(super) fn listed(&self) {
        let store = self.store("many", Mode::Prepared);
        let figures = self.runtime.block_on(async {
            let auth = companies::listening(store.clone()).await;
            let client = self.server.client().await;
            let mut figures = [(); 3].map(|()| Vec::new());
            for look in 0..=LOOKS {
                let start = now();
                let query = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired);
                let page = auth.companies(query).await.expect("the store answers");
                let listed = nanoseconds(start.elapsed(), 1);
                assert_eq!((page.items.len() as u64, page.next), (TO_OPT_IN_AGAIN, None));

                let start = now();
                let overview = store.overview(Environment::Cie).await.expect("the store answers");
                let counted = nanoseconds(start.elapsed(), 1);
                assert_eq!(overview.companies.values().sum::<u64>(), self.many.companies());

                let start = now();
                client.batch_execute(SCAN).await.expect("the server answers");
                let scanned = nanoseconds(start.elapsed(), 1);
                // The first read warms up.
                if look > 0 {
                    figures.iter_mut().zip([listed, counted, scanned]).for_each(|(all, figure)| all.push(figure));
                }
            }
            auth.shutdown().await;
            figures
        });
        let [listed, counted, scanned] = figures.map(median);
        report::ratio("store/listed", listed, 50e6);
        report::ratio("store/overview", counted, 1e9);
        report::note(format_args!(
            "store: a scan of all {} rows takes {:.1} ms; of it {TO_OPT_IN_AGAIN} listed {:.3}, the overview {:.2}",
            self.many.companies(),
            scanned / 1e6,
            listed / scanned,
            counted / scanned,
        ));
    }

    /// Measures the same list while three quarters of all rows are overdue, as after a day without a keeper. Each
    /// overdue row may belong in another list by now, so the store reads all of them. The result is a note, because it
    /// has no bound yet.
    pub(super) fn listed_while_many_wake(&self) {
        let store = self.store("many", Mode::Prepared);
        let (answer, taken) = self.runtime.block_on(async {
            let auth = companies::listening(store).await;
            let query = CompanyQuery::new().with_filter(StatusFilter::ReauthRequired);
            let start = now();
            let answer = auth.companies(query).await;
            let taken = start.elapsed().as_secs_f64();
            auth.shutdown().await;
            (answer, taken)
        });
        let told = match answer {
            Ok(page) => format!("{} in {taken:.2} s", page.items.len()),
            Err(error) => format!("none after {taken:.2} s: {error}"),
        };
        report::note(format_args!("store/listed while three quarters of all rows are overdue: {told}"));
    }

    /// Measures the marking of all companies after a restored backup, and their re-encryption. pgbench comes last,
    /// because it writes versions for which some tokens are not encrypted.
    pub(super) fn upkeep(&mut self) {
        let (marked, sealed) = (self.restore(), self.reencrypt());
        report::ratio("store/restore", marked, self.by_pgbench(Verb::Claim));
        report::ratio("store/reencrypt", sealed, self.by_pgbench(Verb::Commit));
    }

    /// Nanoseconds per company.
    fn restore(&self) -> f64 {
        let store = self.store("many", Mode::Prepared);
        let start = now();
        let marked = self.runtime.block_on(async {
            let auth = companies::listening(store).await;
            auth.after_restore().await.expect("all are marked")
        });
        let taken = start.elapsed();
        report::note(format_args!(
            "store/restore: {marked} of {} marked in {:.0} s",
            self.many.companies(),
            taken.as_secs_f64()
        ));
        nanoseconds(taken, marked)
    }

    /// Nanoseconds per company.
    fn reencrypt(&self) -> f64 {
        let start = now();
        let sealed = self.runtime.block_on(async {
            let store = PostgresStore::at(self.server.url(), two_keys().await).schema("many");
            let store = store.connections(CLIENTS as usize).build().expect("a store");
            let auth = companies::listening(store).await;
            auth.reencrypt().await.expect("all are sealed")
        });
        let taken = start.elapsed();
        assert_eq!((sealed.companies, sealed.unreadable.len()), (self.many.companies(), 0), "all are sealed");
        report::note(format_args!("store/reencrypt: {} sealed anew in {:.0} s", sealed.companies, taken.as_secs_f64()));
        nanoseconds(taken, sealed.companies)
    }

    /// pgbench's time for a verb in the larger table.
    fn by_pgbench(&mut self, verb: Verb) -> f64 {
        let statement = self.runtime.block_on(Statement::of(&self.server, "many", verb, &self.saves));
        let script = self.pgbench.script(&statement, verb);
        let times = (0..5).map(|_| {
            let work = self.runtime.block_on(self.many.next(&self.server, verb, verb.share().1));
            self.pgbench.run(&script, Mode::Prepared, &self.saves, &work)
        });
        median(times.collect())
    }
}

/// A new key, followed by the key of the other stores.
async fn two_keys() -> Keyring {
    let keys = "newer:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    Keyring::load(StaticKeySource::new(KeySet::parse(keys).expect("keys"))).await.expect("a keyring")
}
