//! Fixtures: what a plugin is asked and what it must answer, run on the real component under the real limits.
//!
//! A file `fixtures/NAME.json` has `config`, `kv` and one of: `scan` and `hits`, with `conversation_kind`; `command` and `verdict`; `invoke` and
//! `answer`; `occasion`, `ruling` and `actions`; `upgrade`, `needs` and `writes`; `observe` and `observed`; `respond` and what comes of it. How each looks is
//! said below; what is asked has the fields of the contract, in snake case, those left out at their defaults.

mod after;
mod baseline;
mod host;
mod path;
mod report;
mod upgrade;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kith_runtime::{Binding, Generation, Hook, Runtime, Settings, Values, ValuesSnapshot, Version};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::build::code_cache;
use baseline::Baseline;
pub use report::{Case, Tested};

/// How often a case is run; the fastest counts, so that a busy machine says little.
const RUNS: usize = 10;

#[derive(Debug, Default, Deserialize)]
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
    /// … in a conversation of this kind: `direct`, `group`, `self`; else where the filter wishes to be bound …
    conversation_kind: Option<String>,
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
    /// Which version it takes over from (`from`), with keys of that (`items`: `key`, `value`, `ends_at_ms`) …
    upgrade: Option<upgrade::Asked>,
    /// … what it says: `compatible`, `migrate`, `rebuild:COMMITS`, `refuse:TEXT` …
    needs: Option<String>,
    /// … and what is written over the keys.
    #[serde(default)]
    writes: Vec<upgrade::Kept>,
    /// An observer's events …
    observe: Option<Vec<Map<String, Value>>>,
    /// … and what it says: `done`, `effects` (`event`, `kind`, `key`, `value`), `retry` (`after_ms`, `reason`).
    observed: Option<Value>,
    /// A message to a responder, the account it answers as, and when it is to be called again.
    respond: Option<Map<String, Value>>,
    #[serde(default)]
    account: String,
    retry: Option<Value>,
    /// What an observer or responder finds …
    #[serde(default)]
    host: host::Surroundings,
    /// … and what it has done there. What is left out must not have been done.
    #[serde(default)]
    did: host::Deeds,
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

/// What one case took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// The fastest call.
    pub time: Duration,
    /// Most linear memory of an instance, bytes.
    pub memory: u64,
    /// From the file to a version that may serve; without compiling where that is done.
    pub load: Duration,
}

/// Runs every fixture of a plugin's folder on a component, and holds it against the baseline. `say` is told each case as it
/// is done. With `write_baseline` what was measured becomes the baseline, where every case holds.
pub fn test(
    folder: &Path,
    component: &Path,
    write_baseline: bool,
    say: &dyn Fn(&str),
) -> Result<Tested> {
    let bytes =
        std::fs::read(component).with_context(|| format!("cannot read {}", component.display()))?;
    let files = fixture_files(&folder.join("fixtures"))?;
    if files.is_empty() {
        bail!("{} has no fixtures/*.json", folder.display());
    }
    let bench = Bench::new()?;
    let baseline = Baseline::read(folder)?;
    let mut tested = Tested {
        bytes: bytes.len(),
        ..Tested::default()
    };
    let mut measured = BTreeMap::new();
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let took = bench.run_file(&bytes, file);
        if let Ok(took) = took {
            let worse = baseline.iter().filter_map(|base| base.worse(&name, took));
            tested.worse.extend(worse);
            measured.insert(name.to_string(), took);
        }
        let case = Case {
            name: name.into_owned(),
            took: took.map_err(|error| format!("{error:#}")),
        };
        say(&case.line());
        tested.cases.push(case);
    }
    say(&format!(
        "{} passed, {} failed; the component has {} bytes",
        tested.passed(),
        tested.failed(),
        bytes.len()
    ));
    let larger = baseline.iter().filter_map(|base| base.larger(bytes.len()));
    tested.worse.extend(larger);
    if write_baseline && tested.failed() == 0 {
        let file = Baseline::write(folder, bytes.len(), &measured, baseline.as_ref())?;
        say(&format!("{} is the baseline now", file.display()));
        tested.worse.clear();
        tested.baseline = Some(file);
    }
    Ok(tested)
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

