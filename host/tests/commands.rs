//! Commands through the public protocol: what a user types as `/name` is answered and not stored, the same again for the
//! same client id; and what plugins wrote with it they read again. With the clerk, a guest of these tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

/// The clerk's component, built once a run.
pub fn clerk() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/clerk");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clerk");
        std::fs::create_dir_all(&target).expect("a folder for the component");
        let out = target.join("clerk.wasm");
        kith::guest::build(&folder, Some(&out), None, &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    })
}

struct Office {
    server: TestServer,
    ann: TestUser,
    bob: TestUser,
}

impl Office {
    /// A server with the first-party plugins on which the clerk serves.
    async fn open() -> Self {
        let component = tokio::task::spawn_blocking(clerk).await.expect("the guest");
        let server = TestServer::with_plugins().await;
        let (status, pushed) = server.push(component.to_vec()).await;
        assert_eq!(status, 201, "{pushed}");
        let (ann, bob) = (server.user("ann").await, server.user("bob").await);
        let office = Self { server, ann, bob };
        let (status, done) = office.activate().await;
        assert_eq!(status, 200, "{done}");
        office
    }

    async fn activate(&self) -> (u16, Value) {
        let body = json!({"version": "1.0.0"});
        let path = "/plugins/clerk/activate";
        self.server.admin("POST", path, Some(body)).await
    }

    async fn ann(&self) -> TestSocket {
        self.server.session(&self.ann).await
    }

    /// How many entries there are between the two.
    async fn head(&self) -> u64 {
        let mut socket = self.server.session(&self.bob).await;
        let list = socket.request("conversations", json!({})).await;
        let conversations = list["ok"]["conversations"].as_array().expect("a list");
        conversations
            .first()
            .map_or(0, |summary| summary["head"].as_u64().expect("a head"))
    }

    async fn canned(&self, replies: Value) -> (u16, Value) {
        let body = json!({"values": {"replies": replies}});
        let path = "/plugins/canned-replies/config";
        self.server.admin("PUT", path, Some(body)).await
    }
}

fn said(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn reply(answer: &Value) -> &str {
    let ok = &answer["ok"];
    assert_eq!(ok["state"], "command", "{answer}");
    assert!(
        ok["seq"].is_null() && ok["conversation"].is_string(),
        "{answer}"
    );
    ok["reply"]["text"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_command_is_answered_to_its_sender_alone_and_not_stored() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let answer = ann.send_text(&office.bob.id, "1", "/count").await;
    assert_eq!(reply(&answer), "1");
    let quiet = ann.send_text(&office.bob.id, "2", "/quiet now").await;
    assert_eq!(quiet["ok"]["state"], "command");
    assert!(quiet["ok"]["reply"].is_null(), "{quiet}");
    assert_eq!(office.head().await, 0, "nothing was stored");
    let plain = ann.send_text(&office.bob.id, "3", "hello").await;
    assert_eq!(plain["ok"]["seq"], 1);
}

#[tokio::test]
async fn the_same_client_id_gets_the_same_answer_and_counts_once() {
    let mut office = Office::open().await;
    let mut ann = office.ann().await;
    let first = ann.send_text(&office.bob.id, "1", "/count").await;
    assert_eq!(
        ann.send_text(&office.bob.id, "1", "/count").await["ok"],
        first["ok"]
    );
    let other = ann.send_text(&office.bob.id, "1", "/noted").await;
    assert_eq!(other["err"]["code"], "conflict");
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "2", "/count").await),
        "2"
    );
    office.server.restart().await;
    let mut ann = office.ann().await;
    assert_eq!(
        ann.send_text(&office.bob.id, "1", "/count").await["ok"],
        first["ok"]
    );
    // The answer outlives the plugin, too: what was a command stays one for its client id.
    let path = "/plugins/clerk/disable";
    assert_eq!(
        office.server.admin("POST", path, Some(json!({}))).await.0,
        200
    );
    assert_eq!(
        ann.send_text(&office.bob.id, "1", "/count").await["ok"],
        first["ok"]
    );
    let text = ann.send_text(&office.bob.id, "3", "/count").await;
    assert_eq!(
        text["ok"]["state"], "committed",
        "an unbound name is a text"
    );
}

#[tokio::test]
async fn two_slashes_and_unbound_names_are_texts() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let mut bob = office.server.session(&office.bob).await;
    let escaped = ann.send_text(&office.bob.id, "1", "//count me in").await;
    assert_eq!(escaped["ok"]["content"], said("/count me in"), "{escaped}");
    assert_eq!(
        bob.event("entry").await["entry"]["content"],
        said("/count me in")
    );
    for (id, text) in [
        ("2", "/unknown"),
        ("3", "// count"),
        ("4", "/counts"),
        ("5", "/usr/bin"),
    ] {
        let sent = ann.send_text(&office.bob.id, id, text).await;
        assert!(sent["ok"]["content"].is_null(), "{sent}");
        assert_eq!(bob.event("entry").await["entry"]["content"], said(text));
    }
    // An edit is no command.
    let conversation = escaped["ok"]["conversation"].clone();
    let edit = json!({"conversation": conversation, "seq": 1, "content": said("/count")});
    assert_eq!(ann.request("edit", edit).await["ok"]["seq"], 6);
}

