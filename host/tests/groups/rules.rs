//! Who may do what in a group, by role, with the strategy plugin and without any;
//! who has no token, and who stands outside.

use serde_json::{Value, json};

use super::{call, group, group_with, told};
use crate::support::{TestServer, TestUser};

/// Every route of one group: method, the path below it, a body.
fn routes(member: &str) -> Vec<(&'static str, String, Option<Value>)> {
    vec![
        ("GET", String::new(), None),
        ("PATCH", String::new(), Some(json!({"title": "x"}))),
        ("DELETE", String::new(), None),
        ("GET", "/members".into(), None),
        ("POST", "/members".into(), Some(json!({"users": [member]}))),
        (
            "PATCH",
            format!("/members/{member}"),
            Some(json!({"nickname": "x"})),
        ),
        ("DELETE", format!("/members/{member}"), None),
        ("GET", "/join-requests".into(), None),
        ("POST", "/join-requests".into(), Some(json!({}))),
        (
            "POST",
            "/join-requests/1".into(),
            Some(json!({"accept": true})),
        ),
    ]
}

#[tokio::test]
async fn every_route_of_groups_needs_a_token() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let us = group(&server, &ann, &[]).await;
    let new = Some(json!({"title": "x"}));
    for token in [None, Some("nonsense")] {
        let (status, _) = server.call("POST", "/v1/groups", token, new.clone()).await;
        assert_eq!(status, 401);
        for (method, below, body) in routes(&ann.id) {
            let path = format!("/v1/groups/{us}{below}");
            let (status, answer) = server.call(method, &path, token, body).await;
            assert_eq!(status, 401, "{method} {below}: {answer}");
            assert_eq!(answer["code"], "unauthenticated");
        }
    }
}

#[tokio::test]
async fn a_group_is_not_found_by_whoever_stands_outside() {
    let server = TestServer::with_plugins().await;
    let (ann, bob, eve) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("eve").await,
    );
    let us = group(&server, &ann, &[&bob]).await;
    let mut direct = server.session(&eve).await;
    let ack = direct.send_text(&ann.id, "1", "hello").await;
    let direct = ack["ok"]["conversation"].as_str().expect("an id");
    let none = "0".repeat(32);
    for (method, below, body) in routes(&bob.id) {
        for id in [&*us, direct, &none, "x"] {
            let (status, answer) = call(&server, &eve, method, id, &below, body.clone()).await;
            assert_eq!(
                (status, &answer["code"]),
                (404, &json!("not_found")),
                "{method} {id} {below}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_a_bad_request() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let us = group(&server, &ann, &[]).await;
    for body in [
        json!({}),
        json!({"title": 1}),
        json!({"title": ""}),
        json!({"title": "x".repeat(101)}),
        json!({"title": "a\nb"}),
        json!({"title": "x", "members": "all"}),
        json!({"title": "x", "join": "maybe"}),
        json!({"title": "x", "slow_mode_s": -1}),
        json!({"title": "x", "slow_mode_s": 86_401}),
        json!({"title": "x", "retention": {"days": 0}}),
    ] {
        let (status, answer) = server
            .call("POST", "/v1/groups", Some(&ann.token), Some(body.clone()))
            .await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("bad_request")),
            "{body}"
        );
    }
    let longest = json!({"title": "好".repeat(100)});
    let (status, _) = server
        .call("POST", "/v1/groups", Some(&ann.token), Some(longest))
        .await;
    assert_eq!(status, 201);
    let oneself = format!("/members/{}", ann.id);
    for (below, body) in [
        ("", json!({"title": ""})),
        ("", json!({"history": "none"})),
        ("", json!({"muted_until": "soon"})),
        ("", json!({"retention": {"count": 0}})),
        (&*oneself, json!({"role": "king"})),
        (&*oneself, json!({"nickname": "x".repeat(65)})),
        (&*oneself, json!({"muted_until": -1})),
    ] {
        let (status, answer) = call(&server, &ann, "PATCH", &us, below, Some(body.clone())).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!("bad_request")),
            "{below} {body}"
        );
    }
    for (below, body) in [
        ("/join-requests", json!({"text": 1})),
        ("/join-requests/1", json!({})),
        ("/members", json!({})),
    ] {
        let (status, _) = call(&server, &ann, "POST", &us, below, Some(body)).await;
        assert_eq!(status, 400, "{below}");
    }
    for below in [
        "/members?limit=0",
        "/members?cursor=x",
        "/join-requests?limit=0",
    ] {
        assert_eq!(call(&server, &ann, "GET", &us, below, None).await.0, 400);
    }
    let avatar = Some(json!({"avatar": "nothing"}));
    assert_eq!(call(&server, &ann, "PATCH", &us, "", avatar).await.0, 404);
}

