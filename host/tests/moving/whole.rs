//! Whole servers: what people, and those who look after them, see of a deployment is what they see of it where it was moved
//! to; signed in as they were, and with the same pictures.

use serde_json::{Value, json};
use tempfile::tempdir;

use super::named;
use super::running::shares;
use crate::conformance::bus::servers::{Kind, Servers};
use crate::media::steps;
use crate::mongo::server::shared;
use crate::named::{World, ok, said, text};
use crate::support::{TestServer, TestUser};

/// What is asked of a server before and after, and what never is the same.
struct Seen {
    routes: Vec<(String, Value)>,
}

async fn people(server: &TestServer, user: &TestUser, seen: &mut Seen) {
    let mut routes: Vec<String> = [
        "/v1/me",
        "/v1/conversations",
        "/v1/friends",
        "/v1/friend-requests",
        "/v1/blocks",
    ]
    .map(str::to_owned)
    .to_vec();
    let lists = server
        .call("GET", "/v1/conversations", Some(&user.token), None)
        .await
        .1;
    for conversation in lists["conversations"].as_array().expect("a list") {
        let id = text(&conversation["id"]);
        routes.push(format!("/v1/conversations/{id}/entries?limit=100"));
        if conversation["kind"] == "group" {
            routes.push(format!("/v1/groups/{id}"));
            routes.push(format!("/v1/groups/{id}/members"));
        }
    }
    for route in routes {
        let (status, answer) = server.call("GET", &route, Some(&user.token), None).await;
        assert_eq!(status, 200, "{route}: {answer}");
        seen.routes
            .push((format!("{} {route}", user.username), answer));
    }
}

impl Seen {
    async fn of(server: &TestServer, users: [&TestUser; 3]) -> Self {
        let mut seen = Self { routes: Vec::new() };
        for user in users {
            people(server, user, &mut seen).await;
        }
        for route in [
            "/users?query=",
            "/bans",
            "/reports",
            "/audit?limit=200",
            "/notices",
            "/plugins",
        ] {
            let (status, answer) = server.admin("GET", route, None).await;
            assert_eq!(status, 200, "{route}: {answer}");
            seen.routes.push((route.to_owned(), answer));
        }
        seen
    }

    fn is(&self, other: &Self) {
        assert_eq!(self.routes.len(), other.routes.len());
        for ((route, here), (other, there)) in self.routes.iter().zip(&other.routes) {
            assert_eq!(route, other);
            assert_eq!(here, there, "{route}");
        }
    }
}

/// Three people and a life of theirs; the media that Ann sent to Bob.
async fn lived() -> (World, String) {
    let world = World::bare().await;
    let (ann, bob, cat) = (&world.ann, &world.bob, &world.cat);
    let conversation = world.direct().await;
    let (mut from_ann, mut from_bob) = (world.session(ann).await, world.session(bob).await);
    for (number, words) in [(2, "two"), (3, "three"), (4, "four")] {
        ok(&from_ann
            .send_text(&bob.id, &number.to_string(), words)
            .await);
    }
    let at = |seq: u64| json!({"conversation": conversation, "seq": seq});
    ok(&from_bob.request("read", at(2)).await);
    ok(&from_bob.request("received", at(3)).await);
    ok(&from_ann.request("recall", at(4)).await);
    let edit = json!({"conversation": conversation, "seq": 3, "content": said("a third")});
    ok(&from_ann.request("edit", edit).await);
    let picture = steps::uploaded(
        &world.server,
        ann,
        "a.png",
        "image/png",
        steps::picture(600, 400),
    )
    .await;
    let media = text(&picture["id"]);
    let content = steps::content("image", &picture);
    ok(&steps::send(&mut from_ann, &bob.id, "picture", content).await);
    let group = world.group_with(json!({"join": "approval"})).await;
    let in_group = json!({"to": {"conversation": group}, "client_id": "g", "content": said("all")});
    ok(&from_bob.request("send", in_group).await);
    let face = json!({"display_name": "Ann A.", "avatar": media});
    world.ok(200, ann, "PATCH /v1/me", face).await;
    let asked = json!({"user": bob.id, "text": "hello"});
    let asked = world.ok(201, ann, "POST /v1/friend-requests", asked).await;
    let accept = format!("POST /v1/friend-requests/{}", text(&asked["id"]));
    world.ok(200, bob, &accept, json!({"accept": true})).await;
    world
        .ok(
            201,
            cat,
            "POST /v1/friend-requests",
            json!({"user": ann.id}),
        )
        .await;
    world
        .ok(204, bob, &format!("PUT /v1/blocks/{}", cat.id), None)
        .await;
    let ban = json!({"kind": "address", "subject": "203.0.113.7"});
    world.admin(201, "POST /bans", ban).await;
    let report = json!({"conversation": conversation, "seq": 1, "reason": "rude"});
    world.ok(201, bob, "POST /v1/reports", report).await;
    (world, media)
}

/// As it was: lists and logs, who is signed in, what a client id is answered with, and the bytes of pictures.
async fn is_as_it_was(server: &TestServer, world: &World, before: &Seen, media: &str) {
    let users = [&world.ann, &world.bob, &world.cat];
    before.is(&Seen::of(server, users).await);
    let mut again = server.session(&world.ann).await;
    let resent = again.send_text(&world.bob.id, "2", "two").await;
    assert_eq!(ok(&resent)["seq"], 2, "{resent}");
    let new = again.send_text(&world.bob.id, "new", "here").await;
    let head = ok(&new)["seq"].as_u64().expect("a seq");
    let list = server
        .call("GET", "/v1/conversations", Some(&world.bob.token), None)
        .await
        .1;
    let heads = list["conversations"].as_array().expect("a list").iter();
    assert!(
        heads
            .map(|one| one["head"].as_u64())
            .any(|one| one == Some(head)),
        "{list}"
    );
    let (status, bytes) = steps::fetch(server, &world.bob, &json!(media)).await;
    assert_eq!((status, bytes), (200, steps::picture(600, 400)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_the_same_where_it_was_moved_to() {
    let (mongo, bus) = tokio::join!(shared(), Servers::start(Kind::Single));
    let files = tempdir().expect("a folder");
    let (first, second) = (named(&files, "first"), named(&files, "second"));
    let (mut world, media) = lived().await;
    let before = Seen::of(&world.server, [&world.ann, &world.bob, &world.cat]).await;
    world.server.stop().await;
    world.server.export(&first).await;
    let same = TestServer::moved_from(&first, |_| {}).await;
    is_as_it_was(&same, &world, &before, &media).await;
    drop(same);
    let url = mongo.url_of_database();
    let mut cluster = TestServer::moved_from(&first, |config| shares(config, &url, &bus)).await;
    is_as_it_was(&cluster, &world, &before, &media).await;
    // And back, with what was said there.
    let there = Seen::of(&cluster, [&world.ann, &world.bob, &world.cat]).await;
    cluster.stop().await;
    cluster.export(&second).await;
    let back = TestServer::moved_from(&second, |_| {}).await;
    let users = [&world.ann, &world.bob, &world.cat];
    there.is(&Seen::of(&back, users).await);
}
