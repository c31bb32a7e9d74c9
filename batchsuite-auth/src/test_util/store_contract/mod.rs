//! The contract of [`Store`](crate::store::Store) as a test suite: one test per clause, races included.
//!
//! A store's crate runs all of it with one line. Every clause is a separate test on its own store, so that the first
//! failure hides no other:
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
//! Two groups of clauses need more of a harness than time control. A harness that implements the hook names the group:
//! `store_contract_tests!(MyHarness, locks, damage)`. Clauses of an unnamed group are not tested.
//!
//! | group | hook | applies to |
//! |---|---|---|
//! | `locks` | [`Harness::hold`] | stores with row locks that another connection can hold |
//! | `damage` | [`Harness::damage`] | stores whose data can be damaged or whose keys can be lost |
//!
//! No clause depends on a particular store or compares times more closely than to a minute: a database's clock runs on
//! between two calls. A document is any JSON object here, compared as JSON.

mod append;
mod case;
mod changes;
mod client_row;
mod damage;
mod deliveries;
mod events;
mod find_consent;
mod harness;
mod list;
mod load;
mod locks;
mod prune;
mod put_consent;
mod record_use;
mod save;
mod secrets;
mod tokens;
mod use_consent;
mod wake;

use std::{pin::Pin, sync::Arc};

use case::Case;

pub use harness::{Harness, Held, Part};

/// One clause of the contract and its test.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// The verb or topic.
    pub verb: &'static str,
    /// The clause, as the name of its test.
    pub name: &'static str,
    run: fn(Case) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Tests one clause on a new store of the harness. Needs a tokio runtime; the races need several threads.
///
/// # Panics
/// If the store breaks the clause, the harness lacks the required hook, or the clause does not exist.
pub async fn run(verb: &str, name: &str, harness: impl Harness) {
    let mut clauses = CLAUSES.iter().chain(LOCKS).chain(DAMAGE);
    let clause = clauses.find(|clause| clause.verb == verb && clause.name == name);
    let Some(clause) = clause else { panic!("the contract has no clause {verb}::{name}") };
    (clause.run)(Case::new(Arc::new(harness)).await).await;
}

