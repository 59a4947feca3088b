//! What the accounts owe the message log: entries of `self` logs, and to peers the word that a profile changed.
//!
//! What causes a debt writes it in the same transaction; here it is paid, at once where it can be, else by the keeper,
//! which also pays at start what a crash left. Paying twice changes nothing: a notice's number is its resend key.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{Mutex, Notify, oneshot};

use super::{Journey, commit_refusal, overloaded, store_refusal};
use crate::content::Fingerprint;
use crate::conversation::Kind;
use crate::entry::{Body, DecisionRecord};
use crate::ids::ConversationId;
use crate::refusal::Refusal;
use crate::store::people::{ChangedProfile, Notice};
use crate::store::{
    Append, Change, CommitError, Opening, Origin, Outcome, ResendKey, StoreError, Submission,
};

/// Debts paid with one wait for the log. Bounds what one user's many conversations put into its queue at once (I5).
const AT_ONCE: usize = 128;
/// How long a debt that could not be paid waits for the next attempt.
const AGAIN: Duration = Duration::from_secs(1);

/// How long nothing is looked for when nothing is known to be owed: a deed whose caller went away is paid then.
const IDLE: Duration = Duration::from_secs(5);

/// Who pays, and when.
#[derive(Default)]
pub struct Debts {
    /// One pays at a time, so that a log gets its notices in their order.
    turn: Mutex<()>,
    wake: Notify,
}

type Settled = oneshot::Receiver<Result<Outcome, CommitError>>;

impl Journey {
    /// Does what may owe notices, then pays them. What cannot be paid now stays owed; the deed stands.
    pub(crate) async fn owe<T>(
        &self,
        deed: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Refusal> {
        let done = deed.await.map_err(|e| store_refusal(&e))?;
        if let Err(refusal) = self.pay_notices().await {
            tracing::warn!(why = %refusal.message, "notices wait for the log");
            self.debts.wake.notify_one();
        }
        Ok(done)
    }

    /// A profile may have changed: its peers are told by the keeper.
    pub fn profile_changed(&self) {
        self.debts.wake.notify_one();
    }

    /// Pays what is owed, at first what the process before left; never returns.
    pub async fn keep_paying(&self) {
        loop {
            match self.pay().await {
                Ok(()) => {
                    let _ = tokio::time::timeout(IDLE, self.debts.wake.notified()).await;
                }
                Err(refusal) => {
                    tracing::warn!(why = %refusal.message, "what is owed to logs is not paid yet");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn pay(&self) -> Result<(), Refusal> {
        self.pay_notices().await?;
        loop {
            let changed = self
                .people
                .changed_profiles(AT_ONCE)
                .await
                .map_err(|e| store_refusal(&e))?;
            if changed.is_empty() {
                return Ok(());
            }
            for profile in changed {
                self.tell_peers(profile).await?;
            }
        }
    }

    async fn pay_notices(&self) -> Result<(), Refusal> {
        let _turn = self.debts.turn.lock().await;
        loop {
            let notices = self
                .people
                .notices(AT_ONCE)
                .await
                .map_err(|e| store_refusal(&e))?;
            let Some(last) = notices.last().map(|notice| notice.number) else {
                return Ok(());
            };
            let entered: Vec<Settled> = notices
                .into_iter()
                .map(|notice| self.start(enter(notice)?))
                .collect::<Result<_, Refusal>>()?;
            settled(entered).await?;
            self.people
                .forget_notices(last)
                .await
                .map_err(|e| store_refusal(&e))?;
        }
    }

    /// Marks every direct conversation of a user whose profile changed, some at a time.
    async fn tell_peers(&self, profile: ChangedProfile) -> Result<(), Refusal> {
        let user = profile.user;
        let mut after = None;
        loop {
            let conversations = self
                .log
                .direct_conversations(user, after, AT_ONCE)
                .await
                .map_err(|e| store_refusal(&e))?;
            let Some(last) = conversations.last().copied() else {
                break;
            };
            after = Some(last);
            let marked: Vec<Settled> = conversations
                .into_iter()
                .map(|conversation| self.start(Change::Profile { conversation, user }))
                .collect::<Result<_, Refusal>>()?;
            settled(marked).await?;
        }
        self.people
            .forget_changed_profile(profile)
            .await
            .map_err(|e| store_refusal(&e))
    }

    fn start(&self, change: Change) -> Result<Settled, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let submission = Submission {
            change,
            origin: Origin::Caller(sender),
        };
        self.log.submit(submission).map_err(|_| overloaded())?;
        Ok(receiver)
    }
}

/// All of them are in the log, now or before.
async fn settled(waiting: Vec<Settled>) -> Result<(), Refusal> {
    for settled in waiting {
        match settled.await {
            Ok(Ok(_) | Err(CommitError::Gone(_))) => {}
            Ok(Err(error)) => return Err(commit_refusal(&error)),
            Err(_) => return Err(overloaded()),
        }
    }
    Ok(())
}

/// The entry of a notice in its user's own log, which the first one makes.
fn enter(notice: Notice) -> Result<Change, Refusal> {
    let Notice {
        number,
        user,
        code,
        args,
    } = notice;
    let key = ResendKey {
        client_id: format!("notice-{number}"),
        fingerprint: Fingerprint::of(&serde_json::Value::from(number)),
    };
    let args = RawValue::from_string(args)
        .map_err(|_| store_refusal(&StoreError::Damaged(format!("notice {number}"))))?;
    Ok(Change::Append(Box::new(Append {
        conversation: ConversationId::own(user),
        opening: Some(Opening {
            kind: Kind::Own,
            users: vec![user],
        }),
        author: user,
        key: Some(key),
        body: Body::System { code, args },
        audience: None,
        replaced: false,
        record: DecisionRecord::default(),
        effects: Vec::new(),
        moves_read: false,
        releases: None,
    })))
}
