//! Replay files: what made a call fail after its second try, for the plugin's author. A folder of so many; without what
//! people wrote, unless the configuration says otherwise. With it they are in memory for a day, so that an administrator
//! can ask for them; a recall in the conversation ends that.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::asked::{Asked, Words};
use crate::clock::Clock;
use crate::refusal::Refusal;

/// Files of one hook of one version: the first ones stay, and a version that always fails pushes out nobody else's.
const OF_ONE_MOST: usize = 20;
/// Of what waits to be written.
const WAITING: usize = 16;
/// A larger one is not written.
const FILE_BYTES: usize = 1 << 20;
const WORDS_KEPT_MS: u64 = 86_400_000;
const FORMAT: u32 = 1;

/// How files are kept.
#[derive(Debug, Clone)]
pub struct FileRules {
    pub folder: PathBuf,
    /// So many, the newest; 0 writes none.
    pub most: usize,
    /// With what people wrote.
    pub with_text: bool,
    pub limits: FileLimits,
}

/// The limits under which the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FileLimits {
    pub hard_stop_ms: u64,
    pub after_stop_ms: u64,
    pub memory_bytes: u64,
}

/// What a file is made of.
pub struct Made {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub kind: &'static str,
    pub text: String,
    pub asked: Asked,
    pub reads: Vec<(String, Option<Vec<u8>>)>,
}

/// A replay file as authors get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayFile {
    /// Of the format.
    pub kith_replay: u32,
    pub id: String,
    pub at_ms: u64,
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub failure: FileFailure,
    pub limits: FileLimits,
    pub asked: Asked,
    /// What the call had read of the plugin's values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<FileRead>,
    /// The plugin's configuration, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileFailure {
    /// `trap`, `timeout`, `memory`, `bad-output`; `skipped` of an event that was given up for another reason.
    pub kind: String,
    /// In words, which may be the plugin's own.
    pub text: Words,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRead {
    pub key: String,
    /// Base64; `null` where there was no value, or it was left out.
    pub value: Option<String>,
    /// How long the value was.
    pub bytes: Option<usize>,
}

impl FileRead {
    /// The value, or as long a one of zeros.
    pub fn value(&self) -> Option<Vec<u8>> {
        match (&self.value, self.bytes) {
            (Some(text), _) => BASE64_STANDARD.decode(text).ok(),
            (None, Some(bytes)) => Some(vec![0; bytes]),
            (None, None) => None,
        }
    }
}

impl ReplayFile {
    /// Leaves out everything that people or plugins wrote.
    pub fn leave_out_words(&mut self) {
        self.asked.leave_out_words();
        self.failure.text = Words::default();
        for read in &mut self.reads {
            read.value = None;
        }
    }

    /// Whether something was left out.
    pub fn lacks_words(&mut self) -> bool {
        let values = self.reads.iter();
        let lacks_a_value = values
            .clone()
            .any(|read| read.value.is_none() && read.bytes.is_some());
        lacks_a_value || self.asked.lacks_words()
    }

    fn row(&self) -> Value {
        let (hook, conversation, _) = self.asked.about();
        json!({
            "id": self.id,
            "at": self.at_ms,
            "plugin": self.plugin,
            "version": self.version,
            "digest": self.digest,
            "hook": hook,
            "failure": self.failure.kind,
            "conversation": conversation,
            "seq": self.asked.seq(),
        })
    }
}

pub struct Files {
    rules: FileRules,
    clock: Arc<dyn Clock>,
    next: AtomicU64,
    writes: SyncSender<ReplayFile>,
    /// With what people wrote, oldest first.
    whole: Mutex<VecDeque<ReplayFile>>,
    lost: AtomicU64,
}

impl Files {
    /// Ready to write; the thread that does ends with it.
    pub fn start(rules: FileRules, clock: Arc<dyn Clock>) -> std::io::Result<Arc<Self>> {
        let (writes, waiting) = sync_channel(WAITING);
        let (folder, most) = (rules.folder.clone(), rules.most);
        std::thread::Builder::new()
            .name("kith-replay".to_owned())
            .spawn(move || write_all(&folder, most, &waiting))?;
        Ok(Arc::new(Self {
            rules,
            clock,
            next: AtomicU64::new(1),
            writes,
            whole: Mutex::default(),
            lost: AtomicU64::new(0),
        }))
    }

