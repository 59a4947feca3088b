//! What nodes share about generations, in one database: the number in force only rises, of two that write one generation
//! one does, and provisions are whole or not there.

use std::sync::Arc;

use kith::store::accounts::{Accounts, StoredGeneration};
use kith::store::generations::{SharedGenerations, Standing};
use kith::store::mongo::{Mongo, MongoSettings};
use kith::store::mongo_accounts::MongoAccounts;

use super::server::shared;

async fn open(settings: &MongoSettings) -> Arc<MongoAccounts> {
    let mongo = Mongo::connect(settings).await.expect("connects");
    MongoAccounts::open(&mongo).await.expect("opens")
}

fn generation(number: u64, bindings: &str) -> StoredGeneration {
    StoredGeneration {
        number,
        bindings: bindings.to_owned(),
        at: 1,
        cause: "a test".to_owned(),
    }
}

#[tokio::test]
async fn the_generation_in_force_only_rises() {
    let server = shared().await;
    let settings = server.database();
    let (one, other) = (open(&settings).await, open(&settings).await);
    let none = one.standing().await.expect("a read");
    assert_eq!(none, Standing::default());
    let (here, there) = tokio::join!(one.put_in_force(7), other.put_in_force(9));
    assert!([7, 9].contains(&here.expect("a write")));
    assert_eq!(there.expect("a write"), 9);
    assert_eq!(other.put_in_force(8).await.expect("a write"), 9);
    let standing = one.standing().await.expect("a read");
    assert_eq!((standing.newest, standing.in_force), (0, 9));
}

#[tokio::test]
async fn of_two_nodes_that_write_one_generation_one_does() {
    let server = shared().await;
    let settings = server.database();
    let (one, other) = (open(&settings).await, open(&settings).await);
    for number in 1..=10 {
        let (mine, yours) = (generation(number, "{}"), generation(number, "[]"));
        let (here, there) = tokio::join!(
            one.put_generation(&mine, &[]),
            other.put_generation(&yours, &[])
        );
        assert!(here.is_ok() != there.is_ok(), "{here:?} {there:?}");
        let kept = one.generation(number).await.expect("a read");
        assert_eq!(kept, Some(if here.is_ok() { mine } else { yours }));
    }
    assert_eq!(other.standing().await.expect("a read").newest, 10);
}

#[tokio::test]
async fn provisions_are_whole_and_go_when_nobody_names_them() {
    let server = shared().await;
    let settings = server.database();
    let (one, other) = (open(&settings).await, open(&settings).await);
    let baked: Vec<u8> = (0..5_000_001_u32).map(|n| (n % 251) as u8).collect();
    assert!(!other.has_provision("baked/a").await.expect("a read"));
    one.put_provision("baked/a", &baked, 10).await.expect("put");
    let again = other.put_provision("baked/a", &baked, 20);
    again.await.expect("put again");
    one.put_provision("settings/b", b"{}", 10)
        .await
        .expect("put");
    one.put_provision("settings/new", b"{}", 90)
        .await
        .expect("put");
    let found = other.provision("baked/a").await.expect("a read");
    assert!(found.as_deref() == Some(&*baked), "as it was put");
    let keep = ["baked/a".to_owned()];
    other.keep_provisions(&keep, 50).await.expect("a write");
    for (name, stays) in [
        ("baked/a", true),
        ("settings/b", false),
        ("settings/new", true),
    ] {
        assert_eq!(
            one.has_provision(name).await.expect("a read"),
            stays,
            "{name}"
        );
        let found = one.provision(name).await.expect("a read");
        assert_eq!(found.is_some(), stays, "{name}");
    }
}
