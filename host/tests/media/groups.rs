//! Media of groups: members come and go, see the past or do not, and what was theirs to read goes with it; a group's
//! picture is everybody's.

use serde_json::{Value, json};

use super::code;
use super::steps::{self, content, fetch, picture, sweep_whole, uploaded};
use crate::groups::{call, group, group_with};
use crate::support::{TestServer, TestUser};

/// Uploads a picture and sends it to a group.
async fn shown(server: &TestServer, user: &TestUser, group: &str) -> Value {
    let image = uploaded(server, user, "a.png", "image/png", picture(9, 9)).await;
    let id = image["id"].as_str().expect("an id");
    let fields = json!({
        "to": {"conversation": group}, "client_id": id, "content": content("image", &image),
    });
    let ack = server.session(user).await.request("send", fields).await;
    assert_eq!(ack["ok"]["state"], "committed", "{ack}");
    image
}

/// Whether a user reads a picture, and its thumbnail with it.
async fn reads(server: &TestServer, user: &TestUser, image: &Value) -> bool {
    let whole = fetch(server, user, &image["id"]).await.0;
    let small = fetch(server, user, &image["thumb"]).await.0;
    assert_eq!(whole, small, "one access for both");
    assert!(matches!(whole, 200 | 404), "{whole}");
    whole == 200
}

async fn remove(server: &TestServer, by: &TestUser, group: &str, user: &TestUser) {
    let member = format!("/members/{}", user.id);
    let removed = call(server, by, "DELETE", group, &member, None).await;
    assert_eq!(removed.0, 204, "{}", removed.1);
}

async fn add(server: &TestServer, by: &TestUser, group: &str, user: &TestUser) {
    let users = Some(json!({"users": [user.id]}));
    let added = call(server, by, "POST", group, "/members", users).await;
    assert_eq!(added.0, 201, "{}", added.1);
}

#[tokio::test]
async fn who_is_no_member_any_more_reads_only_what_is_their_own() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (cat, dan) = (server.user("cat").await, server.user("dan").await);
    let us = group(&server, &ann, &[&bob, &cat, &dan]).await;
    let image = shown(&server, &ann, &us).await;
    let own = shown(&server, &bob, &us).await;
    for member in [&ann, &bob, &cat, &dan] {
        assert!(reads(&server, member, &image).await && reads(&server, member, &own).await);
    }
    remove(&server, &ann, &us, &bob).await;
    remove(&server, &cat, &us, &cat).await;
    assert!(!reads(&server, &bob, &image).await, "removed");
    assert!(reads(&server, &bob, &own).await, "uploaded by himself");
    assert!(!reads(&server, &cat, &image).await, "left");
    // Whoever may not read it cannot send it on to where they might.
    let mut from = server.session(&bob).await;
    let stolen = steps::send(&mut from, &cat.id, "1", content("image", &image)).await;
    assert_eq!(stolen["err"]["code"], "not_found");
    add(&server, &ann, &us, &bob).await;
    assert!(!reads(&server, &bob, &image).await, "before the return");
    let later = shown(&server, &ann, &us).await;
    assert!(reads(&server, &bob, &later).await);
    assert!(!reads(&server, &cat, &later).await);
    let dissolved = call(&server, &ann, "DELETE", &us, "", None).await;
    assert_eq!(dissolved.0, 204);
    assert!(!reads(&server, &dan, &image).await, "dissolved");
}

#[tokio::test]
async fn a_new_member_sees_as_much_of_the_media_as_of_the_past() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for (history, sees) in [("from_joining", false), ("all", true)] {
        let us = group_with(&server, &ann, &[], json!({"history": history})).await;
        let before = shown(&server, &ann, &us).await;
        assert!(!reads(&server, &bob, &before).await);
        add(&server, &ann, &us, &bob).await;
        assert_eq!(reads(&server, &bob, &before).await, sees, "{history}");
        let after = shown(&server, &ann, &us).await;
        assert!(reads(&server, &bob, &after).await);
        // Said again where it can be seen, it can be read.
        let again = json!({
            "to": {"conversation": us}, "client_id": "again", "content": content("image", &before),
        });
        let ack = server.session(&ann).await.request("send", again).await;
        assert_eq!(ack["ok"]["state"], "committed", "{ack}");
        assert!(reads(&server, &bob, &before).await);
    }
}

#[tokio::test]
async fn a_groups_picture_is_read_by_everybody_signed_in_until_it_has_another() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let eve = server.user("eve").await;
    let of =
        async |user: &TestUser| uploaded(&server, user, "a.png", "image/png", picture(9, 9)).await;
    let (first, second, foreign) = (of(&ann).await, of(&ann).await, of(&eve).await);
    let text = uploaded(&server, &ann, "a.txt", "text/plain", b"abc".to_vec()).await;
    for (avatar, refused) in [
        (&foreign["id"], (404, "not_found")),
        (&text["id"], (400, "bad_request")),
        (&first["thumb"], (404, "not_found")),
    ] {
        let body = json!({"title": "us", "members": [], "avatar": avatar});
        let made = server
            .call("POST", "/v1/groups", Some(&ann.token), Some(body))
            .await;
        assert_eq!(code(&made), refused, "{avatar}");
    }
    assert!(!reads(&server, &eve, &first).await);
    let us = group_with(&server, &ann, &[&bob], json!({"avatar": first["id"]})).await;
    assert!(reads(&server, &eve, &first).await);
    let change = async |user: &TestUser, body: Value| {
        call(&server, user, "PATCH", &us, "", Some(body)).await
    };
    let admin = json!({"role": "admin"});
    let member = format!("/members/{}", bob.id);
    assert_eq!(
        call(&server, &ann, "PATCH", &us, &member, Some(admin))
            .await
            .0,
        200
    );
    // Who writes all settings back writes a picture back that another uploaded.
    let same = change(&bob, json!({"avatar": first["id"], "title": "we"})).await;
    assert_eq!((same.0, &same.1["title"]), (200, &json!("we")));
    let others = change(&bob, json!({"avatar": second["id"]})).await;
    assert_eq!(code(&others), (404, "not_found"), "not his own");
    let changed = change(&ann, json!({"avatar": second["id"]})).await;
    assert_eq!((changed.0, &changed.1["avatar"]), (200, &second["id"]));
    assert!(!reads(&server, &eve, &first).await);
    assert!(reads(&server, &eve, &second).await);
    sweep_whole(&server).await;
    assert!(!reads(&server, &ann, &first).await, "nobody's any more");
    assert!(reads(&server, &eve, &second).await);
    assert_eq!(call(&server, &ann, "DELETE", &us, "", None).await.0, 204);
    assert!(!reads(&server, &eve, &second).await, "dissolved");
}

#[tokio::test]
async fn what_a_group_keeps_no_longer_takes_its_media_with_it() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group_with(&server, &ann, &[&bob], json!({"retention": {"count": 1}})).await;
    let (old, new) = (
        shown(&server, &ann, &us).await,
        shown(&server, &ann, &us).await,
    );
    assert!(reads(&server, &bob, &old).await);
    // The first round is at the start.
    server.restart().await;
    while fetch(&server, &bob, &old["id"]).await.0 == 200 {}
    assert!(!reads(&server, &bob, &old).await);
    sweep_whole(&server).await;
    assert!(!reads(&server, &ann, &old).await, "the bytes are gone");
    assert!(reads(&server, &bob, &new).await);
}
