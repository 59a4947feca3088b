//! The commands about people: friends, blocks, who is here, reports.
//! Each asks the server and says in a line or two what came of it.

use serde_json::{Value, json};

use super::commands::{Action, Command, alone, first, name, name_and_text, names, seq, text};
use super::render;
use super::requests::cannot;
use super::talk::Talk;
use crate::client::WireError;

/// Users whose presence is asked for at once.
const WATCHED_AT_ONCE: usize = 200;

/// What is to be done about people; names are user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Friends,
    Ask(String, Option<String>),
    /// Accepts, or refuses.
    Answer(String, bool),
    End(String),
    /// Blocks, or lifts a block.
    Block(String, bool),
    Blocks,
    Here(Vec<String>),
    Unwatch(Vec<String>),
    Report(About, String),
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    User(String),
    Entry(u64),
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":friends",
        about: "show your friends and who asks to be one",
        read: |rest| alone(rest, Action::People(Deed::Friends)),
    },
    Command {
        usage: ":ask NAME [TEXT]",
        about: "ask somebody to be your friend",
        read: |rest| {
            let (name, text) = name_and_text(rest)?;
            Some(Action::People(Deed::Ask(name, text)))
        },
    },
    Command {
        usage: ":accept NAME",
        about: "be the friend of somebody who asked",
        read: |rest| name(rest).map(|name| Action::People(Deed::Answer(name, true))),
    },
    Command {
        usage: ":refuse NAME",
        about: "say no to somebody who asked; they are not told",
        read: |rest| name(rest).map(|name| Action::People(Deed::Answer(name, false))),
    },
    Command {
        usage: ":unfriend NAME",
        about: "be somebody's friend no more",
        read: |rest| name(rest).map(|name| Action::People(Deed::End(name))),
    },
    Command {
        usage: ":block NAME",
        about: "let somebody write to you no more",
        read: |rest| name(rest).map(|name| Action::People(Deed::Block(name, true))),
    },
    Command {
        usage: ":unblock NAME",
        about: "let them write again",
        read: |rest| name(rest).map(|name| Action::People(Deed::Block(name, false))),
    },
    Command {
        usage: ":blocks",
        about: "show whom you have blocked",
        read: |rest| alone(rest, Action::People(Deed::Blocks)),
    },
    Command {
        usage: ":here NAME…",
        about: "show who is here, and from now on who comes and goes",
        read: |rest| names(rest).map(|names| Action::People(Deed::Here(names))),
    },
    Command {
        usage: ":unwatch NAME…",
        about: "do not tell who comes and goes any more",
        read: |rest| names(rest).map(|names| Action::People(Deed::Unwatch(names))),
    },
    Command {
        usage: ":report NAME|SEQ REASON",
        about: "report somebody, or a message, to the administrators",
        read: |rest| {
            let (about, reason) = first(rest);
            let about = match seq(about) {
                Some(seq) => About::Entry(seq),
                None => About::User(name(about)?),
            };
            Some(Action::People(Deed::Report(about, text(reason)?)))
        },
    },
];

impl Talk {
    pub(super) async fn do_people(&mut self, deed: Deed) -> Result<(), WireError> {
        match deed {
            Deed::Friends => self.friends().await,
            Deed::Ask(name, text) => self.ask_friend(&name, text).await,
            Deed::Answer(name, accept) => self.answer_friend(&name, accept).await,
            Deed::End(name) => {
                let user = self.find(&name).await?;
                let rest = self.account.rest().await?;
                rest.delete(&format!("/v1/friends/{user}")).await?;
                self.say(&format!("* {name} is no friend of yours")).await;
                Ok(())
            }
            Deed::Block(name, on) => self.block(&name, on).await,
            Deed::Blocks => self.blocks().await,
            Deed::Here(names) => self.here(&names).await,
            Deed::Unwatch(names) => {
                let users = self.find_all(&names).await?;
                self.watched.retain(|watched| !users.contains(watched));
                self.ask("presence", json!({"users": users, "watch": false}))
                    .await?;
                self.say("* you are not told of them any more").await;
                Ok(())
            }
            Deed::Report(about, reason) => self.report(about, &reason).await,
        }
    }