/// A group with an owner, two admins and two members.
async fn ranks(server: &TestServer) -> (String, Vec<TestUser>) {
    let mut users = Vec::new();
    for name in ["owner", "admin", "other-admin", "member", "other-member"] {
        users.push(server.user(name).await);
    }
    let rest: Vec<&TestUser> = users[1..].iter().collect();
    let us = group(server, &users[0], &rest).await;
    for admin in &users[1..3] {
        let below = format!("/members/{}", admin.id);
        let role = Some(json!({"role": "admin"}));
        let (status, _) = call(server, &users[0], "PATCH", &us, &below, role).await;
        assert_eq!(status, 200);
    }
    (us, users)
}

const OWNER: usize = 0;
const ADMIN: usize = 1;
const OTHER_ADMIN: usize = 2;
const MEMBER: usize = 3;
const OTHER_MEMBER: usize = 4;

/// Who changes what (`None` is the group itself), and the status of the answer.
fn changes(until: &Value) -> Vec<(usize, Option<usize>, Value, u16)> {
    vec![
        (MEMBER, None, json!({"title": "x"}), 403),
        (ADMIN, None, json!({"title": "by an admin"}), 200),
        (MEMBER, None, json!({"slow_mode_s": 1}), 403),
        (MEMBER, None, json!({"muted_until": until}), 403),
        (ADMIN, None, json!({"muted_until": null}), 200),
        (
            MEMBER,
            Some(OTHER_MEMBER),
            json!({"muted_until": until}),
            403,
        ),
        (ADMIN, Some(MEMBER), json!({"muted_until": until}), 200),
        (ADMIN, Some(MEMBER), json!({"muted_until": null}), 200),
        (ADMIN, Some(OTHER_ADMIN), json!({"muted_until": until}), 403),
        (ADMIN, Some(OWNER), json!({"muted_until": until}), 403),
        (OWNER, Some(OWNER), json!({"muted_until": until}), 403),
        (OWNER, Some(ADMIN), json!({"muted_until": until}), 200),
        (ADMIN, Some(MEMBER), json!({"role": "admin"}), 403),
        (MEMBER, Some(MEMBER), json!({"role": "owner"}), 403),
        (ADMIN, Some(ADMIN), json!({"role": "owner"}), 403),
        (OWNER, Some(OWNER), json!({"role": "member"}), 403),
        (MEMBER, Some(OTHER_MEMBER), json!({"nickname": "x"}), 403),
        (MEMBER, Some(MEMBER), json!({"nickname": "me"}), 200),
        (ADMIN, Some(MEMBER), json!({"nickname": "you"}), 200),
        (ADMIN, Some(OWNER), json!({"nickname": "boss"}), 403),
        // All that is named, or nothing.
        (
            ADMIN,
            Some(OTHER_MEMBER),
            json!({"nickname": "x", "role": "admin"}),
            403,
        ),
    ]
}

#[tokio::test]
async fn roles_decide_the_same_with_the_strategy_plugin_and_without_any() {
    let until = json!(4_102_444_800_000_u64);
    for server in [TestServer::bare().await, TestServer::with_plugins().await] {
        let (us, users) = ranks(&server).await;
        for (who, about, change, expected) in changes(&until) {
            let below = about.map_or(String::new(), |at| format!("/members/{}", users[at].id));
            let (status, answer) = call(
                &server,
                &users[who],
                "PATCH",
                &us,
                &below,
                Some(change.clone()),
            )
            .await;
            assert_eq!(status, expected, "{who} {about:?} {change}: {answer}");
        }
        let (_, listed) = call(&server, &users[MEMBER], "GET", &us, "/members", None).await;
        let row = |at: usize| {
            let rows = listed["members"].as_array().expect("members");
            let found = rows.iter().find(|row| row["user"] == users[at].id);
            found.expect("a member").clone()
        };
        assert_eq!(row(MEMBER)["nickname"], "you");
        assert!(row(MEMBER)["muted_until"].is_null());
        assert!(row(OTHER_MEMBER)["nickname"].is_null());
        assert_eq!(row(ADMIN)["muted_until"], until);
        assert!(row(OWNER)["joined_at"].is_u64());
        for (who, about, expected) in [
            (MEMBER, OTHER_MEMBER, 403),
            (ADMIN, OTHER_ADMIN, 403),
            (ADMIN, OWNER, 403),
            (OTHER_MEMBER, OTHER_MEMBER, 204),
            (ADMIN, MEMBER, 204),
            (OWNER, OTHER_ADMIN, 204),
            (OWNER, OTHER_ADMIN, 404),
        ] {
            let below = format!("/members/{}", users[about].id);
            let (status, _) = call(&server, &users[who], "DELETE", &us, &below, None).await;
            assert_eq!(status, expected, "{who} removes {about}");
        }
    }
}

