//! The commands about groups: making, joining and leaving them, and their settings. The open conversation is the group
//! meant. What concerns single members is in `groups/members.rs`, how settings read and look in `groups/settings.rs`.

mod members;
mod settings;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::commands::{Action, Command, alone, first, name, name_and_text, names, text, words};
use super::requests::cannot;
use super::talk::Talk;
use crate::client::WireError;
use crate::client::rest::encoded;
use settings::Setting;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    New(String, Vec<String>),
    Members,
    Add(Vec<String>),
    Remove(String),
    Leave,
    Role(String, &'static str),
    /// For minutes, or until it is lifted.
    Mute(String, Option<u64>),
    Unmute(String),
    Nick(Option<String>),
    Title(String),
    Settings,
    Set(Setting),
    Dissolve,
    Join(String, Option<String>),
    Requests,
    /// Lets in, or does not.
    Answer(String, bool),
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":group new TITLE [NAME…]",
        about: "make a group and open it; a title of several words stands in quotes",
        read: |rest| {
            let mut words = words(rest)?.into_iter();
            let title = words.next()?;
            let names: Option<_> = words.map(|word| name(&word)).collect();
            Some(Action::Group(Deed::New(title, names?)))
        },
    },
    Command {
        usage: ":join ID [TEXT]",
        about: "join an open group, or ask to be let into one",
        read: |rest| {
            let (id, wish) = first(rest);
            Some(Action::Group(Deed::Join(text(id)?, text(wish))))
        },
    },
    Command {
        usage: ":members",
        about: "show who is in the group",
        read: |rest| alone(rest, Action::Group(Deed::Members)),
    },
    Command {
        usage: ":add NAME…",
        about: "put somebody into the group",
        read: |rest| names(rest).map(|names| Action::Group(Deed::Add(names))),
    },
    Command {
        usage: ":remove NAME",
        about: "take somebody out of it",
        read: |rest| name(rest).map(|name| Action::Group(Deed::Remove(name))),
    },
    Command {
        usage: ":leave",
        about: "leave the group",
        read: |rest| alone(rest, Action::Group(Deed::Leave)),
    },
    Command {
        usage: ":role NAME member|admin|owner",
        about: "give somebody a role; owner hands the group over",
        read: |rest| {
            let (who, role) = first(rest);
            let roles = ["member", "admin", "owner"];
            let role = roles.into_iter().find(|known| *known == role)?;
            Some(Action::Group(Deed::Role(name(who)?, role)))
        },
    },
    Command {
        usage: ":mute NAME [MINUTES]",
        about: "let somebody write here no more, for so long or until you lift it",
        read: |rest| {
            let (name, minutes) = name_and_text(rest)?;
            let minutes = match minutes {
                Some(minutes) => Some(settings::minutes(&minutes)?),
                None => None,
            };
            Some(Action::Group(Deed::Mute(name, minutes)))
        },
    },
    Command {
        usage: ":unmute NAME",
        about: "let them write again",
        read: |rest| name(rest).map(|name| Action::Group(Deed::Unmute(name))),
    },
    Command {
        usage: ":nick [TEXT]",
        about: "have another name in this group; without a text, none",
        read: |rest| Some(Action::Group(Deed::Nick(text(rest)))),
    },
    Command {
        usage: ":title TEXT",
        about: "give the group another title",
        read: |rest| text(rest).map(|title| Action::Group(Deed::Title(title))),
    },
    Command {
        usage: ":settings [KEY VALUE]",
        about: "show the group, or set join invite|approval|open, history joining|all, \
                slow SECONDS|off, keep [DAYSd] [COUNT]|off, mute MINUTES|on|off",
        read: |rest| match rest {
            "" => Some(Action::Group(Deed::Settings)),
            rest => settings::read(rest).map(|set| Action::Group(Deed::Set(set))),
        },
    },
    Command {
        usage: ":requests",
        about: "show who asks to be let into the group",
        read: |rest| alone(rest, Action::Group(Deed::Requests)),
    },
    Command {
        usage: ":admit NAME",
        about: "let somebody in who asked",
        read: |rest| name(rest).map(|name| Action::Group(Deed::Answer(name, true))),
    },
    Command {
        usage: ":deny NAME",
        about: "do not let them in",
        read: |rest| name(rest).map(|name| Action::Group(Deed::Answer(name, false))),
    },
    Command {
        usage: ":dissolve",
        about: "end the group, for everybody and for good",
        read: |rest| alone(rest, Action::Group(Deed::Dissolve)),
    },
];

