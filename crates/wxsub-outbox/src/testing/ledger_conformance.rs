//! What every [`Ledger`](crate::Ledger) must keep to. Run it against yours.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a broken rule fails its test"
)]

mod apps;
mod batches;
mod clocks;
mod decisions;
mod fixture;
mod grants;
mod inboxes;
mod keys;
mod reading;
mod retention;
mod together;
mod transitions;
mod webhooks;
mod workers;

use std::sync::Arc;

use wxsub_core::testing::ManualClock;

use self::fixture::Fixture;
use crate::ledger::Ledger;

/// Every case in turn, each on a new ledger from `make` that takes its time from the clock.
///
/// # Panics
/// If the ledger breaks a rule.
///
/// # Cancel safety
/// Dropping it stops the test.
pub async fn run(make: impl AsyncFn(Arc<ManualClock>) -> Arc<dyn Ledger>) {
    macro_rules! cases {
        ($($module:ident: $($case:ident),+;)+) => {
            // Boxed: together their futures would overflow the stack of a test's thread.
            $($(Box::pin(async { $module::$case(&Fixture::new(&make).await).await }).await;)+)+
        };
    }
    Box::pin(transitions::every_event_in_every_state(&make)).await;
    cases! {
        transitions: failures_count_up_to_the_limit, the_pause_after_a_failure_grows,
            an_expired_message_is_not_tried_again, a_settlement_of_an_earlier_attempt_is_refused,
            a_final_message_keeps_no_body, a_failed_change_is_undone_alone;
        grants: a_consent_is_recorded_once, an_unused_grant_absorbs_a_consent, the_newest_grant_decides,
            a_released_grant_is_void_beside_a_newer_one, a_requeued_grant_is_reserved_beside_a_newer_one,
            a_grant_has_one_message, an_open_grant_can_be_voided;
        workers: claims_go_by_priority_and_time, a_message_is_claimed_once, a_gone_worker_claims_nothing,
            attempts_of_a_gone_worker_become_maybe_sent, a_living_worker_keeps_its_attempts,
            a_heartbeat_names_the_running_attempts, a_heartbeat_notices_that_the_clock_was_set_back, the_holder_of_the_lock_reclaims_all_others,
            a_lease_from_the_future_is_over;
        decisions: an_answer_counts_until_the_decision, a_decision_waits_for_a_stopped_worker,
            a_decision_needs_the_version_that_was_seen, a_message_sent_again_takes_the_grant_in_doubt,
            a_message_sent_again_takes_a_newer_open_grant, a_message_with_a_foreign_id_is_sent_again, a_policy_decides_all, a_restore_leaves_nothing_unfinished,
            a_restored_message_has_no_owner, a_restore_of_many_messages_leaves_none_out, what_an_operator_does_is_in_the_audit;
        keys: the_same_key_is_the_same_message, another_content_under_a_key_is_refused,
            a_message_that_was_not_sent_is_replaced, a_refused_message_stores_no_key, the_same_id_is_the_same_message;
        batches: a_changed_line_replaces_what_was_refused_or_not_sent, a_line_without_a_grant_is_recorded,
            an_invalid_line_is_recorded_once, keys_of_a_batch_are_kept_until_it_is_deleted,
            a_batch_of_many_lines_is_deleted;
        inboxes: the_id_of_a_row_is_known_for_a_year, another_content_under_the_id_of_a_row_is_refused,
            a_row_that_its_grant_does_not_allow_is_not_sent, a_row_that_breaks_a_rule_is_recorded_once;
        apps: an_operator_pauses_and_resumes, the_limit_per_minute_pauses_for_a_minute,
            the_limit_per_day_pauses_until_midnight_in_beijing,
            a_probe_without_an_end_does_not_hold_up_the_one_at_midnight, a_probe_lifts_the_daily_pause, want_of_a_token_pauses_and_counts_no_failure, apps_that_can_claim_are_named, the_first_due_message_is_found,
            apps_that_have_something_to_decide_are_named, apps_do_not_disturb_each_other,
            a_synchronous_send_waits_for_nothing;
        retention: messages_are_kept_by_their_state, rows_are_deleted_in_small_batches,
            a_key_waits_for_its_message_and_the_children, a_message_is_kept_as_long_as_its_key,
            a_nonce_is_known_as_long_as_its_grant, a_grant_newer_than_one_in_doubt_is_kept, a_gone_worker_is_deleted;
        webhooks: each_outcome_and_each_decision_has_one_delivery, a_delivery_says_what_its_endpoint_may_know,
            an_endpoint_hears_of_its_apps_and_events_only, a_delivery_is_recorded_with_its_event_or_not_at_all,
            a_claimed_delivery_is_claimed_again_after_its_lease, a_delivery_that_fails_ten_times_is_a_dead_letter,
            redelivery_hastens_what_waits_and_not_what_is_under_way,
            an_endpoint_that_is_gone_gets_nothing_until_it_is_enabled, a_410_of_the_old_url_does_not_disable_the_new_one,
            deliveries_are_deleted_when_they_are_old, a_delivery_does_not_wait_for_a_clock_that_was_ahead;
        clocks: a_message_waits_only_for_a_time_that_was_asked_for,
            a_decision_waits_anew_after_the_clock_was_set_back;
        together: changes_in_one_commit_are_as_one_after_the_other;
        reading: counts_equal_a_recount, pages_hold_every_message_once,
            grants_are_listed_by_app_and_state, a_page_of_grants_goes_on_after_a_deleted_one, the_history_has_every_version;
    }
}
