//! What the commands do: each asks the server and shows the answer. Here are those that begin a talk, look back in it
//! and end it; the other subjects have files of their own. A new subject gets its arm in `act`.

use std::time::Instant;

use serde_json::json;

use super::commands::{self, Action, Command, alone, seq, text, word};
use super::render;
use super::state::{Kind, Named};
use super::talk::Talk;
use crate::client::{Refused, To, WireError};

/// Entries shown when a conversation is opened.
const OPENING: u64 = 20;
/// How many entries `:history` shows when it is not told.
pub(super) const PAGE: u64 = 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// The whole help, or that on one command.
    Help(Option<String>),
    Open(String),
    History(u64),
    /// The next page of the last list.
    More,
    Held,
    Sync,
    Who,
    Quit,
}

/// Where a list that was shown goes on.
pub(super) enum More {
    Search(String),
    Members { group: String, cursor: String },
    Requests { group: String, cursor: String },
    Readers { at: (String, u64), cursor: String },
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":help [COMMAND]",
        about: "show this list, or how one is used",
        read: |rest| match rest {
            "" => Some(Action::Client(Deed::Help(None))),
            rest => word(rest).map(|name| Action::Client(Deed::Help(Some(name)))),
        },
    },
    Command {
        usage: ":open NAME|TITLE|ID",
        about: "talk to somebody, or in a group",
        read: |rest| text(rest).map(|name| Action::Client(Deed::Open(name))),
    },
    Command {
        usage: ":history [N]",
        about: "show the last N entries",
        read: |rest| match rest {
            "" => Some(Action::Client(Deed::History(PAGE))),
            count => seq(count).map(|count| Action::Client(Deed::History(count))),
        },
    },
    Command {
        usage: ":more",
        about: "show the next page of a search, of members or of readers",
        read: |rest| alone(rest, Action::Client(Deed::More)),
    },
    Command {
        usage: ":held",
        about: "show your messages that wait for a decision",
        read: |rest| alone(rest, Action::Client(Deed::Held)),
    },
    Command {
        usage: ":sync",
        about: "ask the server for anything missed",
        read: |rest| alone(rest, Action::Client(Deed::Sync)),
    },
    Command {
        usage: ":who",
        about: "show who you are and whom you talk to",
        read: |rest| alone(rest, Action::Client(Deed::Who)),
    },
    Command {
        usage: ":quit",
        about: "leave the program",
        read: |rest| alone(rest, Action::Client(Deed::Quit)),
    },
];

/// What cannot be done, known without the server.
pub(super) fn cannot(why: impl Into<String>) -> WireError {
    WireError::Refused(Refused {
        message: why.into(),
        ..Refused::default()
    })
}

impl Talk {
    pub(super) async fn act(&mut self, action: Action) -> Result<(), WireError> {
        match action {
            Action::Say(text) => self.write(text, None).await,
            Action::Client(deed) => self.do_client(deed).await,
            Action::Message(deed) => self.do_message(deed).await,
            Action::File(deed) => self.do_file(deed).await,
            Action::List(deed) => self.do_list(deed).await,
            Action::Search(search) => self.search(search).await,
            Action::Group(deed) => self.do_group(deed).await,
            Action::People(deed) => self.do_people(deed).await,
            Action::Profile(deed) => self.do_profile(deed).await,
        }
    }

    async fn do_client(&mut self, deed: Deed) -> Result<(), WireError> {
        match deed {
            Deed::Help(None) => {
                for line in commands::help() {
                    self.say(&line).await;
                }
                Ok(())
            }
            Deed::Help(Some(name)) => {
                let help = commands::help_on(&name);
                let help = help.ok_or_else(|| cannot(format!("there is no :{name}")))?;
                self.say(&format!("  {help}")).await;
                Ok(())
            }
            Deed::Open(name) => self.open_named(&name).await,
            Deed::History(count) => self.history(count).await,
            Deed::More => self.show_more().await,
            Deed::Held => self.show_held().await,
            Deed::Sync => {
                self.catch_up().await?;
                self.say("* nothing is missing").await;
                Ok(())
            }
            Deed::Who => {
                self.who().await;
                Ok(())
            }
            Deed::Quit => {
                self.quit();
                Ok(())
            }
        }
    }

    async fn show_more(&mut self) -> Result<(), WireError> {
        match self.more.take() {
            Some(More::Search(query)) => self.search_page(query).await,
            Some(More::Members { group, cursor }) => self.members(group, Some(cursor)).await,
            Some(More::Requests { group, cursor }) => self.requests(group, Some(cursor)).await,
            Some(More::Readers { at, cursor }) => self.readers(at, Some(cursor)).await,
            None => {
                self.say("* there is no more").await;
                Ok(())
            }
        }
    }

    /// Whom one writes to.
    pub(super) async fn addressee(&mut self) -> Result<To, WireError> {
        if self.open.is_none()
            && let Some(peer) = self.awaited.clone()
        {
            self.open_named(&peer).await?;
        }
        match &self.open {
            Some((to, _)) => Ok(to.clone()),
            None => Err(cannot("nobody is there to write to: :open NAME")),
        }
    }

    /// Says something where one is, in answer to an entry or to none.
    pub(super) async fn write(
        &mut self,
        text: String,
        reply_to: Option<u64>,
    ) -> Result<(), WireError> {
        let to = self.addressee().await?;
        let content = self.text_content(&text).await;
        self.outbox.add(to, content, reply_to, Instant::now());
        Ok(())
    }

