//! The host of a call after the commit, in memory: what an observer or responder finds around it, and what it did there.
//! Nothing leaves it; what is not in it is not found.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use kith_runtime::{
    Abilities, AbilityError, AfterCall, DirectoryUser, Grants, HistoryEntry, HttpHeader,
    HttpRequest, HttpResponse, KvItem, LlmPrompt, LlmUsage, Passage, RelationOf, Sent,
    ServiceError,
};

use crate::Error;

/// What is granted where nothing is said: everything.
const EVERYTHING: &str = "directory,history:conversations=all,http:host=anywhere,knowledge,kv,llm,\
     metrics,random,reply,send";

/// What stands around a call after the commit; by default everything is granted and nothing is there.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// What is granted, as `--grant` takes it; everything where it is none. Scopes, such as the hosts of `http`, are not kept.
    pub grants: Option<String>,
    /// What `clock` says, milliseconds since 1970 UTC.
    pub now_ms: u64,
    pub users: Vec<DirectoryUser>,
    /// The user and the role of each member, by conversation.
    pub members: HashMap<String, Vec<(String, String)>>,
    /// Entries by conversation, oldest first.
    pub history: HashMap<String, Vec<HistoryEntry>>,
    /// What the web answers, by URL.
    pub web: HashMap<String, Page>,
}

/// An answer of the web.
#[derive(Debug, Clone, Default)]
pub struct Page {
    pub status: u16,
    pub body: Vec<u8>,
}

/// What a call has done, each in its order.
#[derive(Debug, Clone, Default)]
pub struct Did {
    /// The text of each answer that was finished.
    pub replies: Vec<String>,
    /// Why a person was asked for.
    pub handed_over: Vec<String>,
    pub sent: Vec<SentMessage>,
    pub fetched: Vec<HttpRequest>,
    /// Every value as the call left it, by key.
    pub kv: BTreeMap<String, Vec<u8>>,
    /// Every number as the call left it, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// A message that was sent as the plugin's own account; the content is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMessage {
    pub to: String,
    pub content: String,
    pub once: String,
}

/// The host of one call, for whoever makes the call; `Plugin::observe` and `Plugin::respond` bring their own.
pub struct Host {
    around: Around,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    did: Did,
    /// Of each value, how often it was written.
    versions: BTreeMap<String, u64>,
    /// Answers being written.
    open: Vec<String>,
}

impl Host {
    /// With what the plugin has written before.
    pub fn new<'a>(
        around: Around,
        written: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>,
    ) -> Arc<Self> {
        let mut done = Done::default();
        for (key, value) in written {
            done.did.kv.insert(key.clone(), value.clone());
            done.versions.insert(key.clone(), 1);
        }
        Arc::new(Self {
            around,
            done: Mutex::new(done),
        })
    }

    /// What a plugin is called with to find this host.
    pub fn call(self: &Arc<Self>, plugin: &str) -> Result<AfterCall, Error> {
        let grants = self.around.grants.as_deref().unwrap_or(EVERYTHING);
        let grants = Grants::parse(grants).map_err(|error| Error(error.to_string()))?;
        Ok(AfterCall {
            grants: Arc::new(grants),
            host: self.clone(),
            namespace: plugin.into(),
            now_ms: self.around.now_ms,
        })
    }

    /// What was done here.
    pub fn did(&self) -> Did {
        self.lock().did.clone()
    }

    /// A call that panicked in between has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Done {
    fn version(&self, key: &str) -> u64 {
        self.versions.get(key).copied().unwrap_or_default()
    }
}

fn unknown<T>(what: &str) -> Result<T, AbilityError> {
    Err(AbilityError::NotFound(format!(
        "around this call there is no {what}"
    )))
}

fn expects(found: u64, expected: Option<u64>) -> Result<(), AbilityError> {
    match expected {
        Some(expected) if expected != found => {
            Err(AbilityError::Conflict(format!("its version is {found}")))
        }
        _ => Ok(()),
    }
}

fn no_service<T>() -> Result<T, ServiceError> {
    let what = "around this call there is no such service";
    Err(ServiceError::NotConfigured(what.to_owned()))
}

#[async_trait]
impl Abilities for Host {
    async fn random(&self, length: u32) -> Result<Vec<u8>, AbilityError> {
        // The same in every run, so that a test can say what comes of it.
        Ok((0..length).map(|place| place.to_le_bytes()[0]).collect())
    }

    async fn kv_get(&self, key: &str) -> Result<Option<KvItem>, AbilityError> {
        let done = self.lock();
        Ok(done.did.kv.get(key).map(|value| KvItem {
            value: value.clone(),
            version: done.version(key),
        }))
    }

