//! The source of the components in `host/tests/earlier`: one hook each, by the feature of its name. They are not built
//! again; what they must go on doing is in `host/tests/earlier.rs`.

use exports::kith::plugin::lifecycle;

macro_rules! world {
    ($hook:literal, $inline:literal) => {
        const HOOK: &str = $hook;
        wit_bindgen::generate!({
            path: "../../../../wit/v1",
            inline: $inline,
            world: "test:elder/elder",
            generate_all,
        });
    };
}

#[cfg(feature = "message-strategy")]
world!("message-strategy", "package test:elder; world elder {
    import kith:plugin/log@1.0.0; import kith:plugin/clock@1.0.0; import kith:plugin/config@1.0.0;
    import kith:plugin/kv-snapshot@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/message-strategy@1.0.0; }");
#[cfg(feature = "content-filter")]
world!("content-filter", "package test:elder; world elder {
    import kith:plugin/log@1.0.0; import kith:plugin/config@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/preparation@1.0.0;
    export kith:plugin/content-filter@1.0.0; }");
#[cfg(feature = "command")]
world!("command", "package test:elder; world elder {
    import kith:plugin/log@1.0.0; import kith:plugin/kv-snapshot@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/command@1.0.0; }");
#[cfg(feature = "admin-rule")]
world!("admin-rule", "package test:elder; world elder {
    import kith:plugin/log@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/admin-rule@1.0.0; }");
#[cfg(feature = "observer")]
world!("observer", "package test:elder; world elder {
    import kith:plugin/log@1.0.0; import kith:plugin/metrics@1.0.0; import kith:plugin/random@1.0.0;
    import kith:plugin/kv@1.0.0; import kith:plugin/directory@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/observer@1.0.0; }");
#[cfg(feature = "responder")]
world!("responder", "package test:elder; world elder {
    import kith:plugin/log@1.0.0; import kith:plugin/reply@1.0.0; import kith:plugin/history@1.0.0;
    export kith:plugin/lifecycle@1.0.0; export kith:plugin/responder@1.0.0; }");

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: format!("elder-{HOOK}"),
            version: "1.0.0".into(),
            summary: "Was built against the first contract.".into(),
            config_schema: r#"{"type":"object","properties":{"word":{"type":"string","default":"ancient"}}}"#.into(),
            hooks: vec![lifecycle::HookDefault {
                hook: HOOK.into(),
                order: 500,
                scope: "all".into(),
                on_failed: String::new(),
                on_absent: String::new(),
                budget_us: 0,
                recent: 2,
            }],
        }
    }

    fn configure(_: Vec<u8>) -> Result<(), String> {
        kith::plugin::log::write(kith::plugin::log::Level::Debug, "configured");
        Ok(())
    }

    fn self_test() -> Result<(), String> {
        Ok(())
    }
}

#[cfg(feature = "message-strategy")]
mod strategy {
    use crate::exports::kith::plugin::message_strategy::{self, Command, Decision, Effect, Reason, Verdict};
    use crate::kith::plugin::{clock, config, kv_snapshot};

