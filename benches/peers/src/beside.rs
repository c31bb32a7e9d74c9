//! Compares a peer's cached token with ours: both sides take turns on the same companies in the same order.

use std::collections::HashMap;

use batchsuite_auth::{BatchSuiteAuth, CompanyId};
use batchsuite_benches::{
    companies,
    measure::{Pace, Shuffled},
    report,
};
use tokio::runtime::Runtime;

/// Our side, and the environment in which both sides run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) pace: Pace,
    pub(crate) runtime: &'a Runtime,
    pub(crate) names: &'a [CompanyId],
    pub(crate) auth: &'a BatchSuiteAuth,
}

impl Beside<'_> {
    /// Measures a peer with one object per company. A map of the standard library finds the object, as in a service
    /// that is asked for a company's token. A note gives the time without the look-up.
    pub(crate) fn objects<O>(self, row: &str, objects: &HashMap<CompanyId, O>, ask: impl AsyncFn(&O)) {
        let at_hand: Vec<&O> = self.names.iter().map(|name| &objects[name]).collect();
        let [mut order, mut order_at_hand] = [(); 2].map(|()| Shuffled::below(self.names.len()));

        let mut looked_up = |operations| {
            self.runtime.block_on(async {
                for _ in 0..operations {
                    ask(&objects[&self.names[order.index()]]).await;
                }
            });
        };
        let mut without_look_up = |operations| {
            self.runtime.block_on(async {
                for _ in 0..operations {
                    ask(at_hand[order_at_hand.index()]).await;
                }
            });
        };
        let mut order = Shuffled::below(self.names.len());
        let mut ours = |operations| self.ours(&mut order, operations);
        let [ours, looked_up, without] = self.pace.medians([&mut ours, &mut looked_up, &mut without_look_up]);
        report::ratio(row, ours, looked_up);
        report::note(format_args!("{row}: without their look-up by company {:.3}", ours / without));
    }

    /// Measures a peer with one cache for all companies.
    pub(crate) fn cache(self, row: &str, ask: impl AsyncFn(&CompanyId)) {
        let mut order = Shuffled::below(self.names.len());
        let mut theirs = |operations| {
            self.runtime.block_on(async {
                for _ in 0..operations {
                    ask(&self.names[order.index()]).await;
                }
            });
        };
        let mut order = Shuffled::below(self.names.len());
        let mut ours = |operations| self.ours(&mut order, operations);
        let [ours, theirs] = self.pace.medians([&mut ours, &mut theirs]);
        report::ratio(row, ours, theirs);
    }

    fn ours(self, order: &mut Shuffled, operations: u64) {
        self.runtime.block_on(companies::tokens(self.auth, self.names, order, operations));
    }
}
