//! Hooks after the commit that do what a message tells them to, so that what happened shows in the conversation. As a
//! version's suffix says it imports more (`wide`) or no more than `plain`. For the host's tests only.

use std::cell::Cell;

use kith_plugin::ability::{self, Request};
use kith_plugin::service;
use kith_plugin::{
    Answer, Commands, ContentFilter, Effect, Event, Hit, HookDefault, Invocation, Level, Observed, Observer, Plugin,
    Responder, Retry, Text, Usage,
};

const KIND: &str = match option_env!("KITH_PLUGIN_VERSION_SUFFIX") {
    Some(kind) => kind,
    None => "plain",
};

struct Observant;

impl Plugin for Observant {
    const SUMMARY: &'static str = "Does after the commit what it is told.";
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;

    fn hooks() -> Vec<HookDefault> {
        ["content-filter", "command", "observer", "responder"].map(HookDefault::new).into()
    }

    fn configure(_: &[u8]) -> Result<Self, String> {
        Ok(Self)
    }
}

/// On the message's path nothing beyond it is there: a text that asks is masked where it is denied.
impl ContentFilter for Observant {
    fn scan(&self, text: &Text) -> Vec<Hit> {
        if text.text != "path" {
            return Vec::new();
        }
        match ability::kv_get("n") {
            Err(ability::Error::Denied(_)) => Hit::every(&text.text, "path", "mask", "denied"),
            _ => Vec::new(),
        }
    }
}

/// On the message's path a value is written by an effect, and read as it was at one moment.
impl Commands for Observant {
    fn names(&self) -> Vec<Usage> {
        vec![Usage::new("keep", "Keeps a word"), Usage::new("kept", "Tells it")]
    }

    fn run(&self, command: &Invocation) -> Answer {
        match command.name.as_str() {
            "keep" => {
                let value = command.arguments.clone().into_bytes();
                Answer::done().and(Effect { kind: "kv-put".into(), key: "word".into(), value })
            }
            _ => Answer::reply(&word_of_a_moment()),
        }
    }
}

fn word_of_a_moment() -> String {
    match kith_plugin::kv_get("word") {
        Ok(value) => value.map_or("nothing".into(), |value| String::from_utf8_lossy(&value).into_owned()),
        Err(error) => format!("no {error:?}"),
    }
}

fn word() -> Result<String, ability::Error> {
    let item = ability::kv_get("word")?;
    Ok(item.map_or("nothing".into(), |item| String::from_utf8_lossy(&item.value).into_owned()))
}

