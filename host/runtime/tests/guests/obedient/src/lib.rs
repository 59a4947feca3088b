//! A guest that does what a text tells it to (`do:trap`, `do:loop` …), so that one component shows every way of
//! misbehaving. Otherwise it masks the configured `word` and lets everything pass. For the runtime's tests only.

use std::cell::RefCell;

#[cfg(not(any(feature = "bare", feature = "stranger")))]
wit_bindgen::generate!({
    path: "../../../../../wit/v1",
    inline: "package test:obedient;
        world obedient { import kith:plugin/log@1.0.0; import kith:plugin/clock@1.0.0; import kith:plugin/config@1.0.0;
            import kith:plugin/kv-snapshot@1.0.0; export kith:plugin/lifecycle@1.0.0;
            export kith:plugin/preparation@1.0.0; export kith:plugin/message-strategy@1.0.0;
            export kith:plugin/content-filter@1.0.0; export kith:plugin/command@1.0.0;
            export kith:plugin/admin-rule@1.0.0; }",
    world: "test:obedient/obedient",
    generate_all,
});

#[cfg(feature = "bare")]
wit_bindgen::generate!({
    path: "../../../../../wit/v1",
    inline: "package test:bare; world bare { import kith:plugin/log@1.0.0; export kith:plugin/lifecycle@1.0.0; }",
    world: "test:bare/bare",
    generate_all,
});

#[cfg(feature = "stranger")]
wit_bindgen::generate!({
    path: "../../../../../wit/v1",
    inline: "package test:stranger;
        interface moon { phase: func() -> u32; }
        world stranger { import moon; import kith:plugin/log@1.0.0; export kith:plugin/lifecycle@1.0.0;
            export kith:plugin/content-filter@1.0.0; }",
    world: "test:stranger/stranger",
    generate_all,
});

use exports::kith::plugin::lifecycle;
use self::kith::plugin::log;

#[derive(Default)]
#[cfg_attr(feature = "bare", expect(dead_code))]
struct State {
    word: String,
    refuse: String,
    broken_once_used: bool,
    calls: u32,
    entries: Vec<String>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

struct Guest;
export!(Guest);

/// The text of a field of a flat JSON object, without escapes.
fn field<'a>(json: &'a str, name: &str) -> &'a str {
    let Some((_, rest)) = json.split_once(&format!("\"{name}\":")) else { return "" };
    rest.trim_start_matches('"').split(['"', ',', '}']).next().unwrap_or_default()
}

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        let wish = |hook: &str| lifecycle::HookDefault {
            hook: hook.into(),
            order: 7,
            scope: "all".into(),
            on_failed: String::new(),
            on_absent: String::new(),
            budget_us: 0,
            recent: 3,
        };
        lifecycle::Description {
            name: "obedient".into(),
            version: "1.2.3".into(),
            summary: "Does what it is told.".into(),
            config_schema: r#"{"type":"object","additionalProperties":false,"properties":{
                "word":{"type":"string","default":"bad"},"entries":{"type":"integer","default":0},
                "refuse":{"type":"string"}}}"#
                .into(),
            hooks: vec![
                wish("message-strategy"),
                wish("content-filter"),
                wish("command"),
                wish(if cfg!(feature = "wishful") { "observer" } else { "admin-rule" }),
            ],
        }
    }

    fn configure(config: Vec<u8>) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
        let json = String::from_utf8(config).map_err(|_| "not text")?;
        match field(&json, "refuse") {
            "configure" => return Err("that word is not for me".into()),
            "configure-trap" => panic!("configure fell over"),
            _ => {}
        }
        let entries: usize = field(&json, "entries").parse().map_err(|_| "entries")?;
        STATE.with_borrow_mut(|state| {
            state.word = field(&json, "word").to_owned();
            state.refuse = field(&json, "refuse").to_owned();
            state.broken_once_used = field(&json, "refuse") == "reuse";
            state.entries = (0..entries).map(|n| format!("an entry of some length, number {n}")).collect();
        });
        Ok(())
    }

    fn self_test() -> Result<(), String> {
        STATE.with_borrow(|state| match state.word.as_str() {
            "" => Err("there is no word".into()),
            _ => Ok(()),
        })
    }
}

#[cfg(not(feature = "bare"))]
mod hooks {
    use super::*;

