//! The contract of [`Store`] as a test suite: one test a clause, races included.
//!
//! A store's crate runs all of it with one line. Every clause becomes a test of its own, on a store of its own, so that
//! the first failure hides nothing:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use batchsuite_auth::{store::Store, test_util::store_contract::Harness};
//!
//! #[derive(Debug)]
//! struct MyHarness;
//!
//! #[async_trait::async_trait]
//! impl Harness for MyHarness {
//!     async fn fresh(&self) -> Arc<dyn Store> {
//!         unimplemented!("an empty store, e.g. in a schema of its own")
//!     }
//!     async fn advance(&self, _by: Duration) {
//!         unimplemented!("move the store's clock")
//!     }
//!     async fn set_back(&self, _by: Duration) {
//!         unimplemented!("move it back")
//!     }
//! }
//!
//! batchsuite_auth::store_contract_tests!(MyHarness);
//! # fn main() {}
//! ```
//!
//! Two groups of clauses need more of a harness than time. A harness that has the hook names the group:
//! `store_contract_tests!(MyHarness, locks, damage)`. A group that is not named is not among the tests.
//!
//! | group | the hook | for which store |
//! |---|---|---|
//! | `locks` | [`Harness::hold`] | one with row locks that another connection can hold |
//! | `damage` | [`Harness::damage`] | one whose data lies where it can be damaged, or whose keys can be lost |
//!
//! No clause knows which store it is about, nor compares times closer than a minute: a database's clock runs on between
//! two calls. A document is any JSON object here, and compared as one.

mod case;
mod damage;
mod load;
mod locks;
mod save;
mod tokens;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::store::{RowKey, Store};
use case::Case;

/// How the suite gets a store to test, and moves its time.
///
/// Each test makes a harness of its own.
#[async_trait]
pub trait Harness: fmt::Debug + Send + Sync + 'static {
    /// An empty store. Called once a test, before anything else.
    async fn fresh(&self) -> Arc<dyn Store>;

    /// Moves the clock of that store ahead. It may run on by itself, too.
    async fn advance(&self, by: Duration);

    /// Moves it back, as one is that was wrong.
    async fn set_back(&self, by: Duration);

    /// Locks a saved row as a slow transaction does, and changes nothing: a save of the row waits until the lock is rolled back.
    /// A store must let it wait for two seconds at least.
    ///
    /// The default is `None`, for a store without locks that outlive a call. Its tests leave the group `locks` out.
    async fn hold(&self, key: &RowKey) -> Option<Held> {
        let _ = key;
        None
    }

    /// Damages a part of a saved row behind the store's back. Whether it did.
    ///
    /// The default is `false`, for a store whose data nobody else can reach. Its tests leave the group `damage` out.
    async fn damage(&self, key: &RowKey, part: Part) -> bool {
        let _ = (key, part);
        false
    }
}

/// A row's lock that a [`Harness`] holds.
#[must_use = "a lock is rolled back"]
pub struct Held(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Held {
    /// A lock that `roll_back` ends, e.g. by the `ROLLBACK` of a transaction. It has ended when that returns.
    pub fn new(roll_back: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Box::pin(roll_back))
    }

    async fn roll_back(self) {
        self.0.await;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}

/// A part of a row that can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Both tokens: a changed byte in each ciphertext, or a key that is gone.
    Tokens,
    /// The document: something that is no JSON object, as far as the store's column takes it.
    Document,
}

/// One promise of the contract, and the test that holds a store to it.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// Of which verb, or about what.
    pub verb: &'static str,
    /// The promise, as the name of its test.
    pub name: &'static str,
    run: fn(Case) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Tests one clause on a fresh store of the harness. Needs a tokio runtime; the races want several threads.
///
/// # Panics
/// If the store breaks the clause, the harness lacks the hook that it needs, or there is no such clause.
pub async fn run(verb: &str, name: &str, harness: impl Harness) {
    let mut clauses = CLAUSES.iter().chain(LOCKS).chain(DAMAGE);
    let clause = clauses.find(|clause| clause.verb == verb && clause.name == name);
    let Some(clause) = clause else { panic!("the contract has no clause {verb}::{name}") };
    (clause.run)(Case::new(Arc::new(harness)).await).await;
}

