//! What was asked, kept for asking once more: the contract's borrowed questions with everything in them owned.
//! Each is given back as it was.

use crate::bindings::admin_rule::Occasion;
use crate::bindings::command::Invocation;
use crate::bindings::content_filter::Text;
use crate::bindings::message_strategy::{Command, Fact, RecentEntry};
use crate::share::Site;

/// A question of one hook.
pub(crate) enum Asked {
    Strategy(Box<AskedStrategy>),
    Filter(AskedFilter),
    Command(Box<AskedCommand>),
    Rule(Box<AskedRule>),
}

type Facts = Vec<(String, String)>;

pub(crate) struct AskedStrategy {
    /// In the order of the contract, up to `target-sender`.
    texts: [String; 10],
    flags: [bool; 5],
    unanswered: u32,
    at_ms: u64,
    target_age_ms: u64,
    recent: Vec<(u64, String, u64, String, String)>,
    facts: Facts,
}

pub(crate) struct AskedFilter {
    conversation: String,
    at_ms: u64,
    texts: Vec<(String, String)>,
}

pub(crate) struct AskedCommand {
    texts: [String; 7],
    flags: [bool; 3],
    mentions: Vec<String>,
    reply_to: u64,
    at_ms: u64,
    facts: Facts,
}

pub(crate) struct AskedRule {
    texts: [String; 10],
    at_ms: u64,
    facts: Facts,
}

fn facts(facts: &[Fact<'_>]) -> Facts {
    let owned = |fact: &Fact<'_>| (fact.name.to_owned(), fact.value.to_owned());
    facts.iter().map(owned).collect()
}

fn borrowed(facts: &Facts) -> Vec<Fact<'_>> {
    let facts = facts.iter();
    facts.map(|(name, value)| Fact { name, value }).collect()
}

impl Asked {
    pub fn strategy(command: &Command<'_>) -> Self {
        let recent = command.recent.iter().map(|entry| {
            let RecentEntry {
                seq,
                sender,
                at_ms,
                kind,
                text,
            } = entry;
            let owned = |text: &&str| (*text).to_owned();
            (*seq, owned(sender), *at_ms, owned(kind), owned(text))
        });
        Self::Strategy(Box::new(AskedStrategy {
            texts: [
                command.operation,
                command.conversation,
                command.conversation_kind,
                command.sender,
                command.sender_role,
                command.peer,
                command.peer_role,
                command.content_type,
                command.text,
                command.target_sender,
            ]
            .map(str::to_owned),
            flags: [
                command.blocked,
                command.blocking,
                command.friends,
                command.muted,
                command.answered,
            ],
            unanswered: command.unanswered,
            at_ms: command.at_ms,
            target_age_ms: command.target_age_ms,
            recent: recent.collect(),
            facts: facts(command.facts),
        }))
    }

    pub fn filter(site: Site<'_>, texts: &[Text<'_>], at_ms: u64) -> Self {
        let owned = |text: &Text<'_>| (text.place.to_owned(), text.text.to_owned());
        Self::Filter(AskedFilter {
            conversation: site.conversation.to_owned(),
            at_ms,
            texts: texts.iter().map(owned).collect(),
        })
    }

    pub fn command(invocation: &Invocation<'_>) -> Self {
        let mentions = invocation.mentions.iter();
        Self::Command(Box::new(AskedCommand {
            texts: [
                invocation.name,
                invocation.arguments,
                invocation.conversation,
                invocation.conversation_kind,
                invocation.sender,
                invocation.sender_role,
                invocation.peer,
            ]
            .map(str::to_owned),
            flags: [invocation.blocked, invocation.blocking, invocation.friends],
            mentions: mentions.map(|who| (*who).to_owned()).collect(),
            reply_to: invocation.reply_to,
            at_ms: invocation.at_ms,
            facts: facts(invocation.facts),
        }))
    }

    pub fn rule(occasion: &Occasion<'_>) -> Self {
        Self::Rule(Box::new(AskedRule {
            texts: [
                occasion.kind,
                occasion.user,
                occasion.username,
                occasion.actor,
                occasion.address,
                occasion.device,
                occasion.device_kind,
                occasion.conversation,
                occasion.what,
                occasion.text,
            ]
            .map(str::to_owned),
            at_ms: occasion.at_ms,
            facts: facts(occasion.facts),
        }))
    }

    pub fn at_ms(&self) -> u64 {
        match self {
            Self::Strategy(own) => own.at_ms,
            Self::Filter(own) => own.at_ms,
            Self::Command(own) => own.at_ms,
            Self::Rule(own) => own.at_ms,
        }
    }

    /// The conversation, and what was done there, without what was written.
    pub fn named(&self) -> (&str, &str) {
        match self {
            Self::Strategy(own) => (&own.texts[1], &own.texts[0]),
            Self::Filter(own) => {
                let place = own.texts.first().map_or("", |(place, _)| place);
                (&own.conversation, place)
            }
            Self::Command(own) => (&own.texts[2], &own.texts[0]),
            Self::Rule(own) => (&own.texts[7], &own.texts[0]),
        }
    }

    /// About as many as it takes in memory.
    pub fn bytes(&self) -> usize {
        let of = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let pairs = |pairs: &[(String, String)]| {
            let both = pairs.iter().map(|(one, other)| one.len() + other.len());
            both.sum::<usize>()
        };
        let content = match self {
            Self::Strategy(own) => {
                let recent = own.recent.iter();
                let recent = recent
                    .map(|(_, sender, _, kind, text)| sender.len() + kind.len() + text.len() + 96);
                of(&own.texts) + pairs(&own.facts) + recent.sum::<usize>()
            }
            Self::Filter(own) => pairs(&own.texts),
            Self::Command(own) => of(&own.texts) + of(&own.mentions) + pairs(&own.facts),
            Self::Rule(own) => of(&own.texts) + pairs(&own.facts),
        };
        content + 512
    }
}

