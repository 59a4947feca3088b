//! Running a replay file: the call that failed on a server, made again on the real component under the same limits.
//! What the call asked of the host after a commit is denied here: nothing is reached.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use kith_runtime::{
    Abilities, AbilityError, AfterCall, Binding, DirectoryUser, Event, Failure, Grants,
    HistoryEntry, Hook, HttpRequest, HttpResponse, KvItem, LlmPrompt, LlmUsage, Passage,
    RelationOf, Runtime, Sent, ServiceError, Settings, Values, ValuesSnapshot, Version,
};
use serde_json::{Value, json};

use crate::content::ContentLimits;
use crate::entry::HookOutcome;
use crate::plugins::replay::aside::failure_kind;
use crate::plugins::replay::asked::{Asked, AskedEvents};
use crate::plugins::replay::files::ReplayFile;
use crate::plugins::replay::said;

/// What came of a replay file.
#[derive(Debug)]
pub struct Replayed {
    /// The hook that was called.
    pub hook: String,
    /// How the call failed on the server.
    pub failure: String,
    pub us: u64,
    /// What it says here; or how it fails, and why.
    pub said: Said,
}

impl Replayed {
    /// As `Tested::json` has it, with one case.
    pub fn json(&self) -> Value {
        let mut case = json!({"name": self.hook, "passed": self.said.is_ok(), "us": self.us});
        match &self.said {
            Ok(said) => case["said"] = said.as_str().into(),
            Err((failure, why)) => {
                case["failure"] = failure.as_str().into();
                case["why"] = why.as_str().into();
            }
        }
        let passed = u8::from(self.said.is_ok());
        json!({"passed": passed, "failed": 1 - passed, "cases": [case]})
    }

    /// An error when the call fails here too.
    pub fn check(&self) -> Result<()> {
        match &self.said {
            Ok(_) => Ok(()),
            Err((kind, _)) if *kind == self.failure => bail!("it fails as it did on the server"),
            Err(_) => bail!("it fails, but not as it did on the server"),
        }
    }
}

/// Runs a replay file on a component. `say` is told what comes of it.
pub fn replay(
    file: &Path,
    component: &Path,
    config: Option<&Path>,
    say: &dyn Fn(&str),
) -> Result<Replayed> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut read: ReplayFile = serde_json::from_str(&text)
        .with_context(|| format!("{} is no replay file", file.display()))?;
    if read.kith_replay != 1 {
        bail!(
            "{} is of format {}; this program reads 1",
            file.display(),
            read.kith_replay
        );
    }
    let bytes =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let config = configuration(&read, config)?;
    let cache = tempfile::tempdir()?;
    let mut settings = Settings::new(cache.path()).for_trial();
    settings.hard_stop = std::time::Duration::from_millis(read.limits.hard_stop_ms.max(1));
    settings.after_stop = std::time::Duration::from_millis(read.limits.after_stop_ms.max(1));
    settings.memory_cap_bytes = usize::try_from(read.limits.memory_bytes)?;
    let reads = read.reads.iter().map(|one| (one.key.clone(), one.value()));
    let runtime = Runtime::with_values(settings, Arc::new(Then(reads.collect())))?;
    let version = runtime.prepare(&bytes, &config)?;
    let known = version.inspection();
    let (hook, _, _) = read.asked.about();
    say(&format!(
        "{} {} of {}@{}, on {}@{}",
        hook, read.failure.kind, read.plugin, read.version, known.name, known.version
    ));
    if read.lacks_words() {
        say("what people wrote is not in the file: x stands for every character");
    }
    let began = Instant::now();
    let said = ask(&version, &read.asked)?;
    let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    match &said {
        Ok(said) => say(&format!("ok      {said}  {us} us")),
        Err((kind, why)) => say(&format!("FAILED  {kind}: {why}  {us} us")),
    }
    Ok(Replayed {
        hook: hook.to_owned(),
        failure: read.failure.kind.to_string(),
        us,
        said,
    })
}

fn configuration(file: &ReplayFile, config: Option<&Path>) -> Result<Value> {
    match (config, &file.config) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
        }
        (None, Some(config)) => Ok(config.clone()),
        (None, None) => Ok(json!({})),
    }
}

/// What it says, or how it fails and why.
pub type Said = Result<String, (String, String)>;

fn ask(version: &Arc<Version>, asked: &Asked) -> Result<Said> {
    let (hook, _, _) = asked.about();
    let hook = Hook::from_name(hook).context("the file names no hook")?;
    match asked {
        Asked::Observer(events) | Asked::Responder(events) => ask_after(version, hook, events),
        _ => {
            let generation = said::generation(version, &[hook]);
            let said = said::ask(&generation, asked, &ContentLimits::default());
            let said = said.context("the component does not answer this")?;
            Ok(match (said.outcome, said.failure) {
                (HookOutcome::Failed, Some(failure)) => Err(failed(&failure)),
                (outcome, _) => Ok(serde_json::to_string(&outcome)?.replace('"', "")),
            })
        }
    }
}

