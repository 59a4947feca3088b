//! Bans and administrators' rules through the public protocol: who is kept out, from when to when, and what rules make the
//! host do. With the warden, a guest of these tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{Ended, PATIENCE, TestServer, TestUser};

/// The warden's component, built once a run.
pub fn warden() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/warden");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("warden");
        std::fs::create_dir_all(&target).expect("a folder for the component");
        let out = target.join("warden.wasm");
        kith::guest::build(&folder, Some(&out), None, &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    })
}

/// A server with the first-party plugins on which the warden serves.
pub async fn guarded() -> TestServer {
    let component = tokio::task::spawn_blocking(warden)
        .await
        .expect("the guest");
    let server = TestServer::with_plugins().await;
    let (status, pushed) = server.push(component.to_vec()).await;
    assert_eq!(status, 201, "{pushed}");
    let body = json!({"version": "1.0.0"});
    let (status, done) = server
        .admin("POST", "/plugins/warden/activate", Some(body))
        .await;
    assert_eq!(status, 200, "{done}");
    server
}

async fn ban(server: &TestServer, wish: Value) -> String {
    let (status, made) = server.admin("POST", "/bans", Some(wish)).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().expect("an id").to_owned()
}

async fn lift(server: &TestServer, id: &str) {
    let (status, _) = server.admin("DELETE", &format!("/bans/{id}"), None).await;
    assert_eq!(status, 204);
}

/// What the token endpoint answers to a sign-in: `ok` or the error.
async fn sign_in(server: &TestServer, username: &str, device: &str) -> String {
    let form = [
        ("grant_type", "password"),
        ("username", username),
        ("password", "password-1"),
        ("device_id", device),
        ("device_kind", "web"),
    ];
    outcome(server.token_call(&form).await)
}

async fn refresh(server: &TestServer, user: &TestUser) -> String {
    let token = user.tokens["refresh_token"].as_str().expect("a token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    outcome(server.token_call(&form).await)
}

fn outcome((status, answer): (u16, Value)) -> String {
    match status {
        200 => "ok".to_owned(),
        _ => {
            let error = answer["error"].as_str().or(answer["code"].as_str());
            error.expect("an error").to_owned()
        }
    }
}

/// What a `hello` is answered with: `ok` or the code, and how the connection ended then.
async fn hello(server: &TestServer, user: &TestUser) -> (String, Option<Ended>) {
    let mut socket = server.connect(None).await;
    let answer = socket.hello(&user.token, "phone").await;
    match answer["err"]["code"].as_str() {
        None => ("ok".to_owned(), None),
        Some(code) => (code.to_owned(), Some(socket.end().await.1)),
    }
}

async fn register(server: &TestServer, username: &str) -> (u16, Value) {
    let body = json!({"username": username, "password": "password-1"});
    server.call("POST", "/v1/users", None, Some(body)).await
}

async fn me(server: &TestServer, user: &TestUser) -> u16 {
    server
        .call("GET", "/v1/me", Some(&user.token), None)
        .await
        .0
}

fn banned() -> (String, Option<Ended>) {
    ("banned".to_owned(), Some(Ended::Closed(4403)))
}

#[tokio::test]
async fn a_banned_user_is_put_out_and_kept_out_until_the_ban_is_lifted() {
    let mut server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut session = server.session(&ann).await;
    let id = ban(&server, json!({"kind": "user", "subject": ann.username})).await;
    assert_eq!(
        session.end().await,
        (Some("banned".to_owned()), Ended::Closed(4403))
    );
    server.restart().await;
    assert_eq!(
        sign_in(&server, &ann.username, "tablet").await,
        "invalid_grant"
    );
    assert_eq!(refresh(&server, &ann).await, "invalid_grant");
    assert_eq!(hello(&server, &ann).await, banned());
    assert_eq!(me(&server, &ann).await, 403);
    assert_eq!(me(&server, &bob).await, 200);
    lift(&server, &id).await;
    assert_eq!(me(&server, &ann).await, 200);
    assert_eq!(hello(&server, &ann).await.0, "ok");
    assert_eq!(
        refresh(&server, &ann).await,
        "ok",
        "its token was not used up"
    );
}

#[tokio::test]
async fn a_ban_for_a_time_ends_by_itself() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let wish = json!({"kind": "user", "subject": ann.id, "seconds": 1});
    ban(&server, wish).await;
    assert_eq!(me(&server, &ann).await, 403);
    let over = async {
        while me(&server, &ann).await == 403 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("its end");
    assert_eq!(me(&server, &ann).await, 200);
    let (_, list) = server.admin("GET", "/bans", None).await;
    assert_eq!(list["bans"], json!([]));
}

#[tokio::test]
async fn a_banned_device_is_out_whoevers_it_is() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let tablet = server.sign_in(&bob.username, "tablet").await;
    let tablet = tablet["access_token"].as_str().expect("a token").to_owned();
    let mut session = server.session(&ann).await;
    ban(&server, json!({"kind": "device", "subject": "phone"})).await;
    assert_eq!(session.end().await.0.as_deref(), Some("banned"));
    assert_eq!(
        (me(&server, &ann).await, me(&server, &bob).await),
        (403, 403)
    );
    let other = server.call("GET", "/v1/me", Some(&tablet), None).await;
    assert_eq!(other.0, 200, "another device of the same user");
    assert_eq!(
        sign_in(&server, &ann.username, "phone").await,
        "invalid_grant"
    );
    assert_eq!(refresh(&server, &ann).await, "invalid_grant");
    assert_eq!(sign_in(&server, &ann.username, "desk").await, "ok");
}

