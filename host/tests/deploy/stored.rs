//! What the capacity page says was measured of the servers behind a cluster is measured again: what a message leaves in
//! MongoDB, and what a session takes of Redis.

use std::time::Duration;

use kith::bus::redis::{RedisBus, RedisSettings};
use kith::bus::{Bus, Epoch, Lease, NodeName};
use kith::config::{BusEngine, SearchEngine, StoreEngine};
use kith::ids::{SessionId, UserId};
use kith::store::mongo::Mongo;
use kith::store::mongo_log::schema;
use mongodb::bson::doc;
use tokio::time::Instant;

use crate::conformance::bus::servers::{Kind, Servers};
use crate::mongo::server::shared;
use crate::support::{PATIENCE, TestServer, plugins_folder};

/// How far from the page's figure a fresh one may be.
const TOLERANCE: f64 = 0.2;
const MESSAGES: usize = 200;
const SESSIONS: u64 = 4_000;

#[track_caller]
fn is_as_on_the_page(name: &str, measured: f64) {
    let page = super::text("CAPACITY.md");
    let line = page.lines().find(|line| line.starts_with(name));
    let figure = line.and_then(|line| line.split(['=', '#']).nth(1));
    let figure: f64 = figure.expect("a figure").trim().parse().expect("a number");
    println!("{name}: {measured:.0}, {figure:.0} on the page");
    let off = (measured - figure).abs() / figure;
    assert!(
        off <= TOLERANCE,
        "{name} is {measured:.0}, the page says {figure:.0}"
    );
}

/// Documents of the log, and their bytes.
async fn stored(mongo: &Mongo) -> usize {
    let mut bytes = 0;
    for table in schema::schema().tables {
        let documents = mongo.find(table.name, doc! {}, doc! {}, 0).await;
        for document in documents.expect("read") {
            bytes += document.to_vec().expect("a document").len();
        }
    }
    bytes
}

/// Nothing of the commits is still to be projected or told to those behind the log.
async fn settled(mongo: &Mongo) {
    let deadline = Instant::now() + PATIENCE;
    let found = async |table, filter| {
        let found = mongo.find(table, filter, doc! {}, 0).await;
        found.expect("read")
    };
    loop {
        let open = found(schema::ENTRIES, doc! {"open": {"$exists": true}}).await;
        let entries = found(schema::ENTRIES, doc! {"seq": {"$exists": true}}).await;
        let feed = found(schema::FEED, doc! {}).await;
        let items = feed.iter().map(|place| place.get_array("items"));
        let told: usize = items.map(|items| items.map_or(0, Vec::len)).sum();
        if open.is_empty() && told >= entries.len() {
            return;
        }
        let late = Instant::now() >= deadline;
        assert!(!late, "{told} of {} are told", entries.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_mongodb_takes_what_the_page_says() {
    let (redis, mongodb) = (Servers::start(Kind::Single).await, shared().await);
    let settings = mongodb.database();
    let url = settings
        .url
        .replacen("/?", &format!("/{}?", settings.database), 1);
    let server = TestServer::with(|config| {
        config.store.engine = StoreEngine::Mongodb;
        config.store.url = url;
        config.bus.engine = BusEngine::Redis;
        config.bus.url = redis.url();
        config.node.name = "measured".to_owned();
        config.search.engine = SearchEngine::None;
        config.media.engine = kith::config::MediaEngine::None;
        config.server.plugins = plugins_folder().display().to_string();
    })
    .await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let mongo = Mongo::connect(&settings).await.expect("connects");
    let text = "x".repeat(200);
    let mut before = 0;
    for number in 0..=MESSAGES {
        let ack = socket
            .send_text(&bob.id, &format!("message-{number}"), &text)
            .await;
        assert!(ack["ok"].is_object(), "{ack}");
        if number == 0 {
            // What a conversation takes once is no message's.
            settled(&mongo).await;
            before = stored(&mongo).await;
        }
    }
    settled(&mongo).await;
    let grown = stored(&mongo).await - before;
    is_as_on_the_page("stored_bytes", grown as f64 / MESSAGES as f64);
}

async fn used_memory(url: &str) -> f64 {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client
        .get_multiplexed_async_connection()
        .await
        .expect("connects");
    let told: String = redis::cmd("INFO")
        .arg("memory")
        .query_async(&mut connection)
        .await
        .expect("answers");
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("the line").trim().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_redis_takes_what_the_page_says() {
    let redis = Servers::start(Kind::Single).await;
    let settings = RedisSettings {
        url: redis.url(),
        node: NodeName::new("kith-6d4cf56db6-7xk2p").expect("a name"),
        lease: Duration::from_secs(60),
    };
    let (bus, _heard) = RedisBus::open(&settings).await.expect("opens");
    let lease = |number: u64| Lease {
        user: UserId(number << 20),
        device: format!("0b1c2d3e-4f50-6172-8394-{number:012x}"),
        kind: "phone".to_owned(),
        session: SessionId(number << 20),
        epoch: Epoch::NEW,
        since: Instant::now(),
    };
    let before = used_memory(&redis.url()).await;
    for first in (0..SESSIONS).step_by(500) {
        let leases: Vec<_> = (first..first + 500).map(lease).collect();
        let standings = bus.lease(&leases).await.expect("leased");
        assert!(standings.iter().all(|standing| standing.epoch.is_some()));
    }
    let grown = used_memory(&redis.url()).await - before;
    is_as_on_the_page("session_redis_bytes", grown / SESSIONS as f64);
}
