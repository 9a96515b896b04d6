//! The store's contract: one body of tests, which every engine runs with the least rights that the product gets.
//!
//! Written from the contract (`store/mod.rs`) and the protocol's invariants, not from the implementation. The harness
//! (`link.rs`) is the simplest relay and applier there can be. A module per subject:
//! leases, sealing, snapshots, backfill, rewinding, applying, refusals, digests, the gate, and our own tables.

mod support;

#[path = "contract/app.rs"]
mod app;
#[path = "contract/apply.rs"]
mod apply;
#[path = "contract/backfill.rs"]
mod backfill;
#[path = "contract/control.rs"]
mod control;
#[path = "contract/decide.rs"]
mod decide;
#[path = "contract/digest.rs"]
mod digest;
#[path = "contract/gate.rs"]
mod gate;
#[path = "contract/gated.rs"]
mod gated;
#[path = "contract/lease.rs"]
mod lease;
#[path = "contract/link.rs"]
mod link;
#[path = "contract/parked.rs"]
mod parked;
#[path = "contract/ranges.rs"]
mod ranges;
#[path = "contract/refuse.rs"]
mod refuse;
#[path = "contract/rewind.rs"]
mod rewind;
#[path = "contract/rig.rs"]
mod rig;
#[path = "contract/scope.rs"]
mod scope;
#[path = "contract/seal.rs"]
mod seal;
#[path = "contract/snapshot.rs"]
mod snapshot;

macro_rules! contract {
    ($($module:ident: $($case:ident),* $(,)?;)*) => {
        $(mod $module {
            contract!(@on sqlite Sqlite $module: $($case),*);
            contract!(@on postgres Postgres $module: $($case),*);
            contract!(@on mariadb MariaDb $module: $($case),*);
        })*
    };
    (@on $name:ident $on:ident $module:ident: $($case:ident),*) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let body = crate::$module::$case(crate::rig::On::$on);
                    tokio::time::timeout(std::time::Duration::from_secs(120), body).await.expect("it hangs");
                }
            )*
        }
    };
}

