//! The real component in the test kit: what it answers to which command,
//! with no host around it.

use kith_testkit::{CommandOutcome, Plugin, typed};
use serde_json::{Value, json};

fn replies(config: Value) -> Result<Plugin, kith_testkit::Error> {
    kith_testkit::load(kith_testkit::built("canned-replies"), config)
}

#[test]
fn the_component_names_its_commands_by_its_configuration_and_answers_them() {
    let plugin = replies(json!({"replies": [
        {"name": "hours", "text": "9 to 5", "summary": "When we are here"},
        {"name": "wave", "text": "waves {arguments}", "public": true},
    ]}))
    .expect("built by `cargo xtask build`");
    assert_eq!(
        plugin.commands(),
        [("hours", "When we are here"), ("wave", "")]
    );
    let outcome = |name, arguments| {
        plugin
            .run(&typed(name, arguments))
            .map(|ruling| ruling.outcome)
    };
    let text = |text: &str| json!({"type": "text", "text": text}).to_string();
    assert_eq!(
        outcome("hours", "").expect("answers"),
        CommandOutcome::Reply(text("9 to 5"))
    );
    assert_eq!(
        outcome("wave", "at bob").expect("answers"),
        CommandOutcome::Send(text("waves at bob"))
    );
    assert!(outcome("other", "").is_err(), "not one of its commands");
}

#[test]
fn a_name_that_cannot_be_typed_is_refused() {
    let refused = replies(json!({"replies": [{"name": "Opening Hours", "text": "9 to 5"}]}));
    let why = refused.err().expect("refused").to_string();
    assert!(why.contains("Opening Hours"), "{why}");
}