    async fn report(&mut self, about: About, reason: &str) -> Result<(), WireError> {
        let (report, what) = match about {
            About::User(name) => {
                let user = self.find(&name).await?;
                (json!({"user": user, "reason": reason}), name)
            }
            About::Entry(seq) => {
                let id = self.opened()?;
                let report = json!({"conversation": id, "seq": seq, "reason": reason});
                (report, format!("#{seq}"))
            }
        };
        let rest = self.account.rest().await?;
        rest.post("/v1/reports", report).await?;
        self.say(&format!("* {what} is reported")).await;
        Ok(())
    }

    /// Shows who is here, and has what changes told.
    async fn here(&mut self, names: &[String]) -> Result<(), WireError> {
        let users = self.find_all(names).await?;
        let fields = json!({"users": users, "watch": true});
        let ok = self.ask("presence", fields).await?;
        let mut rows = Vec::new();
        for user in &users {
            let mut row = vec![String::new()];
            row.extend(self.named_cells(user).await);
            let seen = ok["users"][user]["last_seen"].as_u64();
            row.push(render::presence(
                &ok["users"][user],
                seen.map(|at| self.clock(at)),
            ));
            rows.push(row);
            if !self.watched.contains(user) {
                self.watched.push(user.clone());
            }
        }
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        Ok(())
    }

    /// A new session watches nobody yet.
    pub(super) async fn watch_again(&mut self) -> Result<(), WireError> {
        for users in self.watched.clone().chunks(WATCHED_AT_ONCE) {
            let fields = json!({"users": users, "watch": true});
            self.ask("presence", fields).await?;
        }
        Ok(())
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
        let rows: Vec<Vec<String>> = blocks.iter().map(profile_cells).collect();
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        Ok(())
    }

    /// The cells of a list that name a user.
    pub(super) async fn named_cells(&mut self, user: &str) -> [String; 2] {
        let name = self.name(user).await;
        let shown = self.state.shown_as(user).unwrap_or_default().to_owned();
        [name, shown]
    }

    async fn friends(&mut self) -> Result<(), WireError> {
        let rest = self.account.rest().await?;
        let friends = rest.get("/v1/friends?limit=200").await?;
        let requests = rest.get("/v1/friend-requests?limit=200").await?;
        let friends = friends["friends"].as_array().cloned().unwrap_or_default();
        if friends.is_empty() {
            self.say("* you have no friends here yet; :ask NAME").await;
        }
        let rows: Vec<Vec<String>> = friends.iter().map(profile_cells).collect();
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        for request in requests["friend_requests"].as_array().into_iter().flatten() {
            let name = username(&request["profile"]);
            let text = request["text"].as_str().map(render::plain);
            let text = text.map_or_else(String::new, |text| format!(": {text}"));
            let line = match request["direction"].as_str() {
                Some("sent") => format!("  {name} has not answered"),
                _ => format!("  {name} asks{text}  (:accept {name}, :refuse {name})"),
            };
            self.say(&line).await;
        }
        Ok(())
    }

    async fn ask_friend(&mut self, name: &str, text: Option<String>) -> Result<(), WireError> {
        let user = self.find(name).await?;
        let mut body = json!({"user": user});
        if let Some(text) = text {
            body["text"] = text.into();
        }
        let rest = self.account.rest().await?;
        let made = rest.post("/v1/friend-requests", body).await?;
        let line = match made["state"].as_str() {
            Some("accepted") => format!("* you and {name} are friends"),
            _ => format!("* {name} is asked"),
        };
        self.say(&line).await;
        Ok(())
    }

    async fn answer_friend(&mut self, name: &str, accept: bool) -> Result<(), WireError> {
        let user = self.find(name).await?;
        let rest = self.account.rest().await?;
        let shown = rest.user(&user).await?;
        let relation = &shown["relation"];
        let (Some("received"), Some(id)) = (
            relation["request"].as_str(),
            relation["request_id"].as_str(),
        ) else {
            return Err(cannot(format!("{name} does not ask")));
        };
        let path = format!("/v1/friend-requests/{id}");
        rest.post(&path, json!({"accept": accept})).await?;
        let line = if accept {
            format!("* you and {name} are friends")
        } else {
            format!("* {name} is not told that you refused")
        };
        self.say(&line).await;
        Ok(())
    }
}

fn username(profile: &Value) -> String {
    let name = profile["username"].as_str().or(profile["id"].as_str());
    render::label(name.unwrap_or_default())
}

fn profile_cells(profile: &Value) -> Vec<String> {
    let (name, shown) = (username(profile), profile["display_name"].as_str());
    let shown = render::label(shown.unwrap_or_default());
    let shown = if shown == name { String::new() } else { shown };
    vec![String::new(), name, shown]
}
