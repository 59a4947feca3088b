//! What arrives: entries, receipts, holds, answers to sends; and the catching up after something was missed.
//! Every entry passes `show_new`, which shows each seq once and in order.

use std::time::Instant;

use serde_json::{Value, json};

use super::super::outbox::Unsent;
use super::super::render;
use super::super::state::{self, Kind, Place};
use super::{Talk, goes_again};
use crate::client::{Incoming, To, WireError};

/// Missed entries that are shown one by one; of more only the newest page.
const SHOWN_AT_MOST: u64 = 200;

impl Talk {
    pub(super) async fn arrived(&mut self, incoming: Incoming) {
        let done = match incoming {
            Incoming::Answer { id, result } => match self.outbox.answered(id) {
                Some(unsent) => self.answered(unsent, result).await,
                None => Ok(()),
            },
            Incoming::Event(event) => self.event(&event).await,
        };
        if let Err(error) = done {
            self.fail(&error).await;
        }
    }

    async fn event(&mut self, event: &Value) -> Result<(), WireError> {
        match event["ev"].as_str().unwrap_or_default() {
            "entry" => self.entry(&event["entry"]).await,
            "conversation" => {
                self.summary(&event["conversation"]).await;
                Ok(())
            }
            "typing" => {
                self.types(event).await;
                Ok(())
            }
            "presence" => {
                self.comes_or_goes(event).await;
                Ok(())
            }
            "gone" => {
                self.gone(&event["conversation"]).await;
                Ok(())
            }
            "receipt" => {
                self.receipt(event).await;
                Ok(())
            }
            "held" => {
                self.held_changed(event).await;
                Ok(())
            }
            "behind" => self.catch_up().await,
            _ => Ok(()),
        }
    }

    async fn entry(&mut self, entry: &Value) -> Result<(), WireError> {
        let (Some(id), Some(seq)) = (entry["conversation"].as_str(), entry["seq"].as_u64()) else {
            return Ok(());
        };
        if self.state.get(id).is_none() {
            // One that was hidden when this client began.
            self.catch_up().await?;
        }
        let place = self.state.get_mut(id).map(|known| known.meet(seq));
        match place {
            Some(Place::Next) => self.show_new(entry).await,
            Some(Place::Gap(_)) => self.fill(id).await?,
            Some(Place::Known) | None => {}
        }
        Ok(())
    }

    /// Fetches and shows what stands behind the last entry shown.
    pub(in super::super) async fn fill(&mut self, id: &str) -> Result<(), WireError> {
        let missed = self
            .state
            .get(id)
            .map_or(0, |known| known.head - known.shown);
        if missed > SHOWN_AT_MOST {
            let ok = self.ask("history", json!({"conversation": id})).await?;
            let entries = ok["entries"].as_array().cloned().unwrap_or_default();
            let first = entries.first().and_then(|entry| entry["seq"].as_u64());
            if let (Some(first), Some(known)) = (first, self.state.get_mut(id)) {
                known.skip_to(first.saturating_sub(1));
                let title = known.title.clone();
                self.say(&format!("* {title}: … earlier ones by :open and :history"))
                    .await;
            }
            return self.show_page(id, &entries).await;
        }
        loop {
            let after = self.state.get(id).map_or(0, |known| known.shown);
            let fields = json!({"conversation": id, "after": after});
            let ok = self.ask("history", fields).await?;
            let entries = ok["entries"].as_array().cloned().unwrap_or_default();
            self.show_page(id, &entries).await?;
            let Some(known) = self.state.get_mut(id) else {
                return Ok(());
            };
            let floor = ok["floor"].as_u64().unwrap_or_default();
            known.skip_to(floor.saturating_sub(1));
            if entries.is_empty() || known.shown >= ok["head"].as_u64().unwrap_or_default() {
                return Ok(());
            }
        }
    }

