//! Replay: what was decided is asked again, of any version, without effect. Stored commands are entries with the records of
//! their judgements; what left no entry is kept in memory for a while (`aside`), and what made a call fail in a file for
//! the plugin's author (`files`). Nothing here stands on a message's path.

pub mod aside;
pub mod asked;
mod attempt;
mod cases;
pub mod files;
mod ready;
mod recorded;
mod report;
mod run;
pub mod said;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Value;

pub use aside::{Aside, AsideRules};
use asked::{Asked, AskedEvent, AskedEvents};
pub use attempt::{Attempt, Occurred};
pub use files::Files;
use report::Job;

use super::after::events::of_entry;
use super::rollout::Rollout;
use crate::journey::{Journey, store_refusal};
use crate::refusal::{Code, Refusal};
use crate::store::judged::Judged;
use crate::store::values::PluginValues;

/// Replays that are remembered, the running one included.
const REMEMBERED: usize = 8;

/// What replays need, and those there were.
pub struct Replays {
    rollout: Arc<Rollout>,
    journey: Arc<Journey>,
    judged: Arc<dyn Judged>,
    values: Arc<dyn PluginValues>,
    aside: Arc<Aside>,
    /// How many commands one goes back over at most.
    commands_most: usize,
    jobs: Mutex<VecDeque<Arc<Job>>>,
    next: AtomicU64,
}

impl Replays {
    pub fn new(
        (rollout, journey): (Arc<Rollout>, Arc<Journey>),
        (judged, values): (Arc<dyn Judged>, Arc<dyn PluginValues>),
        aside: Arc<Aside>,
        commands_most: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            rollout,
            journey,
            judged,
            values,
            aside,
            commands_most,
            jobs: Mutex::default(),
            next: AtomicU64::new(1),
        })
    }

    /// Files about calls that failed.
    pub fn files(&self) -> &Arc<Files> {
        &self.aside.files
    }

    /// Begins to ask a version about the last commands again; its report so far. One at a time.
    pub async fn begin(
        self: &Arc<Self>,
        plugin: &str,
        version: &str,
        last: Option<usize>,
    ) -> Result<Value, Refusal> {
        let last = last.unwrap_or(self.commands_most).min(self.commands_most);
        if last == 0 {
            return Err(Refusal::bad_request("last must be at least 1"));
        }
        let wanted = self.rollout.to_replay(plugin, version).await?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let job = Arc::new(Job::new(id, &wanted, last));
        {
            let mut jobs = self.jobs.lock();
            if jobs.iter().any(|job| job.is_running()) {
                return Err(Refusal::new(
                    Code::Conflict,
                    "another replay runs: wait for it or cancel it",
                ));
            }
            if jobs.len() == REMEMBERED {
                jobs.pop_front();
            }
            jobs.push_back(job.clone());
        }
        let shown = job.json();
        let replays = self.clone();
        tokio::spawn(async move { replays.run(wanted, job).await });
        Ok(shown)
    }

    /// A replay's report, whole or so far.
    pub fn report(&self, id: u64) -> Result<Value, Refusal> {
        Ok(self.job(id)?.json())
    }

    /// Has a running one end; its report. One that has ended stays as it is.
    pub fn cancel(&self, id: u64) -> Result<Value, Refusal> {
        let job = self.job(id)?;
        job.cancel();
        Ok(job.json())
    }

    /// A replay file; with what people wrote, and with the plugin's configuration, where that is asked for.
    pub async fn file(&self, id: &str, text: bool, config: bool) -> Result<Value, Refusal> {
        let (files, named) = (self.files().clone(), id.to_owned());
        let read = tokio::task::spawn_blocking(move || files.get(&named));
        let read = read
            .await
            .map_err(|_| Refusal::unavailable("it could not be read"))?;
        let mut file = read?;
        if text && file.lacks_words() {
            match &mut file.asked {
                // Events stand in the log, as long as they do.
                Asked::Observer(asked) | Asked::Responder(asked) => self.read_again(asked).await?,
                _ => file = self.files().whole(id)?,
            }
        }
        if config {
            file.config = Some(self.rollout.configured(&file.plugin).await?);
        }
        serde_json::to_value(file)
            .map_err(|_| Refusal::new(Code::Internal, "a replay file could not be written"))
    }

    /// Puts the words back into events, as the log has them now.
    async fn read_again(&self, asked: &mut AskedEvents) -> Result<(), Refusal> {
        for event in &mut asked.events {
            let Ok(conversation) = event.conversation.parse() else {
                continue;
            };
            let found = self.journey.log.entry(conversation, event.seq).await;
            if let Some((entry, _)) = found.map_err(|e| store_refusal(&e))? {
                let shown = AskedEvent::from(&of_entry(&entry, None));
                (event.text, event.content) = (shown.text, shown.content);
            }
        }
        Ok(())
    }

    fn job(&self, id: u64) -> Result<Arc<Job>, Refusal> {
        let jobs = self.jobs.lock();
        let found = jobs.iter().find(|job| job.id == id).cloned();
        found.ok_or_else(|| Refusal::not_found("no such replay"))
    }
}