fn to_sender(event: &Event, text: &str) -> Vec<Effect> {
    let content = format!(r#"{{"type":"text","text":{text:?}}}"#);
    vec![Effect::send(&format!("user:{}", event.sender), &content)]
}

fn number() -> u64 {
    if let Some(number) = NUMBER.get() {
        return number;
    }
    let kept = ability::kv_get("n").ok().flatten();
    kept.and_then(|item| String::from_utf8(item.value).ok()).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn told<T: std::fmt::Debug>(result: Result<T, ability::Error>) -> String {
    match result {
        Ok(value) => format!("ok {value:?}"),
        Err(error) => format!("no {error}"),
    }
}

thread_local! {
    /// The number as this call's events leave it: what they write is there for the next call.
    static NUMBER: Cell<Option<u64>> = const { Cell::new(None) };
}

impl Observer for Observant {
    fn observe(&self, events: &[Event]) -> Observed {
        NUMBER.set(None);
        Observed::of_each(events, |event| self.event(event))
    }

    fn event(&self, event: &Event) -> Result<Vec<Effect>, Retry> {
        if event.entry_kind != "message" {
            return Ok(Vec::new());
        }
        let (what, rest) = event.text.split_once(' ').unwrap_or((&event.text, ""));
        if what == "recurse" {
            let content = r#"{"type":"text","text":"recurse"}"#;
            return Ok(vec![Effect::send(&format!("conversation:{}", event.conversation), content)]);
        }
        if event.fact("plugin").is_some() {
            return Ok(Vec::new());
        }
        Ok(match what {
            "trap" => panic!("told to trap"),
            "loop" => loop {
                std::hint::black_box(());
            },
            "hog" => {
                let mut hoard: Vec<Vec<u8>> = Vec::new();
                loop {
                    hoard.push(std::hint::black_box(vec![1; 1 << 20]));
                }
            }
            "log" => logged(rest),
            "flood" => to_sender(event, &format!("{} metrics", flood())),
            // The number is read, and the next one written with the place in the feed.
            "count" => {
                let next = number() + 1;
                NUMBER.set(Some(next));
                let mut effects = to_sender(event, &format!("counted {rest}"));
                effects.push(Effect { kind: "kv-put".into(), key: "n".into(), value: next.to_string().into_bytes() });
                effects
            }
            "kind" => to_sender(event, &format!("it is {KIND}")),
            "total" => to_sender(event, &format!("total {}", number())),
            "late" if event.attempt < 2 => return Err(Retry::after_ms(30, "not yet")),
            "late" => to_sender(event, &format!("at attempt {}", event.attempt)),
            "fetch" => {
                let request = Request { method: "GET".into(), url: rest.into(), ..Request::default() };
                to_sender(event, &match ability::fetch(&request) {
                    Ok(response) => format!("fetched {} with {} bytes", response.status, response.body.len()),
                    Err(error) => format!("no {error}"),
                })
            }
            "random" => to_sender(event, &told(random())),
            "model" => to_sender(event, &model()),
            "look" => to_sender(event, &look_up()),
            "who" => to_sender(event, &told(ability::user_named(rest).map(|user| (user.username, user.kind)))),
            "members" => to_sender(event, &told(ability::members(&event.conversation, "", 10).map(|all| all.len()))),
            "history" => {
                let conversation = if rest.is_empty() { &event.conversation } else { rest };
                to_sender(event, &told(ability::history(conversation, 0, 10).map(|entries| entries.len())))
            }
            "cas" => {
                let first = ability::kv_put("cas", b"1", Some(0), None);
                let second = ability::kv_put("cas", b"2", Some(0), None);
                let third = first.and_then(|version| ability::kv_put("cas", b"3", Some(version), None));
                to_sender(event, &format!("{} / {}", told(third.map(|_| ())), told(second)))
            }
            "keep" => to_sender(event, &told(ability::kv_put("word", rest.as_bytes(), None, None).map(|_| ()))),
            "kept" => to_sender(event, &format!("{} / {}", told(word()), word_of_a_moment())),
            "fill" => {
                let put = (0..100).try_for_each(|n| ability::kv_put(&format!("f{n}"), &[7; 4096], None, None).map(|_| ()));
                to_sender(event, &told(put))
            }
            "say" => {
                let said = ability::send(&format!("user:{}", event.sender), r#"{"type":"text","text":"said"}"#, rest);
                to_sender(event, &told(said.map(|(_, seq)| seq > 0)))
            }
            _ => Vec::new(),
        })
    }
}

/// Says something to the log alone.
fn logged(line: &str) -> Vec<Effect> {
    kith_plugin::log(Level::Info, line);
    Vec::new()
}

/// Floods the log and the numbers; how many numbers were taken.
fn flood() -> usize {
    (0..10_000).for_each(|n| kith_plugin::log(Level::Info, &format!("{n} {}", "flood ".repeat(500))));
    (0..10_000).filter(|n| ability::count(&format!("flood_{n}"), 1).is_ok()).count()
}

fn random() -> Result<usize, ability::Error> {
    if KIND == "wide" {
        return ability::random(32).map(|bytes| bytes.len());
    }
    Err(ability::Error::Denied("not imported".into()))
}

fn model() -> String {
    if KIND != "wide" {
        return "not imported".into();
    }
    let prompt = service::Prompt { messages: vec![("user".into(), "hello".into())], ..service::Prompt::default() };
    let asked = service::llm_open(&prompt).and_then(|answer| {
        service::llm_next(answer)?;
        service::llm_finish(answer)
    });
    asked.map_or_else(|error| format!("no {error}"), |usage| format!("ok {}", usage.ended))
}

fn look_up() -> String {
    if KIND != "wide" {
        return "not imported".into();
    }
    let found = service::search("", "opening hours", 3);
    found.map_or_else(|error| format!("no {error}"), |passages| format!("ok {}", passages.len()))
}

impl Responder for Observant {
    fn respond(&self, event: &Event, _: &str) -> Result<(), Retry> {
        if let Some(reason) = event.text.strip_prefix("person ") {
            let reply = ability::reply_open().and_then(|reply| {
                ability::reply_write(reply, "a person will answer")?;
                ability::reply_finish(reply)
            });
            let handed = reply.and_then(|_| ability::hand_over(reason));
            return handed.map_err(|error| Retry::after_ms(50, error.to_string()));
        }
        let Some(text) = event.text.strip_prefix("answer ") else {
            return Ok(());
        };
        let answered = ability::reply_open().and_then(|reply| {
            for word in text.split_inclusive(' ') {
                ability::reply_write(reply, word)?;
            }
            if text.ends_with("and fall") && event.attempt == 0 {
                panic!("told to fall in the middle of it");
            }
            while text.ends_with("and linger") {
                std::hint::black_box(());
            }
            ability::reply_finish(reply)
        });
        answered.map(|_| ()).map_err(|error| Retry::after_ms(50, error.to_string()))
    }
}

kith_plugin::register_plugin!(Observant: content_filter, command, observer, responder);