    async fn show_page(&mut self, id: &str, entries: &[Value]) -> Result<(), WireError> {
        for entry in entries {
            let seq = entry["seq"].as_u64().unwrap_or_default();
            let Some(known) = self.state.get_mut(id) else {
                break;
            };
            if let Place::Gap(shown) = known.meet(seq) {
                // The log itself has nothing in between: it was kept no longer.
                debug_assert!(shown < seq);
                known.skip_to(seq);
                self.show_new(entry).await;
            } else if known.shown == seq {
                self.show_new(entry).await;
            }
        }
        Ok(())
    }

    /// Shows an entry for the first time and says that it was received, or read.
    async fn show_new(&mut self, entry: &Value) {
        let id = entry["conversation"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let seq = entry["seq"].as_u64().unwrap_or_default();
        let mine = entry["from"].as_str() == Some(self.me.0.as_str());
        let open = self.is_open(&id);
        let line = self.entry_line(entry).await;
        if entry["code"] == "title_changed" {
            self.retitle(&id, &entry["args"]["title"]);
        }
        let Some(known) = self.state.get_mut(&id) else {
            return;
        };
        if entry["kind"] == "message" {
            known.said(entry, &self.me.0, open);
        }
        if open {
            self.say(&line).await;
        } else if !known.muted || state::mentions(entry, &self.me.0) {
            let line = format!("{} | {line}", known.title);
            self.say(&line).await;
        }
        if !mine {
            let op = if open { "read" } else { "received" };
            self.tell(op, json!({"conversation": id, "seq": seq})).await;
        }
    }

    fn retitle(&mut self, id: &str, title: &Value) {
        let title = render::label(title.as_str().unwrap_or_default());
        if self.is_open(id)
            && let Some((_, name)) = &mut self.open
        {
            name.clone_from(&title);
        }
        if let Some(known) = self.state.get_mut(id) {
            known.title = title;
        }
    }

    /// Takes a summary in; of a group one was put into it tells.
    async fn summary(&mut self, summary: &Value) {
        if !self.state.summary(summary) {
            return;
        }
        let id = summary["id"].as_str().unwrap_or_default().to_owned();
        self.skip_what_was_read(&id, summary);
        if let Some(known) = self.state.get(&id)
            && known.kind == Kind::Group
        {
            let title = &known.title;
            self.say(&format!("* you are in the group {title}; :open {title}"))
                .await;
        }
    }

    /// Told once for as long as it lasts, and only where one is.
    async fn types(&mut self, event: &Value) {
        let (Some(id), Some(user)) = (event["conversation"].as_str(), event["user"].as_str())
        else {
            return;
        };
        let open = self.is_open(id);
        let Some(known) = self.state.get_mut(id) else {
            return;
        };
        let news = match event["on"] == true {
            true => known.typing.insert(user.to_owned()),
            false => !known.typing.remove(user),
        };
        if news && open && event["on"] == true {
            let name = self.name(user).await;
            self.say(&format!("  … {name} types")).await;
        }
    }

    async fn comes_or_goes(&mut self, event: &Value) {
        let user = event["user"].as_str().unwrap_or_default();
        let name = self.name(user).await;
        let is = render::presence(event, None);
        self.say(&format!("* {name} {is}")).await;
    }

    /// Time, seq, author and what was said.
    pub(in super::super) async fn entry_line(&mut self, entry: &Value) -> String {
        let from = entry["by"].as_str().or(entry["from"].as_str());
        let from = self.name(from.unwrap_or_default()).await;
        for role in ["user", "by"] {
            if let Some(user) = entry["args"][role].as_str() {
                self.name(user).await;
            }
        }
        let (state, me) = (&self.state, &self.me.0);
        let name = |user: &str| match user == me {
            true => "you".to_owned(),
            false => state.name(user).unwrap_or(user).to_owned(),
        };
        let said = render::entry(entry, &from, name);
        let at = self.clock(entry["at"].as_u64().unwrap_or_default());
        format!("{at} #{} {said}", entry["seq"])
    }

    pub(in super::super) fn is_open(&self, id: &str) -> bool {
        match &self.open {
            Some((To::Conversation(open), _)) => open == id,
            Some((To::User(user), _)) => {
                let known = self.state.get(id);
                known.is_some_and(|known| known.peer.as_deref() == Some(user))
            }
            None => false,
        }
    }

    async fn answered(
        &mut self,
        unsent: Unsent,
        result: Result<Value, WireError>,
    ) -> Result<(), WireError> {
        match result {
            Ok(ok) => self.done(unsent, &ok).await,
            Err(error) if goes_again(&error) => {
                if error.code() != "closed" {
                    let why = render::refusal(&error);
                    self.say(&format!("… {why}; sending again: {}", unsent.text()))
                        .await;
                }
                self.outbox.again(unsent, &error, Instant::now());
                Ok(())
            }
            Err(error) => {
                let why = render::refusal(&error);
                self.say(&format!("✗ not sent: {why}: {}", unsent.text()))
                    .await;
                Ok(())
            }
        }
    }

    /// A send has its final answer.
    async fn done(&mut self, unsent: Unsent, ok: &Value) -> Result<(), WireError> {
        let id = ok["conversation"].as_str().unwrap_or_default().to_owned();
        match ok["state"].as_str() {
            Some("held") => {
                self.is_held(ok, unsent.text()).await;
                Ok(())
            }
            Some("dropped") => {
                self.say(&format!("✗ not kept by the server: {}", unsent.text()))
                    .await;
                Ok(())
            }
            Some("command") => {
                let reply = ok.get("reply").map(render::content);
                let reply = reply.unwrap_or_else(|| "done".to_owned());
                self.say(&format!("/ {reply}")).await;
                Ok(())
            }
            _ => {
                // Only what was stored has opened the conversation.
                self.settle_on(&unsent.to, &id).await;
                self.committed(&unsent, &id, ok).await
            }
        }
    }

    /// What waits for somebody's decision is remembered by its hold.
    pub(in super::super) async fn is_held(&mut self, ok: &Value, text: String) {
        let hold = ok["hold"].as_str().unwrap_or_default();
        self.say(&format!(
            "◷ held until it is released or judged again: {text}"
        ))
        .await;
        self.held.insert(hold.to_owned(), text);
    }

    async fn committed(&mut self, unsent: &Unsent, id: &str, ok: &Value) -> Result<(), WireError> {
        let (seq, at) = (ok["seq"].as_u64().unwrap_or_default(), ok["at"].as_u64());
        let Some(known) = self.state.get_mut(id) else {
            return Ok(());
        };
        let place = known.meet(seq);
        let stored = ok.get("content").map(render::content);
        if place == Place::Next {
            known.mine = seq;
            (known.unread, known.mentions) = (0, 0);
            let at = self.clock(at.unwrap_or_default());
            // Of a text the line that was typed still stands on the screen.
            let seen = self.terminal.is_edited() && unsent.content["type"] == "text";
            let line = match (&stored, seen) {
                (None, true) => format!("  ✓ #{seq} {at}"),
                (Some(stored), true) => format!("  ✓ #{seq} {at} stored as: {stored}"),
                (stored, false) => {
                    let text = stored.clone().unwrap_or_else(|| unsent.text());
                    let changed = if stored.is_some() {
                        " (as it was stored)"
                    } else {
                        ""
                    };
                    format!("{at} #{seq} you: {text} ✓{changed}")
                }
            };
            self.say(&line).await;
        }
        match place {
            Place::Gap(_) => self.fill(id).await,
            _ => Ok(()),
        }
    }

    /// The first message to a user opened the direct conversation: from now on it goes by its id.
    async fn settle_on(&mut self, to: &To, id: &str) {
        let To::User(user) = to else { return };
        if id.is_empty() {
            return;
        }
        let name = self.name(user).await;
        self.state.heard_of(id, &name, Some(user));
        let conversation = To::conversation(id);
        self.outbox.readdress(to, &conversation);
        if let Some((open, _)) = &mut self.open
            && open == to
        {
            *open = conversation;
        }
    }

    async fn receipt(&mut self, event: &Value) {
        let (Some(id), Some(user)) = (event["conversation"].as_str(), event["user"].as_str())
        else {
            return;
        };
        let read = event["read"].as_u64().unwrap_or_default();
        if user == self.me.0 {
            return;
        }
        // Of a group's members `:readers` tells.
        let news = self
            .state
            .get_mut(id)
            .is_some_and(|known| known.kind == Kind::Direct && known.read_by_peer(read));
        if news {
            let name = self.name(user).await;
            self.say(&format!("  ✓✓ {name} has read up to #{read}"))
                .await;
        }
    }

    async fn held_changed(&mut self, event: &Value) {
        if event["state"] == "refused" {
            let hold = event["hold"].as_str().unwrap_or_default();
            let text = self.held.remove(hold).unwrap_or_default();
            let reason = render::plain(event["reason"].as_str().unwrap_or("no reason given"));
            self.say(&format!("✗ refused ({reason}): {text}")).await;
        }
    }

    async fn gone(&mut self, id: &Value) {
        let Some(id) = id.as_str() else { return };
        if self.is_open(id) {
            self.open = None;
        }
        if let Some(gone) = self.state.gone(id) {
            self.say(&format!("* {} is closed to you", gone.title))
                .await;
        }
    }

    /// Asks what changed since the last time, and fetches what was missed.
    pub(in super::super) async fn catch_up(&mut self) -> Result<(), WireError> {
        loop {
            let since = self.since.clone().unwrap_or_default();
            let ok = self.ask("sync", json!({"since": since})).await?;
            self.since = ok["since"].as_str().map(str::to_owned);
            if ok["reset"] == true {
                self.load_conversations().await?;
                break;
            }
            for summary in ok["changed"].as_array().into_iter().flatten() {
                self.summary(summary).await;
            }
            for id in ok["gone"].as_array().into_iter().flatten() {
                self.gone(id).await;
            }
            if ok["more"] != true {
                break;
            }
        }
        for id in self.state.behind() {
            self.fill(&id).await?;
        }
        Ok(())
    }

    fn skip_what_was_read(&mut self, id: &str, summary: &Value) {
        let read = summary["read"].as_u64().unwrap_or_default();
        if let Some(known) = self.state.get_mut(id) {
            known.skip_to(read);
        }
    }

    /// Every conversation by its summary; what is in them already is not shown by itself.
    pub(super) async fn load_conversations(&mut self) -> Result<(), WireError> {
        let mut cursor = None::<String>;
        loop {
            let ok = self
                .ask("conversations", json!({"cursor": cursor, "limit": 200}))
                .await?;
            for summary in ok["conversations"].as_array().into_iter().flatten() {
                self.state.summary(summary);
                let id = summary["id"].as_str().unwrap_or_default();
                if let Some(known) = self.state.get_mut(id)
                    && known.shown == 0
                {
                    known.skip_to(known.head);
                }
            }
            cursor = ok["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// A user's name, asked for once.
    pub(in super::super) async fn name(&mut self, user: &str) -> String {
        if user == self.me.0 {
            return "you".to_owned();
        }
        if let Some(name) = self.state.name(user) {
            return name.to_owned();
        }
        if user.is_empty() {
            return "somebody".to_owned();
        }
        let profile = match self.account.rest().await {
            Ok(rest) => rest.user(user).await,
            Err(error) => Err(error),
        };
        if let Ok(profile) = profile {
            self.state.learn(&profile);
        }
        self.state.name(user).unwrap_or(user).to_owned()
    }
}