/// Passes a group's clauses to a macro: the only list of clauses. A clause that is written but not listed is dead code
/// and fails the build.
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
                stores_the_revision_that_it_is_given,
                over_another_number_is_a_conflict_and_stores_nothing,
                over_the_number_of_another_row_is_a_conflict_and_stores_nothing,
                changes_no_other_row,
                of_a_company_that_was_only_seen_stores_everything,
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
                of_more_events_than_three_is_rejected_and_stores_nothing,
                without_events_it_writes_none,
                every_sort_of_event_is_kept_whole,
                one_that_was_cut_off_happened_or_did_not_wholly,
            }
            tokens {
                replaces_both,
                replacing_erases_the_one_that_is_missing,
                replacing_by_none_leaves_none,
                keeps_them,
                erases_both_and_those_of_no_other_row,
                a_token_of_16_kib_is_stored_whole,
            }
            client_row {
                is_saved_and_loaded_like_a_company,
                its_events_concern_no_company,
                is_never_listed_nor_woken,
                is_apart_from_companies_and_from_that_of_the_other_environment,
            }
            put_consent {
                writes_its_event_with_the_revision_of_the_company,
                can_be_used_until_its_lifetime_ends,
                changes_no_row,
                the_row_of_a_company_that_was_never_saved_has_number_0_and_is_listed,
                the_oldest_of_a_company_is_dropped_at_its_cap,
                the_oldest_of_an_actor_is_dropped_at_its_cap,
                a_cap_that_was_lowered_drops_every_older_one,
                the_caps_spare_other_companies_and_actors,
                used_and_expired_ones_do_not_count_for_the_caps,
                the_caps_hold_when_50_are_put_at_once,
                one_that_is_put_again_replaces_itself,
                a_cap_beyond_any_number_drops_none,
            }
            find_consent {
                gives_what_was_put_under_each_state,
                a_state_that_was_never_put_in_this_environment_is_unknown,
                a_used_one_is_found_for_an_hour_without_its_verifier,
                the_hour_of_a_used_one_begins_with_its_use,
                an_expired_one_is_found_for_an_hour_without_its_verifier,
                an_old_one_stays_found_for_its_hour_when_others_are_put,
                tells_whether_its_use_wrote_an_event,
            }
            use_consent {
                of_50_at_once_exactly_one_uses_it_and_writes_its_event,
                tells_the_time_and_writes_the_event_with_it,
                a_used_an_expired_and_a_dropped_one_are_refused_without_an_event,
                one_that_is_unknown_or_of_the_other_environment_is_refused_without_an_event,
                changes_no_row_and_no_other_consent,
                one_that_was_cut_off_wrote_its_event_or_left_the_consent_to_the_next,
            }
            wake {
                a_row_wakes_when_its_time_has_passed,
                a_woken_row_comes_as_load_shows_it_and_is_not_changed,
                a_row_that_wakes_more_than_two_days_ahead_is_woken,
                the_longest_overdue_come_first_at_most_as_many_as_asked,
                a_limit_beyond_any_number_wakes_all,
                a_woken_row_is_hidden_for_two_minutes,
                what_hides_a_row_for_longer_does_not_count,
                of_20_callers_at_once_no_two_get_the_same_row,
                of_20_callers_at_once_for_one_row_exactly_one_gets_it,
                a_hidden_row_is_saved_and_is_shown_again_if_that_sets_wake_times,
                a_save_that_keeps_wake_times_leaves_it_hidden,
                a_save_replaces_the_wake_time,
                the_other_environment_is_apart,
            }
            record_use {
                brings_the_wake_time_forward_also_from_never,
                never_puts_the_wake_time_off,
                remembers_when,
                changes_nothing_else,
                leaves_a_hidden_row_hidden,
                between_the_read_and_the_save_it_still_counts,
                a_use_that_the_step_was_computed_from_changes_no_wake_time,
                a_use_soon_after_another_brings_the_wake_time_forward_too,
                at_the_moment_of_a_save_it_counts,
                a_save_that_keeps_wake_times_keeps_those_of_a_use,
                of_many_companies_each_counts_and_no_row_is_made,
            }
            list {
                goes_by_id_whatever_the_size_of_a_page,
                begins_after_the_cursor,
                only_companies_that_were_seen_are_listed,
                shows_what_load_shows_without_opening_tokens,
                finds_what_was_last_saved_as_listed_so,
                a_list_of_some_goes_by_id_whatever_the_size_of_a_page,
                a_company_of_whom_only_a_consent_was_put_is_listed_as_unauthenticated,
                a_row_whose_wake_time_has_passed_is_listed_as_anything,
                one_call_reads_at_most_1000_rows,
                environments_are_apart,
            }
            events {
                the_oldest_or_the_newest_come_first_whatever_the_size_of_a_page,
                of_one_company_alone,
                of_one_environment_alone,
                the_cursor_is_exclusive_in_both_orders,
                an_empty_page_gives_the_cursor_of_the_query_back,
                the_cursor_finds_what_is_written_later,
                a_limit_beyond_any_number_reads_all,
                a_cursor_beyond_any_number_is_beyond_the_end,
                reading_forward_misses_no_event_of_concurrent_writers,
            }
            append {
                gets_time_and_number_and_the_revision_of_its_company,
                one_that_concerns_all_has_no_company,
                every_sort_is_kept_whole,
                changes_no_row_and_makes_none,
            }
            prune {
                deletes_what_is_older_and_nothing_else,
                the_oldest_go_first_at_most_as_many_as_asked,
                a_limit_beyond_any_number_deletes_all_that_is_older,
                nothing_is_older_than_the_longest_time,
                an_event_dated_ahead_goes_with_an_older_one_after_it,
                an_event_dated_ahead_stays_before_a_younger_one,
                events_dated_ahead_go_however_few_are_asked,
                an_event_dated_long_ago_stays_behind_a_younger_one,
                remembers_up_to_where,
                reading_on_below_a_pruned_event_is_refused_and_names_it,
                reading_on_from_the_last_pruned_event_misses_nothing,
                without_a_cursor_or_backward_reading_is_not_refused,
                does_not_pass_the_slowest_delivery_unless_told,
                a_delivery_that_has_passed_nothing_holds_everything_after_its_begin,
                changes_no_row_and_silences_no_change,
                a_number_never_comes_back,
                environments_are_apart,
            }
            changes {
                without_a_cursor_it_gives_the_present_one_at_once,
                every_announced_save_is_told_by_the_next_call,
                a_first_save_that_does_not_announce_leaves_change_and_feed_alone,
                a_save_that_does_not_announce_leaves_change_and_feed_alone,
                other_events_are_told_as_no_change,
                a_company_that_changed_twice_is_told_with_the_later_change,
                reading_on_tells_only_what_is_later_than_the_cursor,
                beyond_the_end_of_the_log_everything_is_told_with_a_lower_cursor,
                the_other_environment_is_apart,
                a_quiet_feed_answers_after_the_wait,
                waits_and_returns_early_when_something_changes,
                an_event_that_tells_no_change_ends_the_wait_too,
                a_change_at_the_moment_of_the_call_is_not_slept_through,
                a_follower_misses_none_of_64_concurrent_saves_of_16_rows,
            }
            deliveries {
                a_new_consumer_begins_at_the_end_of_the_log,
                another_process_does_not_get_what_is_held,
                of_20_processes_at_once_exactly_one_gets_it,
                a_lease_ends_by_the_clock_of_the_store,
                a_lease_that_a_wrong_clock_dated_has_ended,
                a_lease_is_a_day_at_most,
                a_holder_that_takes_it_again_renews_its_lease,
                moving_the_cursor_renews_the_lease,
                moving_the_cursor_can_end_the_lease,
                only_the_holder_moves_the_cursor,
                a_cursor_never_moves_back,
                who_no_longer_holds_it_moves_nothing,
                a_process_that_holds_several_moves_one_alone,
                consumers_and_environments_are_apart,
            }
            secrets {
                neither_the_store_nor_what_it_hands_out_shows_one,
            }
        }
    };
    (locks [$($callback:tt)+] $arguments:tt) => {
        $($callback)+! { $arguments
            locks {
                a_decision_that_became_6_seconds_old_behind_a_lock_is_a_conflict,
                a_save_without_a_time_of_decision_is_stored_however_long_it_waited,
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
                an_event_that_cannot_be_read_is_named_among_the_others,
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
    /// The clauses for stores whose harness can [hold](Harness::hold) a row's lock.
    LOCKS
});
__store_clauses!(damage [table] {
    /// The clauses for stores whose harness can [damage](Harness::damage) a row.
    DAMAGE
});

/// Generates the storage contract's tests in the current module: one `#[tokio::test]` per clause.
///
/// Takes an expression that creates a [harness](crate::test_util::store_contract::Harness), and the names of the groups
/// whose hooks the harness implements. The calling crate needs tokio with `macros` and `rt-multi-thread`.
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
