//! Groups by the public protocol: made, looked at, changed, left, dissolved;
//! who sees what of them.

mod crowd;
mod finding;
mod joining;
mod rules;
mod speaking;

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

pub fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}

/// Makes a group; its id.
pub async fn group(server: &TestServer, owner: &TestUser, members: &[&TestUser]) -> String {
    group_with(server, owner, members, json!({})).await
}

pub async fn group_with(
    server: &TestServer,
    owner: &TestUser,
    members: &[&TestUser],
    settings: Value,
) -> String {
    let mut body = json!({"title": "us", "members": ids(members)});
    for (name, value) in settings.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let made = server
        .call("POST", "/v1/groups", Some(&owner.token), Some(body))
        .await;
    assert_eq!(made.0, 201, "{}", made.1);
    made.1["id"].as_str().expect("an id").to_owned()
}

pub fn ids<'a>(users: &[&'a TestUser]) -> Vec<&'a str> {
    users.iter().map(|user| user.id.as_str()).collect()
}

/// A call below a group's path.
pub async fn call(
    server: &TestServer,
    user: &TestUser,
    method: &str,
    group: &str,
    below: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let path = format!("/v1/groups/{group}{below}");
    server.call(method, &path, Some(&user.token), body).await
}

/// Sends a text to a group; the reply.
pub async fn say(socket: &mut TestSocket, group: &str, client_id: &str, text: &str) -> Value {
    let content = json!({"type": "text", "text": text});
    let to = json!({"conversation": group});
    let fields = json!({"to": to, "client_id": client_id, "content": content});
    socket.request("send", fields).await
}

pub async fn summary(socket: &mut TestSocket, group: &str) -> Option<Value> {
    let list = socket.request("conversations", json!({})).await;
    let list = list["ok"]["conversations"]
        .as_array()
        .expect("a list")
        .clone();
    list.into_iter().find(|summary| summary["id"] == group)
}

pub async fn history(socket: &mut TestSocket, group: &str) -> Vec<Value> {
    let page = socket
        .request("history", json!({"conversation": group}))
        .await;
    page["ok"]["entries"].as_array().expect("entries").clone()
}

/// The next entry of a group that is a system entry of a code.
pub async fn told(socket: &mut TestSocket, code: &str) -> Value {
    loop {
        let entry = socket.event("entry").await["entry"].clone();
        if entry["kind"] == "system" && entry["code"] == code {
            return entry;
        }
    }
}

#[tokio::test]
async fn whoever_is_put_into_a_new_group_is_given_it_before_its_first_entry() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut to = server.session(&bob).await;
    let body = json!({"title": " us ", "members": [bob.id, ann.id, bob.id]});
    let (status, made) = server
        .call("POST", "/v1/groups", Some(&ann.token), Some(body))
        .await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        (&made["kind"], &made["title"], &made["role"]),
        (&json!("group"), &json!("us"), &json!("owner"))
    );
    assert_eq!((&made["unread"], &made["mentions"]), (&json!(0), &json!(0)));
    let first = to.frame().await.expect("an event");
    assert_eq!(first["ev"], "conversation");
    assert_eq!(first["conversation"]["id"], made["id"]);
    assert_eq!(first["conversation"]["role"], "member");
    assert_eq!(first["conversation"]["read"], first["conversation"]["head"]);
    let joined = to.event("entry").await["entry"].clone();
    assert_eq!(
        (&joined["code"], &joined["args"]),
        (&json!("member_joined"), &json!({"user": ann.id}))
    );
    let joined = to.event("entry").await["entry"].clone();
    assert_eq!(joined["args"], json!({"user": bob.id, "by": ann.id}));
    let listed = summary(&mut to, made["id"].as_str().expect("an id")).await;
    assert_eq!(listed.expect("listed")["title"], "us");
}

#[tokio::test]
async fn a_group_shows_its_settings_and_changes_by_them() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[&bob]).await;
    let mut to = server.session(&bob).await;
    let (status, shown) = call(&server, &bob, "GET", &us, "", None).await;
    assert_eq!(status, 200);
    assert_eq!(
        shown,
        json!({"id": us, "title": "us", "join": "invite", "history": "from_joining", "members": 2, "owner": ann.id})
    );
    let until = 4_102_444_800_000_u64;
    let change = json!({
        "title": "them", "join": "open", "history": "all", "muted_until": until, "slow_mode_s": 5,
        "retention": {"days": 7, "count": 100},
    });
    let (status, changed) = call(&server, &ann, "PATCH", &us, "", Some(change)).await;
    assert_eq!(status, 200, "{changed}");
    let mut expected = shown.clone();
    for (name, value) in [
        ("title", json!("them")),
        ("join", json!("open")),
        ("history", json!("all")),
        ("muted_until", json!(until)),
        ("slow_mode_s", json!(5)),
        ("retention", json!({"days": 7, "count": 100})),
    ] {
        expected[name] = value;
    }
    assert_eq!(changed, expected);
    assert_eq!(
        told(&mut to, "title_changed").await["args"],
        json!({"title": "them"})
    );
    let fields = told(&mut to, "group_changed").await["args"]["fields"].clone();
    assert_eq!(
        fields,
        json!(["join", "history", "muted_until", "slow_mode_s", "retention"])
    );
    assert_eq!(
        to.event("conversation").await["conversation"]["title"],
        "them"
    );
    // null takes a thing away, a time that is over too; the same again changes nothing and tells nothing.
    let change = json!({"muted_until": 1, "slow_mode_s": null, "retention": null, "title": "them"});
    let (_, changed) = call(&server, &ann, "PATCH", &us, "", Some(change.clone())).await;
    for gone in ["muted_until", "slow_mode_s", "retention"] {
        assert!(changed.get(gone).is_none(), "{gone}: {changed}");
    }
    let head = summary(&mut to, &us).await.expect("listed")["head"].clone();
    call(&server, &ann, "PATCH", &us, "", Some(change)).await;
    assert_eq!(summary(&mut to, &us).await.expect("listed")["head"], head);
}

