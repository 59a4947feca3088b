//! What nodes that share one database promise each other, and what is put right after one has ended in the middle of
//! something: the tables in MongoDB, each test in a database of its own. Such an end is made by writing what it leaves.

use std::sync::Arc;

use kith::ids::{MediaId, UserId};
use kith::store::accounts::{
    Accounts, AuditLine, AuditQuery, PluginVersion, Rotation, StoredGeneration,
};
use kith::store::media::MediaRecords;
use kith::store::moderation::{Moderation, NewAdminNotice, NewHandover};
use kith::store::mongo::Mongo;
use kith::store::mongo_accounts::MongoAccounts;
use kith::store::people::{Ask, Asked, People, PeopleLimits};
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};

use super::accounts::{ANN, BOB, DEVICES_MOST, LATER, NOW, device, user};
use super::tables::Opened;
use crate::mongo::server::{self, MongoServer};
use crate::support::PATIENCE;

/// A database that several nodes open.
struct Shared {
    mongo: Mongo,
    _server: Arc<MongoServer>,
}

impl Shared {
    async fn new() -> Self {
        let server = server::shared().await;
        let mongo = Mongo::connect(&server.database()).await;
        Self {
            mongo: mongo.expect("it answers"),
            _server: server,
        }
    }

    async fn node(&self) -> Arc<MongoAccounts> {
        MongoAccounts::open(&self.mongo).await.expect("it opens")
    }

    async fn two() -> (Self, Arc<MongoAccounts>, Arc<MongoAccounts>) {
        let shared = Self::new().await;
        // Both make the indexes, at the same moment.
        let (one, other) = tokio::join!(shared.node(), shared.node());
        (shared, one, other)
    }

    fn raw(&self, table: &str) -> Collection<Document> {
        self.mongo.collection(table)
    }
}

/// The tables of the suites.
pub async fn mongo() -> Opened<MongoAccounts> {
    let shared = Shared::new().await;
    (shared.node().await, Box::new(shared))
}

async fn with_ann(node: &Arc<MongoAccounts>) {
    let new = user(ANN, "ann", "Ann");
    assert!(node.create_user(&new).await.expect("a write"));
}

#[tokio::test]
async fn what_one_node_writes_another_reads_at_once() {
    let (_shared, one, other) = Shared::two().await;
    with_ann(&one).await;
    let known = other.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(known.profile.display_name, "Ann");
    let named = other.set_profile(ANN, Some("Anna"), None).await;
    named.expect("a write");
    let known = one.user(ANN).await.expect("a read").expect("ann");
    assert_eq!(known.profile.display_name, "Anna");
    one.set_block(ANN, BOB, true).await.expect("a write");
    assert!(other.relation(BOB, ANN).await.expect("a read").blocked);
    let phone = device(ANN, "phone", 1);
    one.put_device(&phone, DEVICES_MOST).await.expect("a write");
    assert!(other.device(ANN, "phone").await.expect("a read").is_some());
    let ended = other.set_disabled(ANN, true).await.expect("a write");
    assert_eq!(ended, [phone]);
    assert!(one.device(ANN, "phone").await.expect("a read").is_none());
}

