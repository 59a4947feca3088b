//! A plugin that keeps things, in a form that differs from version to version: as its suffix says. `put KEY` is kept on the
//! message's path, `list` is answered after it, and a user is told of schedules. For the host's tests of states and schedules only.

use kith_plugin::ability;
use kith_plugin::{
    Action, AdminRule, Command, Decision, Effect, Event, HookDefault, Judgement, Kept, MessageStrategy, Need, Observer,
    Occasion, Plugin, Retry, Schedules, Upgrade,
};

const KIND: &str = match option_env!("KITH_PLUGIN_VERSION_SUFFIX") {
    Some(kind) => kind,
    None => "one",
};

#[derive(serde::Deserialize)]
struct Config {
    /// Schedules by name.
    #[serde(default)]
    times: std::collections::BTreeMap<String, String>,
    /// Who is told when one came.
    #[serde(default)]
    tell: String,
}

struct Keeper {
    times: Vec<(String, String)>,
    tell: String,
}

impl Plugin for Keeper {
    const SUMMARY: &'static str = "Keeps what it is given.";
    const CONFIG_SCHEMA: &'static str =
        r#"{"type": "object", "properties": {"times": {"type": "object", "default": {}}, "tell": {"type": "string"}}}"#;

    fn hooks() -> Vec<HookDefault> {
        ["message-strategy", "observer", "admin-rule"].map(HookDefault::new).into()
    }

    fn configure(config: &[u8]) -> Result<Self, String> {
        let Config { times, tell } = kith_plugin::from_json(config)?;
        Ok(Self { times: times.into_iter().collect(), tell })
    }
}

/// What a version keeps under a key.
fn kept(key: &str, value: &str) -> (String, String) {
    match KIND {
        "one" => (format!("k:{key}"), value.to_owned()),
        _ => (format!("m/{key}"), format!("{value}+2")),
    }
}

impl MessageStrategy for Keeper {
    fn decide(&self, command: &Command) -> Decision {
        let mut decision = Decision::pass();
        if command.operation == "send" && KIND != "again" {
            if let Some(key) = command.text.strip_prefix("put ") {
                let (key, value) = kept(key, "v");
                decision.effects.push(Effect::put(&key, value));
            }
            if let Some(key) = command.text.strip_prefix("take ") {
                decision.effects.push(Effect::delete(&kept(key, "").0));
            }
            if let Some(key) = command.text.strip_prefix("hoard ") {
                decision.effects.push(Effect::put(&kept(key, "").0, vec![b'x'; 60_000]));
            }
        }
        decision
    }
}

fn all(prefix: &str) -> Result<Vec<String>, ability::Error> {
    let (mut keys, mut after): (Vec<String>, String) = Default::default();
    loop {
        let page = ability::kv_keys(prefix, &after, 200)?;
        let Some(last) = page.last() else {
            return Ok(keys);
        };
        after.clone_from(last);
        keys.extend(page);
    }
}

/// How many keys of each form there are, and how many values are not in the form of their keys.
fn list() -> Result<String, ability::Error> {
    let mut odd = 0;
    let moved = all("m/")?;
    for key in &moved {
        let item = ability::kv_get(key)?;
        odd += usize::from(item.is_none_or(|item| !item.value.ends_with(b"+2")));
    }
    Ok(format!("k {} m {} r {} odd {odd}", all("k:")?.len(), moved.len(), all("r/")?.len()))
}

fn to_sender(event: &Event, text: &str) -> Vec<Effect> {
    let content = format!(r#"{{"type":"text","text":{text:?}}}"#);
    vec![Effect::send(&format!("user:{}", event.sender), &content)]
}

fn fired(name: &str) -> u64 {
    let kept = kith_plugin::kv_get(&format!("fired/{name}")).ok().flatten();
    kept.and_then(|count| String::from_utf8(count).ok()?.parse().ok()).unwrap_or(0)
}

impl Observer for Keeper {
    fn event(&self, event: &Event) -> Result<Vec<Effect>, Retry> {
        if event.kind == "schedule" {
            let count = fired(&event.text) + 1;
            let told = format!("{} {count} at {}", event.text, event.at_ms);
            let content = format!(r#"{{"type":"text","text":{told:?}}}"#);
            let effects = vec![
                Effect::put(&format!("fired/{}", event.text), count.to_string()),
                Effect::send(&format!("user:{}", self.tell), &content),
            ];
            if event.text == "falls" && event.attempt == 0 {
                panic!("told to fall");
            }
            return Ok(effects);
        }
        if event.entry_kind != "message" || event.fact("plugin").is_some() {
            return Ok(Vec::new());
        }
        if KIND == "again"
            && let Some(key) = event.text.strip_prefix("put ")
        {
            // What is said here besides is said by nobody while a state is made anew.
            let mut effects = to_sender(event, "must not be heard of what was");
            effects.truncate(usize::from(key.starts_with("loud")));
            effects.push(Effect::put(&format!("r/{key}"), "seen"));
            return Ok(effects);
        }
        if event.text == "list" {
            let told = list().unwrap_or_else(|error| format!("no {error}"));
            return Ok(to_sender(event, &told));
        }
        Ok(Vec::new())
    }
}

impl AdminRule for Keeper {
    fn schedule(&self, occasion: &Occasion) -> Judgement {
        Judgement::abstain().and(Action::notify(&format!("{} at {}", occasion.what, occasion.at_ms)))
    }
}

impl Schedules for Keeper {
    fn times(&self) -> Vec<(String, String)> {
        self.times.clone()
    }
}

impl Upgrade for Keeper {
    fn needs(&self, from_version: &str) -> Result<Need, String> {
        Ok(match (KIND, from_version) {
            ("never", _) => return Err("not from there".to_owned()),
            ("two" | "slow" | "refusing" | "trapping", "0.1.0-one") => Need::Migrate,
            ("again", _) => Need::Rebuild(1000),
            _ => Need::Compatible,
        })
    }

    fn migrate(&self, _: &str, items: &[Kept]) -> Result<Vec<Kept>, String> {
        match KIND {
            "refusing" => return Err("it is not to be had".to_owned()),
            "trapping" => panic!("told to trap"),
            "slow" => (0..30_000_000_u64).for_each(|n| {
                std::hint::black_box(n);
            }),
            _ => {}
        }
        let mut moved = Vec::new();
        for item in items {
            let Some(key) = item.key.strip_prefix("k:") else {
                continue;
            };
            let mut now = item.under(&format!("m/{key}"));
            if let Some(value) = &mut now.value {
                value.extend_from_slice(b"+2");
            }
            moved.extend([now, Kept::gone(&item.key)]);
        }
        Ok(moved)
    }
}

kith_plugin::register_plugin!(Keeper: message_strategy, observer, admin_rule, schedules, upgrade);