    fn misbehave(what: &str) {
        let mut hoard: Vec<Vec<u8>> = Vec::new();
        match what {
            "do:trap" => panic!("told to trap"),
            "do:loop" => loop {
                std::hint::black_box(());
            },
            "do:hog" => loop {
                hoard.push(std::hint::black_box(vec![1; 1 << 20]));
            },
            "do:recurse" => {
                std::hint::black_box(deeper(1));
            }
            "do:flood" => (0..10_000).for_each(|_| log::write(log::Level::Info, &"flood ".repeat(1000))),
            _ => {}
        }
        let used = STATE.with_borrow_mut(|state| {
            state.calls += 1;
            state.broken_once_used && state.calls > 1
        });
        assert!(!used, "this instance was used before");
    }

    #[expect(unconditional_recursion)]
    fn deeper(n: u64) -> u64 {
        std::hint::black_box([n; 64]);
        std::hint::black_box(deeper(n + 1)) + 1
    }

    mod filter {
        use super::*;
        use crate::exports::kith::plugin::content_filter::{self, Hit, Text};

        impl content_filter::Guest for Guest {
            fn scan(texts: Vec<Text>) -> Vec<Vec<Hit>> {
                misbehave(&texts[0].text);
                if texts[0].text == "do:few" {
                    return Vec::new();
                }
                texts.iter().map(|text| scan(&text.text)).collect()
            }
        }

        fn scan(text: &str) -> Vec<Hit> {
            let hit = |start, end, level: &str| Hit { start, end, level: level.into(), rule: "rule".into() };
            match text {
                "do:lie" => return vec![hit(3, 4000, "mask")],
                "do:backwards" => return vec![hit(3, 3, "mask")],
                "do:level" => return vec![hit(0, 1, "scold")],
                "do:reject" => return vec![hit(0, 2, "reject"), hit(0, 1, "mask")],
                "do:hold" => return vec![hit(0, 2, "hold")],
                "do:count" => {
                    let calls = STATE.with_borrow(|state| state.calls);
                    return if calls > 1 { vec![hit(0, 1, "reject")] } else { Vec::new() };
                }
                _ => {}
            }
            let word = STATE.with_borrow(|state| state.word.clone());
            let length = word.chars().count() as u32;
            let starts = text.match_indices(&word).map(|(at, _)| text[..at].chars().count() as u32);
            starts.map(|start| hit(start, start + length, "mask")).collect()
        }
    }

    #[cfg(not(feature = "stranger"))]
    mod strategy {
        use super::*;
        use crate::exports::kith::plugin::message_strategy::{self, Command, Decision, Effect, Reason, Verdict};
        use crate::exports::kith::plugin::preparation;
        use crate::kith::plugin::{clock, config};

        impl preparation::Guest for Guest {
            fn prepare(config: Vec<u8>) -> Result<Vec<u8>, String> {
                let json = String::from_utf8_lossy(&config).into_owned();
                if super::field(&json, "refuse") == "prepare" {
                    return Err("not prepared for that".into());
                }
                Ok(config)
            }
        }

        impl message_strategy::Guest for Guest {
            fn decide(command: Command) -> Decision {
                misbehave(&command.text);
                let reason = |code: &str| Reason { code: code.into(), text: config::json() };
                let verdict = match command.text.as_str() {
                    "do:reject" => Verdict::Reject(reason("blocked")),
                    "do:hold" => Verdict::Hold(reason("later")),
                    "do:drop" => Verdict::Drop(reason("away")),
                    "do:replace" => Verdict::Replace(r#"{"type":"text","text":"do:reject"}"#.into()),
                    "do:not-json" => Verdict::Replace("[1]".into()),
                    "do:bad-code" => Verdict::Reject(reason("Not A Code")),
                    "do:recent" => {
                        let last = command.recent.iter().map(|entry| entry.seq.to_string());
                        let last: Vec<_> = last.collect();
                        Verdict::Reject(reason(&format!("saw-{}", last.join("-"))))
                    }
                    "do:read" => Verdict::Reject(reason(&read("k"))),
                    "do:now" => Verdict::Reject(reason(&format!("at-{}", clock::now_ms()))),
                    "do:large" => Verdict::Replace("x".repeat(8 << 20)),
                    _ => Verdict::Pass,
                };
                let effect = |kind: &str| Effect { kind: kind.into(), key: "k".into(), value: vec![1] };
                Decision {
                    verdict,
                    audience: (command.text == "do:audience").then(|| vec!["u1".to_owned()]),
                    notify: if command.text == "do:silent" { "silent".into() } else { String::new() },
                    recall_window_ms: (command.text == "do:window").then_some(5),
                    effects: match command.text.as_str() {
                        "do:effect" => vec![effect("kv-put")],
                        "do:bad-effect" => vec![effect("send-money")],
                        _ => Vec::new(),
                    },
                }
            }
        }
    }

