//! Coming into a group by oneself, and being added by others:
//! policies, the waiting list, blocks, how many there may be.

use serde_json::{Value, json};

use super::{call, group, group_with, told};
use crate::support::{TestServer, TestUser};

#[tokio::test]
async fn an_open_group_is_joined_at_once_and_one_by_invitation_is_not_found() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let open = group_with(&server, &ann, &[], json!({"join": "open"})).await;
    let invite = group(&server, &ann, &[]).await;
    let ask = Some(json!({}));
    let (status, answer) = call(
        &server,
        &bob,
        "POST",
        &invite,
        "/join-requests",
        ask.clone(),
    )
    .await;
    assert_eq!((status, &answer["code"]), (404, &json!("not_found")));
    let mut owner = server.session(&ann).await;
    let (status, answer) = call(&server, &bob, "POST", &open, "/join-requests", None).await;
    assert_eq!((status, answer), (201, json!({"state": "joined"})));
    assert_eq!(
        told(&mut owner, "member_joined").await["args"],
        json!({"user": bob.id})
    );
    let (status, answer) = call(&server, &bob, "POST", &open, "/join-requests", ask).await;
    assert_eq!((status, answer), (200, json!({"state": "joined"})), "again");
    assert_eq!(
        call(&server, &bob, "GET", &open, "", None).await.1["members"],
        2
    );
}

/// A group by approval of an owner and a member, for which two wait.
struct Waited {
    server: TestServer,
    us: String,
    ann: TestUser,
    dan: TestUser,
    bob: TestUser,
    cat: TestUser,
    /// The paths of the two requests.
    for_bob: String,
    for_cat: String,
}

impl Waited {
    async fn new() -> Self {
        let server = TestServer::with_plugins().await;
        let (ann, bob, cat, dan) = (
            server.user("ann").await,
            server.user("bob").await,
            server.user("cat").await,
            server.user("dan").await,
        );
        let us = group_with(&server, &ann, &[&dan], json!({"join": "approval"})).await;
        let mut requests = Vec::new();
        for user in [&bob, &cat] {
            let (status, waiting) = ask(&server, &us, user).await;
            assert_eq!(
                (status, &waiting["state"]),
                (201, &json!("waiting")),
                "{waiting}"
            );
            let id = waiting["id"].as_str().expect("an id");
            requests.push(format!("/join-requests/{id}"));
        }
        let for_cat = requests.pop().expect("two");
        let for_bob = requests.pop().expect("two");
        Self {
            server,
            us,
            ann,
            dan,
            bob,
            cat,
            for_bob,
            for_cat,
        }
    }

    async fn answer(&self, who: &TestUser, request: &str, accept: bool) -> (u16, Value) {
        let body = Some(json!({"accept": accept}));
        call(&self.server, who, "POST", &self.us, request, body).await
    }

    async fn list(&self, who: &TestUser, query: &str) -> (u16, Value) {
        let below = format!("/join-requests{query}");
        call(&self.server, who, "GET", &self.us, &below, None).await
    }
}

async fn ask(server: &TestServer, us: &str, user: &TestUser) -> (u16, Value) {
    let body = Some(json!({"text": "please"}));
    call(server, user, "POST", us, "/join-requests", body).await
}

#[tokio::test]
async fn one_by_approval_keeps_whoever_asks_waiting_in_a_list_for_those_in_charge() {
    let waited = Waited::new().await;
    let Waited {
        server, us, ann, ..
    } = &waited;
    for outsider in [&waited.bob, &waited.cat] {
        assert_eq!(call(server, outsider, "GET", us, "", None).await.0, 404);
        assert_eq!(waited.list(outsider, "").await.0, 404);
    }
    let (status, refused) = waited.list(&waited.dan, "").await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));
    let again = ask(server, us, &waited.bob).await.1["id"].clone();
    let (_, page) = waited.list(ann, "?limit=1").await;
    let first = &page["join_requests"][0];
    assert_eq!(first["user"], waited.bob.id, "the oldest first");
    assert_eq!((&first["text"], &first["id"]), (&json!("please"), &again));
    let cursor = page["cursor"].as_str().expect("more");
    let (_, rest) = waited.list(ann, &format!("?cursor={cursor}")).await;
    assert_eq!(rest["join_requests"][0]["user"], waited.cat.id);
    assert!(rest["cursor"].is_null());
}

