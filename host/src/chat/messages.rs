//! The commands about single messages of the open conversation: answering, editing, recalling, reacting to them, who
//! read them, and that one types. Whom a text mentions is worked out here, once, before it is sent.

use serde_json::{Value, json};

use super::commands::{Action, Command, first, seq, seq_and_text, text};
use super::render;
use super::requests::{More, cannot};
use super::state::Kind;
use super::talk::Talk;
use crate::client::{To, WireError};

/// Names looked up for one text.
const MENTIONS_MOST: usize = 20;
/// Readers shown at once.
const READERS: u64 = 50;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Reply(u64, String),
    /// Without a seq: the last message of one's own.
    Edit(Option<u64>, String),
    Recall(Option<u64>),
    /// Puts, or takes back.
    React(u64, String, bool),
    Readers(u64),
    Typing(bool),
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":reply SEQ TEXT",
        about: "answer a message",
        read: |rest| seq_and_text(rest).map(|(seq, text)| Action::Message(Deed::Reply(seq, text))),
    },
    Command {
        usage: ":edit [SEQ] TEXT",
        about: "change a message (the last one of yours)",
        read: |rest| {
            let deed = match seq_and_text(rest) {
                Some((seq, text)) => Deed::Edit(Some(seq), text),
                None => Deed::Edit(None, text(rest)?),
            };
            Some(Action::Message(deed))
        },
    },
    Command {
        usage: ":recall [SEQ]",
        about: "take a message back (the last one of yours)",
        read: |rest| match rest {
            "" => Some(Action::Message(Deed::Recall(None))),
            rest => seq(rest).map(|seq| Action::Message(Deed::Recall(Some(seq)))),
        },
    },
    Command {
        usage: ":react SEQ EMOJI",
        about: "put an emoji on a message",
        read: |rest| reaction(rest, true),
    },
    Command {
        usage: ":unreact SEQ EMOJI",
        about: "take it off again",
        read: |rest| reaction(rest, false),
    },
    Command {
        usage: ":readers SEQ",
        about: "show who has read a message",
        read: |rest| seq(rest).map(|seq| Action::Message(Deed::Readers(seq))),
    },
    Command {
        usage: ":typing [off]",
        about: "let the others know that you type, or do no more",
        read: |rest| match rest {
            "" => Some(Action::Message(Deed::Typing(true))),
            "off" => Some(Action::Message(Deed::Typing(false))),
            _ => None,
        },
    },
];

fn reaction(rest: &str, on: bool) -> Option<Action> {
    let (seq, emoji) = seq_and_text(rest)?;
    let one = first(&emoji).1.is_empty();
    one.then_some(Action::Message(Deed::React(seq, emoji, on)))
}

impl Talk {
    pub(super) async fn do_message(&mut self, deed: Deed) -> Result<(), WireError> {
        match deed {
            Deed::Reply(seq, text) => {
                self.opened()?;
                self.write(text, Some(seq)).await
            }
            Deed::Edit(seq, text) => self.edit(seq, &text).await,
            Deed::Recall(seq) => self.recall(seq).await,
            Deed::React(seq, emoji, on) => self.react(seq, &emoji, on).await,
            Deed::Readers(seq) => {
                let at = (self.opened()?, seq);
                self.readers(at, None).await
            }
            Deed::Typing(on) => {
                let fields = json!({"conversation": self.opened()?, "on": on});
                self.ask("typing", fields).await.map(drop)
            }
        }
    }

    /// The entry named, or the newest message of one's own.
    fn mine(&self, id: &str, seq: Option<u64>) -> Result<u64, WireError> {
        let last = self.state.get(id).map_or(0, |known| known.mine);
        match seq.unwrap_or(last) {
            0 => Err(cannot(
                "no message of yours here was shown yet: name its seq",
            )),
            seq => Ok(seq),
        }
    }

    async fn edit(&mut self, seq: Option<u64>, text: &str) -> Result<(), WireError> {
        let id = self.opened()?;
        let seq = self.mine(&id, seq)?;
        let content = self.text_content(text).await;
        let shown = render::content(&content);
        let fields = json!({"conversation": id, "seq": seq, "content": content});
        let ok = self.ask("edit", fields).await?;
        if ok["state"] == "held" {
            self.is_held(&ok, shown).await;
            return Ok(());
        }
        let stored = ok.get("content").map(render::content);
        let stored = stored.map_or_else(String::new, |text| format!(", stored as: {text}"));
        self.say(&format!("* #{seq} is changed{stored}")).await;
        self.take_own(&id, &ok).await
    }