    async fn kv_put(
        &self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
        _: Option<u64>,
    ) -> Result<u64, AbilityError> {
        let mut done = self.lock();
        let found = done.version(&key);
        expects(found, expected)?;
        done.versions.insert(key.clone(), found + 1);
        done.did.kv.insert(key, value);
        Ok(found + 1)
    }

    async fn kv_delete(&self, key: String, expected: Option<u64>) -> Result<(), AbilityError> {
        let mut done = self.lock();
        expects(done.version(&key), expected)?;
        done.versions.remove(&key);
        done.did.kv.remove(&key);
        Ok(())
    }

    async fn kv_keys(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, AbilityError> {
        let done = self.lock();
        let wanted = |key: &&String| key.starts_with(prefix) && key.as_str() > after;
        let keys = done.did.kv.keys().filter(wanted).take(limit as usize);
        Ok(keys.cloned().collect())
    }

    async fn user(&self, id: &str) -> Result<DirectoryUser, AbilityError> {
        let mut users = self.around.users.iter();
        match users.find(|user| user.id == id) {
            Some(user) => Ok(user.clone()),
            None => unknown(&format!("user {id}")),
        }
    }

    async fn user_named(&self, username: &str) -> Result<DirectoryUser, AbilityError> {
        let mut users = self.around.users.iter();
        match users.find(|user| user.username == username) {
            Some(user) => Ok(user.clone()),
            None => unknown(&format!("user named {username}")),
        }
    }

    async fn relation(&self, _: &str, _: &str) -> Result<RelationOf, AbilityError> {
        Ok(RelationOf {
            friends: false,
            blocking: false,
            blocked: false,
        })
    }

    async fn members(
        &self,
        conversation: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, String)>, AbilityError> {
        let Some(members) = self.around.members.get(conversation) else {
            return unknown(&format!("conversation {conversation}"));
        };
        let later = members.iter().filter(|(user, _)| user.as_str() > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn history(
        &self,
        conversation: &str,
        before: u64,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, AbilityError> {
        let entries = self.around.history.get(conversation).into_iter().flatten();
        let earlier: Vec<_> = entries
            .filter(|entry| before == 0 || entry.seq < before)
            .collect();
        let newest = earlier.len().saturating_sub(limit as usize);
        Ok(earlier[newest..].iter().copied().cloned().collect())
    }

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, AbilityError> {
        let page = self.around.web.get(&request.url);
        let gone = format!("around this call there is no page {}", request.url);
        self.lock().did.fetched.push(request);
        let Some(page) = page else {
            return Err(AbilityError::Unavailable(gone));
        };
        Ok(HttpResponse {
            status: page.status,
            headers: Vec::<HttpHeader>::new(),
            body: page.body.clone(),
        })
    }

    async fn send(&self, to: &str, content: &str, once: &str) -> Result<Sent, AbilityError> {
        let mut done = self.lock();
        done.did.sent.push(SentMessage {
            to: to.to_owned(),
            content: content.to_owned(),
            once: once.to_owned(),
        });
        Ok(Sent {
            conversation: "c1".to_owned(),
            seq: done.did.sent.len() as u64,
        })
    }

    async fn reply_open(&self) -> Result<u32, AbilityError> {
        let mut done = self.lock();
        done.open.push(String::new());
        Ok(u32::try_from(done.open.len()).unwrap_or(u32::MAX))
    }

    async fn reply_write(&self, reply: u32, delta: String) -> Result<(), AbilityError> {
        let mut done = self.lock();
        match done.open.get_mut((reply as usize).wrapping_sub(1)) {
            Some(text) => text.push_str(&delta),
            None => return unknown(&format!("open reply {reply}")),
        }
        Ok(())
    }

    async fn reply_finish(&self, reply: u32) -> Result<u64, AbilityError> {
        let mut done = self.lock();
        let Some(text) = done.open.get((reply as usize).wrapping_sub(1)).cloned() else {
            return unknown(&format!("open reply {reply}"));
        };
        done.did.replies.push(text);
        Ok(done.did.replies.len() as u64)
    }

    async fn hand_over(&self, reason: String) -> Result<(), AbilityError> {
        self.lock().did.handed_over.push(reason);
        Ok(())
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

    async fn count(&self, name: &str, count: u64) -> Result<(), AbilityError> {
        let mut done = self.lock();
        let more = count as f64;
        *done.did.metrics.entry(name.to_owned()).or_default() += more;
        Ok(())
    }

    async fn gauge(&self, name: &str, value: f64) -> Result<(), AbilityError> {
        self.lock().did.metrics.insert(name.to_owned(), value);
        Ok(())
    }
}