    pub(super) async fn open_named(&mut self, name: &str) -> Result<(), WireError> {
        match self.state.named(name) {
            Named::One(id) => return self.open_conversation(&id).await,
            Named::Several(ids) => {
                let ids = ids.join(", :open ");
                return Err(cannot(format!("several are called {name}: :open {ids}")));
            }
            Named::None => {}
        }
        let user = self.find(name.strip_prefix('@').unwrap_or(name)).await?;
        if user == self.me.0 {
            return Err(cannot("that is you"));
        }
        let known = self.state.with(&user).map(|known| known.id.clone());
        if let Some(id) = known {
            return self.open_conversation(&id).await;
        }
        let name = self.name(&user).await;
        self.open = Some((To::user(&user), name.clone()));
        self.say(&format!("* nothing was said between you and {name} yet"))
            .await;
        Ok(())
    }

    pub(super) async fn open_conversation(&mut self, id: &str) -> Result<(), WireError> {
        let title = self.state.get(id).map(|known| known.title.clone());
        self.open = Some((To::conversation(id), title.unwrap_or_else(|| id.to_owned())));
        self.history(OPENING).await?;
        let draft = self.state.get(id).and_then(|known| known.draft.clone());
        if let Some(draft) = draft {
            self.say(&format!("* your draft: {}", render::plain(&draft)))
                .await;
        }
        Ok(())
    }

    /// The id of the user with exactly this name.
    pub(super) async fn find(&mut self, name: &str) -> Result<String, WireError> {
        if name == self.me.1 {
            return Ok(self.me.0.clone());
        }
        let found = self.account.rest().await?.users(name).await?;
        let user = found.iter().find(|user| user["username"] == name);
        match user.and_then(|user| user["id"].as_str()) {
            Some(id) => {
                let id = id.to_owned();
                if let Some(profile) = user {
                    self.state.learn(profile);
                }
                Ok(id)
            }
            None => Err(WireError::Refused(Refused {
                code: "not_found".to_owned(),
                message: format!("there is no user {name}"),
                ..Refused::default()
            })),
        }
    }

    pub(super) async fn find_all(&mut self, names: &[String]) -> Result<Vec<String>, WireError> {
        let mut users = Vec::with_capacity(names.len());
        for name in names {
            users.push(self.find(name).await?);
        }
        Ok(users)
    }

    /// The conversation one is in, once something was said there.
    pub(super) fn opened(&self) -> Result<String, WireError> {
        match &self.open {
            Some((To::Conversation(id), _)) => Ok(id.clone()),
            Some((To::User(_), _)) => Err(cannot("nothing was said here yet")),
            None => Err(cannot("no conversation is open: :open NAME")),
        }
    }

    /// The group one is in.
    pub(super) fn opened_group(&self) -> Result<String, WireError> {
        let id = self.opened()?;
        match self.state.get(&id).map(|known| known.kind) {
            Some(Kind::Group) => Ok(id),
            _ => Err(cannot("this is no group: :open TITLE")),
        }
    }

    async fn history(&mut self, count: u64) -> Result<(), WireError> {
        let id = self.opened()?;
        let ok = self
            .ask("history", json!({"conversation": id, "limit": count}))
            .await?;
        let entries = ok["entries"].as_array().cloned().unwrap_or_default();
        let head = ok["head"].as_u64().unwrap_or_default();
        let name = self.title_of(&id);
        self.say(&format!("* {name}: {} of {head} entries", entries.len()))
            .await;
        for entry in &entries {
            let line = self.entry_line(entry).await;
            self.say(&line).await;
        }
        let me = self.me.0.clone();
        let mine = entries
            .iter()
            .rev()
            .find(|entry| entry["from"] == *me && entry["kind"] == "message");
        let mine = mine.and_then(|entry| entry["seq"].as_u64());
        if let Some(known) = self.state.get_mut(&id) {
            known.skip_to(head);
            (known.unread, known.mentions) = (0, 0);
            known.mine = known.mine.max(mine.unwrap_or_default());
        }
        if head > 0 {
            self.ask("read", json!({"conversation": id, "seq": head}))
                .await?;
        }
        Ok(())
    }

    /// What a conversation is called here.
    pub(super) fn title_of(&self, id: &str) -> String {
        let known = self.state.get(id).map(|known| known.title.as_str());
        known.unwrap_or(id).to_owned()
    }

    async fn show_held(&mut self) -> Result<(), WireError> {
        let held = self.account.rest().await?.held().await?;
        if held.is_empty() {
            self.say("* none of your messages is held").await;
        }
        for message in held {
            let at = self.clock(message["at"].as_u64().unwrap_or_default());
            let state = render::plain(message["state"].as_str().unwrap_or_default());
            let text = render::content(&message["content"]);
            self.say(&format!("  {at} {state}: {text}")).await;
        }
        Ok(())
    }

    async fn who(&self) {
        let peer = self
            .open
            .as_ref()
            .map(|(_, name)| format!(", talking to {name}"));
        let (peer, server) = (peer.unwrap_or_default(), self.account.server());
        self.say(&format!("* you are {} on {server}{peer}", self.me.1))
            .await;
    }
}
