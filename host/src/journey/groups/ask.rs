//! Asks the pinned generation about a change of a group, and its filters about the texts in it. Where no strategy is
//! bound, the host's own rule stands in. What was asked and answered goes into the change's record.

use crate::conversation::Role;
use crate::conversation::group::{Group, JoinPolicy};
use crate::entry::HookTrace;
use crate::ids::{ConversationId, UserId};
use crate::journey::decide;
use crate::plugins::{self, Command, Judge, Scope, Site, Text, Verdict};
use crate::refusal::{Code, Refusal};
use crate::store::PluginWrite;
use crate::store::accounts::Relation;

/// A change that somebody wants.
pub struct Wish<'a> {
    /// `group-create`, `group-add` ….
    pub operation: &'static str,
    pub author: UserId,
    /// `None` for somebody outside.
    pub role: Option<Role>,
    /// `None` while there is no group yet.
    pub group: Option<(ConversationId, &'a Group)>,
    /// Whom it is about.
    pub peer: Option<Peer>,
    pub text: &'a str,
    /// Which settings are to change, joined by commas.
    pub fields: &'a str,
    /// The peer has asked to be let in.
    pub requested: bool,
    pub at_ms: u64,
}

/// Whom a change is about.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    pub user: UserId,
    /// `None` for somebody who is no member.
    pub role: Option<Role>,
    pub relation: Relation,
}

/// What the plugins asked so far leave behind.
#[derive(Default)]
pub struct Asked {
    /// Of the group that is there already.
    conversation: String,
    pub hooks: Vec<HookTrace>,
    pub effects: Vec<PluginWrite>,
}

impl Asked {
    /// Of a hook asked about many users one line is kept, with the time of all.
    fn note(&mut self, hooks: Vec<HookTrace>) {
        for hook in hooks {
            let known = |known: &&mut HookTrace| {
                (known.binding, known.outcome) == (hook.binding, hook.outcome)
            };
            match self.hooks.iter_mut().find(known) {
                Some(known) => {
                    known.duration_us = known.duration_us.saturating_add(hook.duration_us)
                }
                None => self.hooks.push(hook),
            }
        }
    }
}

impl Wish<'_> {
    /// Whether it may be. Blocks for as long as the guests compute.
    pub fn ask(&self, judge: &dyn Judge, asked: &mut Asked) -> Result<(), Refusal> {
        let conversation = self.group.map(|(id, _)| id.to_string());
        asked.conversation = conversation.unwrap_or_default();
        let ruling = self.strategy(judge, &asked.conversation);
        if ruling.hooks.is_empty() {
            return self.host_rule();
        }
        let refused = match ruling.verdict {
            Verdict::Pass => None,
            other => Some(decide::refused_at_once(other)),
        };
        asked.note(ruling.hooks);
        asked
            .effects
            .extend(ruling.effects.into_iter().map(decide::write));
        refused.map_or(Ok(()), Err)
    }

    fn strategy(&self, judge: &dyn Judge, conversation: &str) -> plugins::StrategyRuling {
        let sender = self.author.to_string();
        let peer = self
            .peer
            .map(|peer| peer.user.to_string())
            .unwrap_or_default();
        let relation = self.peer.map(|peer| peer.relation).unwrap_or_default();
        let members = self
            .group
            .map(|(_, group)| group.members.to_string())
            .unwrap_or_default();
        let facts = [
            ("join", self.join().as_str()),
            ("members", members.as_str()),
            ("fields", self.fields),
            ("requested", if self.requested { "true" } else { "false" }),
        ];
        let command = Command {
            operation: self.operation,
            conversation,
            conversation_kind: "group",
            sender: &sender,
            sender_role: self.role.map_or("", Role::as_str),
            peer: &peer,
            peer_role: self
                .peer
                .and_then(|peer| peer.role)
                .map_or("", Role::as_str),
            blocked: relation.blocked,
            blocking: relation.blocking,
            friends: relation.friends,
            text: self.text,
            at_ms: self.at_ms,
            facts: &facts,
            ..Command::default()
        };
        judge.strategy(Scope::Group, &command)
    }

    fn join(&self) -> JoinPolicy {
        self.group
            .map_or(JoinPolicy::default(), |(_, group)| group.join)
    }

    /// What holds where no plugin says anything.
    fn host_rule(&self) -> Result<(), Refusal> {
        let in_charge = self.role >= Some(Role::Admin);
        let about_oneself = self.peer.is_some_and(|peer| peer.user == self.author);
        let over_peer = self.peer.is_none_or(|peer| self.role > peer.role);
        let allowed = match self.operation {
            "group-create" | "group-join" => true,
            "group-add" => {
                let relation = self.peer.map(|peer| peer.relation).unwrap_or_default();
                if (relation.blocked || relation.blocking) && !self.requested {
                    let who = self.peer.map(|peer| peer.user.to_string());
                    return Err(Refusal::new(
                        Code::Blocked,
                        format!("{} and the one who adds are apart", who.unwrap_or_default()),
                    ));
                }
                in_charge || self.join() != JoinPolicy::Approval
            }
            "group-remove" => about_oneself || (in_charge && over_peer),
            "group-mute" => in_charge && over_peer,
            "group-title" => in_charge,
            "group-settings" => about_oneself || (in_charge && over_peer),
            "group-role" | "group-dissolve" => self.role == Some(Role::Owner),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        Err(Refusal::new(
            Code::Forbidden,
            "this takes a higher role in the group",
        ))
    }
}

/// A text of a group past the filters: masked or refused, never held.
pub fn filtered(
    judge: &dyn Judge,
    place: &'static str,
    text: &str,
    at_ms: u64,
    asked: &mut Asked,
) -> Result<String, Refusal> {
    let site = Site {
        scope: Scope::Group,
        conversation: &asked.conversation,
    };
    let ruling = judge.filter(site, &[Text { place, text }], at_ms);
    asked.note(ruling.hooks);
    match ruling.verdict {
        Verdict::Pass => {
            let masked = ruling.masked.into_iter().next().flatten();
            Ok(masked.unwrap_or_else(|| text.to_owned()))
        }
        other => Err(decide::refused_at_once(other)),
    }
}
