//! Two nodes on one bus and one store: what is said, ended or seen on one is so on the other. The second node is put
//! together here, without sockets, as the composition root does it.

mod ahead;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kith::bus::local::{Hub, LocalBus};
use kith::bus::{Bus, NodeName, Parcel, Place, To};
use kith::clock::{Clock, SystemClock};
use kith::delivery::Delivery;
use kith::delivery::arrivals::Arrivals;
use kith::delivery::inward::Inward;
use kith::delivery::presence::PresenceTeller;
use kith::delivery::restoring::{Restoring, StillGood};
use kith::ids::{ConversationId, SessionId, UserId};
use kith::journey::held::Sent;
use kith::journey::{Draft, Target};
use kith::moderation::bans::{Bans, Visitor};
use kith::refusal::Code;
use kith::session::registry::Registry;
use kith::session::{Bye, Codec, Drained, Holder, OutboxLimits, Session};
use kith::store::moderation::{BanKind, NewBan};
use kith::store::{Origin, Outcome};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use crate::parts::Parts;
use crate::support::PATIENCE;

const LEASE: Duration = Duration::from_millis(400);

/// Whether sessions of the second node are still good.
#[derive(Default)]
struct Good(AtomicBool);

#[async_trait]
impl StillGood for Good {
    async fn ended(&self, _: &Session) -> Option<Bye> {
        self.0
            .load(Ordering::Relaxed)
            .then_some(Bye::Unauthenticated)
    }
}

/// The second node: sessions, and what it hears.
struct Second {
    bus: Arc<LocalBus>,
    registry: Arc<Registry>,
    restoring: Arc<Restoring>,
    bans: Arc<Bans>,
    bad: Arc<Good>,
    tasks: Vec<JoinHandle<()>>,
}

/// Both nodes.
struct World {
    first: Parts,
    second: Second,
    tasks: Vec<JoinHandle<()>>,
    presence: Arc<PresenceTeller>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn start() -> Self {
        Self::on(|bus| bus).await
    }

    /// The second node's sessions have what is made of its bus.
    async fn on(bus: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let hub = Hub::new(clock.clone(), LEASE);
        let name = |name| NodeName::new(name).expect("a name");
        let ((a, heard_a), (b, heard_b)) = (hub.join(name("a")), hub.join(name("b")));
        let first = Parts::on(a).await;
        let node = |registry: &Arc<Registry>| {
            let delivery = Delivery {
                journey: first.journey.clone(),
                log: first.log.clone(),
                registry: registry.clone(),
                receipt_members: 500,
                arrivals: Arrivals::default(),
            };
            let presence = PresenceTeller::new(first.journey.clone(), registry.clone());
            (Arc::new(delivery), Arc::new(presence))
        };
        let bans = Arc::new(Bans::load(first.accounts.clone(), 0).await.expect("loaded"));
        let restoring = |registry: &Arc<Registry>, good: Arc<Good>| {
            Arc::new(Restoring::new(
                registry.clone(),
                good,
                bans.clone(),
                clock.clone(),
            ))
        };
        let start = |(delivery, presence): (Arc<Delivery>, Arc<PresenceTeller>),
                     restoring: Arc<Restoring>,
                     heard| {
            let inward = Inward {
                delivery,
                presence: presence.clone(),
                restoring: restoring.clone(),
                generations: None,
            };
            vec![
                tokio::spawn(inward.run(heard)),
                tokio::spawn(restoring.run()),
                tokio::spawn(presence.run()),
            ]
        };
        let (here, presence) = node(&first.registry);
        let mut tasks = start(
            (here.clone(), presence.clone()),
            restoring(&first.registry, Arc::default()),
            heard_a,
        );
        tasks.push(tokio::spawn(here.follow_found()));
        let registry = Parts::sessions(Some(bus(b.clone())), 0);
        let bad = Arc::new(Good::default());
        let second_restoring = restoring(&registry, bad.clone());
        let second = Second {
            bus: b,
            restoring: second_restoring.clone(),
            bans: bans.clone(),
            bad,
            tasks: start(node(&registry), second_restoring, heard_b),
            registry,
        };
        Self {
            first,
            second,
            tasks,
            presence,
        }
    }
}