fn failed(failure: &Failure) -> (String, String) {
    let kind = failure_kind(failure).unwrap_or("failed");
    (kind.to_owned(), failure.to_string())
}

fn ask_after(version: &Arc<Version>, hook: Hook, asked: &AskedEvents) -> Result<Said> {
    let binding = Binding::as_wished(version, hook).context("the component has no such hook")?;
    let events: Vec<Event> = asked.events.iter().map(Event::from).collect();
    let first = events.first().cloned().context("the file has no event")?;
    let call = AfterCall {
        grants: Arc::new(Grants::default()),
        host: Arc::new(Nowhere),
        namespace: binding.namespace.clone(),
        now_ms: first.at_ms,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async {
        match hook {
            Hook::Observer => {
                let observed = binding.observe(call, events.into()).await;
                observed.map(|observed| format!("{} done", observed.done))
            }
            _ => {
                let account = asked.account.as_str().into();
                let answered = binding.respond(call, Arc::new(first), account).await;
                answered.map(|answered| match answered {
                    Ok(()) => "answered".to_owned(),
                    Err(retry) => format!("asks for a retry: {}", retry.reason),
                })
            }
        }
    });
    Ok(answer.map_err(|failure| failed(&failure)))
}

/// What the call had read.
struct Then(HashMap<String, Option<Vec<u8>>>);

impl Values for Then {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl ValuesSnapshot for Then {
    fn get(&self, _: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).cloned().flatten())
    }
}

/// A host that reaches nothing.
struct Nowhere;

fn no_service<T>() -> Result<T, ServiceError> {
    Err(ServiceError::Denied(
        "no service is reached here".to_owned(),
    ))
}

fn nowhere<T>() -> Result<T, AbilityError> {
    Err(AbilityError::Unavailable(
        "nothing is reached in a replay".to_owned(),
    ))
}

#[async_trait]
impl Abilities for Nowhere {
    async fn random(&self, _: u32) -> Result<Vec<u8>, AbilityError> {
        nowhere()
    }

    async fn kv_get(&self, _: &str) -> Result<Option<KvItem>, AbilityError> {
        nowhere()
    }

    async fn kv_put(
        &self,
        _: String,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<u64, AbilityError> {
        nowhere()
    }

    async fn kv_delete(&self, _: String, _: Option<u64>) -> Result<(), AbilityError> {
        nowhere()
    }

    async fn kv_keys(&self, _: &str, _: &str, _: u32) -> Result<Vec<String>, AbilityError> {
        nowhere()
    }

    async fn user(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        nowhere()
    }

    async fn user_named(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        nowhere()
    }

    async fn relation(&self, _: &str, _: &str) -> Result<RelationOf, AbilityError> {
        nowhere()
    }

    async fn members(
        &self,
        _: &str,
        _: &str,
        _: u32,
    ) -> Result<Vec<(String, String)>, AbilityError> {
        nowhere()
    }

    async fn history(&self, _: &str, _: u64, _: u32) -> Result<Vec<HistoryEntry>, AbilityError> {
        nowhere()
    }

    async fn fetch(&self, _: HttpRequest) -> Result<HttpResponse, AbilityError> {
        nowhere()
    }

    async fn send(&self, _: &str, _: &str, _: &str) -> Result<Sent, AbilityError> {
        nowhere()
    }

    async fn reply_open(&self) -> Result<u32, AbilityError> {
        nowhere()
    }

    async fn reply_write(&self, _: u32, _: String) -> Result<(), AbilityError> {
        nowhere()
    }

    async fn reply_finish(&self, _: u32) -> Result<u64, AbilityError> {
        nowhere()
    }

    async fn hand_over(&self, _: String) -> Result<(), AbilityError> {
        nowhere()
    }

    async fn llm_open(&self, _: LlmPrompt) -> Result<u32, ServiceError> {
        no_service()
    }
    async fn llm_next(&self, _: u32) -> Result<Option<String>, ServiceError> {
        no_service()
    }
    async fn llm_finish(&self, _: u32) -> Result<LlmUsage, ServiceError> {
        no_service()
    }
    async fn knowledge(&self, _: &str, _: &str, _: u32) -> Result<Vec<Passage>, ServiceError> {
        no_service()
    }
    async fn count(&self, _: &str, _: u64) -> Result<(), AbilityError> {
        nowhere()
    }

    async fn gauge(&self, _: &str, _: f64) -> Result<(), AbilityError> {
        nowhere()
    }
}
