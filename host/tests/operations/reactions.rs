//! Reactions: counted once, taken back once, refused where they are no emoji or about no message; and what a block
//! ends. By the protocol.

use serde_json::json;

use super::talk::Talk;
use super::{code, text};
use crate::support::TestServer;

#[tokio::test]
async fn a_reaction_is_an_entry_counted_once_and_taken_back_once() {
    let mut talk = Talk::bare().await;
    let on = talk.reaction(1, "👍🏽", true);
    let first = talk.to.request("react", on.clone()).await["ok"].clone();
    assert_eq!(
        (first["seq"].as_u64(), first["state"].is_null()),
        (Some(2), true)
    );
    assert_eq!(talk.to.request("react", on.clone()).await["ok"], first);
    let entry = talk.from.event("entry").await["entry"].clone();
    assert_eq!(
        (
            &entry["kind"],
            &entry["target"],
            &entry["emoji"],
            &entry["on"],
            &entry["from"]
        ),
        (
            &json!("react"),
            &json!(1),
            &json!("👍🏽"),
            &json!(true),
            &json!(talk.bob.id)
        )
    );
    // Another's, and another emoji, are others.
    assert_eq!(talk.from.request("react", on).await["ok"]["seq"], 3);
    assert_eq!(
        talk.to.request("react", talk.reaction(1, "🎉", true)).await["ok"]["seq"],
        4
    );
    let off = talk.reaction(1, "👍🏽", false);
    let taken = talk.to.request("react", off.clone()).await["ok"].clone();
    assert_eq!(taken["seq"], 5);
    assert_eq!(talk.to.request("react", off).await["ok"], taken);
    assert_eq!(
        talk.summary().await["unread"],
        1,
        "a reaction is no message"
    );
}

#[tokio::test]
async fn pipelined_equal_reactions_become_one_entry() {
    let mut talk = Talk::bare().await;
    let on = talk.reaction(1, "👍", true);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(talk.to.start("react", on.clone()).await);
    }
    for id in ids {
        assert_eq!(talk.to.reply(id).await["ok"]["seq"], 2);
    }
}

#[tokio::test]
async fn wrong_reactions_get_their_documented_error() {
    let mut talk = Talk::bare().await;
    talk.from.request("edit", talk.edit(1, text("x"))).await;
    let mut without = talk.reaction(1, "👍", true);
    without.as_object_mut().expect("fields").remove("on");
    for (fields, expected) in [
        (talk.reaction(1, "", true), "bad_request"),
        (talk.reaction(1, "words", true), "bad_request"),
        (talk.reaction(1, "👍👍", true), "bad_request"),
        (
            talk.reaction(1, &"👍\u{200d}".repeat(40), true),
            "bad_request",
        ),
        (without, "bad_request"),
        (talk.at(1), "bad_request"),
        (talk.reaction(2, "👍", true), "not_found"),
        (talk.reaction(9, "👍", true), "not_found"),
        (talk.reaction(1, "👍", false), "not_found"),
    ] {
        assert_eq!(
            code(&talk.to.request("react", fields.clone()).await),
            expected,
            "{fields}"
        );
    }
    talk.from.request("recall", talk.at(1)).await;
    let late = talk.to.request("react", talk.reaction(1, "👍", true)).await;
    assert_eq!(code(&late), "not_found");
}

#[tokio::test]
async fn a_block_ends_editing_and_reacting_and_silences_typing() {
    let mut talk = Talk::on(TestServer::with_plugins().await).await;
    let path = format!("/v1/blocks/{}", talk.ann.id);
    assert_eq!(
        talk.server
            .call("PUT", &path, Some(&talk.bob.token), None)
            .await
            .0,
        204
    );
    assert_eq!(
        code(&talk.from.request("edit", talk.edit(1, text("x"))).await),
        "blocked"
    );
    assert_eq!(
        code(
            &talk
                .from
                .request("react", talk.reaction(1, "👍", true))
                .await
        ),
        "blocked"
    );
    let typing = json!({"conversation": talk.conversation, "on": true});
    assert_eq!(
        talk.from.request("typing", typing.clone()).await["ok"],
        json!({})
    );
    assert_eq!(
        talk.server
            .call("DELETE", &path, Some(&talk.bob.token), None)
            .await
            .0,
        204
    );
    let off = json!({"conversation": talk.conversation, "on": false});
    talk.from.request("typing", off).await;
    assert_eq!(
        talk.to.event("typing").await["on"],
        false,
        "the first was not told"
    );
}