/// A connected device, known to all nodes.
async fn connect(registry: &Registry, user: UserId, device: &str, number: u64) -> Arc<Session> {
    let session = attached(registry, user, device, number);
    registry.lease(&session).await;
    session
}

/// One that other nodes do not know yet.
fn attached(registry: &Registry, user: UserId, device: &str, number: u64) -> Arc<Session> {
    let holder = Holder {
        user,
        device: device.to_owned(),
        kind: "web".to_owned(),
        family: 1,
    };
    let limits = Arc::new(OutboxLimits::new(1 << 20, 1 << 24, 1 << 16));
    let session = Session::new(SessionId(number), holder, Codec::Json, limits, 0);
    registry.attach(&session);
    session
}

/// What is written to a session next: events, and whether it was told that it is behind.
async fn next(session: &Session) -> (Vec<Value>, bool) {
    let ready = tokio::time::timeout(PATIENCE, session.outbox.ready());
    ready.await.expect("something to write");
    let (frames, behind) = match session.outbox.drain(1) {
        Drained::Frames(frames) | Drained::Bye(frames, _) => (frames, false),
        Drained::Behind(frames) => (frames, true),
    };
    let read = |frame: &bytes::Bytes| serde_json::from_slice(frame).expect("JSON");
    (frames.iter().map(read).collect(), behind)
}

/// So many events.
async fn events(session: &Session, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    while events.len() < count {
        let ready = tokio::time::timeout(PATIENCE, session.outbox.ready()).await;
        assert!(ready.is_ok(), "no more than {}: {events:?}", events.len());
        events.extend(next(session).await.0);
    }
    events
}

async fn ends(session: &Session) -> Bye {
    let closing = tokio::time::timeout(PATIENCE, session.outbox.closing());
    closing.await.expect("it ends")
}

#[tokio::test]
async fn what_is_committed_on_one_node_reaches_sessions_on_the_other_in_order() {
    let world = World::start().await;
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let phone = connect(&world.second.registry, bob, "phone", 1).await;
    let own = connect(&world.second.registry, ann, "desk", 2).await;
    let mut conversation = None;
    for number in 1..=20 {
        let (id, _) = world
            .first
            .send(ann, bob, &number.to_string(), "hello")
            .await;
        conversation = Some(id);
    }
    let told = events(&phone, 21).await;
    assert_eq!(told[0]["ev"], "conversation", "{}", told[0]);
    let seqs: Vec<_> = told[1..]
        .iter()
        .map(|event| event["entry"]["seq"].as_u64())
        .collect();
    assert_eq!(seqs, (1..=20).map(Some).collect::<Vec<_>>());
    assert!(told[1]["entry"]["client_id"].is_null());
    let told = events(&own, 21).await;
    assert_eq!(
        told[1]["entry"]["client_id"], "1",
        "the sender's own device"
    );
    let conversation = conversation.expect("sent");
    world.first.recall(ann, conversation, 3).await;
    assert_eq!(events(&phone, 1).await[0]["entry"]["kind"], "recall");
}

#[tokio::test]
async fn receipts_and_summaries_go_to_the_other_node() {
    let world = World::start().await;
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let (conversation, _) = world.first.send(ann, bob, "1", "hello").await;
    let (own, other) = (
        connect(&world.second.registry, bob, "phone", 1).await,
        connect(&world.second.registry, ann, "desk", 2).await,
    );
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let read = world
        .first
        .journey
        .read(bob, conversation, 1, Origin::Caller(sender));
    read.await.expect("read");
    receiver.await.expect("settled").expect("committed");
    let summary = &events(&own, 1).await[0];
    assert_eq!(
        (&summary["ev"], &summary["conversation"]["unread"]),
        (&"conversation".into(), &0.into())
    );
    let receipt = &events(&other, 1).await[0];
    assert_eq!(
        (&receipt["ev"], receipt["read"].as_u64()),
        (&"receipt".into(), Some(1))
    );
}

