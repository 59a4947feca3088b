//! Changing the rules: configurations and words that change at once, versions that break and go back by themselves,
//! what was pushed and is too large. With the real plugins and the wayward guest.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, TestServer, plugins_folder};
use crate::swap;

async fn add_word(server: &TestServer, word: &str) {
    let rows = json!({"words": [{"word": word, "level": "mask"}]});
    let (status, done) = server.admin("POST", "/words", Some(rows)).await;
    assert_eq!(status, 200, "{done}");
}

async fn set_pinyin(server: &TestServer, on: bool) -> Value {
    let texts = json!({"texts": {"pinyin": on.to_string()}});
    let path = "/plugins/word-filter/config";
    let (status, done) = server.admin("PATCH", path, Some(texts)).await;
    assert_eq!(status, 200, "{done}");
    done["values"].clone()
}

async fn verdict(server: &TestServer, text: &str) -> String {
    let (status, tried) = server
        .admin("POST", "/words/test", Some(json!({"text": text})))
        .await;
    assert_eq!(status, 200, "{tried}");
    tried["verdict"].as_str().expect("a verdict").to_owned()
}

async fn activate(server: &TestServer, name: &str, version: &str, force: bool) -> (u16, Value) {
    let body = json!({"version": version, "force": force});
    let path = format!("/plugins/{name}/activate");
    server.admin("POST", &path, Some(body)).await
}

async fn row(server: &TestServer, version: &str) -> Value {
    let (_, list) = server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let found = rows.iter().find(|row| row["version"] == version);
    found.unwrap_or_else(|| panic!("no {version}")).clone()
}

#[tokio::test]
async fn words_and_settings_that_change_at_once_are_all_kept() {
    let server = TestServer::with_plugins().await;
    for round in 0..4 {
        let words = [format!("alpha{round}"), format!("beta{round}")];
        tokio::join!(
            add_word(&server, &words[0]),
            set_pinyin(&server, round % 2 == 0),
            add_word(&server, &words[1]),
        );
        for word in &words {
            assert_eq!(verdict(&server, word).await, "mask", "{word}");
        }
        let (_, shown) = server
            .admin("GET", "/plugins/word-filter/config", None)
            .await;
        assert_eq!(shown["values"]["pinyin"], round % 2 == 0);
        assert_eq!(shown["values"]["word_count"], 2 * (round + 1));
    }
}

#[tokio::test]
async fn undoing_a_configuration_undoes_no_word() {
    let mut server = TestServer::with_plugins().await;
    set_pinyin(&server, false).await;
    add_word(&server, "badger").await;
    set_pinyin(&server, true).await;
    add_word(&server, "\u{8d4c}\u{535a}").await;
    assert_eq!(verdict(&server, "du bo").await, "mask");
    let path = "/plugins/word-filter/config/rollback";
    let (status, undone) = server.admin("POST", path, Some(json!({}))).await;
    assert_eq!(status, 200, "{undone}");
    assert_eq!(undone["values"], json!({"pinyin": false, "word_count": 2}));
    assert_eq!(verdict(&server, "du bo").await, "pass");
    let (status, _) = server.admin("POST", path, Some(json!({}))).await;
    assert_eq!(status, 200, "the defaults were before");
    let (status, _) = server.admin("POST", path, Some(json!({}))).await;
    assert_eq!(status, 409, "there is nothing before");
    server.restart().await;
    for word in ["badger", "\u{8d4c}\u{535a}"] {
        assert_eq!(
            verdict(&server, word).await,
            "mask",
            "{word} after a restart"
        );
    }
}

#[tokio::test]
async fn what_config_shows_can_be_put_back() {
    let server = TestServer::with_plugins().await;
    add_word(&server, "badger").await;
    let shown = set_pinyin(&server, true).await;
    let path = "/plugins/word-filter/config";
    let (status, done) = server
        .admin("PUT", path, Some(json!({"values": shown})))
        .await;
    assert_eq!((status, &done["values"]), (200, &shown));
    assert_eq!(verdict(&server, "badger").await, "mask");
    let words = json!({"values": {"words": []}});
    let (status, refused) = server.admin("PUT", path, Some(words)).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("conflict")));
}

