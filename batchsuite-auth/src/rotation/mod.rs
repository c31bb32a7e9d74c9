//! The rotation: one refresh at a time for each company, and no opt-in is lost.
//!
//! [`machine`](crate::machine) decides; this module reads, sends, saves and waits as it says.
//!
//! # The protocol
//! Each clause names the functions that implement it and the tests that prove it. `tests/check-protocol`, a step of
//! `tests/run`, fails if one of these functions or tests does not exist.
//!
//! ## Each write is one compare-and-swap
//! Read the row, let the machine compute the step, and save it if the row's number is still the one that was read. A
//! step that depends on the time (a claim, a release, a warning) is saved only within five seconds of the decision, by
//! the store's clock. On a conflict, read the row and ask the machine again; if the decision was too old, that is
//! logged. So no decision is saved over a row that has changed, and no store contains a rule.
//!
//! Done by: `Rotation::read`, `Rotation::take`, `ReadRow::now`, `Grant::on`, `Conflicts::read_again`.
//!
//! Proved by: `every_pair_of_state_and_event_does_what_the_table_says`, `of_64_at_once_exactly_one_succeeds`,
//! `a_decision_6_seconds_old_is_a_conflict_and_stores_nothing`,
//! `a_decision_that_became_6_seconds_old_behind_a_lock_is_a_conflict`, `writers_who_read_again_lose_no_update`,
//! `a_warning_that_comes_too_late_to_be_saved_is_logged_and_repeated_at_once`.
//!
//! ## One flight for all callers
//! A flight runs in a task of its own, and callers wait for its outcome: a dropped caller changes nothing, and a
//! thousand callers cause one refresh. The flight follows `Flight::next`: serve, refresh, wait, pause or fail.
//!
//! Done by: `Engine::join_flight`, `Engine::fetch`, `Flight::next`.
//!
//! Proved by: `a_thousand_callers_on_one_expired_company_cause_exactly_one_refresh_and_get_the_same_token`,
//! `a_thousand_random_drops_of_callers_lose_no_pair`, `two_processes_with_200_callers_each_refresh_once_a_rotation`,
//! `every_row_that_it_can_read_has_one_answer`.
//!
//! ## 1. Build the request first
//! Nothing can fail between the claim and the send: the request is built before the claim.
//!
//! Done by: `Engine::attempt`, `Ups::refresh`.
//!
//! Proved by: `the_claim_is_stored_before_ups_sees_the_request`.
//!
//! ## 2. Claim
//! Before the request is sent, the store holds the claim: the phase *claimed*, a fresh attempt id, the end of the
//! lease. A claim is refused while another lease or a pause runs. A claim over an attempt with no recorded outcome
//! makes that attempt doubtful. The flight first waits for two `commit_retry` intervals, so that a holder delayed by an
//! outage of the store can still save its pair.
//!
//! If it is unknown whether the claim was saved, nothing is sent. If the claim is in the row, it is released. If it is
//! not, the row is saved unchanged, which raises its number: a claim that is still on its way can then only conflict.
//!
//! Done by: `Engine::claim`, `Grant::claim`, `Engine::fence`, `Flight::before_a_refresh`.
//!
//! Proved by: `the_claim_is_stored_before_ups_sees_the_request`, `a_claim_that_fails_sends_nothing`,
//! `a_claim_whose_answer_is_lost_sends_nothing_and_is_released`, `a_lost_claim_sends_nothing_and_waits_for_the_winners_pair`,
//! `a_claim_over_an_attempt_that_was_never_recorded_puts_it_in_doubt`,
//! `a_holder_that_merely_waits_for_the_database_gets_one_more_commit_retry_interval`,
//! `the_holder_of_an_unrecorded_attempt_gets_its_time_once`.
//!
//! ## 3. Not too late
//! If more than a few seconds have passed since the row was read, nothing is sent and the claim is released: the
//! process may have been stopped past its lease. The HTTP client checks again once it has a connection. Times are
//! measured by a clock that counts while the machine is suspended. The reverse holds as well: an answer that has
//! arrived beats every deadline, even an answer still in the socket when a stopped process resumes.
//!
//! Done by: `Engine::attempt`, `TimeLimits::may_be_sent`, `Stopwatch::elapsed`, `fence::within`.
//!
//! Proved by: `a_claim_that_is_too_old_is_released_and_not_sent`,
//! `the_time_is_looked_at_once_more_when_the_connection_is_there`,
//! `a_row_that_was_read_too_long_ago_is_read_again_before_anything_is_sent`, `who_comes_too_late_again_and_again_pauses`,
//! `stopped_between_claim_and_send_it_sends_nothing_when_it_goes_on`,
//! `a_pair_that_arrives_while_the_process_stands_still_is_stored`,
//! `answers_that_arrive_while_it_is_stopped_are_read_before_any_deadline_is_judged`,
//! `the_clock_of_the_machine_counts_what_the_monotonic_one_counts`.
//!
//! ## 4. Commit
//! The new pair is saved with the next version if the row's opt-in is still the claim's and its version is not later.
//! Lease, attempt and standing are not compared: a slow holder with a valid pair must win, even over a grant that was
//! given up meanwhile. After a removal or a new opt-in the pair is discarded.
//!
//! If another attempt may have sent the same token as well, a late copy of its request can still end UPS's whole token
//! family. The grant is *suspect* until ten minutes after the last such send and until the first rotation sent later.
//! While it is suspect, a refusal counts as a lost rotation.
//!
//! Done by: `Engine::commit`, `Grant::commit`, `Grant::suspect_after`.
//!
//! Proved by: `a_commit_wins_though_its_lease_is_over_and_another_process_claimed`,
//! `a_late_pair_over_rotation_lost_recovers_the_opt_in`, `a_late_pair_wins_over_a_row_that_was_given_up_and_erased`,
//! `a_row_that_a_fail_over_set_back_takes_the_pair_in_hand`, `remove_then_a_late_commit_stores_nothing`,
//! `re_authentication_during_a_flight_wins_and_the_flights_pair_is_discarded`,
//! `the_mark_after_a_commit_tells_until_when_an_echo_can_come`, `an_opt_in_that_recovered_tells_a_later_password_change_as_one`.
//!
//! ## 5. Publish after the save
//! Callers and the cache get the token once it is stored. Until then the pair is kept and the save is repeated, however
//! long the store is down; a row that already holds this pair is a success. Shutdown waits for the save.
//!
//! Done by: `Engine::persist`, `Tasks::pair_in_hand`, `ReadGuard::insert`.
//!
//! Proved by: `a_pair_is_published_only_after_its_commit`,
//! `the_database_is_away_when_the_new_pair_must_be_stored_it_is_held_and_retried_then_stored`,
//! `a_commit_that_was_written_without_an_answer_is_found_stored`,
//! `a_pair_is_never_given_up_and_retried_slowly_where_an_operator_must_look`, `shutdown_waits_for_the_answer_and_its_commit`,
//! `a_shutdown_waits_until_the_pair_is_stored`.
//!
//! ## 6. Save first, judge after
//! Every successful JSON answer with a refresh token is committed, whatever its content type, its coding or its other
//! fields, and even if it breaks off after the tokens. An access token that cannot be used counts as expired.
//!
//! Done by: `judge_success`, `Pair::parse`, `Engine::report_oddities`.
//!
//! Proved by: `save_first_judge_after_a_pair_whose_access_token_is_unusable_is_stored_and_refreshed_once_more`,
//! `access_token_missing_or_empty_commits_the_refresh_token_first`, `a_whole_object_followed_by_anything_is_a_pair_and_told`,
//! `a_body_that_breaks_off_after_its_object_was_whole_is_a_pair`,
//! `an_answer_that_broke_off_is_a_pair_or_none_and_never_a_verdict`.
//!
//! ## 7. An attempt ends only itself
//! A verdict or a release is saved only if the row still belongs to the same attempt. A holder that lost the row writes
//! nothing and reads again. Neither clears a doubt about another attempt. While the store is down, they are repeated.
//!
//! Done by: `Engine::act_on`, `Engine::verdict`, `Engine::release`, `Grant::held_by`, `Engine::persist_until_shutdown`.
//!
//! Proved by: `a_verdict_that_comes_after_its_row_was_taken_over_writes_nothing`,
//! `a_verdict_that_cannot_be_written_is_kept_and_retried`, `a_release_that_cannot_be_written_is_kept_and_retried`,
//! `a_late_refusal_writes_nothing_while_the_pair_of_another_travels`.
//!
//! ## 7a. Not sent, or too often
//! The same token is sent again later, with back-off. A 429 pauses the whole client for as long as UPS says, up to an
//! hour.
//!
//! After three requests in a row that did not reach UPS or got no answer, UPS is out of reach for the whole client: one
//! request at a time is sent as a trial, every few seconds, and other refreshes wait for it. One event tells the
//! beginning and one the end, for all processes. The first answer ends the pauses of the companies that UPS left without
//! one; their leases go on.
//!
//! Done by: `Grant::release`, `Breaker::rate_limited`, `Breaker::unreached`, `Engine::record_outage`, `Engine::resume`.
//!
//! Proved by: `what_is_not_sent_is_tried_again_with_back_off_and_clears_no_doubt`,
//! `while_ups_is_out_of_reach_one_trial_follows_the_other_every_few_seconds`,
//! `while_ups_is_out_of_reach_only_trials_are_sent_and_two_events_tell_it`, `four_processes_tell_one_outage_once`,
//! `when_ups_answers_again_the_pauses_of_its_silence_end`, `the_keeper_sends_trials_only_and_warns_of_an_end_all_the_same`,
//! `a_429_pauses_the_whole_client_and_obeys_retry_after`, `a_429_does_not_clear_unanswered`,
//! `a_release_pauses_counts_and_tells_what_its_reason_asks_for`.
//!
//! ## 7b. Refused
//! The row decides the cause. It is `OptInInvalidated` (a password change) only if every attempt since the last commit
//! got a clean answer and the grant is not suspect; otherwise it is `RotationLost`. If three companies are refused
//! within ten minutes with no success between, the whole client stops for a while.
//!
//! Done by: `Grant::refused`, `Grant::explains_refusal`, `Breaker::refused`, `Engine::report_wave`.
//!
//! Proved by: `a_clean_refusal_is_told_as_a_password_change`, `the_cause_of_a_refusal_comes_from_the_row`,
//! `after_a_lost_answer_a_refusal_is_a_lost_rotation_until_a_rotation_after_the_last_echo`,
//! `a_refusal_that_nobody_caused_is_still_told_as_a_password_change`,
//! `three_companies_refused_one_after_the_other_stop_the_whole_client`.
//!
//! ## After a refusal, a second opinion
//! A refused token stays sealed in quarantine, and the keeper asks UPS again after 15 minutes, 1 hour and 24 hours
//! (`Policy::second_opinions`). If UPS answers with a pair, the opt-in has *recovered*. Only a refusal uses up a second
//! opinion. If one stays unanswered and a later one is refused, the cause becomes `RotationLost`. The token is erased
//! after the last refusal, by a new opt-in or by a removal; the version stays, so a late pair still wins. Second
//! opinions do not count towards the three companies.
//!
//! Done by: `Grant::next_quarantine`, `Grant::asks_again`, `Grant::is_second_opinion`, `Grant::second_opinion_due`,
//! `Grant::erase`.
//!
//! Proved by: `a_wave_of_refusals_ends_with_every_opt_in_alive`,
//! `a_password_change_is_told_at_the_first_refusal_and_its_access_token_is_never_served_again`,
//! `a_refusal_by_mistake_is_taken_back_by_itself`, `a_quarantined_token_ends_with_a_new_consent_and_with_a_removal`,
//! `a_second_opinion_that_stayed_unanswered_changes_the_cause_and_is_told`,
//! `an_empty_list_asks_nothing_and_erases_the_token_at_once`.
//!
//! ## 7c. Unanswered
//! The row records that the attempt is doubtful. After its lease, the same token is sent again as a probe: one at a
//! time, with back-off, until UPS answers, even if nobody asks for the company's token. A pair means that the first
//! request never arrived; a refusal means `RotationLost`; no answer means another probe.
//!
//! Done by: `Grant::unanswered`, `Grant::also_in_doubt`, `Grant::chore`.
//!
//! Proved by: `an_unanswered_request_is_followed_by_no_other_before_its_lease_ends_and_then_by_one_probe`,
//! `probes_go_one_at_a_time_each_after_the_lease_of_the_one_before_with_back_off`,
//! `an_outage_of_an_hour_at_ups_ends_with_every_opt_in_alive`,
//! `rotated_and_then_dropped_is_told_as_rotation_lost_after_the_probe`.
//!
//! ## 7d. Misconfigured, blocked, unknown
//! All tokens are kept, and the company pauses. The breaker opens if two companies in a row get an answer that concerns
//! the client, or if the first answer since the start is one: then nothing is sent for any company, except one trial at
//! a time after a pause. An unknown error must come for three companies in a row, and never ends an opt-in.
//!
//! Done by: `Engine::permit`, `Engine::report_to_breaker`, `Breaker::failed`, `Breaker::permit`.
//!
//! Proved by: `a_thousand_companies_with_one_bad_secret_open_one_breaker_and_need_no_new_opt_in`,
//! `one_company_that_is_always_refused_as_a_client_pauses_alone`,
//! `an_unknown_refusal_is_that_companys_alone_until_three_companies_in_a_row_get_the_same`, `faults_of_ours_never_end_an_opt_in`,
//! `the_exchange_asks_the_same_breaker_and_counts_towards_it`, `half_open_lets_one_trial_through_and_its_success_closes_it`.
//!
//! ## 8. A token that works is served
//! An access token that has not ended is served while its refresh is due, under way or unanswered, and also after
//! `RotationLost`. After `OptInInvalidated` or a removal it is never served; the feed evicts it from the caches of
//! other processes.
//!
//! Done by: `Grant::access`, `Flight::after_reading`, `Cache::get`, `Cache::changed`, `feed::feed`.
//!
//! Proved by: `a_good_token_is_served_while_one_refresh_is_due_and_under_way`,
//! `a_good_token_is_served_while_its_refresh_is_unanswered`, `a_good_token_is_served_after_rotation_lost_until_it_ends`,
//! `a_good_token_is_never_served_after_opt_in_invalidated`, `a_good_token_is_never_served_after_remove_auth`,
//! `after_remove_auth_in_another_process_no_token_is_handed_out_once_the_feed_was_read`,
//! `a_row_that_was_read_before_a_removal_does_not_reach_the_cache_after_it`.
//!
//! ## 9. After a restored backup
//! Every pair older than the restore may be spent. `after_restore` marks those grants as doubtful, page by page, so
//! that a spent token is reported as a lost rotation and not as a password change. If it was interrupted, it continues
//! with the same time. Row numbers never repeat, because they are never below the store's microseconds since 1970.
//!
//! A process that reads a row below the rotation it has cached marks the grant itself. A pair stored over such a row is
//! suspect for ten minutes, because the row's own marks are lost. If the event log is shorter than before, cached
//! tokens are no longer served: the numbers of changes repeat.
//!
//! Done by: `Engine::after_restore`, `Rotation::mark`, `Grant::restore`, `RowNumber::next`, `Read::is_set_back`,
//! `Rotation::mark_set_back`, `Cache::outdate_changes`.
//!
//! Proved by: `after_restore_a_spent_token_is_told_as_rotation_lost_and_not_as_a_password_change`,
//! `after_restore_a_company_whose_token_is_good_works_on`, `a_restore_marks_older_pairs_once`,
//! `a_process_that_saw_a_later_rotation_tells_a_spent_token_as_a_lost_rotation`,
//! `a_row_below_what_this_process_has_seen_is_marked_once`, `a_row_that_a_fail_over_set_back_takes_the_pair_in_hand`,
//! `a_removal_after_lost_writes_ends_the_cached_tokens_of_other_processes`,
//! `a_refusal_after_a_restore_is_a_lost_rotation`, `a_row_number_goes_up_and_is_never_below_the_clock`.
//!
//! ## Another system's tokens
//! An import begins an opt-in with tokens that another system kept, and that it may have used. Until the first clean rotation the grant
//! is suspect. An import is refused if the epoch that it first read has changed, and over an opt-in that was issued
//! later, or to which UPS has issued a pair later, if that is authenticated or UPS is still to be asked about its refusal. The same tokens
//! stand for the same opt-in, so a repeated import finds itself stored.
//!
//! Done by: `Engine::import`, `Engine::store_import`, `Incoming::id`, `Grant::import`.
//!
//! Proved by: `a_token_that_the_other_system_spent_is_told_as_a_lost_rotation_and_not_as_a_password_change`,
//! `after_its_first_clean_rotation_a_password_change_is_told_as_one`, `what_happens_during_an_import_stays`,
//! `an_import_never_replaces_an_authenticated_opt_in_unless_ups_issued_it_later`,
//! `an_import_never_replaces_an_opt_in_that_has_rotated_here_since_its_tokens_were_issued`,
//! `an_older_import_over_an_opt_in_that_ups_has_refused_waits_for_the_second_opinions`,
//! `tokens_that_were_imported_before_a_later_opt_in_are_not_stored_again`,
//! `the_same_tokens_again_are_found_stored_whatever_became_of_them`,
//! `after_a_removal_the_same_tokens_are_a_new_import_and_nothing_from_before_counts`,
//! `an_import_whose_caller_goes_away_is_stored_also_when_the_store_was_away`.
//!
//! ## Killed at any point
//! The row shows what a dead process may have done, so another process continues from there. Only a pair in the dead
//! process's memory is lost.
//!
//! Done by: `Grant::claim`, `Grant::refused`.
//!
//! Proved by: `killed_before_the_claim_works_at_once`, `killed_after_the_claim_works_after_a_probe`,
//! `killed_after_a_send_that_came_to_nothing_works_after_a_probe`, `killed_after_a_send_that_rotated_says_rotation_lost`,
//! `killed_after_the_answer_and_before_the_commit_says_rotation_lost`,
//! `killed_after_the_commit_and_before_the_reply_works_at_once`, `killed_at_any_moment_every_rotation_is_stored_or_told_as_lost`;
//! for a second opinion, `an_ask_killed_before_its_claim_is_made_by_another_and_recovers`,
//! `an_ask_killed_after_its_claim_is_made_again_and_recovers`,
//! `an_ask_killed_after_a_send_that_came_to_nothing_is_made_again_and_recovers`,
//! `an_ask_killed_after_a_send_that_rotated_changes_the_cause`,
//! `an_ask_killed_after_its_pair_and_before_the_commit_changes_the_cause`,
//! `an_ask_killed_after_its_refusal_and_before_the_verdict_changes_the_cause`,
//! `an_ask_killed_after_its_commit_has_recovered`, `an_ask_killed_after_its_verdict_changes_nothing_before_the_next_one`.
//!
//! ## Time as a queue
//! Each save sets when the grant next needs attention, and the earlier time that applies once the company is used. Both
//! are at most a day ahead, so that a corrected clock or client id reaches every grant. The keeper takes the rows that
//! have woken, hides them from other keepers for two minutes, and asks the machine what each needs: a refresh, a probe,
//! a warning, or nothing but a save.
//!
//! Done by: `Step::wake`, `Grant::wake`, `Grant::chore`, `keeper::keeper`.
//!
//! Proved by: `no_grant_sleeps_longer_than_a_day_and_no_use_wakes_it_during_a_lease_or_a_pause`,
//! `what_has_woken_gets_the_chore_that_its_row_asks_for`, `two_keepers_share_the_companies_without_refreshing_one_twice`,
//! `an_idle_company_is_refreshed_before_its_refresh_token_ends_and_stays_idle`,
//! `expiry_warnings_come_14_7_3_and_1_days_before_the_end_each_once_and_expired_once`.
//!
//! ## Deadlines, quiesce and shutdown
//! Every store call ends by this library's own clock. After *quiesce*, nothing begins by itself. *Shutdown* waits until
//! work in progress is finished and saved.
//!
//! Done by: `Rotation::in_time`, `Engine::quiesce`, `Engine::shutdown`.
//!
//! Proved by: `nobody_waits_for_a_store_that_never_answers_longer_than_max_wait`,
//! `no_loop_stops_for_good_at_a_store_that_does_not_answer_once`, `after_quiesce_nothing_begins_by_itself`,
//! `shutdown_waits_for_a_removal_or_a_new_consent_that_is_never_answered_no_longer_than_a_caller`,
//! `shutdown_returns_at_its_limit_and_says_what_is_not_stored`.

mod attempt;
mod boarding;
mod conflict;
mod engine;
mod feed;
mod fetch;
mod flights;
#[cfg(feature = "test-util")]
pub(crate) mod gate;
mod health;
mod keeper;
mod limiter;
mod outage;
mod outage_at_ups;
mod permit;
mod persist;
mod rows;
mod silenced;
mod start;
mod tasks;
mod turn;
mod upkeep;
mod vitals;

pub(crate) use self::{
    engine::{Engine, Rotation},
    outage::{Outage, backoff_of_reader},
    persist::no_answer,
    rows::{ReadRow, Taken, sent_at, within},
    start::Parts,
    upkeep::client_state,
};
pub use self::{
    tasks::Shutdown,
    upkeep::{ClientState, Reencrypted},
};
