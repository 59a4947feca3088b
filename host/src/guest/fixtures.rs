//! Fixtures: what a plugin is asked and what it must answer, run on the real component under the real limits.
//!
//! A file `fixtures/NAME.json` has `config`, `kv` and one of: `scan` and `hits`; `command` and `verdict`; `invoke` and
//! `answer`; `occasion`, `ruling` and `actions`. How each looks is said below; what is asked has the fields of the contract,
//! in snake case, those left out at their defaults.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kith_runtime::{
    Binding, Command, CommandOutcome, Generation, Hook, Invocation, Occasion, Rule, Runtime, Scope,
    Settings, Text, Values, ValuesSnapshot, Verdict,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    #[serde(default)]
    config: Map<String, Value>,
    /// What the plugin has written before.
    #[serde(default)]
    kv: HashMap<String, String>,
    /// A filter's texts …
    #[serde(default)]
    scan: Vec<String>,
    /// … and for each its hits: `[start, end, level]`.
    #[serde(default)]
    hits: Vec<Vec<(u32, u32, String)>>,
    /// What a strategy is asked …
    command: Option<Map<String, Value>>,
    /// … and says: `pass`, `replace`, `reject:CODE`, `hold:CODE`, `drop:CODE`.
    verdict: Option<String>,
    /// What a command is asked …
    invoke: Option<Map<String, Value>>,
    /// … and says: `done`, `pass`, `reject:CODE`, `{"reply": CONTENT}`, `{"send": CONTENT}`.
    answer: Option<Value>,
    /// What a rule is asked …
    occasion: Option<Map<String, Value>>,
    /// … and says: `abstain`, `allow`, `deny:CODE`, `require-approval:CODE`.
    ruling: Option<String>,
    #[serde(default)]
    actions: Vec<Act>,
}

/// An action of a rule.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    kind: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    for_ms: u64,
    #[serde(default)]
    text: String,
}

/// Runs every fixture of a plugin's folder on a component; an error when one does not hold.
pub fn test(folder: &Path, component: &Path, say: &dyn Fn(&str)) -> Result<()> {
    let bytes =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let cache = tempfile::tempdir()?;
    let files = fixture_files(&folder.join("fixtures"))?;
    if files.is_empty() {
        bail!("{} has no fixtures/*.json", folder.display());
    }
    let mut failed = 0;
    for file in &files {
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(file)?;
        let fixture: Fixture = serde_json::from_str(&text)
            .with_context(|| format!("{} is no fixture", file.display()))?;
        match run(cache.path(), &bytes, &fixture) {
            Ok((took, size)) => {
                say(&format!(
                    "ok      {name}  {} us, {} KiB of memory image",
                    took.as_micros(),
                    size / 1024
                ));
            }
            Err(error) => {
                failed += 1;
                say(&format!("FAILED  {name}: {error:#}"));
            }
        }
    }
    say(&format!(
        "{} passed, {failed} failed; the component has {} bytes",
        files.len() - failed,
        bytes.len()
    ));
    if failed > 0 {
        bail!("{failed} fixtures do not hold");
    }
    Ok(())
}

fn fixture_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(listed) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut files: Vec<_> = listed
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "json")
    });
    files.sort();
    Ok(files)
}

/// How long the first call took, and the bytes of the baked image.
fn run(cache: &Path, component: &[u8], fixture: &Fixture) -> Result<(Duration, u64)> {
    let kept = Arc::new(Kept(fixture.kv.clone()));
    let runtime = Runtime::with_values(Settings::new(cache), kept)?;
    let version = runtime.prepare(component, &Value::Object(fixture.config.clone()))?;
    let size = version
        .baked_file()
        .and_then(|file| std::fs::metadata(file).ok())
        .map_or(0, |meta| meta.len());
    let bindings = Hook::ALL
        .into_iter()
        .filter_map(|hook| Binding::as_wished(&version, hook))
        .collect();
    let generation = Generation::new(1, bindings);
    let started = Instant::now();
    if let (Some(typed), Some(expected)) = (&fixture.invoke, &fixture.answer) {
        let answer = invoke(&generation, typed)?;
        let took = started.elapsed();
        if answer != *expected {
            bail!("the answer is {answer}, expected {expected}");
        }
        return Ok((took, size));
    }
    if let (Some(occasion), Some(expected)) = (&fixture.occasion, &fixture.ruling) {
        let (ruling, actions) = rule(&generation, occasion)?;
        let took = started.elapsed();
        if ruling != *expected {
            bail!("the ruling is {ruling}, expected {expected}");
        }
        if actions != fixture.actions {
            bail!(
                "the actions are {actions:?}, expected {:?}",
                fixture.actions
            );
        }
        return Ok((took, size));
    }
    match (&fixture.command, &fixture.verdict) {
        (Some(command), Some(expected)) => {
            let verdict = decide(&generation, command)?;
            let took = started.elapsed();
            if verdict != *expected {
                bail!("the verdict is {verdict}, expected {expected}");
            }
            Ok((took, size))
        }
        _ => {
            let found = scan(&generation, &fixture.scan)?;
            let took = started.elapsed();
            if found != fixture.hits {
                bail!("the hits are {found:?}, expected {:?}", fixture.hits);
            }
            Ok((took, size))
        }
    }
}