#[tokio::test]
async fn entries_that_overtake_each_other_are_pushed_in_order_or_left_out() {
    let world = World::start().await;
    let bob = world.first.user("bob").await;
    let phone = connect(&world.second.registry, bob, "phone", 1).await;
    let first = world.first.registry.others().expect("another node").clone();
    let say = |seq: u64| {
        let place = Place {
            conversation: ConversationId(7),
            seq,
        };
        let json = format!("{{\"seq\":{seq}}}").into();
        let views = vec![(vec![bob], json)];
        first.send(To::Users, Parcel::Entered { place, views });
    };
    [1, 3, 2, 2, 1, 4].into_iter().for_each(say);
    let seqs: Vec<_> = events(&phone, 4)
        .await
        .iter()
        .map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, [1, 2, 3, 4].map(Some));
    // What never comes is not waited for.
    [6, 7].into_iter().for_each(say);
    let seqs: Vec<_> = events(&phone, 2)
        .await
        .iter()
        .map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(seqs, [6, 7].map(Some));
}

#[tokio::test]
async fn what_ends_on_one_node_ends_on_all() {
    let world = World::start().await;
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let there = &world.second.registry;
    let (phone, desk) = (
        connect(there, ann, "phone", 1).await,
        connect(there, ann, "desk", 2).await,
    );
    let other = connect(there, bob, "phone", 3).await;
    let here = &world.first.registry;
    here.end(ann, None, Some("desk"), Bye::Unauthenticated);
    assert_eq!(ends(&phone).await, Bye::Unauthenticated);
    assert!(!desk.outbox.is_closing() && !other.outbox.is_closing());
    here.end_devices("desk", Bye::Banned);
    assert_eq!(ends(&desk).await, Bye::Banned);
    assert!(!other.outbox.is_closing());
    // The same device connects to this node: the one there is replaced.
    let newer = connect(here, bob, "phone", 1).await;
    assert_eq!(ends(&other).await, Bye::Replaced);
    there.detach(&other);
    let seen = world
        .second
        .bus
        .whereabouts(&[bob])
        .await
        .expect("found out");
    assert_eq!(seen.len(), 1, "a late end takes nothing away: {seen:?}");
    assert!(!newer.outbox.is_closing());
}

#[tokio::test]
async fn who_is_on_the_other_node_is_here_until_it_goes_or_its_node_does() {
    let world = World::start().await;
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let watcher = connect(&world.first.registry, ann, "desk", 1).await;
    let look = world.presence.look(&watcher, &[bob], Some(true)).await;
    let online = |told: &Value| told["users"][bob.to_string()]["online"].as_bool();
    assert_eq!(online(&look.expect("answered")), Some(false));
    let phone = connect(&world.second.registry, bob, "phone", 1).await;
    let told = &events(&watcher, 1).await[0];
    assert_eq!(
        (told["ev"].as_str(), told["online"].as_bool()),
        (Some("presence"), Some(true))
    );
    assert_eq!(told["kinds"][0], "web");
    let look = world.presence.look(&watcher, &[bob], None).await;
    assert_eq!(online(&look.expect("answered")), Some(true));
    world.second.registry.detach(&phone);
    assert_eq!(events(&watcher, 1).await[0]["online"], false);
    connect(&world.second.registry, bob, "phone", 2).await;
    assert_eq!(events(&watcher, 1).await[0]["online"], true);
    world.second.bus.leave().await;
    assert_eq!(events(&watcher, 1).await[0]["online"], false);
}

#[tokio::test]
async fn when_a_node_goes_sessions_elsewhere_look_for_what_it_did_not_say() {
    let world = World::start().await;
    let bob = world.first.user("bob").await;
    let phone = connect(&world.first.registry, bob, "phone", 1).await;
    world.second.bus.leave().await;
    assert!(next(&phone).await.1, "behind");
    assert!(!phone.outbox.is_closing());
}

#[tokio::test]
async fn whoever_missed_something_is_told_and_what_ended_meanwhile_ends() {
    let world = World::start().await;
    let (ann, bob) = (world.first.user("ann").await, world.first.user("bob").await);
    let phone = connect(&world.second.registry, bob, "phone", 1).await;
    world.second.restoring.resumed();
    world.second.restoring.behind();
    assert!(next(&phone).await.1, "behind");
    assert!(!phone.outbox.is_closing());
    let ban = NewBan {
        kind: BanKind::User,
        subject: ann.to_string(),
        until: None,
        reason: String::new(),
        by: "ops".to_owned(),
        at: 1,
    };
    kith::store::moderation::Moderation::put_ban(&*world.first.accounts, &ban)
        .await
        .expect("stored");
    world.second.bad.0.store(true, Ordering::Relaxed);
    world.second.restoring.behind();
    assert_eq!(ends(&phone).await, Bye::Unauthenticated);
    let visitor = Visitor {
        user: Some(ann),
        ..Visitor::default()
    };
    assert!(
        world.second.bans.admit(visitor, 2).is_err(),
        "bans are read anew"
    );
}