/// One runtime for all cases: what is compiled for one serves the next.
struct Bench {
    runtime: Runtime,
    kept: Arc<Kept>,
    calls: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Result<Self> {
        let kept = Arc::new(Kept::default());
        let settings = Settings::new(code_cache()?);
        Ok(Self {
            runtime: Runtime::with_values(settings, kept.clone())?,
            kept,
            calls: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    fn run_file(&self, component: &[u8], file: &Path) -> Result<Took> {
        let text = std::fs::read_to_string(file)?;
        let fixture: Fixture = serde_json::from_str(&text)
            .with_context(|| format!("{} is no fixture", file.display()))?;
        self.kept.0.lock().clone_from(&fixture.kv);
        let config = Value::Object(fixture.config.clone());
        let began = Instant::now();
        let version = self.runtime.prepare(component, &config)?;
        let load = began.elapsed();
        let mut time = Duration::MAX;
        for _ in 0..RUNS {
            time = time.min(self.run(&version, &fixture)?);
        }
        Ok(Took {
            time,
            memory: version.stats().largest_memory,
            load,
        })
    }

    /// How long the call took, where it answers as it must.
    fn run(&self, version: &Arc<Version>, fixture: &Fixture) -> Result<Duration> {
        let bindings = Hook::ALL
            .into_iter()
            .filter_map(|hook| Binding::as_wished(version, hook))
            .collect();
        let generation = Generation::new(1, bindings);
        let started = Instant::now();
        if let (Some(typed), Some(expected)) = (&fixture.invoke, &fixture.answer) {
            let answer = path::invoke(&generation, typed)?;
            return held(started, "answer", &answer, expected);
        }
        if let (Some(occasion), Some(expected)) = (&fixture.occasion, &fixture.ruling) {
            let (ruling, actions) = path::rule(&generation, occasion)?;
            let took = held(started, "ruling", &ruling, expected)?;
            if actions != fixture.actions {
                bail!(
                    "the actions are {actions:?}, expected {:?}",
                    fixture.actions
                );
            }
            return Ok(took);
        }
        if let (Some(asked), Some(needs)) = (&fixture.upgrade, &fixture.needs) {
            return upgrade::run(version, asked, needs, &fixture.writes);
        }
        if let (Some(command), Some(expected)) = (&fixture.command, &fixture.verdict) {
            let verdict = path::decide(&generation, command)?;
            return held(started, "verdict", &verdict, expected);
        }
        if fixture.observe.is_some() || fixture.respond.is_some() {
            return self.calls.block_on(after::run(version, fixture));
        }
        let wishes = &version.inspection().defaults;
        let wish = wishes.iter().find(|wish| wish.hook == Hook::ContentFilter);
        let kind = fixture.conversation_kind.as_deref();
        let scope = path::scanned_in(kind, wish.map(|wish| wish.scope))?;
        let found = path::scan(&generation, scope, &fixture.scan)?;
        let took = started.elapsed();
        if found != fixture.hits {
            if let Some(wish) = wish.filter(|wish| !wish.scope.covers(scope)) {
                bail!(
                    "the filter is not asked there: its scope is {:?}",
                    wish.scope
                );
            }
            bail!("the hits are {found:?}, expected {:?}", fixture.hits);
        }
        Ok(took)
    }
}

fn held<T: PartialEq + std::fmt::Display>(
    started: Instant,
    what: &str,
    said: &T,
    expected: &T,
) -> Result<Duration> {
    let took = started.elapsed();
    if said != expected {
        bail!("the {what} is {said}, expected {expected}");
    }
    Ok(took)
}

/// The values of the fixture that runs.
#[derive(Default)]
struct Kept(Mutex<HashMap<String, String>>);

impl Values for Kept {
    fn snapshot(&self) -> Result<Box<dyn ValuesSnapshot>, String> {
        Ok(Box::new(Seen(self.0.lock().clone())))
    }
}

struct Seen(HashMap<String, String>);

impl ValuesSnapshot for Seen {
    fn get(&self, _: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(key).map(|text| text.clone().into_bytes()))
    }
}
