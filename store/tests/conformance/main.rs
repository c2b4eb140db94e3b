//! One suite for both stores: what [`trialmill_store::Store`] promises, and each interleaving
//! that the protocol guards against. The model they are compared with is
//! `trialmill_common::protocol::board`.
//!
//! PostgreSQL is the server of `DATABASE_URL` (see `scripts/test`).

mod announced;
mod assessed;
mod clients;
mod concurrency;
mod control;
mod database;
mod derived;
mod given;
mod history;
mod keys;
mod leases;
mod market;
mod pages;
mod planted;
mod relay;
mod retention;
mod rules;
mod runs;
mod submission;
mod unable;
mod upgrade;
mod walk;

macro_rules! conformance {
    ($($module:ident: $($test:ident),+;)+) => {
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::database::on_sqlite(crate::$module::$test).await;
            })+)+
        }
        mod postgresql {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::database::on_postgresql(crate::$module::$test).await;
            })+)+
        }
    };
}

conformance! {
    walk:
        every_random_walk_ends_where_the_model_ends;
    submission:
        a_submitted_task_reads_back_as_it_was_given,
        the_same_key_and_body_answer_with_the_task_they_made,
        a_key_that_is_a_day_old_is_free_again,
        one_key_sent_many_times_at_once_makes_one_task,
        a_task_is_not_claimed_before_its_time;
    leases:
        a_flush_after_the_unit_was_reaped_is_fenced,
        an_expired_lease_that_nobody_took_still_writes,
        a_flush_whose_commit_was_unknown_is_repeated_as_it_is,
        a_repeated_flush_renews_the_lease_like_the_first,
        two_workers_that_claim_one_unit_at_once_get_one_lease,
        a_claim_of_what_is_not_free_gets_nothing,
        an_expired_lease_can_be_taken_over_and_the_loss_is_counted,
        a_unit_handed_back_charges_nothing_and_an_isolated_one_does,
        closing_a_unit_opens_the_next_up_to_parallelism,
        a_sequential_search_that_splits_keeps_its_order,
        several_units_of_a_task_share_one_flush_and_one_event;
    control:
        a_cancel_waits_for_the_leased_units_and_tells_their_holders,
        a_unit_handed_back_under_a_cancel_is_closed,
        a_cancel_that_races_with_a_hand_back_ends_the_task,
        a_cancelled_task_whose_last_worker_is_lost_ends_by_the_reaper,
        what_has_ended_cannot_be_controlled,
        a_paused_task_starts_nothing_and_goes_on_when_it_is_resumed,
        a_task_whose_time_ran_out_keeps_what_it_has,
        a_task_without_any_good_trial_fails_with_the_first_reason,
        only_an_ended_task_is_deleted_and_nothing_of_it_stays,
        a_live_task_without_an_open_unit_is_repaired;
    announced:
        an_announced_trial_is_seen_until_it_ends,
        a_trial_that_is_claimed_again_reuses_its_parameters,
        a_crash_is_charged_only_to_a_trial_that_ran_alone,
        a_loss_that_a_claim_finds_is_charged_like_one_the_reaper_finds,
        a_worker_that_comes_back_takes_back_what_its_loss_charged,
        the_death_of_a_child_is_charged_by_the_holder,
        an_announced_trial_follows_the_rest_of_its_unit,
        what_a_stopped_unit_abandons_is_no_longer_announced;
    relay:
        due_units_come_by_priority_and_tasks_take_turns,
        a_key_with_many_tasks_does_not_push_another_key_back,
        few_units_are_in_flight_at_a_time,
        a_confirmed_unit_is_due_again_after_a_minute_and_then_later,
        each_unanswered_publish_doubles_the_wait_up_to_half_an_hour,
        an_emptied_queue_makes_its_units_due_at_once,
        a_task_behind_many_that_are_served_or_wait_is_taken_in_its_turn,
        a_key_goes_by_priority_and_low_tasks_do_not_hold_back_its_others,
        a_unit_handed_back_before_its_publish_was_confirmed_stays_due,
        one_handle_leads_until_it_lets_go,
        a_commit_of_due_units_wakes_who_waits_for_it,
        workers_are_live_while_they_are_heard_of;
    pages:
        pages_of_tasks_hold_each_task_once_newest_first,
        filters_of_tasks_count_what_they_show,
        what_no_column_can_hold_finds_nothing_and_breaks_nothing,
        an_ended_trial_reads_back_as_it_ended,
        trials_and_events_are_read_on_from_where_the_reader_stopped;
    market:
        a_series_reads_back_bit_for_bit,
        a_task_keeps_its_snapshot_when_a_symbol_gets_new_bars,
        a_record_reads_back_and_each_table_replaces_its_own_part,
        bars_and_records_are_stored_together_or_not_at_all,
        imports_of_one_symbol_at_a_time_lose_nothing_of_each_other,
        a_task_keeps_its_records_when_other_tables_are_imported;
    concurrency:
        many_workers_record_each_trial_once,
        cancels_pauses_and_reaping_amid_many_workers_leave_nothing_wrong,
        two_flushes_of_one_task_in_opposite_order_do_not_deadlock;
    history:
        history_holds_every_trial_once_and_goes_on_after_an_event,
        a_large_history_comes_in_pages_that_share_no_trial,
        what_runs_elsewhere_comes_with_the_history,
        history_read_amid_many_workers_misses_nothing,
        a_task_that_is_not_there_has_no_history;
    unable:
        a_unit_that_two_workers_cannot_run_fails_its_task_with_the_reason,
        one_worker_alone_needs_more_failures_to_fail_a_task,
        a_recorded_trial_starts_the_count_anew,
        a_unit_that_takes_its_workers_down_before_any_trial_fails_its_task,
        a_unit_that_wants_another_build_is_told_and_never_fails_its_task,
        a_unit_that_cannot_be_run_waits_longer_each_time,
        a_paused_task_is_not_given_up_before_it_is_resumed,
        a_worker_in_quarantine_has_no_live_slots_and_says_why,
        a_worker_says_what_it_reads;
    retention:
        what_is_kept_is_not_touched,
        events_of_ended_tasks_are_removed_but_for_the_last,
        old_keys_and_gone_workers_are_removed,
        old_events_of_the_audit_are_removed,
        old_tasks_are_removed_with_their_trials_in_batches,
        a_deleted_task_leaves_its_trials_to_the_tidying,
        a_copy_that_is_deleted_before_it_ran_leaves_nothing,
        several_that_tidy_at_once_do_no_harm;
    assessed:
        an_assessment_goes_on_where_its_last_holder_left_it,
        an_assessment_that_is_done_and_not_closed_keeps_what_it_found,
        an_assessment_is_paused_and_cancelled_like_a_search,
        a_queued_assessment_keeps_its_task_from_timing_out,
        windows_are_searched_side_by_side_each_with_its_own_history,
        earlier_work_on_the_same_symbols_and_days_is_counted;
    runs:
        a_result_is_recorded_with_its_trial_or_not_at_all,
        a_result_that_is_too_long_is_refused_with_its_flush,
        a_result_goes_with_its_task;
    keys:
        a_key_is_found_by_its_hash_until_it_is_revoked,
        a_name_is_free_again_once_its_key_is_revoked,
        an_expired_key_is_not_found_and_still_counts_as_kept,
        submissions_that_race_do_not_pass_the_bound_of_their_key,
        what_has_ended_makes_room_for_a_key,
        a_submission_that_is_refused_leaves_its_idempotency_key_free,
        the_audit_is_read_page_by_page_latest_first;
    derived:
        a_retry_keeps_what_did_not_fail_and_runs_every_other_number,
        an_extension_keeps_every_ended_trial_and_adds_the_rest,
        more_trials_than_a_batch_are_copied_in_several_events,
        more_gaps_than_are_read_at_a_time_are_all_run,
        what_copies_from_a_task_that_is_gone_or_alive_is_not_stored,
        a_task_that_has_nothing_left_to_run_has_ended_when_it_is_accepted,
        a_paused_or_cancelled_retry_keeps_its_books;
    clients:
        a_client_is_given_one_trial_at_a_time_and_no_two_the_same,
        a_trial_of_which_nothing_is_heard_goes_to_the_next_with_its_parameters,
        a_client_that_reports_holds_its_trial_and_what_it_reported_stays_with_it,
        a_cancel_ends_a_task_whose_clients_are_silent,
        what_clients_hold_is_published_to_nobody,
        an_enqueued_point_goes_to_the_first_trial_that_nobody_was_given,
        a_point_can_be_enqueued_for_what_a_pause_handed_back,
        what_is_enqueued_races_with_claims_and_none_is_lost,
        the_end_of_a_task_takes_what_was_enqueued_with_it;
    rules:
        what_a_worker_ran_on_with_after_the_target_is_not_recorded,
        a_sequential_task_records_nothing_beyond_its_target_however_it_is_flushed,
        patience_that_runs_out_withdraws_what_waits_and_stops_what_runs,
        a_cancel_outranks_a_rule_and_a_rule_ends_a_paused_task,
        several_objectives_end_their_task_as_one_does,
        holders_ask_what_to_do_between_two_renewals;
    planted:
        every_rule_finds_its_violation;
}