impl Talk {
    pub(super) async fn do_group(&mut self, deed: Deed) -> Result<(), WireError> {
        match deed {
            Deed::New(title, names) => self.new_group(&title, &names).await,
            Deed::Join(id, wish) => self.join_group(&id, wish).await,
            Deed::Members => {
                let group = self.opened_group()?;
                self.members(group, None).await
            }
            Deed::Add(names) => self.add_members(&names).await,
            Deed::Remove(name) => self.remove_member(&name).await,
            Deed::Leave => self.leave_group().await,
            Deed::Role(name, role) => self.give_role(&name, role).await,
            Deed::Mute(name, minutes) => self.mute_member(&name, minutes).await,
            Deed::Unmute(name) => self.unmute_member(&name).await,
            Deed::Nick(nick) => self.take_nickname(nick).await,
            Deed::Title(title) => {
                let changed = self.change_group(json!({"title": title})).await?;
                let title = settings::title(&changed);
                self.say(&format!("* the group is called {title}")).await;
                Ok(())
            }
            Deed::Settings => {
                let group = self.opened_group()?;
                let rest = self.account.rest().await?;
                let group = rest.get(&path(&group, "")).await?;
                self.show_settings(&group).await;
                Ok(())
            }
            Deed::Set(setting) => {
                let change = setting.change(Timestamp::now());
                let changed = self.change_group(change).await?;
                self.show_settings(&changed).await;
                Ok(())
            }
            Deed::Dissolve => self.dissolve().await,
            Deed::Requests => {
                let group = self.opened_group()?;
                self.requests(group, None).await
            }
            Deed::Answer(name, accept) => self.answer_request(&name, accept).await,
        }
    }

    async fn new_group(&mut self, title: &str, names: &[String]) -> Result<(), WireError> {
        let users = self.find_all(names).await?;
        let rest = self.account.rest().await?;
        let body = json!({"title": title, "members": users});
        let summary = rest.post("/v1/groups", body).await?;
        self.state.summary(&summary);
        let id = summary["id"].as_str().unwrap_or_default().to_owned();
        self.say(&format!(
            "* the group is made; others may :join {id}, where you let them"
        ))
        .await;
        self.open_conversation(&id).await
    }

    async fn join_group(&mut self, id: &str, wish: Option<String>) -> Result<(), WireError> {
        let mut body = json!({});
        if let Some(wish) = wish {
            body["text"] = wish.into();
        }
        let rest = self.account.rest().await?;
        let asked = rest.post(&path(id, "/join-requests"), body).await?;
        if asked["state"] == "waiting" {
            self.say("* you have asked to be let in").await;
            return Ok(());
        }
        // Only the list of conversations knows the title.
        self.catch_up().await?;
        self.open_conversation(id).await
    }

    async fn change_group(&mut self, change: Value) -> Result<Value, WireError> {
        let group = self.opened_group()?;
        let rest = self.account.rest().await?;
        rest.patch(&path(&group, ""), change).await
    }

    async fn show_settings(&mut self, group: &Value) {
        let owner = self.name(group["owner"].as_str().unwrap_or_default()).await;
        let until = group["muted_until"].as_u64();
        let muted = until.map(|until| self.until(until));
        for line in settings::lines(group, &owner, muted.as_deref()) {
            self.say(&line).await;
        }
    }

    async fn dissolve(&mut self) -> Result<(), WireError> {
        let group = self.opened_group()?;
        let title = self.title_of(&group);
        let rest = self.account.rest().await?;
        rest.delete(&path(&group, "")).await?;
        self.close_conversation(&group);
        self.say(&format!("* {title} is dissolved")).await;
        Ok(())
    }

    /// How long a mute lasts.
    fn until(&self, at_ms: u64) -> String {
        match settings::is_for_good(at_ms, Timestamp::now()) {
            true => "until it is lifted".to_owned(),
            false => format!("until {}", self.clock(at_ms)),
        }
    }

    /// Nothing more is heard of it.
    fn close_conversation(&mut self, id: &str) {
        if self.is_open(id) {
            self.open = None;
        }
        self.state.gone(id);
    }
}

/// A path of a group's.
fn path(group: &str, below: &str) -> String {
    format!("/v1/groups/{}{below}", encoded(group))
}

#[cfg(test)]
pub(super) fn setting(line: &str) -> Option<Setting> {
    settings::read(line)
}