#[tokio::test]
async fn a_trial_of_a_text_asks_the_filters_of_every_scope() {
    let server = TestServer::with_plugins().await;
    add_word(&server, "badger").await;
    for scope in ["direct", "group", "self", "all"] {
        let path = "/plugins/word-filter/bindings/content-filter";
        let (status, done) = server
            .admin("PATCH", path, Some(json!({"scope": scope})))
            .await;
        assert_eq!(status, 200, "{done}");
        let asked = json!({"text": "a badger"});
        let (_, tried) = server.admin("POST", "/words/test", Some(asked)).await;
        let hit = json!({"start": 2, "end": 8, "level": "mask", "rule": "words"});
        assert_eq!(
            tried,
            json!({"verdict": "mask", "text": "a ******", "hits": [hit]}),
            "{scope}"
        );
    }
}

#[tokio::test]
async fn the_first_start_activates_the_whole_folder_as_one_generation() {
    let server = TestServer::with_plugins().await;
    let (_, list) = server.admin("GET", "/plugins", None).await;
    let rows = list["plugins"].as_array().expect("plugins");
    let (active, waiting): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["state"] == "active");
    assert_eq!(active.len(), 4, "{list}");
    // What wants to be granted something waits until it is.
    let names: Vec<_> = waiting
        .iter()
        .map(|row| (&row["name"], &row["state"]))
        .collect();
    assert_eq!(names, [(&json!("webhook-out"), &json!("available"))]);
    let stored = rusqlite::Connection::open(server.data().join("accounts.sqlite")).expect("opens");
    let generations: i64 = stored
        .query_row("SELECT count(*) FROM generations", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(generations, 1);
}

