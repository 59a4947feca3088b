//! The real component in the test kit: what the receiver of its
//! webhook gets, and what becomes of an event that is not taken.

use kith_testkit::{Around, Event, Page, Plugin, said};
use serde_json::json;

const URL: &str = "https://hooks.example/kith";

fn webhook() -> Plugin {
    let config = json!({
        "url": URL, "secret": "0123456789abcdef", "kinds": ["message"],
        "attempts_most": 3, "longest_pause_s": 1,
    });
    let plugin = kith_testkit::load(kith_testkit::built("webhook-out"), config);
    plugin.expect("built by `cargo xtask build`")
}

fn answering(status: u16) -> Around {
    let page = Page {
        status,
        body: Vec::new(),
    };
    Around {
        web: [(URL.to_owned(), page)].into(),
        ..Around::default()
    }
}

#[test]
fn each_event_is_posted_once_signed_and_counted() {
    let reaction = Event {
        entry_kind: "react".to_owned(),
        ..said("")
    };
    let events = [said("hello"), reaction, said("again")];
    let called = webhook().observe(&events, &answering(204)).expect("taken");
    assert_eq!((called.answer.done, called.answer.effects.len()), (3, 0));
    assert!(called.answer.retry.is_none());
    assert_eq!(called.did.metrics, [("delivered".to_owned(), 2.0)].into());
    assert_eq!(called.did.fetched.len(), 2);
    for (request, text) in called.did.fetched.iter().zip(["hello", "again"]) {
        assert_eq!((&*request.method, &*request.url), ("POST", URL));
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["content"]["text"], text, "{body}");
        let header = |name: &str| {
            let mut headers = request.headers.iter();
            let found = headers.find(|header| header.name == name);
            found.map_or("", |header| &header.value).to_owned()
        };
        assert_eq!(header("kith-event"), "entry-1");
        assert!(header("kith-signature").starts_with("sha256="));
    }
}

#[test]
fn an_event_that_is_not_taken_comes_again_and_is_given_up_in_the_end() {
    let plugin = webhook();
    let attempt = |attempt| Event {
        attempt,
        ..said("hello")
    };
    let asked = |number, around: &Around| {
        let called = plugin.observe(&[attempt(number), said("behind it")], around);
        let called = called.expect("it answers");
        let retry = called.answer.retry.map(|retry| retry.reason);
        (called.answer.done, retry, called.did.fetched.len())
    };
    let refused = Some("the receiver answered 503".to_owned());
    assert_eq!(asked(0, &answering(503)), (0, refused, 1));
    let (done, retry, _) = asked(2, &answering(204));
    assert_eq!((done, retry), (2, None));
    // The third attempt is the last one; what is behind it is at its first.
    let (done, retry, posted) = asked(2, &answering(503));
    assert_eq!((done, posted), (1, 2));
    assert!(retry.is_some());
    // Without the grant nobody is asked.
    let ungranted = Around {
        grants: Some("metrics".to_owned()),
        ..answering(204)
    };
    let (done, retry, posted) = asked(0, &ungranted);
    assert_eq!((done, posted), (0, 0));
    assert!(retry.is_some_and(|why| why.contains("http")));
}
