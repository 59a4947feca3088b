//! The real component in the test kit: what is matched is matched by the guest alone,
//! with no host around it.

use serde_json::json;

#[test]
fn the_component_alone_finds_every_hit() {
    let words = json!([
        {"word": "赌博", "level": "mask"},
        {"word": "spam", "level": "reject", "category": "ads"},
        {"word": "maybe", "level": "hold"},
    ]);
    let filter = kith_testkit::load(kith_testkit::built("word-filter"), json!({"words": words}))
        .expect("built by `cargo xtask build`");
    let found = filter
        .scan("賭\u{200b}博, SPAM, Ｍaybe; spammer")
        .expect("scans");
    let hits: Vec<_> = found
        .iter()
        .map(|hit| (hit.start, hit.end, hit.level, hit.rule.as_str()))
        .collect();
    assert_eq!(
        hits,
        [
            (0, 3, kith_testkit::Level::Mask, "words"),
            (5, 9, kith_testkit::Level::Reject, "ads"),
            (11, 16, kith_testkit::Level::Hold, "words"),
        ]
    );
}

#[test]
fn a_configuration_the_guest_refuses_is_refused_with_its_words() {
    let words = json!([{"word": "...", "level": "mask"}]);
    let refused = kith_testkit::load(kith_testkit::built("word-filter"), json!({"words": words}));
    assert!(refused.is_err_and(|error| error.to_string().contains("word 1")));
}