fn scan(generation: &Generation, texts: &[String]) -> Result<Vec<Vec<(u32, u32, String)>>> {
    let asked: Vec<_> = texts
        .iter()
        .map(|text| Text {
            place: "message",
            text,
        })
        .collect();
    let ruling = generation.filter(Scope::Direct, &asked, 0);
    if let Verdict::Unavailable { reason, .. }
    | Verdict::Hold {
        reason,
        cause: kith_runtime::HoldCause::Failed,
        ..
    } = &ruling.verdict
    {
        bail!("the call failed: {}", reason.text);
    }
    let mut found = vec![Vec::new(); texts.len()];
    for hit in &ruling.hits {
        let level = serde_json::to_value(hit.level)?;
        found[hit.text as usize].push((
            hit.start,
            hit.end,
            level.as_str().unwrap_or_default().to_owned(),
        ));
    }
    found.iter_mut().for_each(|hits| hits.sort());
    Ok(found)
}

/// The values of a fixture.
struct Kept(HashMap<String, String>);

impl Values for Kept {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl ValuesSnapshot for Kept {
    fn get(&self, _: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).map(|text| text.clone().into_bytes()))
    }
}

fn invoke(generation: &Generation, fields: &Map<String, Value>) -> Result<Value> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let flag = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mentions = fields.get("mentions").and_then(Value::as_array);
    let mentions: Vec<&str> = mentions
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let invocation = Invocation {
        name: text("name"),
        arguments: text("arguments"),
        conversation: text("conversation"),
        conversation_kind: text("conversation_kind"),
        sender: text("sender"),
        sender_role: text("sender_role"),
        peer: text("peer"),
        blocked: flag("blocked"),
        blocking: flag("blocking"),
        friends: flag("friends"),
        mentions: &mentions,
        reply_to: number("reply_to"),
        at_ms: number("at_ms"),
        facts: &[],
    };
    let scope = scope_of(invocation.conversation_kind);
    let ruling = generation.command(scope, &invocation, &kith_runtime::read_plain_content);
    if ruling.records.is_empty() {
        bail!("the plugin has no command {}", invocation.name);
    }
    Ok(match ruling.outcome {
        CommandOutcome::Done => json!("done"),
        CommandOutcome::Pass => json!("pass"),
        CommandOutcome::Reply(content) => {
            json!({"reply": serde_json::from_str::<Value>(&content)?})
        }
        CommandOutcome::Send(content) => json!({"send": serde_json::from_str::<Value>(&content)?}),
        CommandOutcome::Reject { reason, .. } => json!(format!("reject:{}", reason.code)),
        CommandOutcome::Unavailable { reason, .. } => bail!("the call failed: {}", reason.text),
    })
}

fn rule(generation: &Generation, fields: &Map<String, Value>) -> Result<(String, Vec<Act>)> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let occasion = Occasion {
        kind: text("kind"),
        user: text("user"),
        username: text("username"),
        actor: text("actor"),
        address: text("address"),
        device: text("device"),
        device_kind: text("device_kind"),
        conversation: text("conversation"),
        what: text("what"),
        text: text("text"),
        at_ms: fields
            .get("at_ms")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
        facts: &[],
    };
    let ruling = generation.rule(&occasion, true);
    let said = match ruling.rule {
        Rule::Abstain => "abstain".to_owned(),
        Rule::Allow => "allow".to_owned(),
        Rule::Deny { reason, .. } => format!("deny:{}", reason.code),
        Rule::RequireApproval { reason, .. } => format!("require-approval:{}", reason.code),
        Rule::Unavailable { reason, .. } => bail!("the call failed: {}", reason.text),
    };
    let actions = ruling.actions.into_iter().map(|action| Act {
        kind: action.act.as_str().to_owned(),
        subject: action.subject,
        for_ms: action.for_ms,
        text: action.text,
    });
    Ok((said, actions.collect()))
}

fn scope_of(conversation_kind: &str) -> Scope {
    match conversation_kind {
        "group" => Scope::Group,
        "self" => Scope::Own,
        _ => Scope::Direct,
    }
}

fn decide(generation: &Generation, fields: &Map<String, Value>) -> Result<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let flag = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    };
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    let command = Command {
        operation: text("operation"),
        conversation: text("conversation"),
        conversation_kind: text("conversation_kind"),
        sender: text("sender"),
        sender_role: text("sender_role"),
        peer: text("peer"),
        peer_role: text("peer_role"),
        blocked: flag("blocked"),
        blocking: flag("blocking"),
        friends: flag("friends"),
        muted: flag("muted"),
        unanswered: u32::try_from(number("unanswered"))?,
        answered: flag("answered"),
        content_type: text("content_type"),
        text: text("text"),
        at_ms: number("at_ms"),
        target_sender: text("target_sender"),
        target_age_ms: number("target_age_ms"),
        recent: &[],
        facts: &[],
    };
    let scope = scope_of(command.conversation_kind);
    let ruling = generation.strategy(scope, &command, &kith_runtime::read_plain_content);
    Ok(match ruling.verdict {
        Verdict::Pass if ruling.content.is_some() => "replace".to_owned(),
        Verdict::Pass => "pass".to_owned(),
        Verdict::Reject { reason, .. } => format!("reject:{}", reason.code),
        Verdict::Hold { reason, .. } => format!("hold:{}", reason.code),
        Verdict::Drop { reason, .. } => format!("drop:{}", reason.code),
        Verdict::Unavailable { reason, .. } => bail!("the call failed: {}", reason.text),
    })
}