#[tokio::test]
async fn what_a_command_sends_is_judged_as_any_message() {
    let office = Office::open().await;
    crate::filter::add_words(&office.server, "mask", &["badger"]).await;
    crate::filter::add_words(&office.server, "reject", &["spam"]).await;
    let mut ann = office.ann().await;
    let mut bob = office.server.session(&office.bob).await;
    let sent = ann
        .send_text(&office.bob.id, "1", "/shout hey badger")
        .await;
    assert_eq!(sent["ok"]["content"], said("HEY ******"), "{sent}");
    assert_eq!(
        bob.event("entry").await["entry"]["content"],
        said("HEY ******")
    );
    let conversation = sent["ok"]["conversation"].as_str().expect("an id");
    let path = format!("/conversations/{conversation}/entries/1");
    let (_, shown) = office.server.admin("GET", &path, None).await;
    let hooks = shown["decision"]["hooks"].as_array().expect("hooks");
    assert_eq!(
        (&hooks[0]["hook"], &hooks[0]["plugin"], &hooks[0]["outcome"]),
        (&json!("command"), &json!("clerk"), &json!("replaced"))
    );
    let refused = ann.send_text(&office.bob.id, "2", "/shout spam").await;
    assert_eq!(refused["err"]["by"], "word-filter");
    // Its effect was to commit with the message.
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "3", "/noted").await),
        "hey badger"
    );
    let passed = ann.send_text(&office.bob.id, "4", "/pass it on").await;
    assert!(
        passed["ok"]["content"].is_null() && passed["ok"]["seq"] == 2,
        "{passed}"
    );
}

#[tokio::test]
async fn refusals_and_failures_store_nothing() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let refused = ann.send_text(&office.bob.id, "1", "/no").await;
    assert_eq!(
        (
            &refused["err"]["code"],
            &refused["err"]["by"],
            &refused["err"]["reason"]
        ),
        (&json!("rejected"), &json!("clerk"), &json!("not-today"))
    );
    for text in ["/fall", "/picture"] {
        let failed = ann.send_text(&office.bob.id, "1", text).await;
        assert_eq!(failed["err"]["code"], "unavailable", "{text}: {failed}");
        assert!(failed["err"]["retry_after_ms"].is_u64());
    }
    // The client id is free again, and nothing was written.
    let noted = ann.send_text(&office.bob.id, "1", "/noted").await;
    assert_eq!(reply(&noted), "nothing");
    assert_eq!(office.head().await, 0);
}

#[tokio::test]
async fn the_host_tells_the_plugin_who_types_where() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let (ann_id, bob_id) = (&office.ann.id, &office.bob.id);
    ann.send_text(bob_id, "0", "hello").await;
    let content = json!({"type": "text", "text": "/facts  so it is ", "mentions": [bob_id]});
    let fields =
        json!({"to": {"user": bob_id}, "client_id": "1", "content": content, "reply_to": 1});
    let answer = ann.request("send", fields).await;
    assert_eq!(
        reply(&answer),
        format!("{ann_id} member direct {bob_id} false so it is [\"{bob_id}\"] 1")
    );
    let group = json!({"title": "us", "members": [bob_id]});
    let (_, group) = office
        .server
        .call("POST", "/v1/groups", Some(&office.ann.token), Some(group))
        .await;
    let fields =
        json!({"to": {"conversation": group["id"]}, "client_id": "1", "content": said("/facts")});
    let answer = ann.request("send", fields).await;
    assert!(
        reply(&answer).starts_with(&format!("{ann_id} owner group  false")),
        "{answer}"
    );
}

#[tokio::test]
async fn over_rest_a_command_is_answered_with_200() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let first = ann.send_text(&office.bob.id, "0", "hello").await;
    let conversation = first["ok"]["conversation"].as_str().expect("an id");
    let path = format!("/v1/conversations/{conversation}/entries");
    let body = json!({"client_id": "1", "content": said("/count")});
    let mut answers = Vec::new();
    for _ in 0..2 {
        let sent = office
            .server
            .call("POST", &path, Some(&office.ann.token), Some(body.clone()));
        answers.push(sent.await);
    }
    assert_eq!(answers[0].0, 200);
    assert_eq!(
        answers[0].1,
        json!({"conversation": conversation, "state": "command", "reply": said("1")})
    );
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn who_may_not_speak_here_has_no_commands() {
    let office = Office::open().await;
    let cat = office.server.user("cat").await;
    let group = json!({"title": "us", "members": [office.bob.id]});
    let (_, group) = office
        .server
        .call("POST", "/v1/groups", Some(&office.ann.token), Some(group))
        .await;
    let id = group["id"].as_str().expect("an id");
    let mute = json!({"muted_until": 9_999_999_999_999_u64});
    let path = format!("/v1/groups/{id}/members/{}", office.bob.id);
    let muted = office
        .server
        .call("PATCH", &path, Some(&office.ann.token), Some(mute));
    assert_eq!(muted.await.0, 200);
    let fields = json!({"to": {"conversation": id}, "client_id": "1", "content": said("/count")});
    let mut bob = office.server.session(&office.bob).await;
    assert_eq!(
        bob.request("send", fields.clone()).await["err"]["code"],
        "muted"
    );
    let mut stranger = office.server.session(&cat).await;
    assert_eq!(
        stranger.request("send", fields).await["err"]["code"],
        "not_found"
    );
}

