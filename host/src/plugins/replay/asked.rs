//! What a hook is asked, in the contract's terms and owned: for a replay, and for the file about a call that failed.
//! Everything that people or plugins wrote is `Words`, which can be left out.

use kith_runtime::{Event, EventFact};
use serde::{Deserialize, Serialize};

use crate::plugins::{Command, Invocation, Occasion, Text};

/// A text, or how long it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    Text(String),
    /// Left out: Unicode scalar values.
    Chars(usize),
}

impl Default for Words {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Words {
    /// The text, or as long a one.
    pub fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Chars(chars) => "x".repeat(*chars),
        }
    }

    fn leave_out(&mut self) {
        if let Self::Text(text) = self {
            *self = Self::Chars(text.chars().count());
        }
    }

    fn is_left_out(&self) -> bool {
        matches!(self, Self::Chars(chars) if *chars > 0)
    }
}

/// A question to one hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "kebab-case")]
pub enum Asked {
    MessageStrategy(Box<AskedCommand>),
    ContentFilter(AskedTexts),
    Command(Box<AskedInvocation>),
    AdminRule(Box<AskedOccasion>),
    Observer(AskedEvents),
    Responder(AskedEvents),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedCommand {
    pub operation: String,
    pub conversation: String,
    pub conversation_kind: String,
    pub sender: String,
    pub sender_role: String,
    pub peer: String,
    pub peer_role: String,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub muted: bool,
    pub unanswered: u32,
    pub answered: bool,
    pub content_type: String,
    pub text: Words,
    pub at_ms: u64,
    pub target_sender: String,
    pub target_age_ms: u64,
    pub recent: Vec<AskedRecent>,
    pub facts: Vec<(String, String)>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AskedRecent {
    pub seq: u64,
    pub sender: String,
    pub at_ms: u64,
    pub kind: String,
    pub text: Words,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AskedTexts {
    /// Where somebody wrote them and who, where that is known; no filter is told.
    #[serde(default)]
    pub conversation: String,
    #[serde(default)]
    pub sender: String,
    pub texts: Vec<AskedText>,
    pub at_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AskedText {
    pub place: String,
    pub text: Words,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedInvocation {
    pub name: String,
    pub arguments: Words,
    pub conversation: String,
    pub conversation_kind: String,
    pub sender: String,
    pub sender_role: String,
    pub peer: String,
    pub blocked: bool,
    pub blocking: bool,
    pub friends: bool,
    pub mentions: Vec<String>,
    pub reply_to: u64,
    pub at_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedOccasion {
    pub kind: String,
    /// The rule was asked, not told.
    pub decides: bool,
    pub user: String,
    pub username: String,
    pub actor: String,
    pub address: String,
    pub device: String,
    pub device_kind: String,
    pub conversation: String,
    pub what: String,
    pub text: Words,
    pub at_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AskedEvents {
    /// Whom a responder answers for.
    #[serde(default)]
    pub account: String,
    pub events: Vec<AskedEvent>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AskedEvent {
    pub id: String,
    pub kind: String,
    pub conversation: String,
    pub conversation_kind: String,
    pub seq: u64,
    pub at_ms: u64,
    pub sender: String,
    pub entry_kind: String,
    pub content_type: String,
    pub text: Words,
    pub content: Words,
    pub target: u64,
    pub attempt: u32,
    pub facts: Vec<(String, String)>,
}

impl Asked {
    pub fn strategy(command: &Command<'_>) -> Self {
        let recent = command.recent.iter().map(|entry| AskedRecent {
            seq: entry.seq,
            sender: entry.sender.clone(),
            at_ms: entry.at_ms,
            kind: entry.kind.clone(),
            text: entry.text.as_str().into(),
        });
        let facts = command.facts.iter();
        let facts = facts.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::MessageStrategy(Box::new(AskedCommand {
            operation: command.operation.to_owned(),
            conversation: command.conversation.to_owned(),
            conversation_kind: command.conversation_kind.to_owned(),
            sender: command.sender.to_owned(),
            sender_role: command.sender_role.to_owned(),
            peer: command.peer.to_owned(),
            peer_role: command.peer_role.to_owned(),
            blocked: command.blocked,
            blocking: command.blocking,
            friends: command.friends,
            muted: command.muted,
            unanswered: command.unanswered,
            answered: command.answered,
            content_type: command.content_type.to_owned(),
            text: command.text.into(),
            at_ms: command.at_ms,
            target_sender: command.target_sender.to_owned(),
            target_age_ms: command.target_age_ms,
            recent: recent.collect(),
            facts: facts.collect(),
        }))
    }

    pub fn filter(
        texts: &[Text<'_>],
        at_ms: u64,
        (conversation, sender): (String, String),
    ) -> Self {
        let texts = texts.iter().map(|text| AskedText {
            place: text.place.to_owned(),
            text: text.text.into(),
        });
        Self::ContentFilter(AskedTexts {
            conversation,
            sender,
            texts: texts.collect(),
            at_ms,
        })
    }

    pub fn command(invocation: &Invocation<'_>) -> Self {
        let mentions = invocation.mentions.iter();
        Self::Command(Box::new(AskedInvocation {
            name: invocation.name.to_owned(),
            arguments: invocation.arguments.into(),
            conversation: invocation.conversation.to_owned(),
            conversation_kind: invocation.conversation_kind.to_owned(),
            sender: invocation.sender.to_owned(),
            sender_role: invocation.sender_role.to_owned(),
            peer: invocation.peer.to_owned(),
            blocked: invocation.blocked,
            blocking: invocation.blocking,
            friends: invocation.friends,
            mentions: mentions.map(|whom| (*whom).to_owned()).collect(),
            reply_to: invocation.reply_to,
            at_ms: invocation.at_ms,
        }))
    }

    pub fn rule(occasion: &Occasion, decides: bool) -> Self {
        Self::AdminRule(Box::new(AskedOccasion {
            kind: occasion.kind.to_owned(),
            decides,
            user: occasion.user.clone(),
            username: occasion.username.clone(),
            actor: occasion.actor.clone(),
            address: occasion.address.clone(),
            device: occasion.device.clone(),
            device_kind: occasion.device_kind.clone(),
            conversation: occasion.conversation.clone(),
            what: occasion.what.clone(),
            text: occasion.text.as_str().into(),
            at_ms: occasion.at_ms,
        }))
    }

    /// What hook it is for, where it stands and who wrote it, as far as that is known.
    pub fn about(&self) -> (&'static str, &str, &str) {
        match self {
            Self::MessageStrategy(asked) => {
                ("message-strategy", &asked.conversation, &asked.sender)
            }
            Self::ContentFilter(asked) => ("content-filter", &asked.conversation, &asked.sender),
            Self::Command(asked) => ("command", &asked.conversation, &asked.sender),
            Self::AdminRule(asked) => ("admin-rule", &asked.conversation, &asked.user),
            Self::Observer(asked) => about_first("observer", asked),
            Self::Responder(asked) => about_first("responder", asked),
        }
    }

    /// The seq of the entry that a hook after the commit was shown.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Observer(asked) | Self::Responder(asked) => asked.events.first(),
            _ => None,
        }
        .map(|event| event.seq)
    }

    /// Leaves out everything that somebody wrote.
    pub fn leave_out_words(&mut self) {
        self.words().into_iter().for_each(Words::leave_out);
    }

    /// Whether something that somebody wrote was left out.
    pub fn lacks_words(&mut self) -> bool {
        self.words().iter().any(|words| words.is_left_out())
    }

    fn words(&mut self) -> Vec<&mut Words> {
        match self {
            Self::MessageStrategy(asked) => {
                let recent = asked.recent.iter_mut().map(|entry| &mut entry.text);
                std::iter::once(&mut asked.text).chain(recent).collect()
            }
            Self::ContentFilter(asked) => {
                asked.texts.iter_mut().map(|text| &mut text.text).collect()
            }
            Self::Command(asked) => vec![&mut asked.arguments],
            Self::AdminRule(asked) => vec![&mut asked.text],
            Self::Observer(asked) | Self::Responder(asked) => {
                let events = asked.events.iter_mut();
                events
                    .flat_map(|event| [&mut event.text, &mut event.content])
                    .collect()
            }
        }
    }
}

impl From<&Event> for AskedEvent {
    fn from(event: &Event) -> Self {
        let facts = event.facts.iter();
        Self {
            id: event.id.clone(),
            kind: event.kind.clone(),
            conversation: event.conversation.clone(),
            conversation_kind: event.conversation_kind.clone(),
            seq: event.seq,
            at_ms: event.at_ms,
            sender: event.sender.clone(),
            entry_kind: event.entry_kind.clone(),
            content_type: event.content_type.clone(),
            text: event.text.as_str().into(),
            content: event.content.as_str().into(),
            target: event.target,
            attempt: event.attempt,
            facts: facts
                .map(|fact| (fact.name.clone(), fact.value.clone()))
                .collect(),
        }
    }
}

impl From<&AskedEvent> for Event {
    fn from(asked: &AskedEvent) -> Self {
        let facts = asked.facts.iter();
        Self {
            id: asked.id.clone(),
            kind: asked.kind.clone(),
            conversation: asked.conversation.clone(),
            conversation_kind: asked.conversation_kind.clone(),
            seq: asked.seq,
            at_ms: asked.at_ms,
            sender: asked.sender.clone(),
            entry_kind: asked.entry_kind.clone(),
            content_type: asked.content_type.clone(),
            text: asked.text.shown(),
            content: asked.content.shown(),
            target: asked.target,
            attempt: asked.attempt,
            facts: facts
                .map(|(name, value)| EventFact {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
        }
    }
}

fn about_first<'a>(hook: &'static str, asked: &'a AskedEvents) -> (&'static str, &'a str, &'a str) {
    match asked.events.first() {
        Some(event) => (hook, &event.conversation, &event.sender),
        None => (hook, "", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_left_out_are_nowhere_in_the_json() {
        let texts = [Text {
            place: "message",
            text: "geheim",
        }];
        let mut asked = Asked::filter(&texts, 7, Default::default());
        assert!(!asked.lacks_words());
        asked.leave_out_words();
        let json = serde_json::to_string(&asked).expect("JSON");
        assert!(
            !json.contains("geheim") && json.contains("\"chars\":6"),
            "{json}"
        );
        let mut read: Asked = serde_json::from_str(&json).expect("reads");
        assert_eq!(read, asked);
        assert!(read.lacks_words());
        let Asked::ContentFilter(asked) = read else {
            panic!("a filter's");
        };
        assert_eq!(asked.texts[0].text.shown(), "xxxxxx");
    }
}
