//! The feed as it is moved: what it tells of entries that are moved, in its order, under numbers without gaps; and where its
//! consumers stand among these.

use mongodb::bson::{Bson, Document, doc};

use super::super::Shared;
use super::super::docs::{damaged, get_int, get_text, read_token};
use super::super::feed::{FEED_TOKENS, Placed, placed};
use super::super::schema::{ENTRIES, META};
use super::read::feed_after;
use crate::store::StoreError;
use crate::store::log::feed::{self, Told as What};
use crate::store::portable::{Place, Record, Stretch, feed_key};

const CURSORS: &str = "cursor:";

/// Where a consumer stands.
#[derive(Debug, Clone)]
struct Consumer {
    name: String,
    at: At,
}

#[derive(Debug, Clone)]
enum At {
    /// A place, and how many records of those moved are up to it; and the lowest stamp of those behind it.
    Place {
        place: u64,
        records: u64,
        unseen: Option<u64>,
    },
    Text(String),
}

/// The feed up to where it was read.
#[derive(Debug, Clone)]
pub struct Told {
    consumers: Vec<Consumer>,
    newest: u64,
    /// The last record's number, and its stamp.
    number: u64,
    stamp: u64,
}

impl Told {
    pub async fn begin(shared: &Shared) -> Result<Self, StoreError> {
        let filter = doc! {"_id": {"$gte": CURSORS, "$lt": "cursor;"}};
        let found = shared.mongo.find(META, filter, doc! {"_id": 1}, 0).await?;
        let consumer = |document: &Document| {
            let name = get_text(document, "_id")?.strip_prefix(CURSORS)?.to_owned();
            let text = get_text(document, "at")?;
            let own = shared.instance | FEED_TOKENS;
            let place = match read_token(text) {
                Some((instance, place)) if instance == own => Some(place),
                _ if text.is_empty() => Some(0),
                _ => None,
            };
            let at = match place {
                Some(place) => At::Place {
                    place,
                    records: 0,
                    unseen: None,
                },
                None => At::Text(text.to_owned()),
            };
            Some(Consumer { name, at })
        };
        let consumers: Option<Vec<Consumer>> = found.iter().map(consumer).collect();
        Ok(Self {
            consumers: consumers.ok_or_else(|| damaged("a consumer's place"))?,
            newest: shared.teller.newest(),
            number: 0,
            stamp: 0,
        })
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// A place is the last one that was read.
    pub async fn page(
        &mut self,
        shared: &Shared,
        stamp: u64,
        from: &[u8],
    ) -> Result<Stretch<Record>, StoreError> {
        let after = from.try_into().map(u64::from_be_bytes).unwrap_or_default();
        let documents = feed_after(shared, after).await?;
        let mut items = Vec::new();
        for document in &documents {
            let names = document.get_array("items").ok().into_iter().flatten();
            let of_document = placed(document)?.into_iter().zip(names.cloned());
            items.extend(of_document.filter(|(item, _)| item.place > after));
        }
        let last = items.last().map(|(item, _)| item.place);
        let places: Vec<Placed> = items.iter().map(|(item, _)| *item).collect();
        let entries = shared.entries_at(&places).await?;
        let mut records = Vec::new();
        for (item, named) in items {
            let told_at = match item.told {
                What::Entry => match entries.get(&(item.conversation, item.seq)) {
                    Some(document) => super::super::docs::entry_of(document)?.entry.id.0,
                    None => continue,
                },
                What::Erased | What::Gone => {
                    let known = stamp_of(shared, &named).await?;
                    known.unwrap_or(self.stamp + 1)
                }
            };
            if told_at <= stamp {
                records.push(self.record(&item, told_at));
            }
        }
        let next = last.filter(|last| *last < self.newest);
        let next = next.map(|last| last.to_be_bytes().to_vec());
        Ok(Stretch { records, next })
    }

    fn record(&mut self, item: &Placed, stamp: u64) -> Record {
        self.number += 1;
        self.stamp = self.stamp.max(stamp);
        for consumer in &mut self.consumers {
            if let At::Place {
                place,
                records,
                unseen,
            } = &mut consumer.at
            {
                if item.place <= *place {
                    *records = self.number;
                } else {
                    *unseen = Some(unseen.map_or(stamp, |known| known.min(stamp)));
                }
            }
        }
        let (key, value, length) = feed::row_of(stamp, item.told, item.conversation, item.seq);
        Record {
            key: feed_key(self.number, &key),
            value: value[..length].to_vec(),
        }
    }

    pub fn cursors(&self, stamp: u64) -> Vec<Record> {
        let record = |consumer: &Consumer| {
            let place = match &consumer.at {
                At::Place {
                    records, unseen, ..
                } => Place::Behind {
                    records: *records,
                    stamp: unseen.map_or(stamp, |unseen| unseen - 1),
                },
                At::Text(text) => Place::Text(text.clone()),
            };
            Record {
                key: consumer.name.as_bytes().to_vec(),
                value: place.encode(),
            }
        };
        self.consumers.iter().map(record).collect()
    }
}

/// The stamp of what tells of no entry: with what was moved in, else its commit's.
async fn stamp_of(shared: &Shared, named: &Bson) -> Result<Option<u64>, StoreError> {
    let Some(item) = named.as_document() else {
        return Ok(None);
    };
    if let Some(stamp) = get_int(item, "s") {
        return Ok(Some(stamp));
    }
    let commit = get_text(item, "i").and_then(|name| name.rsplit_once('.'));
    let Some((commit, _)) = commit else {
        return Ok(None);
    };
    let filter = doc! {"_id": commit, "c": get_text(item, "c")};
    let found = shared.mongo.find_one(ENTRIES, filter).await?;
    Ok(found.and_then(|found| get_int(&found, "s")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConversationId;

    #[test]
    fn a_place_among_what_is_moved_skips_nothing_whatever_clocks_said() {
        let place = |place| At::Place {
            place,
            records: 0,
            unseen: None,
        };
        let consumer = |name: &str, at| Consumer {
            name: name.to_owned(),
            at,
        };
        let mut told = Told {
            consumers: vec![
                consumer("all", place(9)),
                consumer("some", place(2)),
                consumer("time", At::Text("7".to_owned())),
            ],
            newest: 9,
            number: 0,
            stamp: 0,
        };
        // The third was told last and has the lowest stamp: its node's clock was behind.
        for (place, stamp) in [(1, 50), (2, 60), (5, 40)] {
            let item = Placed {
                place,
                told: What::Entry,
                conversation: ConversationId(1),
                seq: place,
            };
            told.record(&item, stamp);
        }
        let cursors = told.cursors(99).into_iter();
        let places: Vec<Place> = cursors
            .map(|record| Place::decode(&record.value).expect("reads"))
            .collect();
        let behind = |records, stamp| Place::Behind { records, stamp };
        let text = Place::Text("7".to_owned());
        assert_eq!(places, [behind(3, 99), behind(2, 39), text]);
    }
}