#[tokio::test]
async fn nobody_comes_in_from_a_banned_address() {
    let server = TestServer::bare().await;
    let ann = server.user("ann").await;
    let id = ban(&server, json!({"kind": "address", "subject": "127.0.0.1"})).await;
    let (status, refused) = register(&server, "newcomer").await;
    assert_eq!((status, &refused["code"]), (403, &json!("banned")));
    assert_eq!(
        sign_in(&server, &ann.username, "desk").await,
        "invalid_grant"
    );
    assert_eq!(refresh(&server, &ann).await, "invalid_grant");
    assert_eq!(hello(&server, &ann).await, banned());
    lift(&server, &id).await;
    assert_eq!(register(&server, "newcomer").await.0, 201);
    assert_eq!(hello(&server, &ann).await.0, "ok");
}

#[tokio::test]
async fn whoever_may_not_speak_reads_on() {
    let server = TestServer::bare().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    let first = socket.send_text(&bob.id, "1", "hello").await;
    let conversation = first["ok"]["conversation"].clone();
    let id = ban(&server, json!({"kind": "speech", "subject": ann.username})).await;
    let refused = socket.send_text(&bob.id, "2", "hello?").await;
    assert_eq!(refused["err"]["code"], "muted");
    let content = json!({"type": "text", "text": "other"});
    let edit = json!({"conversation": conversation, "seq": 1, "content": content});
    assert_eq!(socket.request("edit", edit).await["err"]["code"], "muted");
    assert_eq!(
        socket.send_text(&bob.id, "1", "hello").await["ok"],
        first["ok"],
        "what was answered is answered again"
    );
    let read = json!({"conversation": conversation});
    assert_eq!(socket.request("history", read).await["ok"]["head"], 1);
    lift(&server, &id).await;
    assert_eq!(
        socket.send_text(&bob.id, "2", "hello?").await["ok"]["seq"],
        2
    );
}

#[tokio::test]
async fn rules_say_who_registers_signs_in_and_connects() {
    let server = guarded().await;
    let (status, refused) = register(&server, "deny-register").await;
    assert_eq!(
        (status, &refused["by"], &refused["reason"]),
        (422, &json!("warden"), &json!("unwanted"))
    );
    for (name, wanted) in [
        ("deny-login", "invalid_grant"),
        ("approve-login", "invalid_grant"),
        ("fall-login", "invalid_grant"),
        ("peter", "ok"),
    ] {
        assert_eq!(register(&server, name).await.0, 201, "{name}");
        assert_eq!(sign_in(&server, name, "desk").await, wanted, "{name}");
    }
    let (kept_out, let_in) = (server.user("deny-connect").await, server.user("ann").await);
    let refused = ("rejected".to_owned(), Some(Ended::Closed(4403)));
    assert_eq!(hello(&server, &kept_out).await, refused);
    assert_eq!(hello(&server, &let_in).await.0, "ok");
    // A rule that fails keeps out.
    let (status, failed) = register(&server, "fall-register").await;
    assert_eq!((status, &failed["code"]), (422, &json!("rejected")));
    // With the rules away everybody is let in.
    let path = "/plugins/warden/disable";
    assert_eq!(server.admin("POST", path, Some(json!({}))).await.0, 200);
    assert_eq!(register(&server, "deny-register").await.0, 201);
    assert_eq!(hello(&server, &kept_out).await.0, "ok");
}