mod on {
    contract! {
                lease:
                    taken_refused_and_taken_over,
                    who_says_that_he_lives_is_not_taken_over,
                    a_loser_can_neither_renew_nor_release_nor_raise,
                    a_loser_changes_nothing_at_the_source,
                    a_loser_changes_nothing_at_the_target,
                    a_released_lease_writes_no_more,
                    many_takers_get_one_lease;
                seal:
                    what_is_visible_is_taken_and_no_more,
                    a_late_committer_with_a_lower_mark_is_neither_lost_nor_early,
                    nothing_dirty_is_nothing_sealed,
                    a_backlog_becomes_bounded_entries_and_the_last_is_drained,
                    big_rows_are_bounded_by_bytes,
                    a_key_change_marks_both,
                    what_comes_and_goes_in_one_transaction_is_gone,
                    a_rolled_back_change_is_nothing,
                    a_hot_key_is_sealed_once,
                    the_chain_is_unbroken,
                    of_two_sealers_with_one_lease_one_fails,
                    a_chunk_that_was_overtaken_is_not_recorded,
                    work_waits_for_drained,
                    capture_that_was_touched_stops_sealing,
                    an_overflow_stops_sealing_until_a_new_generation;
            backfill:
                negative_integer_keys,
                composite_keys,
                composite_keys_of_which_the_index_order_is_not_the_columns,
                keys_of_a_descending_index,
                text_keys_by_their_bytes,
                text_keys_of_another_collation,
                text_keys_that_are_folded,
                bytes_keys,
                uuid_keys,
                date_keys,
                timestamp_keys,
                decimal_keys,
                an_empty_table_is_done_at_once,
                chunks_are_bounded_by_bytes,
                beyond_the_frontier_nothing_is_sent,
                inserts_at_the_end_do_not_keep_it_going,
                a_filter_is_where_rows_begin_and_end,
                expressions_and_constants,
                a_new_generation_replaces_the_old_rows,
                stale_unique_values_give_way_in_a_new_generation;
            parked:
                a_refused_row_waits_and_the_rest_flows,
                what_is_deleted_waits_no_more,
                the_culprit_is_parked_and_not_who_swaps_beside_it,
                who_waited_is_tried_again_beside_the_culprit,
                more_than_may_wait_stop_the_link_and_nothing_is_done,
                many_wait_and_a_new_generation_brings_all;
            ranges:
                numbers_outside_are_refused_and_the_appliers_pass,
                on_return_nobody_writes_who_was_not_asked;
            decide:
                the_giver_closes_and_the_taker_opens_once,
                a_write_behind_the_fence_is_in_the_way,
                a_fence_that_ran_out_decides_nothing,
                another_attempts_fence_decides_nothing,
                a_relay_that_lost_its_lease_decides_nothing,
                no_fence_no_fence_entry;
            apply:
                an_entry_has_its_effect_once_whatever_arrives,
                a_broken_chain_has_no_effect,
                an_old_epoch_has_no_effect,
                a_checkpoint_that_moved_is_seen,
                checkpoint_and_effect_are_one,
                a_chunk_makes_its_range_equal_and_no_more,
                a_bulk_load_that_meets_a_row_makes_it_equal,
                a_column_that_is_not_mapped_keeps_its_value,
                a_row_of_another_constant_is_never_touched,
                several_entries_in_one_call_are_one;
            refuse:
                unique_values_change_places_in_one_entry,
                a_swap_keeps_what_is_not_ours,
                values_that_must_not_be_null_change_places,
        unique_values_change_places_within_a_constant,
                a_swap_under_a_partial_index_is_whole,
                a_collision_with_a_row_outside_the_entry_is_refused,
                the_culprit_is_named,
                in_an_undrained_entry_it_comes_back,
                children_and_parents_in_one_entry,
                a_child_whose_parent_comes_later_waits,
                deferred_keys_hold_at_the_end_of_each_entry,
                a_swap_does_not_cascade,
                a_folded_key_is_spelled_anew,
                two_keys_that_are_one_at_the_target_are_refused,
                a_chunk_is_refused_whole;
        rewind:
            an_undone_entry_is_dirty_again,
            undone_chunks_are_pending_again,
            a_rewind_by_who_does_not_hold_the_head_is_nothing,
            any_suffix_undone_comes_again;
        snapshot:
            money_is_neither_made_nor_lost,
            covered_ranges_are_exact_during_the_backfill;
        digest:
            one_unit_in_one_column_of_any_kind_is_found,
            missing_extra_and_swapped_rows_are_named,
            rows_that_changed_places_are_found,
            a_range_is_compared_within_its_ends,
            a_page_ends_where_it_says,
            a_look_up_answers_for_the_very_key,
            pages_of_another_order_name_their_keys;
        gate:
            a_fence_refuses_every_write_and_opens_by_itself,
            it_is_taken_away_at_once_and_twice_is_harmless,
            a_transaction_in_flight_is_waited_for_and_named,
            nothing_is_accepted_behind_a_fence,
            a_snapshot_from_before_does_not_get_by,
            a_second_fence_waits_for_who_passed_the_first,
            the_decision_waits_for_who_passed,
            a_guard_refuses_the_application_and_not_the_applier,
            both_links_speak_of_one_gate,
            removing_takes_the_gate_away;
        scope:
            a_fence_covers_the_scopes_that_it_names,
            a_decided_scope_is_the_others_and_no_other_is,
            scopes_are_told_apart_by_their_bytes,
            a_snapshot_from_before_does_not_write_a_scope_that_was_given,
            a_write_of_another_scope_is_not_in_the_way,
            a_write_of_the_scope_behind_the_fence_is,
            everything_is_given_and_one_scope_comes_back,
            the_receiver_touches_only_what_the_sender_owns,
            a_sender_that_claims_what_the_receiver_owns_is_stopped;
        control:
            what_is_confirmed_is_kept_for_a_while,
            a_new_generation_forgets_what_was_confirmed,
            a_new_generation_forgets_old_verdicts,
            verdicts_are_kept_until_they_are_heard,
            settings_journal_and_requests,
            many_write_at_one_moment,
            removing_leaves_the_catalogue_as_it_was,
            installing_twice_is_the_same_as_once,
            two_migrations_side_by_side,
            rights_are_complete,
            without_control_tables_all_is_refused;
    }
}
