//! What one call after the commit may ask of the host: the runtime's seam, filled in. One of these is made for each call and
//! knows the plugin, what it was granted and what is being answered; scopes and bounds are kept here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use kith_runtime::{
    Abilities, AbilityError, DirectoryUser, Grants, HistoryEntry, Hook, HttpRequest, HttpResponse,
    KvItem, LlmPrompt, LlmUsage, Passage, RelationOf, Sent, ServiceError,
};
use parking_lot::Mutex;

use super::accounts::{Speech, is_passing, once, target};
use super::effects::{KEY_BYTES_MOST, VALUE_BYTES_MOST};
use super::replies::Replies;
use super::services::Answers;
use super::{AfterCommit, Bound, events, http};
use crate::conversation::Role;
use crate::entry::{Made, Seq};
use crate::ids::{ConversationId, UserId};
use crate::refusal::{Code, Refusal};
use crate::store::kv::{KvChange, KvWrite};
use crate::store::{Span, StoreError};

const RANDOM_MOST: u32 = 4096;
const KEYS_MOST: u32 = 200;
const MEMBERS_MOST: u32 = 200;
const ENTRIES_MOST: u32 = 100;
/// Requests, and messages, of one call.
const SPENDS_MOST: u32 = 64;

/// What a call is about.
pub struct Cause {
    /// The event, or the first of them.
    pub name: String,
    pub conversations: Vec<ConversationId>,
    pub depth: u8,
    /// A responder's message.
    pub answering: Option<(ConversationId, Seq)>,
}

/// One call's way to the host.
pub struct Call {
    pub(super) shared: Arc<AfterCommit>,
    pub(super) plugin: Arc<str>,
    pub(super) account: UserId,
    pub(super) cause: Cause,
    pub(super) replies: Mutex<Replies>,
    pub(super) answers: Answers,
    hook: Hook,
    pub(super) grants: Arc<Grants>,
    /// Where its keys and values are.
    namespace: Arc<str>,
    fetched: AtomicU32,
    sent: AtomicU32,
}

impl Call {
    pub fn new(
        shared: &Arc<AfterCommit>,
        (plugin, hook): (&Arc<str>, Hook),
        account: UserId,
        bound: &Bound,
        cause: Cause,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: shared.clone(),
            plugin: plugin.clone(),
            account,
            cause,
            replies: Mutex::default(),
            answers: Answers::default(),
            hook,
            grants: bound.binding().grants.clone(),
            namespace: bound.binding().namespace.clone(),
            fetched: AtomicU32::new(0),
            sent: AtomicU32::new(0),
        })
    }

    pub(super) fn made(&self, stream: Option<String>) -> Made {
        Made {
            plugin: self.plugin.to_string(),
            depth: self.cause.depth.saturating_add(1),
            stream,
        }
    }

    /// Whether the plugin may read a conversation, and everything in it or what its account may see.
    async fn may_read(&self, conversation: ConversationId) -> Result<bool, AbilityError> {
        let granted = self
            .grants
            .scope("history", "conversations")
            .any(|all| all == "all");
        if granted || self.cause.conversations.contains(&conversation) {
            return Ok(true);
        }
        let log = &self.shared.journey.log;
        let standing = log.standing(conversation, self.account).await;
        let member = standing
            .map_err(|e| stored(&e))?
            .and_then(|standing| standing.member);
        match member.filter(|member| member.left.is_none()) {
            Some(_) => Ok(false),
            None => Err(AbilityError::Denied(
                "not a conversation of this call, nor of the plugin's account".to_owned(),
            )),
        }
    }

    async fn write(&self, write: KvWrite) -> Result<u64, AbilityError> {
        let bytes = write.value.as_ref().map_or(0, Vec::len);
        if write.key.is_empty() || write.key.len() > KEY_BYTES_MOST || bytes > VALUE_BYTES_MOST {
            return Err(AbilityError::Invalid(format!(
                "a key has 1 to {KEY_BYTES_MOST} bytes, its value at most {VALUE_BYTES_MOST}"
            )));
        }
        let change = KvChange {
            namespace: self.namespace.to_string(),
            writes: vec![write],
            quota: self.grants.kv_bytes(),
            cursor: None,
        };
        match self.shared.settle_kv(change).await {
            Ok(versions) => Ok(versions.first().copied().unwrap_or_default()),
            Err(refusal) if refusal.code == Code::TooLarge => {
                Err(AbilityError::Quota(refusal.message.into_owned()))
            }
            Err(refusal) => Err(refused(&refusal)),
        }
    }
}

