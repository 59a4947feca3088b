//! What is known to be so, beside all nodes: the log as a majority confirmed it, what clients were answered, how receipts
//! stood. Everything that is checked is held against this.

use std::collections::BTreeMap;

use kith::entry::{Body, Seq};
use kith::ids::{ConversationId, EntryId, UserId};
use kith::store::log::engine::Table;
use kith::store::log::key;
use kith::store::log::rows::EntryRow;
use serde_json::Value;

use super::chance::{Sim, tell, wrong};
use super::store::{Doc, short};

/// One entry, as it was first confirmed.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: EntryId,
    pub from: UserId,
    /// Of a message.
    pub client_id: Option<String>,
}

#[derive(Debug, Default)]
pub struct Truth {
    pub logs: BTreeMap<ConversationId, Vec<Known>>,
    /// By author and client id: where it is.
    pub sent: BTreeMap<(ConversationId, UserId, String), Seq>,
    generations: BTreeMap<ConversationId, u64>,
    receipts: BTreeMap<(ConversationId, UserId), (Seq, Seq)>,
    /// The first answer to a client id.
    answers: BTreeMap<(UserId, String), Value>,
}

impl Truth {
    /// A commit is confirmed; gives the entries it makes.
    pub fn learn(&mut self, sim: &Sim, doc: &Doc) -> Vec<(Seq, EntryId)> {
        let mut made = Vec::new();
        for put in &doc.puts {
            match (put.table, &put.value) {
                (Table::Entries, Some(value)) => {
                    let Some(seq) = key::seq_of(&put.key) else {
                        continue;
                    };
                    let Ok(row) = EntryRow::decode(doc.lane, seq, value) else {
                        wrong!(sim, "an entry that cannot be read");
                        continue;
                    };
                    made.extend(self.learn_entry(sim, &row));
                }
                (Table::Rows, Some(value)) if put.key.first() == Some(&key::MEMBER) => {
                    self.learn_member(sim, doc.lane, &put.key, value);
                }
                _ => {}
            }
        }
        made
    }

    fn learn_entry(&mut self, sim: &Sim, row: &EntryRow) -> Option<(Seq, EntryId)> {
        let entry = &*row.entry;
        let (lane, seq) = (entry.conversation, entry.seq);
        let log = self.logs.entry(lane).or_default();
        let head = log.len() as Seq;
        if seq <= head {
            let known = &log[seq as usize - 1];
            if known.id != entry.id {
                wrong!(sim, "I3: {} of {} is given twice", seq, short(lane));
            }
            // What it was is changed by a recall.
            return None;
        }
        if seq != head + 1 {
            wrong!(sim, "I3: {} of {} comes after {head}", seq, short(lane));
        }
        let (client_id, text) = match &entry.body {
            Body::Message(message) => {
                let json = message.content.as_deref().map_or("null", |raw| raw.get());
                let content: Value = serde_json::from_str(json).unwrap_or_default();
                let text = content["text"].as_str().unwrap_or_default().to_owned();
                (Some(message.client_id.clone()), text)
            }
            _ => (None, String::new()),
        };
        if let Some(client_id) = &client_id {
            let place = (lane, entry.from, client_id.clone());
            if let Some(first) = self.sent.insert(place, seq) {
                wrong!(
                    sim,
                    "I2: {client_id} is in {} at {first} and {seq}",
                    short(lane)
                );
            }
            self.judged(sim, row, &text);
        }
        tell!(
            sim,
            "committed: {seq} of {} by {} {client_id:?}",
            short(lane),
            entry.from
        );
        let log = self.logs.entry(lane).or_default();
        log.push(Known {
            id: entry.id,
            from: entry.from,
            client_id,
        });
        Some((seq, entry.id))
    }

    /// I4: every hook signs with its generation what it lets through.
    fn judged(&mut self, sim: &Sim, row: &EntryRow, text: &str) {
        let (lane, generation) = (row.entry.conversation, row.record.generation);
        let signed = format!(" s{generation} f{generation}");
        if generation > 0 && !text.ends_with(&signed) {
            wrong!(sim, "I4: \"{text}\" is recorded as judged by {generation}");
        }
        let newest = self.generations.entry(lane).or_default();
        if generation > 0 && generation < *newest {
            wrong!(
                sim,
                "I4: generation {generation} after {newest} in {}",
                short(lane)
            );
        }
        *newest = generation.max(*newest);
    }

    /// I6
    fn learn_member(&mut self, sim: &Sim, lane: ConversationId, key: &[u8], value: &[u8]) {
        let Ok(member) = rmp_serde::from_slice::<kith::conversation::Member>(value) else {
            return wrong!(sim, "a member that cannot be read");
        };
        let user = key.get(17..25).and_then(|user| user.try_into().ok());
        let user = UserId(user.map_or(0, u64::from_be_bytes));
        let before = self.receipts.entry((lane, user)).or_default();
        if member.received < before.0 || member.read < before.1 || member.read > member.received {
            let now = (member.received, member.read);
            wrong!(
                sim,
                "I6: {user} in {}: {before:?} becomes {now:?}",
                short(lane)
            );
        }
        *before = (member.received, member.read);
    }

    /// I1 and I2: a client is answered. `Some` place where the answer says it is committed.
    pub fn answered(&mut self, sim: &Sim, user: UserId, client_id: &str, ok: &Value) {
        if ok["state"] == "committed" {
            let lane = ok["conversation"].as_str().and_then(|id| id.parse().ok());
            let seq = ok["seq"].as_u64().unwrap_or_default();
            let lane = lane.unwrap_or(ConversationId(0));
            let log = self.logs.get(&lane);
            let known = log.and_then(|log| log.get((seq as usize).checked_sub(1)?));
            let is_it = known.is_some_and(|known| {
                known.from == user
                    && known.client_id.as_deref() == Some(client_id)
                    && ok["id"] == known.id.to_string()
            });
            if !is_it {
                wrong!(
                    sim,
                    "I1: {client_id} of {user} is acked and is not at {seq} of {}",
                    short(lane)
                );
            }
        }
        let mut lasting = ok.clone();
        if let Some(object) = lasting.as_object_mut() {
            // A recall takes the content out of the answer too.
            object.retain(|field, _| field != "at" && field != "content");
        }
        let place = (user, client_id.to_owned());
        match self.answers.get(&place) {
            Some(first) if *first != lasting => {
                wrong!(
                    sim,
                    "I2: {client_id} of {user} was answered {first}, now {lasting}"
                );
            }
            Some(_) => {}
            None => {
                self.answers.insert(place, lasting);
            }
        }
    }
}