    /// Takes what made a call fail. Never waits: what does not fit is counted and said.
    pub fn add(&self, made: Made) {
        if self.rules.most == 0 {
            return;
        }
        let at_ms = self.clock.now_ms();
        let reads = made.reads.into_iter().map(|(key, value)| FileRead {
            key,
            bytes: value.as_ref().map(Vec::len),
            value: value.map(|value| BASE64_STANDARD.encode(value)),
        });
        let file = ReplayFile {
            kith_replay: FORMAT,
            id: format!("{at_ms}-{}", self.next.fetch_add(1, Ordering::Relaxed)),
            at_ms,
            plugin: made.plugin,
            version: made.version,
            digest: made.digest,
            failure: FileFailure {
                kind: made.kind.to_owned(),
                text: Words::Text(made.text),
            },
            limits: self.rules.limits,
            asked: made.asked,
            reads: reads.collect(),
            config: None,
        };
        let mut written = file.clone();
        if !self.rules.with_text {
            written.leave_out_words();
        }
        let in_the_log = matches!(file.asked, Asked::Observer(_) | Asked::Responder(_));
        if !self.rules.with_text && !in_the_log {
            let mut whole = self.whole.lock();
            whole.push_back(file);
            while whole.len() > self.rules.most {
                whole.pop_front();
            }
        }
        if let Err(TrySendError::Full(file) | TrySendError::Disconnected(file)) =
            self.writes.try_send(written)
        {
            self.whole.lock().retain(|whole| whole.id != file.id);
            let lost = 1 + self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                lost,
                "calls fail faster than their replay files are written"
            );
        }
    }

    /// What somebody wrote in a conversation is not kept in memory any more: something of it was recalled.
    pub fn recalled(&self, conversation: &str) {
        let mut whole = self.whole.lock();
        whole.retain(|file| file.asked.about().1 != conversation);
    }

    pub fn forget_old(&self) {
        let oldest = self.clock.now_ms().saturating_sub(WORDS_KEPT_MS);
        self.whole.lock().retain(|file| file.at_ms >= oldest);
    }

    /// What there is, oldest first; of one plugin, or of all.
    pub fn list(&self, plugin: Option<&str>) -> Vec<Value> {
        let files = names(&self.rules.folder).into_iter();
        let files = files.filter_map(|id| read(&self.rules.folder, &id));
        files
            .filter(|file| plugin.is_none_or(|plugin| file.plugin == plugin))
            .map(|file| file.row())
            .collect()
    }

    pub fn get(&self, id: &str) -> Result<ReplayFile, Refusal> {
        check_id(id)?;
        read(&self.rules.folder, id).ok_or_else(no_file)
    }

    /// With what people wrote, where that is still known.
    pub fn whole(&self, id: &str) -> Result<ReplayFile, Refusal> {
        self.forget_old();
        let whole = self.whole.lock();
        let found = whole.iter().find(|whole| whole.id == id).cloned();
        found.ok_or_else(|| {
            Refusal::not_found("what was written in it is not kept any more; fetch it without text")
        })
    }

    pub fn remove(&self, id: &str) -> Result<(), Refusal> {
        check_id(id)?;
        self.whole.lock().retain(|file| file.id != id);
        std::fs::remove_file(path(&self.rules.folder, id)).map_err(|_| no_file())
    }
}

fn no_file() -> Refusal {
    Refusal::not_found("no such replay file")
}

/// An id names a file: nothing else may be named with it.
fn check_id(id: &str) -> Result<(), Refusal> {
    let plain = |c: char| c.is_ascii_digit() || c == '-';
    match (1..=40).contains(&id.len()) && id.chars().all(plain) {
        true => Ok(()),
        false => Err(no_file()),
    }
}

fn path(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.json"))
}

/// Ids, oldest first.
fn names(folder: &Path) -> Vec<String> {
    let listed = std::fs::read_dir(folder).into_iter().flatten();
    let mut ids: Vec<String> = listed
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let id = name.strip_suffix(".json")?;
            check_id(id).ok().map(|()| id.to_owned())
        })
        .collect();
    ids.sort_by_key(|id| {
        let parts = id.split_once('-').unwrap_or((id, ""));
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        (number(parts.0), number(parts.1))
    });
    ids
}

fn read(folder: &Path, id: &str) -> Option<ReplayFile> {
    let bytes = std::fs::read(path(folder, id)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes what comes, until nobody sends any more.
fn write_all(folder: &Path, most: usize, waiting: &Receiver<ReplayFile>) {
    while let Ok(file) = waiting.recv() {
        if let Err(error) = write(folder, most, &file) {
            tracing::warn!(%error, id = file.id, "a replay file could not be written");
        }
    }
}

fn write(folder: &Path, most: usize, file: &ReplayFile) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let known = names(folder);
    let of_one = known.iter().filter_map(|id| read(folder, id));
    let same = of_one.filter(|other| {
        other.digest == file.digest && other.asked.about().0 == file.asked.about().0
    });
    if same.count() >= OF_ONE_MOST {
        return Ok(());
    }
    let bytes = serde_json::to_vec_pretty(file)?;
    if bytes.len() > FILE_BYTES {
        return Ok(());
    }
    let over = (known.len() + 1).saturating_sub(most);
    for old in &known[..over.min(known.len())] {
        std::fs::remove_file(path(folder, old))?;
    }
    // Under another name first: what is listed is whole.
    let draft = folder.join(format!("{}.new", file.id));
    std::fs::write(&draft, bytes)?;
    std::fs::rename(&draft, path(folder, &file.id))
}
