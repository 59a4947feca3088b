//! The suites that every engine behind a store's seam has to pass, and the engines they are run against. A suite sees the
//! seam and nothing below it; what an engine needs to be started stands here.

mod accounts;
mod audit;
pub mod bus;
mod devices;
mod log;
mod moderation;
mod people;
mod records;
mod registry;

use std::sync::Arc;

use kith::clock::{Clock, ManualClock};
use kith::store::embedded_log::EmbeddedLog;
use kith::store::mongo::MongoSettings;
use kith::store::mongo_log::MongoLog;
use tempfile::TempDir;

use super::mongo::server::{self, MongoServer};
use log::{Engine, Opened};

/// When the tests' clocks begin: a time like today's, so that ids look like ids.
const BEGINNING_MS: u64 = 1_790_000_000_000;

/// The embedded log in a folder of its own.
struct Embedded {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl Embedded {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            clock: Arc::new(ManualClock::at(BEGINNING_MS)),
        }
    }
}

impl Engine for Embedded {
    async fn open(&self) -> Opened {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (log, settlements) =
            EmbeddedLog::open(self.folder.path(), clock).expect("the log opens");
        Opened {
            values: log.clone(),
            kv: log.clone(),
            log,
            settlements,
        }
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// The log in a database of its own on a server that all tests share.
struct InMongo {
    _server: Arc<MongoServer>,
    settings: MongoSettings,
    clock: Arc<ManualClock>,
}

impl InMongo {
    async fn new() -> Self {
        let server = server::shared().await;
        Self {
            settings: server.database(),
            _server: server,
            clock: Arc::new(ManualClock::at(BEGINNING_MS)),
        }
    }
}

impl Engine for InMongo {
    async fn open(&self) -> Opened {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let opened = MongoLog::open(&self.settings, clock).await;
        let (log, settlements) = opened.expect("the log opens");
        Opened {
            values: log.clone(),
            kv: log.clone(),
            log,
            settlements,
        }
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// One test a promise and an engine, so that a failure names both.
macro_rules! promises {
    ($suite:ident, $engine:ident, $open:expr, [$($promise:ident),* $(,)?]) => {
        mod $engine {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::$suite::$promise($open).await;
                }
            )*
        }
    };
}

// Behind the macro that they use.
mod nodes;
mod tables;

promises!(
    log,
    embedded_log,
    super::Embedded::new(),
    [
        a_log_is_dense_and_survives_being_opened_again,
        a_resend_settles_with_the_first_answer,
        another_content_under_a_used_client_id_is_a_conflict,
        two_of_one_client_id_in_one_flush_make_one_entry,
        an_older_generation_than_the_heads_is_stale,
        receipts_only_move_forward_and_end_at_the_head,
        unread_counts_others_messages_above_read,
        a_recall_erases_message_and_edits_and_answers_again_the_same,
        an_edit_changes_the_message_where_it_stands,
        a_held_message_is_released_once,
        a_refused_hold_answers_its_client_id_with_the_reason,
        a_dropped_message_is_remembered_and_leaves_no_entry,
        an_answered_command_is_remembered_with_what_was_written_and_leaves_no_entry,
        preferences_stay_and_a_new_message_shows_a_hidden_conversation,
        plugin_writes_commit_with_their_entry,
        a_moment_of_plugin_values_stays_as_it_was,
        what_effects_and_the_plugin_itself_write_are_the_same_values,
        changes_since_a_token_are_told_once_each,
        a_token_of_elsewhere_asks_to_start_again,
        pages_are_cut_where_they_are_asked_to_be,
        lists_page_without_gaps_and_doubles,
        a_narrowed_entry_is_neither_unread_nor_last_for_those_it_leaves_out,
        a_closed_log_takes_nothing,
    ]
);

promises!(
    log,
    mongo_log,
    super::InMongo::new().await,
    [
        a_log_is_dense_and_survives_being_opened_again,
        a_resend_settles_with_the_first_answer,
        another_content_under_a_used_client_id_is_a_conflict,
        two_of_one_client_id_in_one_flush_make_one_entry,
        an_older_generation_than_the_heads_is_stale,
        receipts_only_move_forward_and_end_at_the_head,
        unread_counts_others_messages_above_read,
        a_recall_erases_message_and_edits_and_answers_again_the_same,
        an_edit_changes_the_message_where_it_stands,
        a_held_message_is_released_once,
        a_refused_hold_answers_its_client_id_with_the_reason,
        a_dropped_message_is_remembered_and_leaves_no_entry,
        an_answered_command_is_remembered_with_what_was_written_and_leaves_no_entry,
        preferences_stay_and_a_new_message_shows_a_hidden_conversation,
        plugin_writes_commit_with_their_entry,
        a_moment_of_plugin_values_stays_as_it_was,
        what_effects_and_the_plugin_itself_write_are_the_same_values,
        changes_since_a_token_are_told_once_each,
        a_token_of_elsewhere_asks_to_start_again,
        pages_are_cut_where_they_are_asked_to_be,
        lists_page_without_gaps_and_doubles,
        a_narrowed_entry_is_neither_unread_nor_last_for_those_it_leaves_out,
        a_closed_log_takes_nothing,
    ]
);