    /// `ancient reject`, `ancient replace` and `ancient count` are what it knows.
    impl message_strategy::Guest for crate::Guest {
        fn decide(command: Command) -> Decision {
            let word = config::json().contains("ancient") && clock::now_ms() == command.at_ms;
            let kept = kv_snapshot::get("count").ok().flatten().map_or(0, |value| value.len());
            let mut effects = Vec::new();
            let verdict = match command.text.as_str() {
                "ancient reject" if word => Verdict::Reject(Reason { code: "too-old".into(), text: String::new() }),
                "ancient replace" => Verdict::Replace(r#"{"type":"text","text":"new"}"#.into()),
                "ancient count" => {
                    effects.push(Effect { kind: "kv-put".into(), key: "count".into(), value: vec![1; kept + 1] });
                    let seen = command.recent.len();
                    Verdict::Replace(format!(r#"{{"type":"text","text":"{kept} kept, {seen} seen"}}"#))
                }
                _ => Verdict::Pass,
            };
            Decision { verdict, audience: None, notify: String::new(), recall_window_ms: None, effects }
        }
    }
}

#[cfg(feature = "content-filter")]
mod filter {
    use std::cell::RefCell;

    use crate::exports::kith::plugin::content_filter::{self, Hit, Text};
    use crate::exports::kith::plugin::preparation;

    thread_local! {
        static WORD: RefCell<String> = const { RefCell::new(String::new()) };
    }

    impl preparation::Guest for crate::Guest {
        fn prepare(config: Vec<u8>) -> Result<Vec<u8>, String> {
            Ok(config)
        }
    }

    /// Masks `ancient`.
    impl content_filter::Guest for crate::Guest {
        fn scan(texts: Vec<Text>) -> Vec<Vec<Hit>> {
            WORD.with_borrow_mut(|word| {
                if word.is_empty() {
                    word.push_str("ancient");
                }
                let hits = |text: &Text| {
                    let found = text.text.match_indices(word.as_str());
                    let at = |(at, _): (usize, &str)| text.text[..at].chars().count() as u32;
                    let hit = |start| Hit { start, end: start + 7, level: "mask".into(), rule: "old".into() };
                    found.map(|found| hit(at(found))).collect()
                };
                texts.iter().map(hits).collect()
            })
        }
    }
}

#[cfg(feature = "command")]
mod commands {
    use crate::exports::kith::plugin::command::{self, Answer, Effect, Invocation, Outcome, Usage};
    use crate::kith::plugin::kv_snapshot;

    /// `/elder` tells what was typed behind the last one.
    impl command::Guest for crate::Guest {
        fn names() -> Vec<Usage> {
            vec![Usage { name: "elder".into(), summary: "Remembers".into() }]
        }

        fn run(typed: Invocation) -> Answer {
            let last = kv_snapshot::get("last").ok().flatten().unwrap_or_default();
            let text = format!("last {}", String::from_utf8_lossy(&last));
            let effect = Effect { kind: "kv-put".into(), key: "last".into(), value: typed.arguments.into_bytes() };
            Answer {
                outcome: Outcome::Reply(format!(r#"{{"type":"text","text":"{text}"}}"#)),
                effects: vec![effect],
            }
        }
    }
}

#[cfg(feature = "admin-rule")]
mod rules {
    use crate::exports::kith::plugin::admin_rule::{self, Action, Judgement, Occasion, Reason, Ruling};

    /// Nobody whose name begins with `ancient` may register; of a login the user is labelled.
    impl admin_rule::Guest for crate::Guest {
        fn judge(occasion: Occasion) -> Judgement {
            let unwanted = occasion.kind == "register" && occasion.username.starts_with("ancient");
            let ruling = match unwanted {
                true => Ruling::Deny(Reason { code: "too-old".into(), text: String::new() }),
                false => Ruling::Abstain,
            };
            let label = |text: &str| Action {
                kind: "label".into(),
                subject: String::new(),
                for_ms: 0,
                text: text.into(),
            };
            let actions = if occasion.kind == "login" { vec![label("seen-by-elder")] } else { Vec::new() };
            Judgement { ruling, actions }
        }
    }
}

#[cfg(feature = "observer")]
mod observing {
    use crate::exports::kith::plugin::observer::{self, Event, EventEffect, Observed};
    use crate::kith::plugin::types::Effect;
    use crate::kith::plugin::{directory, kv, metrics, random};

    /// Says to whoever said `ancient …` what it knows, and counts.
    impl observer::Guest for crate::Guest {
        fn observe(events: Vec<Event>) -> Observed {
            let mut effects = Vec::new();
            for (place, event) in (0..).zip(&events) {
                let _ = metrics::add("events", 1);
                if event.entry_kind != "message" || !event.text.starts_with("ancient") {
                    continue;
                }
                let name = directory::user_by_id(&event.sender).map(|user| user.username).unwrap_or_default();
                let bytes = random::bytes(4).map_or(0, |bytes| bytes.len());
                let kept = kv::get("n").ok().flatten().map_or(0, |item| item.value.len());
                let text = format!(r#"{{"type":"text","text":"{name} {bytes} {kept}"}}"#);
                let effect = |kind: &str, key: &str, value: Vec<u8>| EventEffect {
                    event: place,
                    effect: Effect { kind: kind.into(), key: key.into(), value },
                };
                effects.push(effect("kv-put", "n", vec![1; kept + 1]));
                effects.push(effect("send", &format!("user:{}", event.sender), text.into_bytes()));
            }
            Observed { done: events.len() as u32, effects, retry: None }
        }
    }
}

#[cfg(feature = "responder")]
mod responding {
    use crate::exports::kith::plugin::responder::{self, Event, Retry};
    use crate::kith::plugin::{history, reply};

    /// Answers with what it was told, and how much was said before.
    impl responder::Guest for crate::Guest {
        fn respond(event: Event, _: String) -> Result<(), Retry> {
            let trouble = |_| Retry { after_ms: 10, reason: "trouble".into() };
            let before = history::before(&event.conversation, event.seq, 10).map_err(trouble)?.len();
            let number = reply::open().map_err(trouble)?;
            reply::write(number, "you said ").map_err(trouble)?;
            reply::write(number, &format!("{}, after {before}", event.text)).map_err(trouble)?;
            reply::finish(number).map(drop).map_err(trouble)
        }
    }
}
