//! A guest with hooks after the commit that does what an event's text tells it to (`do:trap`, `do:loop` …), and one on the
//! message's path that asks for what is not there. For the runtime's tests only.

wit_bindgen::generate!({
    path: "../../../../../wit/v1",
    inline: "package test:diligent; world diligent { include kith:plugin/host-t1@1.0.0; export kith:plugin/content-filter@1.0.0; }",
    world: "test:diligent/diligent",
    generate_all,
});

use exports::kith::plugin::content_filter::{self, Hit, Text};
use exports::kith::plugin::observer::{self, Event, EventEffect, Observed, Retry};
use exports::kith::plugin::{lifecycle, responder};
use self::kith::plugin::errors::Error;
use self::kith::plugin::types::Effect;
use self::kith::plugin::{http, kv, log, random};

struct Guest;
export!(Guest);

impl lifecycle::Guest for Guest {
    fn describe() -> lifecycle::Description {
        lifecycle::Description {
            name: "diligent".into(),
            version: "1.0.0".into(),
            summary: "Does what it is told, afterwards.".into(),
            config_schema: "{}".into(),
            hooks: Vec::new(),
        }
    }

    fn configure(_: Vec<u8>) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| log::write(log::Level::Error, &panic.to_string())));
        Ok(())
    }

    fn self_test() -> Result<(), String> {
        Ok(())
    }
}

impl content_filter::Guest for Guest {
    fn scan(texts: Vec<Text>) -> Vec<Vec<Hit>> {
        let rule = match kv::get("k") {
            Err(Error::Denied(_)) => "denied",
            _ => "there",
        };
        let hit = |_| vec![Hit { start: 0, end: 1, level: "mask".into(), rule: rule.into() }];
        texts.iter().map(hit).collect()
    }
}

fn told(result: Result<String, Error>) -> Effect {
    let text = match result {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("no {error:?}"),
    };
    Effect { kind: "told".into(), key: "k".into(), value: text.into_bytes() }
}

impl observer::Guest for Guest {
    fn observe(events: Vec<Event>) -> Observed {
        let mut effects = Vec::new();
        let mut done = 0;
        for (place, event) in (0..).zip(&events) {
            let effect = match event.text.as_str() {
                "do:trap" => panic!("told to trap"),
                "do:loop" => loop {
                    std::hint::black_box(());
                },
                "do:hog" => {
                    let mut hoard: Vec<Vec<u8>> = Vec::new();
                    loop {
                        hoard.push(std::hint::black_box(vec![1; 1 << 20]));
                    }
                }
                "do:lie" => return Observed { done: 7, effects, retry: None },
                "do:later" => {
                    return Observed { done, effects, retry: Some(Retry { after_ms: 7, reason: "later".into() }) };
                }
                "do:random" => told(random::bytes(4).map(|bytes| format!("{bytes:?}"))),
                "do:fetch" => told(http::fetch(&http::Request {
                    method: "GET".into(),
                    url: "https://a.example".into(),
                    headers: Vec::new(),
                    body: Vec::new(),
                    timeout_ms: 0,
                }).map(|response| response.status.to_string())),
                other => told(Ok(other.to_owned())),
            };
            effects.push(EventEffect { event: place, effect });
            done += 1;
        }
        Observed { done, effects, retry: None }
    }
}

impl responder::Guest for Guest {
    fn respond(event: Event, account: String) -> Result<(), Retry> {
        Err(Retry { after_ms: event.seq, reason: account })
    }
}