#[tokio::test]
async fn a_registration_that_needs_approval_waits_for_an_administrator() {
    let server = guarded().await;
    let (status, made) = register(&server, "approve-register").await;
    assert_eq!((status, &made["approval"]), (201, &json!("waiting")));
    assert_eq!(
        sign_in(&server, "approve-register", "desk").await,
        "invalid_grant"
    );
    assert_eq!(
        notices(&server).await,
        ["register of approve-register needs approval: look-first"]
    );
    let path = "/users/approve-register/enable";
    assert_eq!(server.admin("POST", path, Some(json!({}))).await.0, 200);
    assert_eq!(sign_in(&server, "approve-register", "desk").await, "ok");
}

#[tokio::test]
async fn what_a_rule_keeps_has_the_room_it_was_granted_and_no_more() {
    let server = guarded().await;
    let path = "/plugins/warden/grants";
    let grant = async |grants: &str| {
        let granted = server.admin("POST", path, Some(json!({"grants": grants})));
        let (status, done) = granted.await;
        assert_eq!(status, 200, "{done}");
    };
    let values = async || {
        let (_, report) = server.admin("GET", "/plugins/warden/consumers", None).await;
        report["values"]["bytes"].as_u64().expect("a count")
    };
    grant("kv:bytes=1000").await;
    // Each keeps 400 bytes under a name; whoever finds no room is let in all the same.
    let mut full = 0;
    for (name, has_room) in [
        ("keep-one", true),
        ("keep-two", true),
        ("keep-three", false),
    ] {
        assert_eq!(register(&server, name).await.0, 201, "{name}");
        let bytes = values().await;
        assert_eq!(bytes > full, has_room, "{name}: {bytes} after {full}");
        full = bytes;
    }
    assert!((800..=1000).contains(&full), "two are kept: {full}");
    // What is forgotten makes room, and so does a wider grant.
    assert_eq!(register(&server, "drop-keep-one").await.0, 201);
    assert!(values().await < full);
    assert_eq!(register(&server, "keep-four").await.0, 201);
    assert!(values().await > 800, "the room is taken again");
    grant("kv:bytes=2000").await;
    assert_eq!(register(&server, "keep-five").await.0, 201);
    let bytes = values().await;
    assert!((1200..=2000).contains(&bytes), "{bytes}");
}

/// What administrators were told, oldest first.
async fn notices(server: &TestServer) -> Vec<String> {
    let (status, page) = server.admin("GET", "/notices", None).await;
    assert_eq!(status, 200);
    let rows = page["notices"].as_array().expect("notices").iter().rev();
    rows.map(|row| row["text"].as_str().expect("a text").to_owned())
        .collect()
}

async fn report(server: &TestServer, by: &TestUser, whom: &TestUser, reason: &str) -> u16 {
    let body = json!({"user": whom.id, "reason": reason});
    let filed = server.call("POST", "/v1/reports", Some(&by.token), Some(body));
    filed.await.0
}