impl AskedStrategy {
    pub fn with<T>(&self, ask: impl FnOnce(&Command<'_>) -> T) -> T {
        let recent: Vec<_> = self
            .recent
            .iter()
            .map(|(seq, sender, at_ms, kind, text)| RecentEntry {
                seq: *seq,
                sender,
                at_ms: *at_ms,
                kind,
                text,
            })
            .collect();
        let facts = borrowed(&self.facts);
        let [
            operation,
            conversation,
            conversation_kind,
            sender,
            sender_role,
            peer,
            peer_role,
            content_type,
            text,
            target_sender,
        ] = self.texts.each_ref().map(String::as_str);
        let [blocked, blocking, friends, muted, answered] = self.flags;
        ask(&Command {
            operation,
            conversation,
            conversation_kind,
            sender,
            sender_role,
            peer,
            peer_role,
            blocked,
            blocking,
            friends,
            muted,
            unanswered: self.unanswered,
            answered,
            content_type,
            text,
            at_ms: self.at_ms,
            target_sender,
            target_age_ms: self.target_age_ms,
            recent: &recent,
            facts: &facts,
        })
    }
}

impl AskedFilter {
    pub fn with<T>(&self, ask: impl FnOnce(&[Text<'_>]) -> T) -> T {
        let texts: Vec<_> = self
            .texts
            .iter()
            .map(|(place, text)| Text { place, text })
            .collect();
        ask(&texts)
    }
}

impl AskedCommand {
    pub fn with<T>(&self, ask: impl FnOnce(&Invocation<'_>) -> T) -> T {
        let mentions: Vec<&str> = self.mentions.iter().map(String::as_str).collect();
        let facts = borrowed(&self.facts);
        let [
            name,
            arguments,
            conversation,
            conversation_kind,
            sender,
            sender_role,
            peer,
        ] = self.texts.each_ref().map(String::as_str);
        let [blocked, blocking, friends] = self.flags;
        ask(&Invocation {
            name,
            arguments,
            conversation,
            conversation_kind,
            sender,
            sender_role,
            peer,
            blocked,
            blocking,
            friends,
            mentions: &mentions,
            reply_to: self.reply_to,
            at_ms: self.at_ms,
            facts: &facts,
        })
    }
}

impl AskedRule {
    pub fn with<T>(&self, ask: impl FnOnce(&Occasion<'_>) -> T) -> T {
        let facts = borrowed(&self.facts);
        let [
            kind,
            user,
            username,
            actor,
            address,
            device,
            device_kind,
            conversation,
            what,
            text,
        ] = self.texts.each_ref().map(String::as_str);
        ask(&Occasion {
            kind,
            user,
            username,
            actor,
            address,
            device,
            device_kind,
            conversation,
            what,
            text,
            at_ms: self.at_ms,
            facts: &facts,
        })
    }
}
