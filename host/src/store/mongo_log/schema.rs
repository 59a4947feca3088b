//! The collections of the message log in MongoDB, their indexes, and by what a cluster spreads them. A new version is a new
//! number here and what leads to it in `migrate`.

use mongodb::bson::doc;

use crate::store::StoreError;
use crate::store::mongo::Mongo;
use crate::store::mongo::migrate::{Index, Migrated, Schema, Table, migrate};

pub const PART: &str = "message log";
const VERSION: u32 = 1;

/// One document a commit: the entry it makes, its first answer, and what is to be projected from it.
pub const ENTRIES: &str = "entries";
/// One document a conversation: what the newest commit leaves of it.
pub const CONVERSATIONS: &str = "conversations";
pub const MEMBERS: &str = "members";
/// Everything that is looked up by a key and follows from entries: mentions, reactions, held messages, uses of media.
pub const ROWS: &str = "rows";
/// Plugins' values.
pub const KV: &str = "kv";
/// What was committed, of all conversations, in places without gaps.
pub const FEED: &str = "feed";
/// Nodes that run, with the numbers their ids carry.
pub const NODES: &str = "nodes";
pub const META: &str = "meta";

/// Deleted rows are remembered so long, so that a write that comes late does not bring them back.
const GONE_FOR_S: i32 = 24 * 60 * 60;

/// What this program expects of the collections.
pub fn schema() -> Schema {
    let table = |name, indexes, shard_key| Table {
        name,
        indexes,
        shard_key,
    };
    let by_conversation = || Some(doc! {"c": 1});
    let by_id = || Some(doc! {"_id": 1});
    let gone = || Index {
        ends_after_s: Some(GONE_FOR_S),
        ..Index::on("gone", doc! {"gone": 1})
    };
    Schema {
        part: PART,
        version: VERSION,
        tables: vec![
            table(
                ENTRIES,
                vec![
                    // I3: whoever comes second to a seq is refused. The `_id` does the same for commits.
                    Index::unique("seq", doc! {"c": 1, "seq": 1}).where_there_is(&["seq"]),
                    // I2: a client id is answered once, whichever nodes it comes to.
                    Index::unique("answer", doc! {"c": 1, "k": 1}).where_there_is(&["k"]),
                    Index::on("open", doc! {"open": 1, "c": 1}).where_there_is(&["open"]),
                ],
                by_conversation(),
            ),
            table(CONVERSATIONS, Vec::new(), by_id()),
            table(
                MEMBERS,
                vec![Index::on("user", doc! {"u": 1, "c": 1})],
                by_conversation(),
            ),
            table(ROWS, vec![gone()], by_id()),
            table(
                KV,
                vec![
                    Index::on("key", doc! {"ns": 1, "key": 1}),
                    Index::on("written", doc! {"ns": 1, "s": 1}),
                    gone(),
                ],
                Some(doc! {"ns": 1, "key": 1}),
            ),
            table(
                FEED,
                vec![
                    Index::on("last", doc! {"last": 1}),
                    // Each commit is told once, whoever tells it.
                    Index::unique("item", doc! {"items.i": 1}),
                ],
                None,
            ),
            table(NODES, Vec::new(), None),
            table(META, Vec::new(), None),
        ],
    }
}

/// Brings a database to what this program needs of it.
pub async fn bring(mongo: &Mongo) -> Result<Migrated, StoreError> {
    migrate(mongo, schema()).await
}
