//! The tables beside the message log: which engines keep them, and the promises each is held to, through the seams they
//! implement. What several nodes promise each other on one database is in `nodes.rs`.

use std::any::Any;
use std::sync::Arc;

use kith::store::accounts::Accounts;
use kith::store::media::MediaRecords;
use kith::store::moderation::Moderation;
use kith::store::people::People;
use kith::store::sqlite_accounts::SqliteAccounts;

use super::nodes::mongo;
use super::{accounts, audit, devices, moderation, people, records, registry};

/// What has to live as long as an open store.
pub type Kept = Box<dyn Any + Send>;
/// The store through one seam.
pub type Opened<T> = (Arc<T>, Kept);

async fn sqlite() -> Opened<SqliteAccounts> {
    let folder = tempfile::tempdir().expect("a folder");
    let tables = SqliteAccounts::open(&folder.path().join("accounts.sqlite"));
    (tables.expect("the accounts open"), Box::new(folder))
}

fn as_accounts<T: Accounts>((tables, kept): Opened<T>) -> Opened<dyn Accounts> {
    (tables, kept)
}

fn as_people<T: People>((tables, kept): Opened<T>) -> Opened<dyn People> {
    (tables, kept)
}

fn as_both<T: People + Accounts>((tables, kept): Opened<T>) -> people::Both {
    (tables.clone(), tables, kept)
}

fn as_moderation<T: Moderation>((tables, kept): Opened<T>) -> Opened<dyn Moderation> {
    (tables, kept)
}

fn as_media<T: MediaRecords>((tables, kept): Opened<T>) -> Opened<dyn MediaRecords> {
    (tables, kept)
}

fn as_media_and_accounts<T: MediaRecords + Accounts>((tables, kept): Opened<T>) -> records::Both {
    (tables.clone(), tables, kept)
}

/// The same promises of both engines.
macro_rules! both {
    ($suite:ident, $seam:ident, $sqlite:ident, $mongo:ident, $promises:tt) => {
        promises!(
            $suite,
            $sqlite,
            super::$seam(super::sqlite().await),
            $promises
        );
        promises!(
            $suite,
            $mongo,
            super::$seam(super::mongo().await),
            $promises
        );
    };
}

both!(
    accounts,
    as_accounts,
    sqlite_accounts,
    mongo_accounts,
    [
        a_user_name_is_given_once,
        a_changed_profile_is_read_back,
        names_are_found_by_their_beginning_and_any_part_of_the_display_name,
        a_refresh_token_works_once_and_its_reuse_ends_the_device,
        an_expired_refresh_token_is_unknown,
        a_new_password_ends_all_devices_but_one,
        disabling_ends_every_device,
        blocks_are_seen_from_both_sides,
        blocked_ones_page_by_their_ids,
        the_first_value_of_a_secret_stays,
        generation_numbers_are_never_given_twice,
        the_newest_generation_is_the_highest,
        administrators_tokens_are_known_by_their_hash,
    ]
);

both!(
    devices,
    as_accounts,
    sqlite_devices,
    mongo_devices,
    [
        a_device_is_one_of_its_id,
        of_too_many_devices_those_longest_unseen_are_ended,
        a_device_is_renamed_and_signed_out,
        a_turned_over_token_has_the_new_time_and_is_known_by_both,
        a_token_of_an_earlier_sign_in_ends_nothing,
        of_many_who_use_a_token_at_once_one_turns_it_over,
        the_latest_time_a_user_was_seen_stays,
    ]
);

both!(
    registry,
    as_accounts,
    sqlite_registry,
    mongo_registry,
    [
        a_component_is_kept_by_its_digest,
        a_pruned_component_is_gone_and_its_version_stays_known,
        a_configuration_can_be_taken_back_to_the_one_before,
        a_large_component_is_read_back_as_it_was,
        versions_are_listed_by_name_and_the_oldest_first,
        of_two_binaries_of_one_version_one_is_kept,
        a_quarantine_is_lifted,
        old_configurations_are_forgotten_and_their_numbers_are_not_given_again,
        configurations_put_at_once_are_all_numbered,
        a_document_is_replaced_whole,
    ]
);

both!(
    audit,
    as_accounts,
    sqlite_audit,
    mongo_audit,
    [
        lines_are_read_both_ways_and_by_their_actions,
        a_generation_and_its_lines_are_kept_together,
        lines_written_at_once_have_numbers_of_their_own,
    ]
);

both!(
    people,
    as_people,
    sqlite_people,
    mongo_people,
    [
        a_request_waits_for_both_until_it_is_answered,
        a_refusal_is_not_seen_by_its_asker,
        a_silent_request_is_its_askers_alone,
        two_who_ask_each_other_are_friends,
        an_ended_friendship_forgets_what_led_to_it,
        notices_are_owed_in_their_order_until_they_are_paid,
        friends_and_requests_page_without_gaps_and_doubles,
        nobody_has_more_than_the_bounds_allow,
        bounds_hold_for_many_who_ask_at_once,
        of_two_who_ask_at_once_each_is_answered,
    ]
);

both!(
    people,
    as_both,
    sqlite_profiles,
    mongo_profiles,
    [
        a_changed_profile_is_told_until_it_was,
        friends_are_seen_in_the_relation,
    ]
);

both!(
    moderation,
    as_moderation,
    sqlite_moderation,
    mongo_moderation,
    [
        a_ban_is_one_of_its_kind_and_subject,
        a_ban_that_is_over_makes_room_for_another,
        a_lifted_ban_is_gone,
        labels_are_a_users_own,
        notices_page_backwards,
        a_notice_is_told_once,
        a_conversation_is_handed_over_once_with_its_notice,
        a_wish_is_seconded_by_another_and_once,
        of_two_who_wish_at_once_one_seconds,
    ]
);

both!(
    records,
    as_people,
    sqlite_reports,
    mongo_reports,
    [reports_page_backwards]
);

both!(
    records,
    as_media,
    sqlite_media,
    mongo_media,
    [
        an_upload_is_completed_once,
        nobody_has_more_under_way_than_allowed,
        bounds_hold_for_many_tickets_at_once,
        what_is_due_is_looked_at_in_its_order,
    ]
);

both!(
    records,
    as_media_and_accounts,
    sqlite_avatars,
    mongo_avatars,
    [an_avatar_that_is_left_is_looked_at]
);
