//! The collections and their indexes. Indexes are what several nodes settle their races at: the unique ones are promises,
//! the others make reads cheap.
//! What changes them raises the version.

use mongodb::bson::doc;

use crate::store::StoreError;
use crate::store::mongo::Mongo;
use crate::store::mongo::migrate::{self, Index, Migrated, Schema, Table};

/// A user: profile, password, devices, what is owed because of the profile.
pub(super) const USERS: &str = "users";
pub(super) const USED_REFRESH: &str = "used_refresh";
pub(super) const LAST_SEEN: &str = "last_seen";
/// What is between two users.
pub(super) const PAIRS: &str = "pairs";
pub(super) const REPORTS: &str = "reports";
pub(super) const LABELS: &str = "labels";
pub(super) const BANS: &str = "bans";
pub(super) const ADMIN_NOTICES: &str = "admin_notices";
pub(super) const HANDOVERS: &str = "handovers";
pub(super) const WISHES: &str = "wishes";
pub(super) const MEDIA: &str = "media";
pub(super) const SECRETS: &str = "secrets";
pub(super) const ADMIN_TOKENS: &str = "admin_tokens";
pub(super) const DOCUMENTS: &str = "documents";
pub(super) const PLUGINS: &str = "plugins";
/// One document: which components are kept.
pub(super) const REGISTRY: &str = "plugin_registry";
pub(super) const PLUGIN_CONFIGS: &str = "plugin_configs";
pub(super) const BLOB_PARTS: &str = "blob_parts";
pub(super) const GENERATIONS: &str = "generations";
/// What one node makes for the others.
pub(super) const PROVISIONS: &str = "plugin_provisions";
pub(super) const AUDIT: &str = "audit";
pub(super) const COUNTERS: &str = "account_counters";
pub(super) const CLAIMS: &str = "account_claims";

/// Brings the collections to what this program expects of them.
pub async fn migrate(mongo: &Mongo) -> Result<Migrated, StoreError> {
    migrate::migrate(mongo, schema()).await
}

/// What this program expects of the collections.
pub fn schema() -> Schema {
    let mut tables = people();
    tables.extend(administration());
    Schema {
        part: "accounts",
        version: 1,
        tables,
    }
}

/// Accounts are small beside the log: none of these collections is spread over shards.
fn table(name: &'static str, indexes: Vec<Index>) -> Table {
    Table {
        name,
        indexes,
        shard_key: None,
    }
}

fn people() -> Vec<Table> {
    let users = vec![
        Index::unique("username", doc! {"username": 1}),
        // A user without devices has no token: only those there are have to differ.
        Index::unique("token", doc! {"devices.refresh": 1}).where_there_is(&["devices.refresh"]),
        Index::on("avatar", doc! {"avatar": 1}),
        Index::on("untold", doc! {"untold": 1}).where_there_is(&["untold"]),
        Index::on("left", doc! {"left": 1}).where_there_is(&["left"]),
    ];
    let pairs = vec![
        // Both ways round, with what lists of friends and of blocked ones ask for.
        Index::on(
            "low",
            doc! {"low": 1, "high": 1, "since": 1, "low_blocks": 1},
        ),
        Index::on(
            "high",
            doc! {"high": 1, "low": 1, "since": 1, "high_blocks": 1},
        ),
        Index::on("low_up", doc! {"low": 1, "up.id": -1}),
        Index::on("low_down", doc! {"low": 1, "down.id": -1}),
        Index::on("high_up", doc! {"high": 1, "up.id": -1}),
        Index::on("high_down", doc! {"high": 1, "down.id": -1}),
        Index::unique("up", doc! {"up.id": 1}).where_there_is(&["up.id"]),
        Index::unique("down", doc! {"down.id": 1}).where_there_is(&["down.id"]),
        Index::on("owed", doc! {"owed.number": 1}).where_there_is(&["owed.number"]),
    ];
    let media = vec![
        Index::unique("thumb", doc! {"thumb": 1}),
        Index::on("owner", doc! {"owner": 1, "created_at": 1}),
        Index::on("open", doc! {"owner": 1, "state": 1, "expires_at": 1}),
        Index::on("due", doc! {"look_at": 1}),
    ];
    let used = vec![Index::on("expiry", doc! {"expires_at": 1})];
    vec![
        table(USERS, users),
        table(USED_REFRESH, used),
        table(PAIRS, pairs),
        table(MEDIA, media),
    ]
}

fn administration() -> Vec<Table> {
    let bans = vec![
        Index::unique("subject", doc! {"kind": 1, "subject": 1}),
        Index::on("until", doc! {"until": 1}),
    ];
    let handovers = vec![
        Index::unique("conversation", doc! {"conversation": 1, "account": 1}),
        Index::on("owes", doc! {"owes.at": 1}).where_there_is(&["owes.at"]),
    ];
    let audit = vec![
        // A line of a generation is there once.
        Index::unique("of", doc! {"of": 1}).where_there_is(&["of"]),
        Index::on("action", doc! {"action": 1, "_id": 1}),
    ];
    let notices = vec![Index::unique("key", doc! {"key": 1})];
    let versions = vec![Index::unique("version", doc! {"name": 1, "version": 1})];
    let configs = vec![Index::unique("revision", doc! {"name": 1, "revision": 1})];
    let parts = vec![
        Index::unique("part", doc! {"blob": 1, "number": 1}),
        // Which blobs there are, without reading them.
        Index::on("begun", doc! {"number": 1, "blob": 1}),
    ];
    let generations = vec![Index::on("owes", doc! {"owes": 1}).where_there_is(&["owes"])];
    vec![
        table(BANS, bans),
        table(ADMIN_NOTICES, notices),
        table(HANDOVERS, handovers),
        table(PLUGINS, versions),
        table(PLUGIN_CONFIGS, configs),
        table(BLOB_PARTS, parts),
        table(GENERATIONS, generations),
        table(AUDIT, audit),
    ]
}
