//! What the commands do: each asks the server and shows the answer.
//! A new command gets its arm in `act`.

use std::time::Instant;

use serde_json::json;

use super::commands::{self, Action};
use super::render;
use super::talk::Talk;
use crate::client::{Refused, To, WireError};

/// Entries shown when a conversation is opened.
const OPENING: u64 = 20;

impl Talk {
    pub(super) async fn act(&mut self, action: Action) -> Result<(), WireError> {
        match action {
            Action::Say(text) => self.write(text).await,
            Action::Help => {
                for line in commands::help() {
                    self.say(&line).await;
                }
                Ok(())
            }
            Action::Open(name) => self.open_peer(&name).await,
            Action::List => {
                self.list().await;
                Ok(())
            }
            Action::History(count) => self.history(count).await,
            Action::Recall(seq) => self.recall(seq).await,
            Action::Block(name) => self.block(&name, true).await,
            Action::Unblock(name) => self.block(&name, false).await,
            Action::Blocks => self.blocks().await,
            Action::People(deed) => self.do_people(deed).await,
            Action::Held => self.show_held().await,
            Action::Sync => {
                self.catch_up().await?;
                self.say("* nothing is missing").await;
                Ok(())
            }
            Action::Who => {
                self.who().await;
                Ok(())
            }
            Action::Quit => {
                self.quit();
                Ok(())
            }
        }
    }

    async fn write(&mut self, text: String) -> Result<(), WireError> {
        match &self.open {
            Some((to, _)) => self.outbox.add(to.clone(), text, Instant::now()),
            None => self.say("! nobody is there to write to: :open NAME").await,
        }
        Ok(())
    }

    pub(super) async fn open_peer(&mut self, name: &str) -> Result<(), WireError> {
        let listed = self.state.listed();
        let known = listed.iter().find(|known| known.title == name);
        let known = known.map(|known| (known.id.clone(), known.peer.clone()));
        if let Some((id, peer)) = known {
            // A conversation only heard of by a user has no entry to show yet.
            let to = match peer {
                Some(user) if id.is_empty() => To::User(user),
                _ => To::conversation(&id),
            };
            self.open = Some((to, name.to_owned()));
            return self.history(OPENING).await;
        }
        let user = self.find(name).await?;
        if user == self.me.0 {
            self.say("! that is you").await;
            return Ok(());
        }
        let known = self.state.with(&user).map(|known| known.id.clone());
        let to = known.map_or_else(|| To::user(&user), To::conversation);
        let first = matches!(to, To::User(_));
        self.open = Some((to, name.to_owned()));
        if first {
            self.say(&format!("* nothing was said between you and {name} yet"))
                .await;
            return Ok(());
        }
        self.history(OPENING).await
    }

    /// The id of the user with exactly this name.
    pub(super) async fn find(&mut self, name: &str) -> Result<String, WireError> {
        let found = self.account.rest().await?.users(name).await?;
        let user = found.iter().find(|user| user["username"] == name);
        match user.and_then(|user| user["id"].as_str()) {
            Some(id) => {
                self.state.learn_name(id, name);
                Ok(id.to_owned())
            }
            None => Err(WireError::Refused(Refused {
                code: "not_found".to_owned(),
                message: format!("there is no user {name}"),
                ..Refused::default()
            })),
        }
    }

    async fn history(&mut self, count: u64) -> Result<(), WireError> {
        let Some((To::Conversation(id), name)) = self.open.clone() else {
            self.say("* nothing was said here yet").await;
            return Ok(());
        };
        let ok = self
            .ask("history", json!({"conversation": id, "limit": count}))
            .await?;
        let entries = ok["entries"].as_array().cloned().unwrap_or_default();
        let head = ok["head"].as_u64().unwrap_or_default();
        self.say(&format!("* {name}: {} of {head} entries", entries.len()))
            .await;
        let me = self.me.0.clone();
        for entry in &entries {
            let line = self.entry_line(entry).await;
            self.say(&line).await;
        }
        let mine = entries
            .iter()
            .rev()
            .find(|entry| entry["from"] == *me && entry["kind"] == "message");
        let mine = mine.and_then(|entry| entry["seq"].as_u64());
        if let Some(known) = self.state.get_mut(&id) {
            known.skip_to(head);
            known.unread = 0;
            known.mine = known.mine.max(mine.unwrap_or_default());
        }
        if head > 0 {
            self.ask("read", json!({"conversation": id, "seq": head}))
                .await?;
        }
        Ok(())
    }

    async fn recall(&mut self, seq: Option<u64>) -> Result<(), WireError> {
        let Some((To::Conversation(id), _)) = self.open.clone() else {
            self.say("! nothing was said here yet").await;
            return Ok(());
        };
        let last = self.state.get(&id).map_or(0, |known| known.mine);
        let seq = seq.unwrap_or(last);
        if seq == 0 {
            self.say("! you have said nothing here that could be taken back")
                .await;
            return Ok(());
        }
        let ok = self
            .ask("recall", json!({"conversation": id, "seq": seq}))
            .await?;
        if let (Some(known), Some(recall)) = (self.state.get_mut(&id), ok["seq"].as_u64()) {
            known.meet(recall);
        }
        self.say(&format!("* #{seq} is taken back")).await;
        self.fill(&id).await
    }

    async fn block(&mut self, name: &str, on: bool) -> Result<(), WireError> {
        let user = self.find(name).await?;
        let rest = self.account.rest().await?;
        if on {
            rest.block(&user).await?;
            self.say(&format!("* {name} can write to you no more"))
                .await;
        } else {
            rest.unblock(&user).await?;
            self.say(&format!("* {name} can write to you again")).await;
        }
        Ok(())
    }

    async fn blocks(&mut self) -> Result<(), WireError> {
        let blocks = self.account.rest().await?.blocks().await?;
        if blocks.is_empty() {
            self.say("* you have blocked nobody").await;
        }
        for user in blocks {
            let name = user["username"].as_str().or(user["id"].as_str());
            self.say(&format!("  {}", render::plain(name.unwrap_or_default())))
                .await;
        }
        Ok(())
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

    async fn list(&self) {
        let listed = self.state.listed();
        if listed.is_empty() {
            self.say("* no conversations yet; :open NAME begins one")
                .await;
        }
        for known in listed {
            let mark = if self.is_open(&known.id) { '*' } else { ' ' };
            let unread = match known.unread {
                0 => String::new(),
                count => format!(" ({count} unread)"),
            };
            let last = known.last.as_ref().map(|last| {
                let at = self.clock(last["at"].as_u64().unwrap_or_default());
                format!("  {at} {}", render::content(&last["content"]))
            });
            let (title, last) = (&known.title, last.unwrap_or_default());
            self.say(&format!("{mark} {title}{unread}{last}")).await;
        }
    }

    pub(super) async fn list_unread(&self) {
        for known in self
            .state
            .listed()
            .into_iter()
            .filter(|known| known.unread > 0)
        {
            let (title, unread) = (&known.title, known.unread);
            self.say(&format!(
                "* {title}: {unread} unread; :open {title} shows them"
            ))
            .await;
        }
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
