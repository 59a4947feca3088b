//! Administrators' rules at work: asks the plugins who may come in and what administrators may do, tells them what has
//! happened, and carries out what they want done. Where no rule is bound, nothing is asked and nothing is made.

pub mod bans;
mod scheduled;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use self::bans::Bans;
use crate::bus::Signal;
use crate::bus::turns::Turns;
use crate::clock::Clock;
use crate::ids::UserId;
use crate::journey::held::settle;
use crate::journey::store_refusal;
pub use crate::plugins::Occasion;
use crate::plugins::{Plugins, Rule, RuleAct, RuleAction};
use crate::refusal::{Code, Refusal};
use crate::session::Bye;
use crate::session::registry::Registry;
use crate::store::feed::Feed;
use crate::store::kv::{KvChange, KvWrite};
use crate::store::moderation::{Ban, BanKind, Moderation, NewAdminNotice, NewBan, Wish};
use crate::store::{Change, MessageLog};

/// What has happened and waits for the rules; more is told to the log alone (I5).
pub const HAPPENED_MOST: usize = 1024;
/// For how long an action waits for a second administrator.
const SECOND_WITHIN_MS: u64 = 24 * 60 * 60 * 1000;

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission {
    Granted,
    /// An administrator has to approve it.
    NeedsApproval {
        by: String,
        reason: String,
    },
}

/// Whoever is asked about people and administrators.
pub struct Rules {
    pub plugins: Arc<dyn Plugins>,
    pub bans: Arc<Bans>,
    pub store: Arc<dyn Moderation>,
    /// Where plugins' values are written.
    pub log: Arc<dyn MessageLog>,
    pub registry: Arc<Registry>,
    /// Where it is kept which times were due.
    pub marks: Arc<dyn Feed>,
    /// Which node tells the times.
    pub turns: Arc<Turns>,
    pub clock: Arc<dyn Clock>,
}

impl Rules {
    /// Asks whether something may be; refused with the rule's reason where not.
    pub async fn ask(&self, occasion: impl FnOnce() -> Occasion) -> Result<Permission, Refusal> {
        let judge = self.plugins.pin(); // I4
        if !judge.has_rules() {
            return Ok(Permission::Granted);
        }
        let occasion = self.now(occasion());
        let ruling = judge.rule(&occasion, true);
        self.carry_out(&occasion, ruling.actions).await?;
        match ruling.rule {
            Rule::Abstain | Rule::Allow => Ok(Permission::Granted),
            Rule::Deny { by, reason } => Err(Refusal::by_plugin(&by, &reason)),
            Rule::RequireApproval { by, reason } => {
                let text = format!(
                    "{} of {} needs approval: {reason}",
                    occasion.kind,
                    named(&occasion)
                );
                self.notify(&by, text, occasion.user.parse().ok()).await?;
                Ok(Permission::NeedsApproval { by, reason })
            }
            Rule::Unavailable { by } => Err(Refusal::unavailable(format!(
                "the plugin {by} could not rule on this; nothing was done"
            ))),
        }
    }

    /// As `ask`, about somebody who comes in: nobody approves that later.
    pub async fn ask_to_come_in(&self, occasion: impl FnOnce() -> Occasion) -> Result<(), Refusal> {
        match self.ask(occasion).await? {
            Permission::Granted => Ok(()),
            Permission::NeedsApproval { by, reason } => Err(Refusal::by_plugin(&by, &reason)),
        }
    }

    /// As `ask`, about what an administrator does: what needs approval happens when a second one does the same.
    pub async fn ask_action(
        &self,
        actor: &str,
        what: &str,
        user: Option<UserId>,
        subject: &str,
    ) -> Result<(), Refusal> {
        let asked = self.ask(|| Occasion {
            kind: "action",
            user: user.map(|user| user.to_string()).unwrap_or_default(),
            actor: actor.to_owned(),
            what: what.to_owned(),
            text: subject.to_owned(),
            ..Occasion::default()
        });
        let Permission::NeedsApproval { .. } = asked.await? else {
            return Ok(());
        };
        let at = self.clock.now_ms();
        let wish = Wish {
            action: what.to_owned(),
            subject: subject.to_owned(),
            actor: actor.to_owned(),
            at,
        };
        let seconded = self
            .store
            .second(&wish, at.saturating_sub(SECOND_WITHIN_MS));
        if seconded.await.map_err(|e| store_refusal(&e))? {
            return Ok(());
        }
        let message = "a rule wants a second administrator for this: it happens when another one does the same within a day";
        Err(Refusal::new(Code::Forbidden, message))
    }

    /// Tells what has happened. What the rules want done because of it and cannot be done is told to the log.
    pub async fn tell(&self, occasion: impl FnOnce() -> Occasion) {
        let judge = self.plugins.pin(); // I4
        if !judge.has_rules() {
            return;
        }
        let occasion = self.now(occasion());
        let actions = judge.rule(&occasion, false).actions;
        if let Err(refusal) = self.carry_out(&occasion, actions).await {
            tracing::error!(kind = occasion.kind, why = %refusal.message, "what a rule wants done is not done");
        }
    }

    /// Tells rules what happened on the paths of messages, and which times they have asked for are due. Runs for ever.
    pub async fn run(self: Arc<Self>, happened: mpsc::Receiver<Occasion>) {
        tokio::join!(self.keep_telling(happened), self.keep_schedules());
    }

    /// One after another; ends with those who tell.
    async fn keep_telling(&self, mut happened: mpsc::Receiver<Occasion>) {
        while let Some(occasion) = happened.recv().await {
            self.tell(|| occasion).await;
        }
    }

    fn now(&self, occasion: Occasion) -> Occasion {
        Occasion {
            at_ms: self.clock.now_ms(),
            ..occasion
        }
    }