#[tokio::test]
async fn a_name_has_one_owner() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let (status, refused) = office
        .canned(json!([{"name": "count", "text": "one"}]))
        .await;
    assert_eq!(status, 409, "{refused}");
    let why = refused["message"].as_str().expect("a sentence");
    assert!(
        why.starts_with("/count is answered by the plugin clerk"),
        "{why}"
    );
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "1", "/count").await),
        "1"
    );
    // With the clerk away the name is free, and then the clerk cannot come back.
    let path = "/plugins/clerk/disable";
    assert_eq!(
        office.server.admin("POST", path, Some(json!({}))).await.0,
        200
    );
    let replies =
        json!([{"name": "count", "text": "one {arguments}"}, {"name": "hours", "text": "9 to 5"}]);
    let (status, done) = office.canned(replies).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "2", "/count two").await),
        "one two"
    );
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "3", "/hours").await),
        "9 to 5"
    );
    for (path, body) in [
        ("/plugins/clerk/enable", json!({})),
        ("/plugins/clerk/activate", json!({"version": "1.0.0"})),
    ] {
        let (status, refused) = office.server.admin("POST", path, Some(body)).await;
        assert_eq!(status, 409, "{path}: {refused}");
    }
    let (_, list) = office.server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let listed = |name: &str| {
        rows.iter()
            .find(|row| row["name"] == name)
            .expect("a plugin")
    };
    assert_eq!(
        listed("canned-replies")["commands"],
        json!(["count", "hours"])
    );
    assert!(listed("word-filter")["commands"].is_null());
    let (status, done) = office.canned(json!([])).await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(office.activate().await.0, 200);
    assert_eq!(
        reply(&ann.send_text(&office.bob.id, "4", "/count").await),
        "2"
    );
}

#[tokio::test]
async fn an_absent_plugins_commands_do_not_become_messages() {
    let mut office = Office::open().await;
    // Its strategy, absent too, is not what answers here.
    let path = "/plugins/clerk/bindings/message-strategy";
    let pass = json!({"on_absent": "pass"});
    let (status, bound) = office.server.admin("PATCH", path, Some(pass)).await;
    assert_eq!(status, 200, "{bound}");
    office.server.stop().await;
    // Its component is damaged: what is left of it cannot be loaded.
    let tables = rusqlite::Connection::open(office.server.data().join("accounts.sqlite"));
    let tables = tables.expect("the tables");
    let changed = tables.execute(
        "UPDATE components SET component = x'00' WHERE digest IN (SELECT digest FROM plugins WHERE name = 'clerk')",
        [],
    );
    assert_eq!(changed.expect("changes"), 1);
    drop(tables);
    std::fs::remove_dir_all(office.server.data().join("plugin-cache")).expect("the cache");
    office.server.start().await;
    let mut ann = office.ann().await;
    let answer = ann.send_text(&office.bob.id, "1", "/count").await;
    assert_eq!(answer["err"]["code"], "unavailable", "{answer}");
    assert_eq!(office.head().await, 0);
    let text = ann.send_text(&office.bob.id, "2", "hello").await;
    assert_eq!(text["ok"]["seq"], 1);
}

#[tokio::test]
async fn strategies_read_what_was_committed() {
    let office = Office::open().await;
    let mut ann = office.ann().await;
    let before = ann.send_text(&office.bob.id, "1", "what is noted").await;
    assert_eq!(before["ok"]["content"], said("nothing"));
    ann.send_text(&office.bob.id, "2", "note the milk").await;
    let after = ann.send_text(&office.bob.id, "3", "what is noted").await;
    assert_eq!(after["ok"]["content"], said("the milk"));
    let sent = ann.send_text(&office.bob.id, "4", "/say-note").await;
    assert_eq!(sent["ok"]["content"], said("the milk"));
}

#[tokio::test]
async fn the_terminal_shows_the_private_answer() {
    let office = Office::open().await;
    let mut ann = crate::terminal::keyboard::Chat::begin(&office.server, "dora").await;
    ann.types(&format!(":open {}", office.bob.username)).await;
    ann.sees("nothing was said between you").await;
    ann.types("/count").await;
    ann.sees("/ 1").await;
    ann.types("/quiet").await;
    ann.sees("/ done").await;
    // The conversation is not there yet, and can still be written to.
    ann.types("hello").await;
    ann.sees("#1 you: hello ✓").await;
}