#[tokio::test]
async fn a_user_name_is_given_once_whichever_node_is_asked() {
    let (_shared, one, other) = Shared::two().await;
    let tries = (0..8).map(|n| {
        let node = if n % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        let new = user(UserId(100 + n), "ann", "Ann");
        tokio::spawn(async move { node.create_user(&new).await.expect("an answer") })
    });
    let mut made = 0;
    for tried in tries.collect::<Vec<_>>() {
        made += usize::from(tried.await.expect("it ends"));
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn nodes_never_take_the_same_generation_number() {
    let (_shared, one, other) = Shared::two().await;
    let takes = (0..8).map(|n| {
        let node = if n % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move { node.reserve_generations(3).await.expect("a write") })
    });
    let mut firsts = Vec::new();
    for taken in takes.collect::<Vec<_>>() {
        firsts.push(taken.await.expect("it ends"));
    }
    firsts.sort_unstable();
    assert!(firsts[0] > 0, "{firsts:?}");
    assert!(
        firsts.windows(2).all(|two| two[1] - two[0] >= 3),
        "{firsts:?}"
    );
}

#[tokio::test]
async fn a_token_used_on_two_nodes_at_once_is_turned_over_once() {
    let (_shared, one, other) = Shared::two().await;
    with_ann(&one).await;
    let phone = device(ANN, "phone", 1);
    one.put_device(&phone, DEVICES_MOST).await.expect("a write");
    let (first, second) = tokio::join!(
        one.rotate_refresh([1; 32], [2; 32], LATER, NOW),
        other.rotate_refresh([1; 32], [3; 32], LATER, NOW),
    );
    let both = [first.expect("a write"), second.expect("a write")];
    let is_rotated = |rotation: &&Rotation| matches!(rotation, Rotation::Rotated(_));
    assert_eq!(both.iter().filter(is_rotated).count(), 1, "{both:?}");
}

#[tokio::test]
async fn sign_ins_on_two_nodes_at_once_are_both_kept() {
    let (_shared, one, other) = Shared::two().await;
    with_ann(&one).await;
    let puts = (0..10).map(|n| {
        let node = if n % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        let new = device(ANN, &format!("device {n}"), n);
        tokio::spawn(async move { node.put_device(&new, DEVICES_MOST).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.expect("it ends").expect("a write");
    }
    assert_eq!(one.devices(ANN).await.expect("a read").len(), 10);
}

#[tokio::test]
async fn lines_of_the_audit_log_are_heard_on_every_node() {
    let (_shared, one, other) = Shared::two().await;
    let mut heard = other.audited();
    let before = *heard.borrow_and_update();
    one.audit(&AuditLine::default()).await.expect("a write");
    let told = tokio::time::timeout(PATIENCE, heard.changed()).await;
    told.expect("it is heard").expect("the node runs");
    assert!(*heard.borrow() > before);
}

#[tokio::test]
async fn lines_a_generation_owes_are_told_by_the_next_who_looks() {
    let (shared, one, other) = Shared::two().await;
    let told = ["a", "b"].map(|action| AuditLine {
        action: action.to_owned(),
        ..AuditLine::default()
    });
    let stored = StoredGeneration {
        number: 7,
        bindings: "{}".to_owned(),
        at: NOW,
        cause: "a test".to_owned(),
    };
    one.put_generation(&stored, &told).await.expect("a write");
    // As if it had ended after the first line.
    let gone = shared.raw("audit").delete_one(doc! {"action": "b"}).await;
    assert_eq!(gone.expect("a write").deleted_count, 1);
    let owes = doc! {"$set": {"owes": true}};
    let generations = shared.raw("generations");
    let set = generations.update_one(doc! {"_id": 7_i64}, owes);
    assert_eq!(set.await.expect("a write").matched_count, 1);
    let query = AuditQuery {
        after: Some(0),
        limit: 10,
        ..AuditQuery::default()
    };
    let (first, second) = tokio::join!(one.audit_page(&query), other.audit_page(&query));
    second.expect("a read");
    first.expect("a read");
    let page = one.audit_page(&query).await.expect("a read");
    let actions: Vec<_> = page.iter().map(|entry| &*entry.line.action).collect();
    assert_eq!(actions, ["a", "b"]);
}

#[tokio::test]
async fn a_notice_a_handover_owes_is_told_by_the_next_who_looks() {
    let (shared, one, other) = Shared::two().await;
    let handover = NewHandover {
        conversation: kith::ids::ConversationId(5),
        account: ANN,
        plugin: "helper".to_owned(),
        reason: "asked for".to_owned(),
        seq: 7,
        at: 100,
    };
    let notice = NewAdminNotice {
        at: 100,
        by: "helper".to_owned(),
        text: "over".to_owned(),
        user: Some(BOB),
    };
    assert!(one.hand_over(&handover, &notice).await.expect("a write"));
    let forgotten = shared.raw("admin_notices").delete_many(doc! {}).await;
    assert_eq!(forgotten.expect("a write").deleted_count, 1);
    let owes = doc! {"at": 100_i64, "by": "helper", "text": "over", "user": 22_i64};
    let change = doc! {"$set": {"owes": owes}};
    let set = shared.raw("handovers").update_one(doc! {}, change).await;
    assert_eq!(set.expect("a write").matched_count, 1);
    for _ in 0..2 {
        let told = other.admin_notices(None, 10).await.expect("a read");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].told, notice);
    }
}

#[tokio::test]
async fn a_picture_that_was_left_is_let_go_of_by_the_next_who_looks() {
    let (shared, one, other) = Shared::two().await;
    with_ann(&one).await;
    let row = doc! {
        "_id": 5_i64, "owner": 11_i64, "name": "a", "mime": "image/png", "bytes": 1_i64, "sha256": null, "state": 1,
        "width": null, "height": null, "duration_ms": null, "thumb": 6_i64, "thumb_mime": null, "thumb_bytes": 0_i64,
        "created_at": 1_i64, "expires_at": 1_i64, "look_at": null,
    };
    shared.raw("media").insert_one(row).await.expect("a write");
    let left = doc! {"$push": {"left": 5_i64}};
    let users = shared.raw("users");
    let set = users.update_one(doc! {"_id": 11_i64}, left);
    assert_eq!(set.await.expect("a write").matched_count, 1);
    let due = other.media_due(NOW, 10).await.expect("a read");
    assert_eq!(
        due.iter().map(|one| one.id).collect::<Vec<_>>(),
        [MediaId(5)]
    );
}

fn asking(asker: u64) -> Ask {
    Ask {
        asker: UserId(asker),
        asked: BOB,
        text: None,
        at: 1_000_000,
        silent: false,
    }
}

#[tokio::test]
async fn bounds_hold_over_all_nodes_and_what_ended_nodes_claimed_is_free_again() {
    let (shared, one, other) = Shared::two().await;
    let limits = PeopleLimits {
        friends: 9,
        waiting_sent: 9,
        waiting_received: 3,
    };
    // What a node claimed that is still at it, and one that ended.
    let claims = shared.raw("account_claims");
    let held = |at: i64| doc! {"id": ObjectId::new(), "at": at, "what": "22-99", "amount": 1_i64};
    let both = vec![held(999_000), held(1)];
    let row = doc! {"_id": "received:22", "version": 7_i64, "held": both};
    claims.insert_one(row).await.expect("a write");
    let tries = (100..108).map(|asker| {
        let node = if asker % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move { node.ask(&asking(asker), &limits).await })
    });
    let mut new = 0;
    for tried in tries.collect::<Vec<_>>() {
        match tried.await.expect("it ends").expect("a write") {
            Asked::New(_) => new += 1,
            refused => assert_eq!(refused, Asked::TooManyReceived),
        }
    }
    assert_eq!(new, 2);
}

#[tokio::test]
async fn a_notice_that_appears_late_is_not_forgotten_with_later_ones() {
    let (shared, one, other) = Shared::two().await;
    let limits = PeopleLimits {
        friends: 9,
        waiting_sent: 9,
        waiting_received: 9,
    };
    for asker in [100, 101] {
        let asked = one.ask(&asking(asker), &limits).await;
        assert!(matches!(asked, Ok(Asked::New(_))));
    }
    // The first one's are written by a node that was slow.
    let pairs = shared.raw("pairs");
    let id = doc! {"_id": "22-100"};
    let slow = pairs.find_one(id.clone()).await.expect("a read");
    let slow = slow.expect("a pair");
    let hidden = doc! {"$set": {"owed": []}};
    pairs.update_one(id.clone(), hidden).await.expect("a write");
    let told = other.notices(10).await.expect("a read");
    assert_eq!(told.len(), 2);
    pairs.replace_one(id, slow).await.expect("a write");
    let last = told.last().expect("a notice").number;
    other.forget_notices(last).await.expect("a write");
    let owed = other.notices(10).await.expect("a read");
    assert_eq!(owed.len(), 2);
    assert!(owed.iter().all(|notice| notice.number < told[0].number));
}

#[tokio::test]
async fn a_token_whose_use_was_written_down_and_no_more_is_still_in_force() {
    let (shared, one, _other) = Shared::two().await;
    with_ann(&one).await;
    let phone = device(ANN, "phone", 1);
    one.put_device(&phone, DEVICES_MOST).await.expect("a write");
    let token = Binary {
        subtype: BinarySubtype::Generic,
        bytes: vec![1; 32],
    };
    let family = i64::try_from(phone.family).expect("a small number");
    let used = doc! {
        "_id": token, "user": 11_i64, "device": "phone", "family": family, "expires_at": 1_000_000_i64,
    };
    shared
        .raw("used_refresh")
        .insert_one(used)
        .await
        .expect("a write");
    let rotated = one.rotate_refresh([1; 32], [2; 32], LATER, NOW).await;
    assert!(matches!(rotated, Ok(Rotation::Rotated(_))), "{rotated:?}");
    let reused = one.rotate_refresh([1; 32], [3; 32], LATER, NOW).await;
    assert!(matches!(reused, Ok(Rotation::Reused(_))), "{reused:?}");
}

#[tokio::test]
async fn a_push_that_ended_in_the_middle_is_completed_by_the_next_one() {
    let (shared, one, other) = Shared::two().await;
    let version = PluginVersion {
        name: "a".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "sha256:aa".to_owned(),
        size: 3,
        pushed_at: NOW,
        quarantined: false,
        signed_by: None,
        signature: None,
        pruned: false,
    };
    one.put_plugin(&version, b"abc").await.expect("a write");
    // The version is known, and nothing says that its component is kept; its parts are from long ago.
    let nothing = doc! {"$set": {"kept": {}}};
    let registry = shared.raw("plugin_registry");
    registry
        .update_one(doc! {}, nothing)
        .await
        .expect("a write");
    let parts = shared.raw("blob_parts");
    let long_ago = ObjectId::from_bytes([1; 12]);
    let change = doc! {"$set": {"blob": long_ago}};
    parts.update_many(doc! {}, change).await.expect("a write");
    let pruned = PluginVersion {
        pruned: true,
        ..version.clone()
    };
    assert_eq!(other.plugins().await.expect("a read"), [pruned]);
    assert_eq!(other.component("sha256:aa").await.expect("a read"), None);
    other.put_plugin(&version, b"abc").await.expect("a write");
    assert_eq!(one.plugins().await.expect("a read"), [version]);
    let component = one.component("sha256:aa").await.expect("a read");
    assert_eq!(component.as_deref(), Some(&b"abc"[..]));
    let left = parts.count_documents(doc! {"blob": long_ago}).await;
    assert_eq!(left.expect("a read"), 0, "what nobody names is removed");
    assert!(parts.count_documents(doc! {}).await.expect("a read") > 0);
}