#[tokio::test]
async fn an_entry_whose_generation_was_not_recorded_is_still_told() {
    let server = TestServer::with_plugins().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let ack = server
        .session(&ann)
        .await
        .send_text(&bob.id, "1", "hello")
        .await["ok"]
        .clone();
    let stored = rusqlite::Connection::open(server.data().join("accounts.sqlite")).expect("opens");
    stored
        .busy_timeout(PATIENCE)
        .and_then(|()| stored.execute("DELETE FROM generations", []))
        .expect("deleted");
    let conversation = ack["conversation"].as_str().expect("an id");
    let path = format!("/conversations/{conversation}/entries/1");
    let (status, told) = server.admin("GET", &path, None).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["decision"]["hooks"][0]["outcome"], "passed", "{told}");
    assert_eq!(told["decision"]["hooks"][0]["plugin"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_version_that_traps_goes_back_by_itself_and_needs_force_to_come_again() {
    let server = swap::server().await;
    assert_eq!(
        activate(&server, "wayward", "1.0.0-good", false).await.0,
        200
    );
    assert_eq!(
        row(&server, "1.0.0-trapping").await["hooks"],
        json!(["content-filter"])
    );
    let path = "/plugins/wayward/bindings/content-filter";
    let pass = json!({"on_failed": "pass", "on_absent": "pass"});
    assert_eq!(server.admin("PATCH", path, Some(pass)).await.0, 200);
    assert_eq!(
        activate(&server, "wayward", "1.0.0-trapping", false)
            .await
            .0,
        200
    );
    // Another plugin's activation does not end the watch.
    assert_eq!(
        activate(&server, "direct-strategy", "0.1.0", false).await.0,
        200
    );

    let (ann, bob) = swap::pair(&server).await;
    let mut from = server.session(&ann).await;
    for n in 0..3 {
        let sent = from.send_text(&bob.id, &n.to_string(), "left 3").await;
        assert!(sent["ok"].is_object(), "{sent}");
    }
    let quarantined = async {
        while row(&server, "1.0.0-trapping").await["state"] != "quarantined" {
            tokio::task::yield_now().await;
        }
    };
    let gone = tokio::time::timeout(PATIENCE, quarantined).await;
    gone.expect("a rollback by itself");
    assert_eq!(row(&server, "1.0.0-good").await["state"], "active");
    let masked = from.send_text(&bob.id, "x", "left 3").await;
    assert_eq!(masked["ok"]["content"]["text"], "**** 3");

    let back = "/plugins/wayward/rollback";
    let (status, refused) = server.admin("POST", back, Some(json!({}))).await;
    assert_eq!(
        (status, refused["code"].as_str()),
        (409, Some("conflict")),
        "{refused}"
    );
    let (status, refused) = activate(&server, "wayward", "1.0.0-trapping", false).await;
    assert_eq!(status, 409, "{refused}");
    let says = refused["message"].as_str().expect("a sentence");
    assert!(
        says.contains("quarantined") && says.contains("--force"),
        "{says}"
    );
    let (status, forced) = activate(&server, "wayward", "1.0.0-trapping", true).await;
    assert_eq!((status, forced["state"].as_str()), (200, Some("active")));
    // Forced by an administrator, it is trusted again; and the good one is what a rollback goes to.
    let (status, done) = server.admin("POST", back, Some(json!({}))).await;
    assert_eq!(
        (status, done["version"].as_str()),
        (200, Some("1.0.0-good"))
    );
}

#[tokio::test]
async fn a_file_over_the_size_limit_is_answered_before_the_connection_ends() {
    let server = TestServer::bare().await;
    for size in [(32 << 20) + 1, 70 << 20] {
        let (status, refused) = server.push(vec![0; size]).await;
        assert_eq!(
            (status, refused["code"].as_str()),
            (413, Some("too_large")),
            "{refused}"
        );
        let says = refused["message"].as_str().expect("a sentence");
        assert!(says.contains("33554432"), "{says}");
    }
    let misread = server.http.post(server.admin_url("/words/test"));
    let misread = misread.bearer_auth(crate::support::BOOTSTRAP).body("{");
    let answer = misread.send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    let told: Value = answer.json().await.expect("an error object");
    assert_eq!(told["code"], "bad_request");
}

#[tokio::test]
async fn a_word_added_to_a_long_list_acts_in_seconds() {
    // Baking is several times slower in a build without optimisation.
    let (count, within) = if cfg!(debug_assertions) {
        (10_000, 15)
    } else {
        (100_000, 3)
    };
    let server = TestServer::with_plugins().await;
    let rows: Vec<_> = (0..count)
        .map(|n| json!({"word": format!("word{n}x"), "level": "mask"}))
        .collect();
    let (status, done) = server
        .admin("POST", "/words", Some(json!({"words": rows})))
        .await;
    assert_eq!(status, 200, "{done}");
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut from = server.session(&ann).await;
    let began = Instant::now();
    add_word(&server, "badger").await;
    let masked = from.send_text(&bob.id, "1", "badger").await;
    assert_eq!(masked["ok"]["content"]["text"], "******");
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(within),
        "{count} words: {took:?}"
    );
}

#[tokio::test]
async fn what_was_never_activated_is_configured_before_it_is() {
    let server = TestServer::bare().await;
    let component = std::fs::read(plugins_folder().join("direct-strategy.wasm")).expect("built");
    let (status, pushed) = server.push(component).await;
    assert_eq!(status, 201, "{pushed}");
    let config = "/plugins/direct-strategy/config";
    let change = json!({"texts": {"recall_window_s": "77"}});
    let (status, set) = server.admin("PATCH", config, Some(change)).await;
    assert_eq!(
        (status, &set["values"]["recall_window_s"]),
        (200, &json!(77)),
        "{set}"
    );
    let refused = json!({"texts": {"recall_window_s": "\"soon\""}});
    assert_eq!(server.admin("PATCH", config, Some(refused)).await.0, 400);
    let version = pushed["version"].as_str().expect("a version");
    let (status, done) = activate(&server, "direct-strategy", version, false).await;
    assert_eq!(status, 200, "{done}");
    let (_, shown) = server.admin("GET", config, None).await;
    assert_eq!(shown["values"]["recall_window_s"], 77, "{shown}");
    // The one change there was is undone: the default is back.
    let undo = format!("{config}/rollback");
    let (status, undone) = server.admin("POST", &undo, Some(json!({}))).await;
    assert_eq!(status, 200, "{undone}");
    assert_ne!(undone["values"]["recall_window_s"], 77, "{undone}");
    let (status, unknown) = server.admin("GET", "/plugins/nobody/config", None).await;
    assert_eq!(status, 404, "{unknown}");
}
