//! A small plugin that is one of very many: `q00000` in its binary stands for its number, and is patched in copies. It
//! answers the command of that name with its own name. For the host's tests of density only.

wit_bindgen::generate!({
    path: "../../../../wit/v1",
    inline: "package test:dormant; world dormant {
        export kith:plugin/lifecycle@1.0.0; export kith:plugin/command@1.0.0; }",
    world: "test:dormant/dormant",
    generate_all,
});

use exports::kith::plugin::command::{self, Answer, Invocation, Outcome, Usage};
use exports::kith::plugin::lifecycle;

struct Guest;
export!(Guest);

/// Read from the data as they are in the binary, never folded into code: they are patched there.
fn name() -> &'static str {
    std::hint::black_box("dormant-q00000")
}

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: name().into(),
            version: "1.0.0".into(),
            summary: "One of very many.".into(),
            config_schema: "{}".into(),
            hooks: Vec::new(),
        }
    }

    fn configure(_: Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    fn self_test() -> Result<(), String> {
        Ok(())
    }
}

impl command::Guest for Guest {
    fn names() -> Vec<Usage> {
        let name = name().trim_start_matches("dormant-");
        vec![Usage { name: name.into(), summary: String::new() }]
    }

    fn run(_: Invocation) -> Answer {
        let mut content = String::from(r#"{"type":"text","text":""#);
        content.push_str(name());
        content.push_str(r#""}"#);
        Answer { outcome: Outcome::Reply(content), effects: Vec::new() }
    }
}