#[tokio::test]
async fn changes_of_settings_and_roles_reach_the_sync_of_members_who_are_away() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[&bob]).await;
    let mut away = server.session(&bob).await;
    let mut since = away.request("sync", json!({"since": ""})).await["ok"]["since"].clone();
    let role = json!({"role": "admin"});
    let member = format!("/members/{}", bob.id);
    let steps = [
        ("", json!({"title": "them"}), "title", json!("them")),
        ("", json!({"slow_mode_s": 3}), "title", json!("them")),
        (&*member, role, "role", json!("admin")),
    ];
    for (below, change, field, value) in steps {
        let (status, answer) = call(&server, &ann, "PATCH", &us, below, Some(change)).await;
        assert_eq!(status, 200, "{answer}");
        let changes = away.request("sync", json!({"since": since})).await["ok"].clone();
        assert_eq!(changes["changed"][0]["id"], us, "{below}");
        assert_eq!(changes["changed"][0][field], value);
        since = changes["since"].clone();
    }
}

#[tokio::test]
async fn a_new_member_sees_the_past_from_joining_or_all_of_it_as_the_group_says() {
    let server = TestServer::bare().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let mut from = server.session(&ann).await;
    for (setting, sees) in [("from_joining", false), ("all", true)] {
        let settings = json!({"history": setting});
        let us = group_with(&server, &ann, &[&bob], settings).await;
        say(&mut from, &us, "1", "before").await;
        let mut to = server.session(&cat).await;
        let body = json!({"users": [cat.id]});
        let (status, added) = call(&server, &bob, "POST", &us, "/members", Some(body)).await;
        assert_eq!(status, 201, "{added}");
        assert_eq!(added["members"][0]["user"], cat.id);
        assert_eq!(added["members"][0]["role"], "member");
        let given = to.event("conversation").await["conversation"].clone();
        assert_eq!(
            (&given["unread"], &given["read"]),
            (&json!(0), &given["head"])
        );
        assert_eq!(
            told(&mut to, "member_joined").await["args"],
            json!({"user": cat.id, "by": bob.id})
        );
        say(&mut from, &us, "2", "after").await;
        assert_eq!(
            to.event("entry").await["entry"]["content"]["text"],
            "after",
            "nothing from before is pushed"
        );
        let past = history(&mut to, &us).await;
        let texts: Vec<&str> = past
            .iter()
            .filter_map(|entry| entry["content"]["text"].as_str())
            .collect();
        assert_eq!(texts.contains(&"before"), sees, "{setting}: {texts:?}");
        assert!(texts.contains(&"after"));
        let listed = summary(&mut to, &us).await.expect("listed");
        assert_eq!(listed["unread"], 1);
        // What one does not see one cannot answer or take back.
        let content = json!({"type": "text", "text": "x"});
        let answer = json!({"to": {"conversation": us}, "client_id": "r", "content": content, "reply_to": 3});
        assert_eq!(to.request("send", answer).await["ok"].is_object(), sees);
    }
}

