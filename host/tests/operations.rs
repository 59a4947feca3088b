//! Every operation on what was said and beside it: edit, react, reply, recall, receipts, readers, typing,
//! presence, drafts; by the protocol, with each of their errors.

mod reactions;
mod talk;

use serde_json::{Value, json};

use crate::support::TestServer;
use talk::Talk;

fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[tokio::test]
async fn an_edit_is_an_entry_and_takes_the_contents_place_everywhere() {
    let mut talk = Talk::bare().await;
    let ack = talk
        .from
        .request("edit", talk.edit(1, text("better")))
        .await["ok"]
        .clone();
    assert_eq!(
        (
            ack["seq"].as_u64(),
            ack["state"].as_str(),
            ack["id"].is_string()
        ),
        (Some(2), Some("committed"), true)
    );
    let entry = talk.entry("edit").await;
    assert_eq!(
        (&entry["target"], &entry["content"]["text"], &entry["from"]),
        (&json!(1), &json!("better"), &json!(talk.ann.id))
    );
    let page = talk.history().await;
    assert_eq!(
        (&page[0]["content"]["text"], &page[0]["edited"]),
        (&json!("better"), &json!(true))
    );
    let summary = talk.summary().await;
    assert_eq!(
        (&summary["last"]["content"]["text"], &summary["last"]["seq"]),
        (&json!("better"), &json!(1))
    );
    assert_eq!(
        (&summary["unread"], &summary["head"]),
        (&json!(1), &json!(2))
    );
}