    async fn recall(&mut self, seq: Option<u64>) -> Result<(), WireError> {
        let id = self.opened()?;
        let seq = self.mine(&id, seq)?;
        let fields = json!({"conversation": id, "seq": seq});
        let ok = self.ask("recall", fields).await?;
        self.say(&format!("* #{seq} is taken back")).await;
        self.take_own(&id, &ok).await
    }

    async fn react(&mut self, seq: u64, emoji: &str, on: bool) -> Result<(), WireError> {
        let id = self.opened()?;
        let fields = json!({"conversation": id, "seq": seq, "emoji": emoji, "on": on});
        let ok = self.ask("react", fields).await?;
        let (emoji, is) = (render::label(emoji), if on { "on" } else { "off" });
        self.say(&format!("* {emoji} is {is} #{seq}")).await;
        self.take_own(&id, &ok).await
    }

    /// An entry of one's own stands in the log without an event.
    async fn take_own(&mut self, id: &str, ok: &Value) -> Result<(), WireError> {
        if let (Some(known), Some(seq)) = (self.state.get_mut(id), ok["seq"].as_u64()) {
            known.meet(seq);
        }
        match self.state.get(id) {
            Some(known) if known.shown < known.head => self.fill(id).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn readers(
        &mut self,
        (id, seq): (String, u64),
        cursor: Option<String>,
    ) -> Result<(), WireError> {
        let fields = json!({"conversation": id, "seq": seq, "cursor": cursor, "limit": READERS});
        let ok = self.ask("readers", fields).await?;
        let mut names = Vec::new();
        for user in ok["users"].as_array().into_iter().flatten() {
            names.push(self.name(user.as_str().unwrap_or_default()).await);
        }
        let (received, read, names) = (&ok["received"], &ok["read"], names.join(", "));
        self.say(&format!(
            "* #{seq} is received by {received}, read by {read}: {names}"
        ))
        .await;
        if let Some(cursor) = ok["cursor"].as_str() {
            let at = (id, seq);
            self.goes_on(More::Readers {
                at,
                cursor: cursor.to_owned(),
            })
            .await;
        }
        Ok(())
    }

    /// Keeps where a list goes on, and says that it does.
    pub(super) async fn goes_on(&mut self, more: More) {
        self.more = Some(more);
        self.say("* :more shows more").await;
    }

    /// A text as it is sent: with the ids of those whom it names.
    pub(super) async fn text_content(&mut self, text: &str) -> Value {
        let in_group = match &self.open {
            Some((To::Conversation(id), _)) => {
                self.state.get(id).map(|known| known.kind) == Some(Kind::Group)
            }
            _ => false,
        };
        let mut mentions = Vec::<String>::new();
        for token in mentioned(text).into_iter().take(MENTIONS_MOST) {
            let whom = match bare(token) {
                "all" if in_group => Some("all".to_owned()),
                _ => self.mentioned_user(token).await,
            };
            mentions.extend(whom.filter(|whom| !mentions.contains(whom)));
        }
        let mut content = json!({"type": "text", "text": text});
        if !mentions.is_empty() {
            content["mentions"] = mentions.into();
        }
        content
    }

    /// Whom `@token` names, if anybody: with a full stop at its end it is tried without.
    async fn mentioned_user(&mut self, token: &str) -> Option<String> {
        let bare = bare(token);
        for name in [token, bare] {
            if let Some(user) = self.state.user_named(name) {
                return Some(user);
            }
            if let Ok(user) = self.find(name).await {
                return Some(user);
            }
            if bare == token {
                break;
            }
        }
        None
    }
}

/// The token without what may end a sentence, or a name.
fn bare(token: &str) -> &str {
    token.trim_end_matches(['.', '-', '_'])
}

/// What stands behind each `@` that begins a word: as much of it as can be a name. Chinese has no spaces between words,
/// so only what could belong to an address or a name itself keeps an `@` from beginning one.
fn mentioned(text: &str) -> Vec<&str> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@') {
        let rest = &text[at + 1..];
        let end = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
        let begins = !text[..at].ends_with(in_name);
        if begins && end > 0 && !rest[end..].starts_with('@') {
            found.push(&rest[..end]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_at_sign_that_begins_a_word_names_somebody() {
        for (text, names) in [
            ("@bob come", vec!["bob"]),
            ("hi @bob, @carol-2!", vec!["bob", "carol-2"]),
            ("你好@bob请看", vec!["bob"]),
            ("write to me@example.org", vec![]),
            ("@ nobody, @@bob", vec!["bob"]),
            ("end @all.", vec!["all."]),
            ("x", vec![]),
        ] {
            assert_eq!(mentioned(text), names, "{text}");
        }
    }
}
