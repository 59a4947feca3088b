//! The commands about the list of conversations: the list itself, and what is kept of each for oneself alone: pinned,
//! quiet, hidden, a draft.

use serde_json::{Value, json};

use super::commands::{Action, Command, alone, text};
use super::render;
use super::state::{Conversation, Kind};
use super::talk::Talk;
use crate::client::WireError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    List,
    /// What the protocol calls it, and whether it is to be.
    Mark(&'static str, bool),
    Draft(Option<String>),
}

/// Widest a title is shown in the list.
const TITLE_WIDTH: usize = 24;
/// Widest the newest message is shown in the list.
const LAST_WIDTH: usize = 48;

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":list",
        about: "show the conversations, what is unread and what mentions you",
        read: |rest| alone(rest, Action::List(Deed::List)),
    },
    Command {
        usage: ":pin",
        about: "keep the open conversation at the top",
        read: |rest| alone(rest, Action::List(Deed::Mark("pinned", true))),
    },
    Command {
        usage: ":unpin",
        about: "let it take its place by time again",
        read: |rest| alone(rest, Action::List(Deed::Mark("pinned", false))),
    },
    Command {
        usage: ":quiet",
        about: "do not show what comes while it is not open, unless it mentions you",
        read: |rest| alone(rest, Action::List(Deed::Mark("muted", true))),
    },
    Command {
        usage: ":loud",
        about: "show what comes again",
        read: |rest| alone(rest, Action::List(Deed::Mark("muted", false))),
    },
    Command {
        usage: ":hide",
        about: "leave it out of the list until something new is said",
        read: |rest| alone(rest, Action::List(Deed::Mark("hidden", true))),
    },
    Command {
        usage: ":unhide",
        about: "put it into the list again",
        read: |rest| alone(rest, Action::List(Deed::Mark("hidden", false))),
    },
    Command {
        usage: ":draft [TEXT]",
        about: "keep a message you have begun, on all your devices; without a text, none",
        read: |rest| Some(Action::List(Deed::Draft(text(rest)))),
    },
];

impl Talk {
    pub(super) async fn do_list(&mut self, deed: Deed) -> Result<(), WireError> {
        match deed {
            Deed::List => {
                self.list().await;
                Ok(())
            }
            Deed::Mark(mark, on) => {
                let id = self.opened()?;
                let summary = self
                    .ask("prefs", json!({"conversation": id, mark: on}))
                    .await?;
                self.state.summary(&summary);
                let title = self.title_of(&id);
                let is = match (mark, on) {
                    ("muted", true) => "is quiet",
                    ("muted", false) => "is loud",
                    ("hidden", true) => "is hidden until something new is said",
                    ("hidden", false) => "is in the list",
                    (_, true) => "is pinned",
                    (_, false) => "is pinned no more",
                };
                self.say(&format!("* {title} {is}")).await;
                Ok(())
            }
            Deed::Draft(text) => {
                let id = self.opened()?;
                let kept = text.clone().unwrap_or_default();
                self.ask("draft", json!({"conversation": id, "text": kept}))
                    .await?;
                let line = match &text {
                    Some(_) => "* the draft is kept",
                    None => "* there is no draft",
                };
                self.say(line).await;
                if let Some(known) = self.state.get_mut(&id) {
                    known.draft = text;
                }
                Ok(())
            }
        }
    }

    async fn list(&self) {
        let listed = self.state.listed();
        let rows: Vec<Vec<String>> = listed
            .into_iter()
            .filter(|known| !known.hidden)
            .map(|known| {
                let last = known.last.as_ref().map(|last| {
                    let at = self.clock(last["at"].as_u64().unwrap_or_default());
                    format!("{at} {}", last_said(last))
                });
                let mark = if self.is_open(&known.id) { "*" } else { " " };
                vec![
                    mark.to_owned(),
                    render::cut(&known.title, TITLE_WIDTH),
                    notes(known),
                    last.unwrap_or_default(),
                ]
            })
            .collect();
        if rows.is_empty() {
            self.say("* no conversations yet; :open NAME begins one")
                .await;
        }
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
    }

    pub(super) async fn list_unread(&self) {
        for known in self.state.listed() {
            if known.unread > 0 {
                let title = &known.title;
                let unread = unread(known);
                self.say(&format!("* {title}: {unread}; :open {title} shows them"))
                    .await;
            }
        }
    }
}

fn last_said(last: &Value) -> String {
    if last["recalled"] == true {
        return "(taken back)".to_owned();
    }
    let said = render::content(&last["content"]);
    render::cut(&render::label(&said), LAST_WIDTH)
}

fn unread(known: &Conversation) -> String {
    match known.mentions {
        0 => format!("{} unread", known.unread),
        1 => format!("{} unread, 1 mentions you", known.unread),
        mentions => format!("{} unread, {mentions} mention you", known.unread),
    }
}

fn notes(known: &Conversation) -> String {
    let mut notes = Vec::new();
    if known.kind == Kind::Group {
        notes.push("group".to_owned());
    }
    if known.unread > 0 {
        notes.push(unread(known));
    }
    for (is, note) in [(known.pinned, "pinned"), (known.muted, "quiet")] {
        if is {
            notes.push(note.to_owned());
        }
    }
    if known.draft.is_some() {
        notes.push("draft".to_owned());
    }
    match notes.is_empty() {
        true => String::new(),
        false => format!("({})", notes.join(", ")),
    }
}
