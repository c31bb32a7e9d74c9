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
//! No clause knows which store it is about, nor compares times closer than a minute: a database's clock runs on between
//! two calls.

mod begin_consent;
mod case;
mod changes;
mod claim_refresh;
mod commit_refresh;
mod connect;
mod due;
mod events;
mod give_back;
mod list;
mod load;
mod mark_unanswered;
mod record;
mod remove;
mod secrets;
mod settle_refresh;
mod take_consent;
mod warn_expiring;

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::store::Store;
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
}

/// One promise of the contract, and the test that holds a store to it.
#[derive(Clone, Copy, Debug)]
pub struct Clause {
    /// Of which verb.
    pub verb: &'static str,
    /// The promise, as the name of its test.
    pub name: &'static str,
    run: fn(Case) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Tests one clause on a fresh store of the harness. Needs a tokio runtime; the races want several threads.
///
/// # Panics
/// If the store breaks the clause, or there is no such clause.
pub async fn run(verb: &str, name: &str, harness: impl Harness) {
    let clause = CLAUSES.iter().find(|clause| clause.verb == verb && clause.name == name);
    let Some(clause) = clause else { panic!("the contract has no clause {verb}::{name}") };
    (clause.run)(Case::new(Arc::new(harness)).await).await;
}

/// Hands the list of all clauses to a macro: the one place that lists them. A clause that is written and not listed here
/// is dead code, which does not build.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_clauses {
    ([$($callback:tt)+] $arguments:tt) => {
        $($callback)+! { $arguments
            begin_consent {
                writes_started_with_company_and_actor,
                can_be_taken_until_its_lifetime_ends,
                cannot_be_taken_after_its_lifetime,
                remembers_the_present_count_of_removals,
                the_oldest_of_a_company_goes_at_its_cap,
                the_oldest_of_an_actor_goes_at_its_cap,
                the_caps_spare_other_companies_and_actors,
                expired_and_taken_ones_do_not_count_for_the_caps,
                the_caps_hold_when_50_begin_at_once,
                does_not_change_the_grant,
                shows_until_when_a_consent_is_pending,
            }
            take_consent {
                gives_what_was_stored,
                tells_when_it_was_taken,
                of_50_at_once_exactly_one_gets_it,
                of_50_at_once_for_an_exchange_49_learn_that_it_is_used,
                a_stranger_at_the_same_moment_ends_nothing,
                a_taken_state_is_shown_as_used_to_its_person_and_browser,
                a_taken_state_is_unknown_to_anybody_else,
                a_taken_state_is_unknown_after_an_hour,
                a_state_that_was_taken_with_an_event_is_unknown,
                a_used_one_writes_no_event,
                a_state_that_was_never_stored_is_unknown,
                another_environment_knows_nothing_of_it,
                another_browser_is_refused_and_consumes_nothing,
                another_actor_is_refused_and_consumes_nothing,
                an_expired_one_is_refused_and_consumed,
                an_expired_one_is_told_as_expired_also_after_others_began,
                two_of_one_browser_are_taken_each_by_its_own_state,
                the_event_is_written_with_the_taking,
                no_event_is_written_without_the_taking,
                a_taking_without_an_event_writes_none,
                does_not_change_the_grant,
            }
            connect {
                stores_the_first_pair,
                writes_authenticated_with_the_actor_and_the_new_revision,
                lifetimes_count_from_the_send_of_the_request,
                a_pair_without_an_issue_time_counts_from_the_send_of_its_request,
                a_lifetime_beyond_any_date_is_clamped,
                a_pair_without_a_refresh_token_keeps_none_of_a_former_opt_in,
                keeps_the_failures_of_an_unusable_pair,
                a_consent_that_began_before_a_removal_is_refused,
                a_consent_that_began_after_a_removal_connects,
                the_grant_issued_later_stays_when_it_came_first,
                the_grant_issued_later_stays_when_it_comes_second,
                a_grant_dated_in_the_future_is_no_rival,
                an_opt_in_that_ended_is_no_rival,
                the_first_try_of_a_consent_used_after_the_stored_pair_arrived_wins,
                a_consent_used_before_the_stored_pair_arrived_wins_by_its_issue_time_alone,
                a_retry_that_is_not_later_than_what_was_ever_stored_is_lost,
                of_20_grants_at_once_each_has_an_epoch_of_its_own_and_the_latest_stays,
                a_repetition_finds_its_own_consent_stored,
                a_repetition_after_a_rotation_does_not_bring_the_spent_pair_back,
                of_50_repetitions_at_once_exactly_one_stores,
                resets_phase_lease_and_marks,
                resets_the_recorded_cause,
                resets_the_warnings,
                resets_a_reservation,
                a_flight_of_the_former_opt_in_can_write_nothing,
                a_removal_at_the_same_moment_leaves_nothing_connected,
                environments_are_apart,
            }
            load {
                a_company_that_was_never_seen_is_empty,
                shows_every_write_that_returned_before,
                tells_the_time_of_the_reading,
            }
            claim_refresh {
                sets_the_attempt_and_a_lease_by_the_clock_of_the_store,
                keeps_the_tokens_and_writes_no_event,
                of_50_at_once_exactly_one_may_send,
                of_50_at_once_over_an_ended_lease_exactly_one_may_send,
                is_lost_while_a_lease_runs,
                a_repetition_of_the_holder_is_lost,
                respects_a_lease_longer_than_its_own,
                is_lost_while_an_unanswered_request_may_travel,
                is_lost_while_the_company_pauses,
                a_pause_longer_than_any_was_set_by_a_wrong_clock,
                over_an_attempt_that_was_never_settled_marks_the_row_unanswered,
                inherits_unanswered_from_the_attempts_before,
                after_a_give_back_succeeds_at_once_and_is_not_unanswered,
                of_another_revision_is_lost,
                without_an_opt_in_is_lost,
                of_an_opt_in_that_ended_is_lost,
                a_reservation_hinders_no_claim,
                a_removal_at_the_same_moment_leaves_no_lease,
            }
            give_back {
                ends_the_attempt_and_keeps_the_tokens,
                the_next_try_is_due_after_the_given_time,
                with_an_event_counts_a_failure_and_writes_it,
                without_an_event_nothing_failed_and_none_is_written,
                of_an_attempt_that_lost_the_row_writes_nothing,
                a_repetition_writes_nothing,
                of_50_at_once_exactly_one_writes,
                of_an_attempt_that_was_settled_writes_nothing,
                after_a_commit_writes_nothing,
                does_not_clear_unanswered,
            }
            commit_refresh {
                stores_the_new_pair_as_the_next_version,
                writes_refreshed_with_the_attempt_and_the_new_revision,
                lifetimes_count_from_the_send_of_the_request,
                compares_no_lease,
                compares_no_attempt,
                needs_no_attempt_to_be_under_way,
                over_a_lost_rotation_recovers_the_opt_in,
                over_an_invalidated_opt_in_recovers_it,
                of_another_version_is_moved,
                of_another_epoch_with_the_same_version_is_moved,
                after_a_removal_is_moved,
                of_a_company_that_was_never_seen_is_moved,
                without_a_refresh_token_keeps_the_stored_one,
                that_erases_the_refresh_token_leaves_none,
                with_the_same_refresh_token_is_a_new_version,
                without_a_usable_access_token_stores_the_refresh_token,
                a_token_of_16_kib_is_stored_whole,
                sets_failures_and_the_next_try_as_given,
                clears_the_warnings_of_the_former_refresh_token,
                clears_a_reservation,
                a_repetition_finds_its_own_pair_stored,
                a_repetition_without_a_refresh_token_finds_its_own_pair_stored,
                of_50_repetitions_at_once_exactly_one_stores,
                of_50_different_pairs_at_once_exactly_one_is_stored,
                a_clean_rotation_leaves_no_mark,
                over_an_unanswered_row_marks_the_rest_of_the_epoch_suspect,
                over_a_row_that_was_taken_over_marks_it_suspect,
                that_keeps_the_refresh_token_marks_the_row_suspect,
                a_verdict_at_the_same_moment_does_not_lose_the_pair,
                a_removal_at_the_same_moment_leaves_no_tokens,
            }
            settle_refresh {
                refused_ends_an_opt_in_whose_token_was_certainly_unused,
                refused_keeps_the_evidence_and_the_time,
                refused_writes_invalidated_with_the_evidence,
                refused_after_a_clean_give_back_ends_the_opt_in,
                refused_after_an_unanswered_attempt_is_a_lost_rotation_and_keeps_the_tokens,
                refused_after_two_silences_is_a_lost_rotation,
                refused_over_an_attempt_that_was_never_settled_is_a_lost_rotation,
                unanswered_marks_the_row_and_keeps_the_lease_and_the_tokens,
                after_an_unanswered_attempt_the_next_try_is_due_after_its_lease_and_the_pause,
                unanswered_counts_a_failure_and_writes_its_event,
                the_verdict_of_an_attempt_that_lost_the_row_writes_nothing,
                the_verdict_of_an_older_version_writes_nothing,
                the_revision_is_compared_as_well_as_the_attempt,
                after_a_removal_writes_nothing,
                a_repetition_writes_nothing,
                of_50_at_once_exactly_one_writes,
                a_verdict_and_a_take_over_at_the_same_moment_never_both_hold,
            }
            remove {
                erases_the_tokens_and_raises_the_epoch,
                an_epoch_never_comes_back,
                resets_everything_of_the_rotation,
                resets_the_recorded_cause,
                resets_warnings_and_reservations,
                writes_removed_with_the_actor_and_keeps_the_history,
                drops_the_pending_consents_of_the_company_alone,
                where_nothing_was_connected_it_still_ends_consents_under_way,
                is_never_refused,
                ends_flights,
                leaves_other_companies_and_environments_alone,
                of_50_at_once_each_raises_the_epoch,
            }
            mark_unanswered {
                marks_every_authenticated_grant_and_counts_them,
                spares_what_is_not_authenticated_and_the_other_environment,
                afterwards_a_refusal_is_a_lost_rotation,
                changes_neither_tokens_nor_a_flight_under_way,
                writes_one_event_for_all,
                a_repetition_is_safe,
            }
            record {
                writes_the_event_with_the_revision_of_its_company,
                every_kind_of_event_is_kept,
                an_event_that_concerns_all_has_no_company,
                changes_no_grant,
                of_a_company_that_was_never_seen_lists_it_not,
            }
            due {
                a_used_company_is_due_in_the_early_window,
                a_due_company_comes_as_load_shows_it,
                the_marks_of_a_due_company_come_with_it,
                a_reservation_writes_no_event_and_changes_no_grant,
                of_a_rotation_at_the_same_moment_each_comes_whole,
                a_used_company_whose_access_token_ended_is_due,
                a_used_company_without_a_usable_access_token_is_due_at_once,
                a_used_company_whose_pair_was_dated_far_ahead_is_due,
                a_company_that_was_not_used_lately_is_not_due_for_its_access_token,
                an_unused_company_is_due_before_its_refresh_token_ends,
                a_refresh_token_is_not_renewed_before_three_quarters_of_its_life,
                a_refresh_token_of_unknown_end_is_due_after_the_given_time,
                what_cannot_be_refreshed_is_not_due,
                a_grant_of_another_client_is_not_due,
                the_other_environment_is_apart,
                a_company_under_lease_is_not_due,
                a_company_that_pauses_is_not_due,
                nobody_else_gets_a_company_while_it_is_reserved,
                of_20_keepers_at_once_no_two_get_the_same_company,
                the_longest_due_come_first_at_most_as_many_as_asked,
                the_use_of_a_company_that_was_never_seen_changes_nothing,
                the_use_of_a_company_does_not_change_its_grant,
            }
            warn_expiring {
                nothing_is_raised_before_the_widest_window,
                each_window_and_the_end_are_raised_once,
                of_several_windows_that_passed_only_the_smallest_is_raised,
                after_the_end_only_the_end_is_raised,
                the_end_is_raised_without_any_window,
                a_wider_window_that_is_set_later_is_not_raised_after_a_smaller_one,
                a_new_refresh_token_begins_anew,
                a_refresh_token_that_stays_does_not_begin_anew,
                a_refresh_token_that_is_missing_or_has_no_known_end_raises_nothing,
                what_is_not_authenticated_raises_nothing,
                a_grant_of_another_client_or_environment_raises_nothing,
                at_most_as_many_as_asked_and_the_rest_next_time,
                of_20_at_once_each_warning_is_raised_once,
                does_not_change_the_grant,
            }
            list {
                goes_by_id_from_page_to_page,
                there_is_a_next_page_if_and_only_if_there_is_more,
                the_next_page_counts_only_what_the_filter_accepts,
                an_empty_store_lists_nothing,
                only_companies_that_were_seen_are_listed,
                a_removed_company_stays_listed,
                shows_what_the_grant_shows,
                tells_what_expires_soon,
                a_filter_goes_by_what_is_recorded,
                a_filter_goes_by_what_is_derived,
                environments_are_apart,
            }
            events {
                the_oldest_first_from_page_to_page,
                the_newest_first_from_page_to_page,
                of_one_company_alone,
                of_one_environment_alone,
                the_cursor_finds_what_is_written_later,
                reading_forward_misses_no_event_of_concurrent_writers,
            }
            changes {
                without_a_cursor_it_tells_the_present_one_at_once,
                every_change_of_what_may_be_handed_out_is_told,
                the_number_of_a_change_goes_up,
                a_company_that_changed_twice_is_told_with_the_later_change,
                reading_on_tells_no_change_again_that_is_older_than_the_cursor,
                a_company_may_be_told_from_the_very_first_cursor,
                the_other_environment_is_apart,
                returns_empty_after_the_wait,
                returns_early_when_something_changes,
                a_change_at_the_moment_of_the_call_is_not_slept_through,
                an_event_that_changes_no_grant_ends_no_wait_with_a_change,
                a_follower_misses_no_change_of_concurrent_writers,
            }
            secrets {
                the_store_itself_shows_none,
                what_the_writing_verbs_hand_out_shows_none,
                what_the_reading_verbs_hand_out_shows_none,
            }
        }
    };
}

macro_rules! table {
    ({} $($verb:ident { $($clause:ident,)+ })+) => {
        /// All clauses, by verb.
        pub static CLAUSES: &[Clause] = &[$($(Clause {
            verb: stringify!($verb),
            name: stringify!($clause),
            run: |case| Box::pin($verb::$clause(case)),
        },)+)+];
    };
}

__store_clauses!([table] {});

/// Makes the storage contract the tests of the module that it stands in: one `#[tokio::test]` a clause.
///
/// Takes an expression that makes a [`Harness`](crate::test_util::store_contract::Harness). The calling crate needs tokio
/// with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! store_contract_tests {
    ($harness:expr) => {
        $crate::__store_clauses!([$crate::__store_contract_tests] { $harness });
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
