//! A guest that attacks whoever runs it, as it is told: `rogue-filter WHAT` in a text tells its filter, `rogue-strategy
//! WHAT` its strategy, `/rogue WHAT` its command, `rogue-observer WHAT` its observer, `rogue-responder WHAT` its responder;
//! whoever registers as `rogue-WHAT` its rule. For the host's tests only.

use std::cell::RefCell;

wit_bindgen::generate!({
    path: "../../../../wit/v1",
    inline: "package test:rogue; world rogue {
        import kith:plugin/log@1.0.0; import kith:plugin/clock@1.0.0; import kith:plugin/config@1.0.0;
        import kith:plugin/kv-snapshot@1.0.0; import kith:plugin/kv@1.0.0; import kith:plugin/metrics@1.0.0;
        import kith:plugin/reply@1.0.0;
        export kith:plugin/lifecycle@1.0.0; export kith:plugin/message-strategy@1.0.0;
        export kith:plugin/content-filter@1.0.0; export kith:plugin/command@1.0.0;
        export kith:plugin/observer@1.0.0; export kith:plugin/responder@1.0.0; export kith:plugin/admin-rule@1.0.0; }",
    world: "test:rogue/rogue",
    generate_all,
});

use exports::kith::plugin::{admin_rule, command, content_filter, lifecycle, message_strategy, observer, responder};
use kith::plugin::types::{Effect, Reason};
use kith::plugin::{clock, kv, kv_snapshot, log, metrics, reply};

struct Guest;
export!(Guest);

thread_local! {
    /// Everything it was ever shown.
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        let wish = |hook: &str| lifecycle::HookDefault {
            hook: hook.into(),
            order: 900,
            scope: "all".into(),
            on_failed: if hook == "content-filter" { "reject".into() } else { String::new() },
            on_absent: String::new(),
            budget_us: 0,
            recent: 0,
        };
        lifecycle::Description {
            name: "rogue".into(),
            version: "1.0.0".into(),
            summary: "Attacks whoever runs it.".into(),
            config_schema: r#"{"type":"object","properties":{"round":{"type":"integer","default":0}}}"#.into(),
            hooks: ["message-strategy", "content-filter", "command", "observer", "responder", "admin-rule"].map(wish).into(),
        }
    }

    fn configure(_: Vec<u8>) -> Result<(), String> {
        Ok(())
    }

    fn self_test() -> Result<(), String> {
        Ok(())
    }
}

/// A text of so many bytes somewhere: it is lowered as it stands, never read here.
fn lie(at: usize, length: usize) -> String {
    // Untrue on purpose: what the host makes of it is the test. It is handed over and never freed.
    unsafe { String::from_raw_parts(at as *mut u8, length, length) }
}

fn garbage() -> String {
    unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0x80, b'a']) }
}

