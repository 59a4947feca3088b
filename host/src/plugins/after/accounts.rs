//! The account a plugin speaks as, and speaking: a message of it takes the same way as anybody's, is judged by the same
//! plugins, and is sent once whatever is repeated.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::AfterCommit;
use crate::entry::{Made, Seq};
use crate::ids::{ConversationId, UserId};
use crate::journey::held::Sent;
use crate::journey::{Draft, Target, admit, commit_refusal, store_refusal};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::UserKind;
use crate::store::{FirstAnswer, Outcome};

/// How many entries of plugins may follow from each other.
pub const DEPTH_MOST: u8 = 3;

/// A client id that is the same whenever the same thing is said again.
pub fn once(plugin: &str, what: &str, name: &str, ordinal: usize) -> String {
    let mut hash = Sha256::new();
    for part in [plugin, what, name, &ordinal.to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    let hex: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("plugin-{hex}")
}

/// `user:ID` or `conversation:ID`.
pub fn target(to: &str) -> Option<Target> {
    match to.split_once(':')? {
        ("user", id) => id.parse().ok().map(Target::User),
        ("conversation", id) => id.parse().ok().map(Target::Conversation),
        _ => None,
    }
}

/// A message to be said.
pub struct Speech {
    pub author: UserId,
    pub to: Target,
    pub client_id: String,
    pub content: Value,
    pub reply_to: Option<Seq>,
    pub made: Made,
}

impl AfterCommit {
    /// The plugin's own account.
    pub(super) async fn account(&self, plugin: &str) -> Result<UserId, Refusal> {
        let found = self.journey.accounts.user_named(plugin).await;
        let found = found.map_err(|e| store_refusal(&e))?;
        found
            .filter(|user| user.kind == UserKind::Service && !user.disabled)
            .map(|user| user.profile.id)
            .ok_or_else(|| Refusal::not_found("the plugin has no account that may speak"))
    }

    /// Says something once; where it stands, seq 0 while it is held or was dropped. Saying another thing under the same
    /// client id says nothing: the first one stands.
    pub(super) async fn speak(&self, speech: Speech) -> Result<(ConversationId, Seq), Refusal> {
        if speech.made.depth > DEPTH_MOST {
            return Err(Refusal::new(
                Code::Forbidden,
                format!("more than {DEPTH_MOST} entries of plugins would follow from each other"),
            ));
        }
        let conversation = admit::conversation_of(speech.author, speech.to);
        let draft = Draft {
            to: speech.to,
            client_id: speech.client_id,
            content: speech.content,
            reply_to: speech.reply_to,
            made: Some(Box::new(speech.made)),
        };
        let sent = match self.journey.send_and_wait(speech.author, draft).await {
            Err(refusal) if refusal.code == Code::Conflict => return Ok((conversation, 0)),
            sent => sent?,
        };
        let first = match sent {
            Sent::Now(Outcome::Committed(committed)) => {
                return Ok((conversation, committed.entry.seq));
            }
            Sent::Now(Outcome::Resent(first)) | Sent::Before(_, first) => first,
            Sent::Now(_) => return Ok((conversation, 0)),
        };
        match first {
            FirstAnswer::Committed { seq, .. } => Ok((conversation, seq)),
            FirstAnswer::Held { .. } | FirstAnswer::Dropped | FirstAnswer::Command { .. } => {
                Ok((conversation, 0))
            }
            FirstAnswer::Refused { by, reason } => Err(Refusal::by_plugin(&by, &reason)),
        }
    }

    /// Settles a change of plugins' values.
    pub(super) async fn settle_kv(
        &self,
        change: crate::store::kv::KvChange,
    ) -> Result<Vec<u64>, Refusal> {
        let change = crate::store::Change::Kv(Box::new(change));
        match self.journey.settle(change).await? {
            Outcome::Kv(versions) => Ok(versions),
            _ => Err(commit_refusal(&crate::store::CommitError::Unavailable)),
        }
    }
}

/// Worth another try.
pub fn is_passing(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        Code::Unavailable | Code::Timeout | Code::RateLimited | Code::Internal
    )
}