#[tokio::test]
async fn who_is_removed_is_told_gone_reads_nothing_any_more_and_may_come_again() {
    let server = TestServer::with_plugins().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let us = group(&server, &ann, &[&bob, &cat]).await;
    let (mut from, mut to) = (server.session(&ann).await, server.session(&bob).await);
    let mut third = server.session(&cat).await;
    say(&mut from, &us, "1", "secret").await;
    let since = to.request("sync", json!({"since": ""})).await["ok"]["since"].clone();
    let member = format!("/members/{}", bob.id);
    let removed = call(&server, &ann, "DELETE", &us, &member, None).await;
    assert_eq!(removed.0, 204);
    assert_eq!(to.event("gone").await["conversation"], us);
    assert_eq!(
        told(&mut third, "member_left").await["args"],
        json!({"user": bob.id, "by": ann.id})
    );
    let changes = to.request("sync", json!({"since": since})).await["ok"].clone();
    assert_eq!(
        (&changes["gone"], &changes["changed"]),
        (&json!([us]), &json!([]))
    );
    say(&mut from, &us, "2", "without him").await;
    for (op, fields) in [
        ("history", json!({"conversation": us})),
        ("read", json!({"conversation": us, "seq": 1})),
        ("prefs", json!({"conversation": us, "pinned": true})),
        ("recall", json!({"conversation": us, "seq": 1})),
    ] {
        assert_eq!(code(&to.request(op, fields).await), "not_member", "{op}");
    }
    assert_eq!(code(&say(&mut to, &us, "3", "x").await), "not_member");
    assert!(summary(&mut to, &us).await.is_none());
    for (method, below, body) in [
        ("GET", "", None),
        ("GET", "/members", None),
        ("PATCH", "", Some(json!({"title": "x"}))),
        ("POST", "/members", Some(json!({"users": [bob.id]}))),
        ("DELETE", &*member, None),
        ("GET", "/join-requests", None),
    ] {
        let (status, answer) = call(&server, &bob, method, &us, below, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (403, &json!("not_member")),
            "{method} {below}"
        );
    }
    let body = json!({"users": [bob.id]});
    let (status, _) = call(&server, &cat, "POST", &us, "/members", Some(body)).await;
    assert_eq!(status, 201);
    let first = to.frame().await.expect("an event");
    assert_eq!(
        (&first["ev"], &first["conversation"]["id"]),
        (&json!("conversation"), &json!(us)),
        "nothing of the time between is pushed"
    );
    say(&mut from, &us, "4", "again").await;
    let past = json!(history(&mut to, &us).await).to_string();
    assert!(past.contains("again") && !past.contains("secret") && !past.contains("without him"));
}

#[tokio::test]
async fn one_leaves_by_oneself_but_the_owner_only_after_a_transfer() {
    let server = TestServer::bare().await;
    let (ann, bob, cat) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cat").await,
    );
    let us = group(&server, &ann, &[&bob, &cat]).await;
    let mut to = server.session(&cat).await;
    let of = |user: &TestUser| format!("/members/{}", user.id);
    let (status, refused) = call(&server, &ann, "DELETE", &us, &of(&ann), None).await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    let body = Some(json!({"role": "owner"}));
    let (status, owner) = call(&server, &ann, "PATCH", &us, &of(&bob), body).await;
    assert_eq!((status, &owner["role"]), (200, &json!("owner")));
    assert_eq!(
        told(&mut to, "role_changed").await["args"],
        json!({"user": bob.id, "role": "owner"})
    );
    assert_eq!(
        told(&mut to, "role_changed").await["args"],
        json!({"user": ann.id, "role": "admin"})
    );
    let (_, shown) = call(&server, &cat, "GET", &us, "", None).await;
    assert_eq!(shown["owner"], bob.id);
    let (_, listed) = call(&server, &cat, "GET", &us, "/members", None).await;
    let roles: Vec<_> = listed["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| (member["user"].as_str().unwrap_or_default(), &member["role"]))
        .collect();
    assert!(
        roles.contains(&(ann.id.as_str(), &json!("admin"))),
        "{roles:?}"
    );
    assert_eq!(
        roles.iter().filter(|(_, role)| **role == "owner").count(),
        1
    );
    let mut leaving = server.session(&ann).await;
    let left = call(&server, &ann, "DELETE", &us, &of(&ann), None).await;
    assert_eq!(left.0, 204);
    assert_eq!(leaving.event("gone").await["conversation"], us);
    assert_eq!(
        told(&mut to, "member_left").await["args"],
        json!({"user": ann.id})
    );
}

#[tokio::test]
async fn a_dissolved_group_is_gone_for_everyone() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[&bob]).await;
    let mut to = server.session(&bob).await;
    let mut from = server.session(&ann).await;
    say(&mut from, &us, "1", "secret").await;
    let since = to.request("sync", json!({"since": ""})).await["ok"]["since"].clone();
    let (status, refused) = call(&server, &bob, "DELETE", &us, "", None).await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    assert_eq!(call(&server, &ann, "DELETE", &us, "", None).await.0, 204);
    told(&mut to, "dissolved").await;
    assert_eq!(to.event("gone").await["conversation"], us);
    assert_eq!(from.event("gone").await["conversation"], us);
    drop((to, from));
    server.restart().await;
    let (mut to, mut from) = (server.session(&bob).await, server.session(&ann).await);
    let changes = to.request("sync", json!({"since": since})).await["ok"].clone();
    assert_eq!(
        (&changes["gone"], &changes["changed"]),
        (&json!([us]), &json!([]))
    );
    for socket in [&mut to, &mut from] {
        assert!(summary(socket, &us).await.is_none());
        assert_eq!(code(&say(socket, &us, "9", "x").await), "not_member");
        let read = socket.request("history", json!({"conversation": us})).await;
        assert_eq!(code(&read), "not_member");
    }
    let body = Some(json!({"users": [bob.id]}));
    let (status, _) = call(&server, &ann, "POST", &us, "/members", body).await;
    assert_eq!(status, 403);
}