/// Says that sessions are over once so many are asked about together.
struct Together(Barrier);

#[async_trait]
impl StillGood for Together {
    async fn ended(&self, _: &Session) -> Option<Bye> {
        self.0.wait().await;
        Some(Bye::Unauthenticated)
    }
}

#[tokio::test]
async fn sessions_are_not_looked_at_one_by_one() {
    let parts = Parts::open().await;
    let ann = parts.user("ann").await;
    let bans = Bans::load(parts.accounts.clone(), 0).await.expect("loaded");
    let (phone, desk) = (
        connect(&parts.registry, ann, "phone", 1).await,
        connect(&parts.registry, ann, "desk", 2).await,
    );
    let restoring = Arc::new(Restoring::new(
        parts.registry.clone(),
        Arc::new(Together(Barrier::new(2))),
        Arc::new(bans),
        parts.clock.clone(),
    ));
    let task = tokio::spawn(restoring.clone().run());
    restoring.behind();
    for session in [&phone, &desk] {
        assert_eq!(ends(session).await, Bye::Unauthenticated);
    }
    task.abort();
}

#[tokio::test]
async fn an_older_connection_that_is_leased_late_does_not_take_the_newer_ones_place() {
    let world = World::start().await;
    let ann = world.first.user("ann").await;
    let here = &world.first.registry;
    let (older, newer) = (
        attached(here, ann, "phone", 1),
        attached(here, ann, "phone", 2),
    );
    assert!(here.lease_all(&[newer.clone(), older]).await);
    let seen = world.second.bus.whereabouts(&[ann]).await;
    let seen = seen.expect("found out");
    let found: Vec<SessionId> = seen.iter().map(|one| one.session).collect();
    assert_eq!(found, [newer.id]);
}

#[tokio::test]
async fn what_a_resend_finds_is_told_on_all_nodes_and_once() {
    let world = World::start().await;
    let node = &world.first;
    let (ann, bob, cat) = (
        node.user("ann").await,
        node.user("bob").await,
        node.user("cat").await,
    );
    let draft = |to: UserId, client_id: &str| Draft {
        to: Target::User(to),
        client_id: client_id.to_owned(),
        content: json!({"type": "text", "text": client_id}),
        reply_to: None,
        made: None,
    };
    // It is committed, and whoever committed it never learns of that.
    let untold = async |to: UserId, client_id: &str| {
        node.lose_settlements(true);
        let lost = node.journey.send_and_wait(ann, draft(to, client_id)).await;
        assert_eq!(lost.expect_err("not known").code, Code::Timeout);
        node.lose_settlements(false);
    };
    let again = async |to: UserId, client_id: &str| {
        let found = node.journey.send_and_wait(ann, draft(to, client_id)).await;
        let found = found.expect("answered");
        assert!(matches!(found, Sent::Now(Outcome::Resent(_))), "{found:?}");
    };
    node.send(ann, bob, "heard", "heard").await;
    let there = &world.second.registry;
    let (bobs, cats) = (
        connect(there, bob, "phone", 1).await,
        connect(there, cat, "phone", 2).await,
    );
    let own = connect(&node.registry, ann, "desk", 3).await;
    untold(bob, "unheard").await;
    again(bob, "unheard").await;
    assert_eq!(events(&bobs, 1).await, [json!({"ev": "behind"})]);
    assert!(next(&own).await.1, "the sender's other device is behind");
    // What was told is not told again, nor what is older; somebody else's is.
    untold(cat, "other").await;
    again(bob, "unheard").await;
    again(bob, "heard").await;
    again(cat, "other").await;
    assert_eq!(events(&cats, 1).await, [json!({"ev": "behind"})]);
    let rest = bobs.outbox.drain(1);
    assert!(
        matches!(&rest, Drained::Frames(frames) if frames.is_empty()),
        "{rest:?}"
    );
}