#[tokio::test]
async fn an_edit_moves_mentions_with_its_content() {
    let mut talk = Talk::bare().await;
    let bob = talk.bob.id.clone();
    for (content, mentions) in [
        (
            json!({"type": "text", "text": "@bob", "mentions": [bob]}),
            1,
        ),
        (
            json!({"type": "text", "text": "@all", "mentions": ["all", bob]}),
            1,
        ),
        (text("nobody"), 0),
        (
            json!({"type": "text", "text": "@bob", "mentions": [bob]}),
            1,
        ),
    ] {
        talk.from
            .request("edit", talk.edit(1, content.clone()))
            .await;
        assert_eq!(talk.summary().await["mentions"], mentions, "{content}");
    }
    talk.from.request("recall", talk.at(1)).await;
    let summary = talk.summary().await;
    assert_eq!(
        (&summary["mentions"], &summary["unread"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn an_edit_with_a_client_id_is_resent_like_a_send_and_shares_its_ids() {
    let mut talk = Talk::bare().await;
    let with_id = |talk: &Talk, id: &str, words: &str| {
        let mut fields = talk.edit(1, text(words));
        fields["client_id"] = id.into();
        fields
    };
    let fields = with_id(&talk, "e", "better");
    let first = talk.from.request("edit", fields.clone()).await;
    assert_eq!(first["ok"]["seq"], 2);
    assert_eq!(
        talk.from.request("edit", fields.clone()).await["ok"],
        first["ok"]
    );
    let other = with_id(&talk, "e", "other");
    assert_eq!(code(&talk.from.request("edit", other).await), "conflict");
    // One space with sends: an edit cannot take a send's id, nor a send an edit's.
    let taken = with_id(&talk, "first", "better");
    assert_eq!(code(&talk.from.request("edit", taken).await), "conflict");
    let bob = talk.bob.id.clone();
    assert_eq!(code(&talk.from.send_text(&bob, "e", "x").await), "conflict");
    // Whatever happened to the message since, the answer stays.
    talk.from.request("recall", talk.at(1)).await;
    assert_eq!(talk.from.request("edit", fields).await["ok"], first["ok"]);
    assert_eq!(
        code(&talk.from.request("edit", talk.edit(1, text("late"))).await),
        "not_found"
    );
}

#[tokio::test]
async fn wrong_edits_get_their_documented_error() {
    let mut talk = Talk::bare().await;
    talk.from
        .request("react", talk.reaction(1, "👍", true))
        .await;
    let media = json!({"type": "image", "media": "9", "mime": "image/png", "bytes": 1});
    for (fields, expected) in [
        (talk.edit(1, json!({"type": "song"})), "bad_request"),
        (talk.edit(1, text(&"x".repeat(8001))), "too_large"),
        (talk.edit(1, media), "not_found"),
        (talk.at(1), "bad_request"),
        (talk.edit(2, text("a reaction")), "not_found"),
        (talk.edit(0, text("x")), "not_found"),
        (talk.edit(9, text("x")), "not_found"),
    ] {
        assert_eq!(
            code(&talk.from.request("edit", fields.clone()).await),
            expected,
            "{fields}"
        );
    }
    assert_eq!(
        code(&talk.to.request("edit", talk.edit(1, text("forged"))).await),
        "forbidden"
    );
}

#[tokio::test]
async fn the_strategy_closes_the_windows_of_recall_and_edit() {
    let talk = Talk::on(TestServer::with_plugins().await).await;
    let Talk {
        server,
        mut from,
        conversation,
        ..
    } = talk;
    let set = json!({"values": {"recall_window_s": 0, "edit_window_s": 0}});
    let (status, done) = server
        .admin("PUT", "/plugins/direct-strategy/config", Some(set))
        .await;
    assert_eq!(status, 200, "{done}");
    let edit = json!({"conversation": conversation, "seq": 1, "content": text("late")});
    let target = json!({"conversation": conversation, "seq": 1});
    // Windows are in whole seconds of zero: any age above none is too late.
    loop {
        match code(&from.request("edit", edit.clone()).await) {
            "no error" => tokio::task::yield_now().await,
            refused => {
                assert_eq!(refused, "too_late");
                break;
            }
        }
    }
    assert_eq!(code(&from.request("recall", target).await), "too_late");
}

#[tokio::test]
async fn filters_see_edits_mask_them_and_hold_them() {
    let mut talk = Talk::on(TestServer::with_plugins().await).await;
    let words = json!({"words": [
        {"word": "badger", "level": "mask"}, {"word": "maybe", "level": "hold"}, {"word": "spam", "level": "reject"},
    ]});
    assert_eq!(
        talk.server.admin("POST", "/words", Some(words)).await.0,
        200
    );
    let refused = talk.from.request("edit", talk.edit(1, text("spam"))).await;
    assert_eq!(code(&refused), "rejected");
    let masked = talk
        .from
        .request("edit", talk.edit(1, text("a badger")))
        .await;
    assert_eq!(masked["ok"]["content"]["text"], "a ******");
    // A held edit leaves the old text standing until it is released.
    let mut fields = talk.edit(1, text("maybe so"));
    fields["client_id"] = "held".into();
    let held = talk.from.request("edit", fields.clone()).await["ok"].clone();
    assert_eq!(
        (held["state"].as_str(), held["seq"].is_null()),
        (Some("held"), true)
    );
    assert_eq!(
        talk.from.request("edit", fields.clone()).await["ok"]["hold"],
        held["hold"]
    );
    assert_eq!(talk.history().await[0]["content"]["text"], "a ******");
    let (_, own) = talk
        .server
        .call("GET", "/v1/held", Some(&talk.ann.token), None)
        .await;
    assert_eq!(
        (&own["held"][0]["client_id"], &own["held"][0]["edits"]),
        (&json!("held"), &json!(1))
    );
    let release = format!("/held/{}/release", held["hold"].as_str().expect("a hold"));
    let (status, released) = talk.server.admin("POST", &release, Some(json!({}))).await;
    assert_eq!((status, &released["seq"]), (200, &json!(3)));
    loop {
        if talk.entry("edit").await["content"]["text"] == "maybe so" {
            break;
        }
    }
    assert_eq!(talk.history().await[0]["content"]["text"], "maybe so");
    assert_eq!(talk.from.request("edit", fields).await["ok"]["seq"], 3);
}

#[tokio::test]
async fn a_recall_takes_edits_that_are_held_with_it() {
    let mut talk = Talk::on(TestServer::with_plugins().await).await;
    let words = json!({"words": [{"word": "maybe", "level": "hold"}]});
    assert_eq!(
        talk.server.admin("POST", "/words", Some(words)).await.0,
        200
    );
    let held = talk
        .from
        .request("edit", talk.edit(1, text("maybe so")))
        .await["ok"]
        .clone();
    let hold = held["hold"].as_str().expect("a hold").to_owned();
    assert!(talk.from.request("recall", talk.at(1)).await["ok"].is_object());
    let (_, own) = talk
        .server
        .call("GET", "/v1/held", Some(&talk.ann.token), None)
        .await;
    assert_eq!(
        (
            &own["held"][0]["state"],
            &own["held"][0]["reason"],
            &own["held"][0]["content"]
        ),
        (&json!("refused"), &json!("recalled"), &Value::Null)
    );
    let release = format!("/held/{hold}/release");
    assert_eq!(
        talk.server.admin("POST", &release, Some(json!({}))).await.0,
        404
    );
}

#[tokio::test]
async fn a_resend_is_answered_as_the_first_time_until_a_recall_erases_what_it_carried() {
    let mut talk = Talk::on(TestServer::with_plugins().await).await;
    let words = json!({"words": [{"word": "badger", "level": "mask"}]});
    assert_eq!(
        talk.server.admin("POST", "/words", Some(words)).await.0,
        200
    );
    let bob = talk.bob.id.clone();
    let first = talk.from.send_text(&bob, "m", "a badger").await["ok"].clone();
    assert_eq!(first["content"]["text"], "a ******");
    talk.from
        .request("edit", talk.edit(2, text("edited")))
        .await;
    assert_eq!(
        talk.from.send_text(&bob, "m", "a badger").await["ok"],
        first
    );
    talk.from.request("recall", talk.at(2)).await;
    let mut bare = first;
    bare.as_object_mut().expect("an ack").remove("content");
    assert_eq!(talk.from.send_text(&bob, "m", "a badger").await["ok"], bare);
}

#[tokio::test]
async fn a_reply_names_an_entry_that_its_author_may_see() {
    let mut talk = Talk::bare().await;
    let reply = |talk: &Talk, id: &str, seq: u64| json!({"to": {"conversation": talk.conversation}, "client_id": id, "content": text("re"), "reply_to": seq});
    let ack = talk.to.request("send", reply(&talk, "1", 1)).await;
    assert_eq!(ack["ok"]["seq"], 2);
    assert_eq!(talk.history().await[1]["reply_to"], 1);
    assert_eq!(
        code(&talk.to.request("send", reply(&talk, "2", 0)).await),
        "bad_request"
    );
    assert_eq!(
        code(&talk.to.request("send", reply(&talk, "2", 7)).await),
        "not_found"
    );
    assert_eq!(
        talk.to.request("send", reply(&talk, "2", 2)).await["ok"]["seq"],
        3
    );
}

#[tokio::test]
async fn readers_counts_the_sender_and_pages_who_read() {
    let mut talk = Talk::bare().await;
    let mut readers = talk.to.request("readers", talk.at(1)).await["ok"].clone();
    assert_eq!(
        readers,
        json!({"received": 1, "read": 1, "users": [talk.ann.id]})
    );
    talk.to.request("received", talk.at(1)).await;
    readers = talk.from.request("readers", talk.at(1)).await["ok"].clone();
    assert_eq!(
        (&readers["received"], &readers["read"]),
        (&json!(2), &json!(1))
    );
    talk.to.request("read", talk.at(1)).await;
    let mut page = talk.at(1);
    page["limit"] = 1.into();
    let mut users = Vec::new();
    loop {
        readers = talk.from.request("readers", page.clone()).await["ok"].clone();
        assert_eq!(readers["read"], 2);
        users.extend(readers["users"].as_array().expect("users").clone());
        match readers["cursor"].as_str() {
            Some(cursor) => page["cursor"] = cursor.into(),
            None => break,
        }
    }
    assert_eq!(users.len(), 2);
    assert!(users.contains(&json!(talk.ann.id)) && users.contains(&json!(talk.bob.id)));
    for (fields, expected) in [
        (talk.at(9), "not_found"),
        (talk.at(0), "not_found"),
        (json!({"conversation": talk.conversation}), "bad_request"),
        (
            json!({"conversation": talk.conversation, "seq": 1, "cursor": "x"}),
            "bad_request",
        ),
        (
            json!({"conversation": talk.conversation, "seq": 1, "limit": 0}),
            "bad_request",
        ),
    ] {
        assert_eq!(
            code(&talk.from.request("readers", fields.clone()).await),
            expected,
            "{fields}"
        );
    }
}

#[tokio::test]
async fn strangers_find_nothing_by_any_operation() {
    let mut talk = Talk::bare().await;
    let eve = talk.server.user("eve").await;
    let mut stranger = talk.server.session(&eve).await;
    for (op, fields) in [
        ("edit", talk.edit(1, text("x"))),
        ("react", talk.reaction(1, "👍", true)),
        ("readers", talk.at(1)),
        (
            "typing",
            json!({"conversation": talk.conversation, "on": true}),
        ),
        (
            "draft",
            json!({"conversation": talk.conversation, "text": "x"}),
        ),
        (
            "prefs",
            json!({"conversation": talk.conversation, "pinned": true}),
        ),
    ] {
        assert_eq!(
            code(&stranger.request(op, fields).await),
            "not_found",
            "{op}"
        );
    }
    assert_eq!(talk.history().await.len(), 1);
}