    async fn carry_out(
        &self,
        occasion: &Occasion,
        actions: Vec<RuleAction>,
    ) -> Result<(), Refusal> {
        for action in actions {
            self.act(occasion, action).await?;
        }
        Ok(())
    }

    async fn act(&self, occasion: &Occasion, action: RuleAction) -> Result<(), Refusal> {
        let RuleAction {
            by,
            act,
            subject,
            quota,
            for_ms,
            text,
        } = action;
        let or = |own: &str| match subject.as_str() {
            "" => own.to_owned(),
            given => given.to_owned(),
        };
        let user = or(&occasion.user).parse::<UserId>().ok();
        let kind = match act {
            RuleAct::BanUser => BanKind::User,
            RuleAct::BanAddress => BanKind::Address,
            RuleAct::BanDevice => BanKind::Device,
            RuleAct::MuteUser => BanKind::Speech,
            RuleAct::Notify => return self.notify_at(&by, text, user, occasion.at_ms).await,
            RuleAct::KvPut => return self.keep((by, quota), subject, Some(text)).await,
            RuleAct::KvDelete => return self.keep((by, quota), subject, None).await,
            RuleAct::EndSessions | RuleAct::Label | RuleAct::Unlabel => {
                let Some(user) = user else {
                    tracing::warn!(
                        plugin = by,
                        kind = occasion.kind,
                        "an action of a rule is about nobody"
                    );
                    return Ok(());
                };
                return self.act_on_user(act, user, &text).await;
            }
        };
        let subject = match kind {
            BanKind::User | BanKind::Speech => user.map(|user| user.to_string()),
            BanKind::Address => address(&or(&occasion.address)),
            BanKind::Device => Some(or(&occasion.device)).filter(|device| !device.is_empty()),
        };
        let Some(subject) = subject else {
            tracing::warn!(
                plugin = by,
                kind = occasion.kind,
                "a ban of a rule is of nobody"
            );
            return Ok(());
        };
        let at = self.clock.now_ms();
        let new = NewBan {
            kind,
            subject,
            until: (for_ms > 0).then(|| at + for_ms),
            reason: text,
            by: format!("plugin:{by}"),
            at,
        };
        // A rule never shortens what is in force already.
        let longer = |ban: &Ban| {
            ban.made
                .until
                .is_none_or(|until| new.until.is_some_and(|new| new <= until))
        };
        if self
            .bans
            .in_force(kind, &new.subject, at)
            .is_some_and(|ban| longer(&ban))
        {
            return Ok(());
        }
        self.ban(new).await.map(drop)
    }

    /// Writes a plugin's own value. One that has no room is not kept, and what else the rule wants is done.
    async fn keep(
        &self,
        (namespace, quota): (String, u64),
        key: String,
        text: Option<String>,
    ) -> Result<(), Refusal> {
        let change = KvChange {
            namespace,
            writes: vec![KvWrite {
                key,
                value: text.map(String::into_bytes),
                expected: None,
                expires_at: 0,
            }],
            quota,
            cursor: None,
        };
        match settle(&*self.log, Change::Kv(Box::new(change))).await {
            Err(refusal) if refusal.code == Code::TooLarge => {
                tracing::warn!(%refusal, "a value of a rule is not kept");
                Ok(())
            }
            settled => settled.map(drop),
        }
    }

    async fn act_on_user(&self, act: RuleAct, user: UserId, label: &str) -> Result<(), Refusal> {
        if act == RuleAct::EndSessions {
            self.registry.end(user, None, None, Bye::Kicked);
            return Ok(());
        }
        let set = self.store.set_label(user, label, act == RuleAct::Label);
        set.await.map_err(|e| store_refusal(&e))
    }

    async fn notify(&self, by: &str, text: String, user: Option<UserId>) -> Result<(), Refusal> {
        self.notify_at(by, text, user, self.clock.now_ms()).await
    }

    /// What is told again of the same time is told once.
    async fn notify_at(
        &self,
        by: &str,
        text: String,
        user: Option<UserId>,
        at: u64,
    ) -> Result<(), Refusal> {
        let notice = NewAdminNotice {
            at,
            by: by.to_owned(),
            text,
            user,
        };
        let kept = self.store.put_admin_notice(&notice).await;
        kept.map(drop).map_err(|e| store_refusal(&e))
    }

    /// Puts a ban in force and ends the sessions it keeps out; those from an address end when they come again.
    pub async fn ban(&self, new: NewBan) -> Result<Ban, Refusal> {
        let ban = self.bans.put(new).await.map_err(|e| store_refusal(&e))?;
        self.registry.tell_nodes(|| Signal::Bans);
        match ban.made.kind {
            BanKind::User => {
                if let Ok(user) = ban.made.subject.parse() {
                    self.registry.end(user, None, None, Bye::Banned);
                }
            }
            BanKind::Device => self.registry.end_devices(&ban.made.subject, Bye::Banned),
            BanKind::Address | BanKind::Speech => {}
        }
        Ok(ban)
    }

    /// Lifts a ban on all nodes; `None` where there is no such one.
    pub async fn lift(&self, id: u64) -> Result<Option<Ban>, Refusal> {
        let lifted = self.bans.lift(id).await.map_err(|e| store_refusal(&e))?;
        self.registry.tell_nodes(|| Signal::Bans);
        Ok(lifted)
    }
}

/// An address as bans name it.
pub fn address(text: &str) -> Option<String> {
    let address: IpAddr = text.trim().parse().ok()?;
    Some(address.to_canonical().to_string())
}

fn named(occasion: &Occasion) -> &str {
    [&occasion.username, &occasion.text, &occasion.user]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or("somebody", String::as_str)
}
