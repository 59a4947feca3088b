//! Moving the log in MongoDB: as of a stamp up to which every node has said what it had to say, and rows from elsewhere as
//! documents. Whoever takes rows in has the database to itself.

mod members;
mod put;
mod read;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mongodb::bson::doc;

use self::read::Reading;
use super::apply::About;
use super::docs::{damaged, get_int, get_text, int};
use super::schema::{CONVERSATIONS, ENTRIES, FEED, KV, MEMBERS, META, ROWS};
use super::{MongoLog, Shared};
use crate::ids::EntryId;
use crate::store::StoreError;
use crate::store::mongo::Update;
use crate::store::portable::{LogReader, Moving, Part, PortableLog, Record};

/// How far another node's clock may be ahead of this one's.
const AHEAD: Duration = Duration::from_secs(1);
/// How long other nodes may take to say that they have nothing under way.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// Where an import notes how far it is.
const MOVING: &str = "moving";

impl Shared {
    /// The end of a millisecond up to which everything is committed and projected, or never will be.
    async fn still(&self) -> Result<u64, StoreError> {
        let mut cut = self.clock.now_ms();
        if self.node.has_others() {
            cut += AHEAD.as_millis() as u64;
        }
        let stamp = EntryId::last_at(cut).0;
        // From here on this node commits behind it.
        self.ids.raise(stamp);
        let began = Instant::now();
        while self.settled() < stamp {
            if began.elapsed() > PATIENCE {
                return Err(StoreError::Unavailable(
                    "other nodes have not said what they have under way".to_owned(),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
        self.catch_up(About::All).await?;
        self.teller.flush().await;
        self.look_for_news().await?;
        Ok(stamp)
    }

    async fn held_already(&self) -> Result<Option<String>, StoreError> {
        for (table, what) in [
            (ENTRIES, "entries"),
            (CONVERSATIONS, "conversations"),
            (MEMBERS, "members"),
            (ROWS, "rows"),
            (KV, "plugins' values"),
            (FEED, "commits"),
        ] {
            if self.mongo.find_one(table, doc! {}).await?.is_some() {
                return Ok(Some(what.to_owned()));
            }
        }
        Ok(None)
    }

    async fn noted(&self) -> Result<Option<Moving>, StoreError> {
        let found = self.mongo.find_one(META, doc! {"_id": MOVING}).await?;
        let read = |noted| {
            let file = u128::from_str_radix(get_text(noted, "file")?, 16).ok()?;
            let frames = get_int(noted, "frames")?;
            Some(Moving { file, frames })
        };
        match &found {
            Some(noted) => read(noted)
                .map(Some)
                .ok_or_else(|| damaged("an import's note")),
            None => Ok(None),
        }
    }

    async fn note(&self, moving: Moving) -> Result<(), StoreError> {
        let set = doc! {"file": format!("{:032x}", moving.file), "frames": int(moving.frames)};
        let note = Update::upsert(doc! {"_id": MOVING}, doc! {"$set": set});
        let written = self.mongo.update(META, vec![note.into_document()]);
        written.await.map(drop)
    }
}

#[async_trait]
impl PortableLog for MongoLog {
    async fn read_still(&self) -> Result<Box<dyn LogReader>, StoreError> {
        let handle = self.handle.clone();
        let reading = self.on(move |shared| async move { Reading::begin(shared, handle).await });
        Ok(Box::new(reading.await?))
    }

    async fn holds_already(&self) -> Result<Option<String>, StoreError> {
        self.on(move |shared| async move { shared.held_already().await })
            .await
    }

    async fn moving(&self) -> Result<Option<Moving>, StoreError> {
        self.on(move |shared| async move { shared.noted().await })
            .await
    }

    async fn note_moving(&self, moving: &Moving) -> Result<(), StoreError> {
        let moving = moving.clone();
        self.on(move |shared| async move { shared.note(moving).await })
            .await
    }

    async fn take(&self, part: Part, records: Vec<Record>, stamp: u64) -> Result<(), StoreError> {
        self.on(move |shared| async move { put::take(&shared, part, records, stamp).await })
            .await
    }

    async fn moved(&self, stamp: u64) -> Result<(), StoreError> {
        self.on(move |shared: Arc<Shared>| async move {
            // What this node promises when it leaves is where others begin.
            shared.ids.raise(stamp);
            shared.look_for_news().await?;
            shared.mongo.delete(META, doc! {"_id": MOVING}).await?;
            Ok(())
        })
        .await
    }
}