/// One more of what a call may do only so often.
fn spend(counter: &AtomicU32, what: &str) -> Result<(), AbilityError> {
    match counter.fetch_add(1, Ordering::Relaxed) < SPENDS_MOST {
        true => Ok(()),
        false => Err(AbilityError::Quota(format!(
            "at most {SPENDS_MOST} {what} a call"
        ))),
    }
}

pub fn stored(error: &StoreError) -> AbilityError {
    AbilityError::Unavailable(match error {
        StoreError::Damaged(_) => "stored data could not be read".to_owned(),
        _ => "the store is unavailable".to_owned(),
    })
}

/// A refusal as a plugin gets it.
pub fn refused(refusal: &Refusal) -> AbilityError {
    let message = refusal.message.to_string();
    match refusal.code {
        Code::BadRequest => AbilityError::Invalid(message),
        Code::NotFound => AbilityError::NotFound(message),
        Code::Conflict => AbilityError::Conflict(message),
        Code::Forbidden => AbilityError::Denied(message),
        Code::Timeout => AbilityError::Timeout(message),
        _ if is_passing(refusal) => AbilityError::Unavailable(message),
        code => AbilityError::Refused(code.as_str().to_owned()),
    }
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, AbilityError> {
    text.parse()
        .map_err(|_| AbilityError::Invalid(format!("{text:.64?} is not an id")))
}

#[async_trait]
impl Abilities for Call {
    async fn random(&self, length: u32) -> Result<Vec<u8>, AbilityError> {
        if length > RANDOM_MOST {
            return Err(AbilityError::Invalid(format!(
                "at most {RANDOM_MOST} bytes at once"
            )));
        }
        Ok((0..length).map(|_| rand::random()).collect())
    }

    async fn kv_get(&self, key: &str) -> Result<Option<KvItem>, AbilityError> {
        let found = self.shared.kv.kv(&self.namespace, key).await;
        let found = found.map_err(|e| stored(&e))?;
        Ok(found.map(|item| KvItem {
            value: item.value,
            version: item.version,
        }))
    }

    async fn kv_put(
        &self,
        key: String,
        value: Vec<u8>,
        expected: Option<u64>,
        ttl_ms: Option<u64>,
    ) -> Result<u64, AbilityError> {
        let now = self.shared.journey.clock.now_ms();
        self.write(KvWrite {
            key,
            value: Some(value),
            expected,
            expires_at: ttl_ms.map_or(0, |ttl| now.saturating_add(ttl.max(1))),
        })
        .await
    }

    async fn kv_delete(&self, key: String, expected: Option<u64>) -> Result<(), AbilityError> {
        let write = KvWrite {
            key,
            value: None,
            expected,
            expires_at: 0,
        };
        self.write(write).await.map(drop)
    }

    async fn kv_keys(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, AbilityError> {
        let limit = limit.min(KEYS_MOST) as usize;
        let keys = self
            .shared
            .kv
            .kv_keys(&self.namespace, prefix, after, limit)
            .await;
        keys.map_err(|e| stored(&e))
    }

    async fn user(&self, user: &str) -> Result<DirectoryUser, AbilityError> {
        let found = self.shared.journey.accounts.user(id(user)?).await;
        shown(found.map_err(|e| stored(&e))?)
    }

    async fn user_named(&self, username: &str) -> Result<DirectoryUser, AbilityError> {
        let found = self.shared.journey.accounts.user_named(username).await;
        shown(found.map_err(|e| stored(&e))?)
    }

    async fn relation(&self, user: &str, other: &str) -> Result<RelationOf, AbilityError> {
        let accounts = &self.shared.journey.accounts;
        let relation = accounts.relation(id(user)?, id(other)?).await;
        let relation = relation.map_err(|e| stored(&e))?;
        Ok(RelationOf {
            friends: relation.friends,
            blocking: relation.blocking,
            blocked: relation.blocked,
        })
    }

    async fn members(
        &self,
        conversation: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, String)>, AbilityError> {
        let conversation = id(conversation)?;
        self.within("directory", conversation).await?;
        self.may_read(conversation).await?;
        let after = match after {
            "" => None,
            after => Some(id::<UserId>(after)?),
        };
        let log = &self.shared.journey.log;
        let limit = limit.min(MEMBERS_MOST) as usize;
        let rows = log
            .member_page(conversation, after, limit)
            .await
            .map_err(|e| stored(&e))?;
        if !rows.is_empty() {
            let row = |(user, member): (UserId, crate::conversation::Member)| {
                (user.to_string(), member.role.as_str().to_owned())
            };
            return Ok(rows.into_iter().map(row).collect());
        }
        let members = log.members(conversation).await.map_err(|e| stored(&e))?;
        let later = members
            .iter()
            .filter(|user| after.is_none_or(|after| **user > after));
        Ok(later
            .take(limit)
            .map(|user| (user.to_string(), Role::Member.as_str().to_owned()))
            .collect())
    }

    async fn history(
        &self,
        conversation: &str,
        before: u64,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, AbilityError> {
        let conversation = id(conversation)?;
        self.within("history", conversation).await?;
        let everything = self.may_read(conversation).await?;
        let span = Span {
            after: None,
            before: Some(before).filter(|before| *before > 0),
            limit: limit.min(ENTRIES_MOST) as usize,
        };
        let page = self
            .shared
            .journey
            .log
            .page(conversation, self.account, span)
            .await;
        let entries = page.map_err(|e| stored(&e))?.entries;
        let visible = entries
            .iter()
            .filter(|entry| everything || entry.is_for(self.account));
        Ok(visible
            .map(|entry| {
                let event = events::of_entry(entry, None);
                HistoryEntry {
                    seq: event.seq,
                    at_ms: event.at_ms,
                    sender: event.sender,
                    kind: event.entry_kind,
                    text: event.text,
                    content: event.content,
                }
            })
            .collect())
    }

    async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, AbilityError> {
        spend(&self.fetched, "requests")?;
        http::fetch(&self.grants, request).await
    }

    async fn send(&self, to: &str, content: &str, name: &str) -> Result<Sent, AbilityError> {
        spend(&self.sent, "messages")?;
        let wrong = |what: &str| AbilityError::Invalid(what.to_owned());
        let to = target(to).ok_or_else(|| wrong("`to` is user:ID or conversation:ID"))?;
        let content =
            serde_json::from_str(content).map_err(|_| wrong("the content is not JSON"))?;
        if !(1..=256).contains(&name.len()) {
            return Err(wrong("`once` has 1 to 256 bytes"));
        }
        let author = self
            .shared
            .account(&self.plugin)
            .await
            .map_err(|e| refused(&e))?;
        let reach = self.shared.check_kind(&self.grants, "send", (author, to));
        reach.await.map_err(|e| refused(&e))?;
        let speech = Speech {
            author,
            to,
            client_id: once(&self.plugin, "send", name, 0),
            content,
            reply_to: None,
            made: self.made(None),
        };
        let (conversation, seq) = self.shared.speak(speech).await.map_err(|e| refused(&e))?;
        Ok(Sent {
            conversation: conversation.to_string(),
            seq,
        })
    }

    async fn reply_open(&self) -> Result<u32, AbilityError> {
        self.may_answer().await?;
        self.open()
    }

    async fn reply_write(&self, reply: u32, delta: String) -> Result<(), AbilityError> {
        self.say(reply, delta).await
    }

    async fn reply_finish(&self, reply: u32) -> Result<u64, AbilityError> {
        self.finish(reply).await
    }

    async fn hand_over(&self, reason: String) -> Result<(), AbilityError> {
        self.may_answer().await?;
        self.hand_to_a_person(reason).await
    }

    async fn llm_open(&self, prompt: LlmPrompt) -> Result<u32, ServiceError> {
        self.ask_model(prompt).await
    }

    async fn llm_next(&self, answer: u32) -> Result<Option<String>, ServiceError> {
        self.answers.next(answer).await
    }

    async fn llm_finish(&self, answer: u32) -> Result<LlmUsage, ServiceError> {
        self.answers.finish(answer).await
    }

    async fn knowledge(
        &self,
        base: &str,
        query: &str,
        limit: u32,
    ) -> Result<Vec<Passage>, ServiceError> {
        self.look_up(base, query, limit).await
    }

    async fn count(&self, name: &str, count: u64) -> Result<(), AbilityError> {
        debug_assert!(self.hook.is_after_commit());
        self.shared.ledger.count(&self.plugin, name, count)
    }

    async fn gauge(&self, name: &str, value: f64) -> Result<(), AbilityError> {
        self.shared.ledger.set(&self.plugin, name, value)
    }
}

fn shown(user: Option<Arc<crate::store::accounts::User>>) -> Result<DirectoryUser, AbilityError> {
    let user = user.ok_or_else(|| AbilityError::NotFound("no such user".to_owned()))?;
    let kind = match user.kind {
        crate::store::accounts::UserKind::Person => "person",
        crate::store::accounts::UserKind::Service => "service",
    };
    Ok(DirectoryUser {
        id: user.profile.id.to_string(),
        username: user.profile.username.clone(),
        display_name: user.profile.display_name.clone(),
        kind: kind.to_owned(),
    })
}