#[tokio::test]
async fn an_admin_may_take_back_anybodys_message_and_a_member_only_its_own() {
    for server in [TestServer::bare().await, TestServer::with_plugins().await] {
        let (us, users) = ranks(&server).await;
        let mut sockets = Vec::new();
        for user in &users {
            sockets.push(server.session(user).await);
        }
        let mut seqs = Vec::new();
        for socket in &mut sockets {
            seqs.push(super::say(socket, &us, "1", "secret").await["ok"]["seq"].clone());
        }
        for (who, whose, expected) in [
            (MEMBER, OTHER_MEMBER, "forbidden"),
            (MEMBER, OWNER, "forbidden"),
            (MEMBER, MEMBER, "no error"),
            (ADMIN, OWNER, "no error"),
            (OWNER, OTHER_MEMBER, "no error"),
        ] {
            let fields = json!({"conversation": us, "seq": seqs[whose]});
            let reply = sockets[who].request("recall", fields).await;
            assert_eq!(
                super::code(&reply),
                expected,
                "{who} recalls {whose}'s: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn a_title_is_masked_or_refused_and_never_held() {
    let server = TestServer::with_plugins().await;
    let ann = server.user("ann").await;
    let words = json!({"words": [
        {"word": "badger", "level": "mask"}, {"word": "weasel", "level": "reject"}, {"word": "ferret", "level": "hold"},
    ]});
    let (status, answer) = server.admin("POST", "/words", Some(words)).await;
    assert_eq!(status, 200, "{answer}");
    let us = group_with(&server, &ann, &[], json!({"title": "the badger"})).await;
    let shown = call(&server, &ann, "GET", &us, "", None).await.1;
    assert_eq!(shown["title"], "the ******");
    let mut socket = server.session(&ann).await;
    let change = Some(json!({"title": "a badger"}));
    let (_, changed) = call(&server, &ann, "PATCH", &us, "", change).await;
    assert_eq!(changed["title"], "a ******");
    assert_eq!(
        told(&mut socket, "title_changed").await["args"]["title"],
        "a ******"
    );
    for title in ["a weasel", "a ferret"] {
        let change = Some(json!({"title": title}));
        let (status, refused) = call(&server, &ann, "PATCH", &us, "", change.clone()).await;
        assert_eq!(
            (status, &refused["code"]),
            (422, &json!("rejected")),
            "{refused}"
        );
        assert_eq!(refused["by"], "word-filter");
        let (status, _) = server
            .call("POST", "/v1/groups", Some(&ann.token), change)
            .await;
        assert_eq!(status, 422);
    }
    let oneself = format!("/members/{}", ann.id);
    let change = Some(json!({"nickname": "weasel"}));
    assert_eq!(
        call(&server, &ann, "PATCH", &us, &oneself, change).await.0,
        422
    );
    assert_eq!(
        server.admin("GET", "/held", None).await.1["held"],
        json!([])
    );
}

#[tokio::test]
async fn what_was_decided_about_a_change_stands_in_its_entrys_record() {
    let server = TestServer::with_plugins().await;
    let ann = server.user("ann").await;
    let us = group(&server, &ann, &[]).await;
    let path = format!("/conversations/{us}/entries/1");
    let (status, found) = server.admin("GET", &path, None).await;
    assert_eq!(status, 200, "{found}");
    let hooks = found["decision"]["hooks"].as_array().expect("hooks");
    let strategy = hooks.iter().find(|hook| hook["plugin"] == "group-strategy");
    assert_eq!(strategy.expect("it was asked")["outcome"], "passed");
    assert!(hooks.iter().any(|hook| hook["plugin"] == "word-filter"));
}

#[tokio::test]
async fn the_strategys_configuration_decides_who_renames_and_who_mentions_everyone() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[&bob]).await;
    let mut from = server.session(&bob).await;
    let all = |id: &str| {
        let content = json!({"type": "text", "text": "@all", "mentions": ["all"]});
        json!({"to": {"conversation": us}, "client_id": id, "content": content})
    };
    let rename = Some(json!({"title": "by a member"}));
    assert!(from.request("send", all("1")).await["ok"].is_object());
    assert_eq!(
        call(&server, &bob, "PATCH", &us, "", rename.clone())
            .await
            .0,
        403
    );
    let config = json!({"texts": {"mention_all": "admins", "rename": "members"}});
    let (status, answer) = server
        .admin("PATCH", "/plugins/group-strategy/config", Some(config))
        .await;
    assert_eq!(status, 200, "{answer}");
    let refused = from.request("send", all("2")).await;
    assert_eq!(super::code(&refused), "forbidden");
    assert_eq!(call(&server, &bob, "PATCH", &us, "", rename).await.0, 200);
}