#[tokio::test]
async fn a_report_may_have_consequences() {
    let server = guarded().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut session = server.session(&bob).await;
    assert_eq!(
        report(&server, &ann, &bob, "fall").await,
        201,
        "a rule that fails abstains"
    );
    assert_eq!(report(&server, &ann, &bob, "other").await, 201);
    assert_eq!(me(&server, &bob).await, 200);
    assert_eq!(report(&server, &ann, &bob, "noise").await, 201);
    let refused = session.send_text(&ann.id, "1", "hello").await;
    assert_eq!(refused["err"]["code"], "muted");
    assert_eq!(report(&server, &ann, &bob, "out").await, 201);
    assert_eq!(session.end().await.0.as_deref(), Some("kicked"));
    let mut session = server.session(&bob).await;
    assert_eq!(report(&server, &ann, &bob, "spam").await, 201);
    assert_eq!(session.end().await.0.as_deref(), Some("banned"));
    assert_eq!(
        (me(&server, &bob).await, me(&server, &ann).await),
        (403, 200)
    );
    let (_, list) = server.admin("GET", "/bans", None).await;
    let made = list["bans"]
        .as_array()
        .expect("bans")
        .last()
        .expect("a ban")
        .clone();
    assert_eq!(
        (&made["kind"], &made["by"], &made["reason"]),
        (
            &json!("user"),
            &json!("plugin:warden"),
            &json!("reported for spam")
        )
    );
    let (_, users) = server
        .admin("GET", &format!("/users?query={}", bob.username), None)
        .await;
    assert_eq!(users["users"][0]["labels"], json!(["spammer"]));
    assert_eq!(notices(&server).await, ["somebody was reported for spam"]);
    // A rule never shortens what is in force.
    ban(&server, json!({"kind": "user", "subject": bob.id})).await;
    assert_eq!(report(&server, &ann, &bob, "spam").await, 201);
    let (_, list) = server.admin("GET", "/bans", None).await;
    let made = list["bans"]
        .as_array()
        .expect("bans")
        .last()
        .expect("a ban")
        .clone();
    assert!(
        made["until"].is_null() && made["by"] == "bootstrap",
        "{made}"
    );
}

#[tokio::test]
async fn rules_are_told_what_filters_flag() {
    let server = guarded().await;
    crate::filter::add_words(&server, "reject", &["spam"]).await;
    crate::filter::add_words(&server, "hold", &["maybe"]).await;
    crate::filter::add_words(&server, "mask", &["badger"]).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut socket = server.session(&ann).await;
    for (id, text) in [("1", "badger"), ("2", "spam"), ("3", "maybe")] {
        socket.send_text(&bob.id, id, text).await;
    }
    let told = async {
        loop {
            let told = notices(&server).await;
            if told.len() >= 2 {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    let told = tokio::time::timeout(PATIENCE, told).await.expect("told");
    assert_eq!(told, ["reject by word-filter", "hold by word-filter"]);
    let (_, page) = server.admin("GET", "/notices", None).await;
    assert_eq!(page["notices"][0]["user"], ann.id.as_str());
}

#[tokio::test]
async fn rules_say_what_administrators_may_do() {
    let server = guarded().await;
    let ann = server.user("ann").await;
    let token = |name: &str| server.admin("POST", "/tokens", Some(json!({"name": name})));
    let (status, refused) = token("forbidden").await;
    assert_eq!(
        (status, &refused["reason"]),
        (422, &json!("no-more-tokens"))
    );
    // The first lasting token ends the bootstrap's: both administrators are made before.
    let (_, first) = token("first").await;
    let first = first["token"].as_str().expect("a token").to_owned();
    let second = {
        let call = server
            .http
            .post(server.admin_url("/tokens"))
            .bearer_auth(&first);
        let made = call.json(&json!({"name": "second"})).send().await;
        let made: Value = made.expect("an answer").json().await.expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
    };
    let disable = |token: &str| {
        let path = format!("/users/{}/disable", ann.username);
        let call = server.http.post(server.admin_url(&path)).bearer_auth(token);
        async move { call.send().await.expect("an answer").status().as_u16() }
    };
    // One administrator alone does not, however often; a second one does.
    assert_eq!((disable(&first).await, disable(&first).await), (403, 403));
    assert_eq!(me(&server, &ann).await, 200);
    assert_eq!(disable(&second).await, 200);
    assert_eq!(me(&server, &ann).await, 403);
    assert_eq!(disable(&second).await, 403, "the wish is done with");
}

#[tokio::test]
async fn a_rule_bans_a_device_for_a_time() {
    let server = guarded().await;
    assert_eq!(register(&server, "ban-device").await.0, 201);
    assert_eq!(sign_in(&server, "ban-device", "desk").await, "ok");
    assert_eq!(
        sign_in(&server, "ban-device", "burned").await,
        "invalid_grant"
    );
    let other = server.user("ann").await;
    assert_eq!(
        sign_in(&server, &other.username, "burned").await,
        "invalid_grant"
    );
    let (_, list) = server.admin("GET", "/bans", None).await;
    let made = &list["bans"][0];
    let lasts = made["until"].as_u64().expect("an end") - made["at"].as_u64().expect("a time");
    assert_eq!(
        (&made["kind"], &made["subject"], lasts),
        (&json!("device"), &json!("burned"), 60_000)
    );
}