#[tokio::test]
async fn whoever_waits_is_let_in_or_not_by_those_in_charge_alone() {
    let waited = Waited::new().await;
    let Waited {
        server, us, ann, ..
    } = &waited;
    let (for_bob, for_cat) = (&*waited.for_bob, &*waited.for_cat);
    let (status, _) = waited.answer(&waited.dan, for_bob, true).await;
    assert_eq!(status, 403, "a plain member lets nobody in");
    let (status, _) = waited.answer(&waited.bob, for_bob, true).await;
    assert_eq!(status, 404, "an outsider finds nothing");
    // Whoever asked wants to be in, though it has blocked the one who answers.
    let block = format!("/v1/blocks/{}", ann.id);
    let blocked = server.call("PUT", &block, Some(&waited.bob.token), None);
    assert_eq!(blocked.await.0, 204);
    let mut to = server.session(&waited.bob).await;
    let answer = waited.answer(ann, for_bob, true).await;
    assert_eq!(answer, (200, json!({"state": "joined"})));
    assert_eq!(to.event("conversation").await["conversation"]["id"], *us);
    let answer = waited.answer(ann, for_cat, false).await;
    assert_eq!(answer, (200, json!({"state": "refused"})));
    for answered in [for_bob, for_cat, "/join-requests/7", "/join-requests/x"] {
        assert_eq!(waited.answer(ann, answered, true).await.0, 404);
    }
    let nobody = json!({"join_requests": []});
    assert_eq!(waited.list(ann, "").await.1, nobody);
    let cat = &waited.cat;
    assert_eq!(call(server, cat, "GET", us, "", None).await.0, 404);
    // Who was refused may ask again; an admin who adds answers too.
    assert_eq!(ask(server, us, cat).await.0, 201);
    let add = Some(json!({"users": [cat.id]}));
    let (status, _) = call(server, &waited.dan, "POST", us, "/members", add.clone()).await;
    assert_eq!(status, 403, "members do not approve");
    let (status, _) = call(server, ann, "POST", us, "/members", add).await;
    assert_eq!(status, 201);
    assert_eq!(waited.list(ann, "").await.1, nobody);
}

#[tokio::test]
async fn nobody_is_added_by_somebody_one_of_the_two_has_blocked() {
    for server in [TestServer::bare().await, TestServer::with_plugins().await] {
        let (ann, bob, cat) = (
            server.user("ann").await,
            server.user("bob").await,
            server.user("cat").await,
        );
        let us = group(&server, &ann, &[&cat]).await;
        let block = format!("/v1/blocks/{}", ann.id);
        assert_eq!(
            server.call("PUT", &block, Some(&bob.token), None).await.0,
            204
        );
        let add = Some(json!({"users": [bob.id]}));
        let (status, refused) = call(&server, &ann, "POST", &us, "/members", add.clone()).await;
        assert_eq!((status, &refused["code"]), (403, &json!("blocked")));
        let new = Some(json!({"title": "x", "members": [bob.id]}));
        let (status, refused) = server
            .call("POST", "/v1/groups", Some(&ann.token), new)
            .await;
        assert_eq!((status, &refused["code"]), (403, &json!("blocked")));
        let (status, _) = call(&server, &cat, "POST", &us, "/members", add).await;
        assert_eq!(status, 201, "anybody else may");
    }
}

#[tokio::test]
async fn adding_is_all_or_nothing_and_again_changes_nothing() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let us = group(&server, &ann, &[]).await;
    let add = |users: Value| {
        call(
            &server,
            &ann,
            "POST",
            &us,
            "/members",
            Some(json!({"users": users})),
        )
    };
    assert_eq!(add(json!([bob.id, "1"])).await.0, 404, "an unknown user");
    assert_eq!(add(json!([bob.id, "nobody"])).await.0, 404);
    assert_eq!(add(json!([])).await.0, 400);
    assert_eq!(add(json!("bob")).await.0, 400);
    assert_eq!(
        call(&server, &ann, "GET", &us, "", None).await.1["members"],
        1
    );
    let (status, first) = add(json!([bob.id])).await;
    assert_eq!(status, 201);
    let (status, again) = add(json!([bob.id, bob.id, ann.id])).await;
    assert_eq!((status, again), (200, first));
}

#[tokio::test]
async fn a_group_has_no_more_members_than_it_may() {
    let server = TestServer::with(|config| config.limits.group_members = 3).await;
    let mut users: Vec<TestUser> = Vec::new();
    for name in ["ann", "bob", "cat", "dan"] {
        users.push(server.user(name).await);
    }
    let [ann, bob, cat, dan] = &users[..] else {
        unreachable!("four users")
    };
    let all = Some(json!({"title": "x", "members": [bob.id, cat.id, dan.id]}));
    let (status, refused) = server
        .call("POST", "/v1/groups", Some(&ann.token), all)
        .await;
    assert_eq!((status, &refused["code"]), (413, &json!("too_large")));
    let us = group_with(&server, ann, &[bob], json!({"join": "open"})).await;
    let two = Some(json!({"users": [cat.id, dan.id]}));
    assert_eq!(
        call(&server, ann, "POST", &us, "/members", two).await.0,
        413
    );
    let ask = || Some(json!({}));
    let (status, _) = call(&server, cat, "POST", &us, "/join-requests", ask()).await;
    assert_eq!(status, 201);
    let (status, _) = call(&server, dan, "POST", &us, "/join-requests", ask()).await;
    assert_eq!(status, 413);
    let leave = format!("/members/{}", cat.id);
    assert_eq!(call(&server, cat, "DELETE", &us, &leave, None).await.0, 204);
    let (status, _) = call(&server, dan, "POST", &us, "/join-requests", ask()).await;
    assert_eq!(status, 201, "there is room again");
}