    /// What is kept under a key, or why it could not be read; a word that may be a reason's code.
    #[cfg(not(feature = "stranger"))]
    fn read(key: &str) -> String {
        use crate::kith::plugin::kv_snapshot::{self, Error};
        match kv_snapshot::get(key) {
            Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
            Ok(None) => "nothing".into(),
            Err(Error::Denied) => "denied".into(),
            Err(Error::BadKey) => "bad-key".into(),
            Err(Error::TooMany) => "too-many".into(),
            Err(Error::Unavailable(_)) => "unavailable".into(),
        }
    }

    #[cfg(not(feature = "stranger"))]
    mod commands {
        use super::*;
        use crate::exports::kith::plugin::command::{self, Answer, Effect, Invocation, Outcome, Reason, Usage};

        impl command::Guest for Guest {
            fn names() -> Vec<Usage> {
                let usage = |name: &str| Usage { name: name.into(), summary: read("k") };
                let refuse = STATE.with_borrow(|state| state.refuse.clone());
                match refuse.as_str() {
                    "names" => vec![usage("Not A Name")],
                    "names-trap" => panic!("names fell over"),
                    _ => vec![usage("do"), usage("say")],
                }
            }

            fn run(typed: Invocation) -> Answer {
                misbehave(&typed.arguments);
                let reason = |code: &str| Reason { code: code.into(), text: "told to".into() };
                let text = |text: &str| format!(r#"{{"type":"text","text":"{text}"}}"#);
                let effect = |kind: &str| Effect { kind: kind.into(), key: "k".into(), value: vec![b'v'] };
                let outcome = match typed.arguments.as_str() {
                    "do:reply" => Outcome::Reply(text(&format!("{} by {}", typed.name, typed.sender))),
                    "do:send" => Outcome::Send(text("sent")),
                    "do:pass" => Outcome::Pass,
                    "do:reject" | "do:reject-effect" => Outcome::Reject(reason("not-today")),
                    "do:not-json" => Outcome::Reply("[1]".into()),
                    "do:bad-code" => Outcome::Reject(reason("Not A Code")),
                    "do:read" => Outcome::Reply(text(&format!("{} {}", read("k"), read("")))),
                    "do:read-much" => {
                        let found: Vec<String> = (0..65).map(|_| read("k")).collect();
                        Outcome::Reply(text(&format!("{} {}", found[63], found[64])))
                    }
                    _ => Outcome::Done,
                };
                let effects = match typed.arguments.as_str() {
                    "do:effect" | "do:reject-effect" => vec![effect("kv-put")],
                    "do:bad-effect" => vec![effect("send-money")],
                    _ => Vec::new(),
                };
                Answer { outcome, effects }
            }
        }
    }

    #[cfg(not(feature = "stranger"))]
    mod rules {
        use super::*;
        use crate::exports::kith::plugin::admin_rule::{self, Action, Judgement, Occasion, Reason, Ruling};

        impl admin_rule::Guest for Guest {
            fn judge(occasion: Occasion) -> Judgement {
                misbehave(&occasion.what);
                let reason = |code: &str| Reason { code: code.into(), text: occasion.username.clone() };
                let ruling = match occasion.what.as_str() {
                    "do:allow" => Ruling::Allow,
                    "do:reject" => Ruling::Deny(reason("unwanted")),
                    "do:approve" => Ruling::RequireApproval(reason("look-first")),
                    "do:bad-code" => Ruling::Deny(reason("Not A Code")),
                    _ => Ruling::Abstain,
                };
                let action = |kind: &str, text: &str| Action {
                    kind: kind.into(),
                    subject: String::new(),
                    for_ms: 60_000,
                    text: text.into(),
                };
                let actions = match occasion.what.as_str() {
                    "do:ban" => vec![action("ban-user", "why"), action("notify", "look")],
                    "do:bad-act" => vec![action("send-money", "")],
                    "do:bad-label" => vec![action("label", "Not A Code")],
                    "do:silence" => vec![action("notify", " ")],
                    "do:crowd" => (0..17).map(|_| action("end-sessions", "")).collect(),
                    _ => Vec::new(),
                };
                Judgement { ruling, actions }
            }
        }
    }

    #[cfg(feature = "stranger")]
    #[unsafe(no_mangle)]
    extern "C" fn keep_the_import() -> u32 {
        crate::test::stranger::moon::phase()
    }
}