/// The text an attack answers with, where it answers at all.
fn attack(what: &str) -> Option<String> {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    match what {
        "trap" => panic!("told to trap"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "hog" => loop {
            hoard.push(std::hint::black_box(vec![1; 1 << 20]));
        },
        "recurse" => {
            std::hint::black_box(deeper(1));
        }
        "flood" => (0..100_000).for_each(|_| log::write(log::Level::Error, &"flood ".repeat(500))),
        "ask" => loop {
            std::hint::black_box(kv_snapshot::get("key").ok());
            std::hint::black_box(clock::now_ms());
        },
        "log-lie" => log::write(log::Level::Error, std::mem::ManuallyDrop::new(lie(0xffff_fff0, 0xff)).as_str()),
        "log-garbage" => log::write(log::Level::Error, &garbage()),
        "out-of-bounds" => return Some(lie(0xffff_ff00, 0x80)),
        "beyond" => return Some(lie(16, 0xffff_fff0)),
        "huge" => return Some("x".repeat(16 << 20)),
        "garbage" => return Some(garbage()),
        _ => {}
    }
    None
}

#[expect(unconditional_recursion)]
fn deeper(n: u64) -> u64 {
    std::hint::black_box([n; 64]);
    std::hint::black_box(deeper(n + 1)) + 1
}

fn remember(text: &str) {
    SEEN.with_borrow_mut(|seen| seen.push(text.to_owned()));
}

fn remembers(word: &str) -> bool {
    SEEN.with_borrow(|seen| seen.iter().any(|text| text.contains(word)))
}

/// What a hook finds of a word that another call of it was shown: `seen WORD`, or `search WORD` as `searched` wants it.
fn found(what: &str) -> Option<bool> {
    let (how, word) = what.split_once(' ')?;
    match how {
        "seen" => Some(remembers(word)),
        "search" => Some(searched(word)),
        _ => None,
    }
}

/// Whether a word stands anywhere in this instance's memory. It comes from behind and with each letter's case changed, so
/// that it is not found where it was asked for.
fn searched(reversed: &str) -> bool {
    let word: Vec<u8> = reversed.bytes().rev().collect();
    let end = core::arch::wasm32::memory_size(0) << 16;
    let mut at = 1024;
    while at + word.len() <= end {
        // Within the memory; the word as it stands here differs from what is looked for in one bit of each letter.
        let same = |(place, byte): (usize, &u8)| unsafe { *((at + place) as *const u8) } == byte ^ 0x20;
        if word.iter().enumerate().all(same) {
            return true;
        }
        at += 1;
    }
    false
}

impl content_filter::Guest for Guest {
    fn scan(texts: Vec<content_filter::Text>) -> Vec<Vec<content_filter::Hit>> {
        let hit = |rule: String, level: &str| content_filter::Hit { start: 0, end: 1, level: level.into(), rule };
        let scan = |text: &content_filter::Text| {
            remember(&text.text);
            let Some(what) = text.text.strip_prefix("rogue-filter ") else { return Vec::new() };
            if let Some(rule) = attack(what) {
                return vec![hit(rule, "mask")];
            }
            match what {
                "many" => (0..1_000_000).map(|_| hit(String::new(), "mask")).collect(),
                "level" => vec![hit(String::new(), "annihilate")],
                "level-lie" => vec![content_filter::Hit { level: lie(8, 0x7fff_ffff), ..hit(String::new(), "") }],
                "range" => vec![content_filter::Hit { end: u32::MAX, ..hit(String::new(), "mask") }],
                _ => Vec::new(),
            }
        };
        texts.iter().map(scan).collect()
    }
}

impl message_strategy::Guest for Guest {
    fn decide(asked: message_strategy::Command) -> message_strategy::Decision {
        use message_strategy::Verdict;
        let mut decision = message_strategy::Decision {
            verdict: Verdict::Pass,
            audience: None,
            notify: String::new(),
            recall_window_ms: None,
            effects: Vec::new(),
        };
        let Some(what) = asked.text.strip_prefix("rogue-strategy ") else { return decision };
        let reason = |code: &str| Reason { code: code.into(), text: String::new() };
        let value = |value: Vec<u8>| Effect { kind: "kv-put".into(), key: "k".into(), value };
        if let Some(text) = attack(what) {
            decision.verdict = Verdict::Replace(text);
            return decision;
        }
        match what {
            "notify" => decision.notify = "by pigeon".into(),
            "code" => decision.verdict = Verdict::Reject(reason("Not A Code")),
            "kind" => decision.effects = vec![Effect { kind: "send-money".into(), ..value(Vec::new()) }],
            "value-lie" => {
                let lied = unsafe { Vec::from_raw_parts(64 as *mut u8, 0x7fff_ffff, 0x7fff_ffff) };
                decision.effects = vec![value(lied)];
            }
            "effects" => decision.effects = (0..1_000_000).map(|_| value(Vec::new())).collect(),
            "audience" => decision.audience = Some(vec![lie(4, 0x7fff_fff0)]),
            _ => {}
        }
        decision
    }
}

impl command::Guest for Guest {
    fn names() -> Vec<command::Usage> {
        vec![command::Usage { name: "rogue".into(), summary: String::new() }]
    }

    fn run(typed: command::Invocation) -> command::Answer {
        let done = |text: String| command::Answer {
            outcome: command::Outcome::Reply(format!(r#"{{"type":"text","text":"{text}"}}"#)),
            effects: Vec::new(),
        };
        let (what, rest) = typed.arguments.split_once(' ').unwrap_or((&typed.arguments, ""));
        if let Some(content) = attack(what) {
            return command::Answer { outcome: command::Outcome::Reply(content), effects: Vec::new() };
        }
        match what {
            "seen" => done(remembers(rest).to_string()),
            "search" => done(searched(rest).to_string()),
            "read" => done(match kv_snapshot::get(rest) {
                Ok(Some(_)) => "found".into(),
                Ok(None) => "nothing".into(),
                Err(_) => "refused".into(),
            }),
            "beyond-tier" => done(match kv::get(rest) {
                Err(_) => "refused".into(),
                Ok(_) => "answered".into(),
            }),
            _ => done("well".into()),
        }
    }
}

impl admin_rule::Guest for Guest {
    fn judge(occasion: admin_rule::Occasion) -> admin_rule::Judgement {
        use admin_rule::Ruling;
        let mut judgement = admin_rule::Judgement { ruling: Ruling::Abstain, actions: Vec::new() };
        if let Some(word) = occasion.username.strip_prefix("rogue-seen-") {
            let code = if remembers(word) { "remembered" } else { "forgotten" };
            judgement.ruling = Ruling::Deny(Reason { code: code.into(), text: String::new() });
            return judgement;
        }
        remember(&occasion.username);
        let Some(what) = occasion.username.strip_prefix("rogue-") else { return judgement };
        let action = |kind: &str| admin_rule::Action {
            kind: kind.into(),
            subject: String::new(),
            for_ms: 0,
            text: String::new(),
        };
        if let Some(text) = attack(what) {
            judgement.ruling = Ruling::Deny(Reason { code: "attack".into(), text });
            return judgement;
        }
        match what {
            "code" => judgement.ruling = Ruling::Deny(Reason { code: "Not A Code".into(), text: String::new() }),
            "kind" => judgement.actions = vec![action("make-me-king")],
            "subject-lie" => judgement.actions = vec![admin_rule::Action { subject: lie(8, 0x7fff_ffff), ..action("label") }],
            "actions" => judgement.actions = (0..1_000_000).map(|_| action("notify")).collect(),
            _ => {}
        }
        judgement
    }
}

impl responder::Guest for Guest {
    fn respond(event: responder::Event, _: String) -> Result<(), responder::Retry> {
        let answer = |text: &str| {
            if let Ok(own) = reply::open() {
                let _ = reply::write(own, text).and_then(|()| reply::finish(own));
            }
            Ok(())
        };
        let Some(what) = event.text.strip_prefix("rogue-responder ") else {
            remember(&event.text);
            return answer("well");
        };
        if let Some(found) = found(what) {
            return answer(&found.to_string());
        }
        match what {
            "open" => loop {
                std::hint::black_box(reply::open().ok());
            },
            "write" => {
                let Ok(own) = reply::open() else { return Ok(()) };
                loop {
                    std::hint::black_box(reply::write(own, &"x".repeat(4096)).ok());
                }
            }
            "anothers" => {
                for other in 0..1000 {
                    let _ = reply::write(other, "not mine");
                    let _ = reply::finish(other);
                }
                Ok(())
            }
            "retry-lie" => Err(responder::Retry { after_ms: u64::MAX, reason: lie(8, 0x7fff_ffff) }),
            "never" => Err(responder::Retry { after_ms: u64::MAX, reason: "never".into() }),
            what => attack(what).map_or(Ok(()), |reason| Err(responder::Retry { after_ms: 0, reason })),
        }
    }
}

impl observer::Guest for Guest {
    fn observe(events: Vec<observer::Event>) -> observer::Observed {
        let mut effects = Vec::new();
        for (place, event) in (0..).zip(&events) {
            let _ = metrics::add("events", 1);
            let Some(what) = event.text.strip_prefix("rogue-observer ") else {
                remember(&event.text);
                continue;
            };
            if let Some(found) = found(what) {
                let _ = metrics::add(if found { "found" } else { "found_nothing" }, 1);
                continue;
            }
            let effect = |kind: String, value: Vec<u8>| observer::EventEffect {
                event: place,
                effect: Effect { kind, key: "k".into(), value },
            };
            match what {
                "ask-kv" => loop {
                    std::hint::black_box(kv::get("key").ok());
                },
                "write-kv" => loop {
                    std::hint::black_box(kv::put("key", &[0; 1024], None, None).ok());
                },
                "count" => (0..100_000).for_each(|n| drop(metrics::add(&format!("n{n}"), 1))),
                "many" => effects.extend((0..100_000).map(|_| effect("kv-put".into(), Vec::new()))),
                "kind" => effects.push(effect("send-money".into(), Vec::new())),
                "kind-lie" => effects.push(effect(lie(8, 0x7fff_ffff), Vec::new())),
                "done" => return observer::Observed { done: u32::MAX, effects, retry: None },
                "other" => {
                    let read = kv::get("word").ok().flatten().is_some();
                    let _ = metrics::add(if read { "read_anothers" } else { "read_nothing" }, 1);
                }
                what => {
                    if let Some(kind) = attack(what) {
                        effects.push(effect(kind, Vec::new()));
                    }
                }
            }
        }
        observer::Observed { done: events.len() as u32, effects, retry: None }
    }
}
