//! The test kit's calls after the commit, on the component that does what it is told: what it answers, and what it did
//! around the call.

use kith_testkit::{Around, DirectoryUser, Plugin, said};
use serde_json::json;

use super::versions;

/// The guest, which has counted to four.
fn counted() -> Plugin {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("observant.wasm");
    std::fs::write(&file, &versions()[0]).expect("written");
    let plugin = kith_testkit::load_with_values(&file, json!({}), &[("n", b"4")]);
    plugin.expect("it loads")
}

#[test]
fn a_responder_is_asked_by_the_test_kit() {
    let (plugin, around) = (counted(), Around::default());
    let respond = |text: &str, around: &Around| {
        let called = plugin.respond(&said(text), "observant", around);
        called.expect("it answers")
    };
    let called = respond("answer one two", &around);
    assert!(called.answer.is_ok());
    assert_eq!(called.did.replies, ["one two"]);
    let called = respond("person angry", &around);
    assert_eq!(called.did.handed_over, ["angry"]);
    assert_eq!(called.did.replies, ["a person will answer"]);
    let nothing = respond("hello", &around).did;
    assert!(nothing.replies.is_empty() && nothing.handed_over.is_empty());
    let mute = Around {
        grants: Some("directory".to_owned()),
        ..Around::default()
    };
    let called = respond("answer one", &mute);
    let retry = called.answer.expect_err("it is to be called again");
    assert!(retry.reason.contains("reply is not granted"), "{retry:?}");
    assert!(called.did.replies.is_empty());
    let fallen = plugin.respond(&said("answer up and fall"), "observant", &around);
    let fallen = fallen.expect_err("the call fails").to_string();
    assert!(fallen.contains("told to fall"), "{fallen}");
}

#[test]
fn an_observer_is_asked_by_the_test_kit() {
    let plugin = counted();
    let around = Around {
        users: vec![DirectoryUser {
            id: "b".to_owned(),
            username: "bob".to_owned(),
            display_name: "Bob".to_owned(),
            kind: "person".to_owned(),
        }],
        members: [(
            "d-ann-bob".to_owned(),
            vec![("b".to_owned(), "member".to_owned())],
        )]
        .into(),
        ..Around::default()
    };
    let texts = ["count a", "keep this", "members", "who bob", "say hello"];
    let called = plugin
        .observe(&texts.map(said), &around)
        .expect("it answers");
    assert_eq!(called.answer.done, 5);
    let effects: Vec<_> = called
        .answer
        .effects
        .iter()
        .map(|told| {
            let value = String::from_utf8_lossy(&told.effect.value);
            (told.event, told.effect.kind.as_str(), value)
        })
        .collect();
    let text = |text: &str| format!(r#"{{"type":"text","text":{text:?}}}"#).into();
    let expected = [
        (0, "send", text("counted a")),
        (0, "kv-put", "5".into()),
        (1, "send", text("ok ()")),
        (2, "send", text("ok 1")),
        (3, "send", text("ok (\"bob\", \"person\")")),
        (4, "send", text("ok true")),
    ];
    assert_eq!(effects, expected);
    // An effect is the host's to carry out: what was written meanwhile is there, what is to be written is not.
    let kept = [
        ("n".to_owned(), b"4".to_vec()),
        ("word".to_owned(), b"this".to_vec()),
    ];
    assert_eq!(called.did.kv, kept.into());
    assert_eq!(
        (called.did.sent.len(), &*called.did.sent[0].once),
        (1, "hello")
    );
    let trapped = plugin.observe(&[said("trap")], &around);
    let trapped = trapped.expect_err("the call fails").to_string();
    assert!(trapped.starts_with("the call failed: "), "{trapped}");
}