/// Hands the list of all clauses of a group to a macro: the one place that lists them. A clause that is written and not listed
/// here is dead code, which does not build.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_clauses {
    (contract [$($callback:tt)+] $arguments:tt) => {
        $($callback)+! { $arguments
            load {
                a_row_that_was_never_saved_is_empty,
                shows_every_save_that_returned_before,
                tells_the_time_of_the_reading,
                shows_the_pending_consents_the_oldest_first,
                shows_no_consent_that_was_used_or_has_expired,
                companies_and_environments_are_apart,
            }
            save {
                stores_the_document_whole,
                answers_what_load_shows,
                stores_the_revision_that_it_is_given,
                over_another_number_is_a_conflict_and_stores_nothing,
                of_a_row_that_was_never_saved_is_a_conflict_over_any_number,
                of_64_at_once_exactly_one_succeeds,
                of_64_first_saves_at_once_exactly_one_succeeds,
                of_64_of_the_client_row_at_once_exactly_one_succeeds,
                writers_who_read_again_lose_no_update,
                a_decision_6_seconds_old_is_a_conflict_and_stores_nothing,
                a_decision_dated_6_seconds_ahead_is_a_conflict_and_stores_nothing,
                a_decision_within_5_seconds_is_stored,
                without_a_time_of_decision_it_is_not_judged_by_age,
                the_number_goes_up_and_is_not_below_the_microseconds_since_1970,
                the_number_goes_up_also_when_the_clock_is_set_back,
                its_events_follow_each_other_with_time_company_and_revision,
                without_events_it_writes_none,
                every_kind_of_event_and_cause_is_kept,
                actor_and_evidence_of_an_event_are_kept_whole,
                one_that_was_cut_off_happened_or_did_not_wholly,
            }
            tokens {
                replaces_both,
                replacing_erases_the_one_that_is_missing,
                replacing_by_none_leaves_none,
                keeps_them,
                erases_both,
                a_token_of_16_kib_is_stored_whole,
            }
        }
    };
    (locks [$($callback:tt)+] $arguments:tt) => {
        $($callback)+! { $arguments
            locks {
                a_decision_that_became_6_seconds_old_behind_a_lock_is_a_conflict,
                a_save_without_a_time_of_decision_that_waited_as_long_is_stored,
            }
        }
    };
    (damage [$($callback:tt)+] $arguments:tt) => {
        $($callback)+! { $arguments
            damage {
                tokens_that_cannot_be_read_come_as_such,
                a_row_with_damaged_tokens_is_woken_among_the_others,
                a_row_with_damaged_tokens_is_listed_among_the_others,
                damaged_tokens_are_kept_replaced_and_erased_like_others,
                a_row_with_a_damaged_document_is_loaded_woken_and_listed_among_the_others,
                a_damaged_document_is_replaced_by_a_save,
            }
        }
    };
}

macro_rules! table {
    ({ $(#[$doc:meta])* $table:ident } $($verb:ident { $($clause:ident,)+ })+) => {
        $(#[$doc])*
        pub static $table: &[Clause] = &[$($(Clause {
            verb: stringify!($verb),
            name: stringify!($clause),
            run: |case| Box::pin($verb::$clause(case)),
        },)+)+];
    };
}

__store_clauses!(contract [table] {
    /// The clauses for every store, by verb.
    CLAUSES
});
__store_clauses!(locks [table] {
    /// The clauses for a store whose harness can [hold](Harness::hold) a row's lock.
    LOCKS
});
__store_clauses!(damage [table] {
    /// The clauses for a store whose harness can [damage](Harness::damage) a row.
    DAMAGE
});

/// Makes the storage contract the tests of the module that it stands in: one `#[tokio::test]` a clause.
///
/// Takes an expression that makes a [`Harness`](crate::test_util::store_contract::Harness), and the names of the groups that
/// need a hook of it, if it has that. The calling crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! store_contract_tests {
    ($harness:expr $(, $group:ident)* $(,)?) => {
        $crate::__store_clauses!(contract [$crate::__store_contract_tests] { $harness });
        $($crate::__store_clauses!($group [$crate::__store_contract_tests] { $harness });)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_contract_tests {
    ({ $harness:expr } $($verb:ident { $($clause:ident,)+ })+) => {$(
        mod $verb {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $clause() {
                    $crate::test_util::store_contract::run(stringify!($verb), stringify!($clause), $harness).await;
                }
            )+
        }
    )+};
}
