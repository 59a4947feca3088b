//! What the embedded index keeps of a message: the tokens of its texts, and numbers to filter and order by.
//! No text: a hit is read from the log.

use std::ops::Bound;

use tantivy::indexer::UserOperation;
use tantivy::query::{BooleanQuery, Query, RangeQuery, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{IndexWriter, TantivyDocument, Term};

use super::tokens;
use crate::entry::Seq;
use crate::ids::ConversationId;
use crate::search::{Document, IndexChange};

/// Names of the numbers that stand in columns.
pub const ID: &str = "id";
pub const ROOM: &str = "room";
pub const ROOM_HIGH: &str = "room_high";
pub const SEQ: &str = "seq";

#[derive(Debug, Clone, Copy)]
pub struct Fields {
    pub text: Field,
    pub id: Field,
    /// The low half of the conversation's id: uniformly distributed, so enough to filter by.
    pub room: Field,
    pub room_high: Field,
    pub seq: Field,
    pub from: Field,
}

/// The halves of a conversation's id.
pub fn halves(conversation: ConversationId) -> (u64, u64) {
    ((conversation.0 >> 64) as u64, conversation.0 as u64)
}

pub fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(tokens::NAME)
        // Where a token stands is not kept: what a candidate says is read from the log, and half the work is saved.
        .set_index_option(IndexRecordOption::WithFreqs);
    let fields = Fields {
        text: schema.add_text_field(
            "text",
            TextOptions::default().set_indexing_options(indexing),
        ),
        // No term of its own: a message is taken out by its place, and a term each would cost as much as its text.
        id: schema.add_u64_field(ID, FAST),
        room: schema.add_u64_field(ROOM, INDEXED | FAST),
        room_high: schema.add_u64_field(ROOM_HIGH, FAST),
        seq: schema.add_u64_field(SEQ, FAST),
        from: schema.add_u64_field("from", INDEXED),
    };
    (schema.build(), fields)
}

/// New messages that are handed to the index's thread at once: it is woken once for all of them.
const ADDED_AT_ONCE: usize = 256;

impl Fields {
    pub fn apply(&self, writer: &IndexWriter, changes: Vec<IndexChange>) -> tantivy::Result<()> {
        let mut added = Vec::new();
        for change in changes {
            // Whatever was added before a removal may be what it removes.
            let removes = !matches!(change, IndexChange::Add(_));
            if removes || added.len() == ADDED_AT_ONCE {
                writer.run(std::mem::take(&mut added))?;
            }
            self.apply_one(writer, change, &mut added)?;
        }
        writer.run(added)?;
        Ok(())
    }

    /// Does a removal; what is to be added waits.
    fn apply_one(
        &self,
        writer: &IndexWriter,
        change: IndexChange,
        added: &mut Vec<UserOperation<TantivyDocument>>,
    ) -> tantivy::Result<()> {
        match change {
            IndexChange::Add(document) => added.push(UserOperation::Add(self.document(&document))),
            IndexChange::Replace(document) => {
                let same = Bound::Included(document.seq);
                writer.delete_query(self.stretch(document.conversation, same, same))?;
                added.push(UserOperation::Add(self.document(&document)));
            }
            IndexChange::Remove {
                conversation, seq, ..
            } => {
                let same = Bound::Included(seq);
                writer.delete_query(self.stretch(conversation, same, same))?;
            }
            IndexChange::RemoveBelow {
                conversation,
                below,
            } => {
                let below = Bound::Excluded(below);
                writer.delete_query(self.stretch(conversation, Bound::Unbounded, below))?;
            }
            IndexChange::RemoveConversation(conversation) => {
                writer.delete_term(self.room_term(conversation));
            }
        }
        Ok(())
    }

    pub fn room_term(&self, conversation: ConversationId) -> Term {
        Term::from_field_u64(self.room, halves(conversation).1)
    }

    /// Messages of a conversation from one seq to another.
    fn stretch(
        &self,
        conversation: ConversationId,
        from: Bound<Seq>,
        to: Bound<Seq>,
    ) -> Box<dyn Query> {
        let room = TermQuery::new(self.room_term(conversation), IndexRecordOption::Basic);
        let seq = |seq| Term::from_field_u64(self.seq, seq);
        let range = RangeQuery::new(from.map(seq), to.map(seq));
        let both: Vec<Box<dyn Query>> = vec![Box::new(room), Box::new(range)];
        Box::new(BooleanQuery::intersection(both))
    }

    fn document(&self, message: &Document) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        for text in &message.texts {
            document.add_text(self.text, text);
        }
        let (high, low) = halves(message.conversation);
        document.add_u64(self.id, message.id.0);
        document.add_u64(self.room, low);
        document.add_u64(self.room_high, high);
        document.add_u64(self.seq, message.seq);
        document.add_u64(self.from, message.from.0);
        document
    }
}
