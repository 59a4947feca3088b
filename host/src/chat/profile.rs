//! The commands about oneself: the profile and the devices.
//! Each is a REST call and a line or two that say what came of it.

use serde_json::json;

use super::commands::{Action, Command, alone, text, word};
use super::render;
use super::talk::Talk;
use crate::client::WireError;
use crate::client::rest::encoded;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Me,
    /// The name one is shown with.
    Name(String),
    Devices,
    SignOut(String),
}

pub(super) const COMMANDS: &[Command] = &[
    Command {
        usage: ":me",
        about: "show your profile as others see it",
        read: |rest| alone(rest, Action::Profile(Deed::Me)),
    },
    Command {
        usage: ":name TEXT",
        about: "change the name you are shown with",
        read: |rest| text(rest).map(|name| Action::Profile(Deed::Name(name))),
    },
    Command {
        usage: ":devices",
        about: "show where you are signed in",
        read: |rest| alone(rest, Action::Profile(Deed::Devices)),
    },
    Command {
        usage: ":signout DEVICE",
        about: "sign a device of yours out",
        read: |rest| word(rest).map(|id| Action::Profile(Deed::SignOut(id))),
    },
];

impl Talk {
    pub(super) async fn do_profile(&mut self, deed: Deed) -> Result<(), WireError> {
        let rest = self.account.rest().await?;
        match deed {
            Deed::Me => {
                let me = rest.me().await?;
                let field = |name: &str| render::label(me[name].as_str().unwrap_or_default());
                let (name, shown, id) = (field("username"), field("display_name"), field("id"));
                let avatar = match field("avatar") {
                    none if none.is_empty() => "none".to_owned(),
                    avatar => avatar,
                };
                let rows = [
                    ("name", name),
                    ("shown as", shown),
                    ("id", id),
                    ("avatar", avatar),
                ]
                .map(|(what, is)| vec![String::new(), what.to_owned(), is]);
                for line in render::columns(&rows) {
                    self.say(&line).await;
                }
            }
            Deed::Name(name) => {
                let me = rest.patch("/v1/me", json!({"display_name": name})).await?;
                let shown = render::label(me["display_name"].as_str().unwrap_or_default());
                self.say(&format!("* you are shown as {shown}")).await;
            }
            Deed::Devices => self.devices().await?,
            Deed::SignOut(id) => {
                rest.delete(&format!("/v1/me/devices/{}", encoded(&id)))
                    .await?;
                self.say(&format!("* {} is signed out", render::label(&id)))
                    .await;
            }
        }
        Ok(())
    }

    async fn devices(&mut self) -> Result<(), WireError> {
        let listed = self.account.rest().await?.get("/v1/me/devices").await?;
        let devices = listed["devices"].as_array().cloned().unwrap_or_default();
        let rows: Vec<Vec<String>> = devices
            .iter()
            .map(|device| {
                let text = |field: &str| render::label(device[field].as_str().unwrap_or_default());
                let seen = self.clock(device["seen_at"].as_u64().unwrap_or_default());
                let state = match (device["current"] == true, device["online"] == true) {
                    (true, _) => "this one",
                    (false, true) => "online",
                    (false, false) => "away",
                };
                let seen = format!("{state}, seen {seen}");
                vec![String::new(), text("id"), text("kind"), text("name"), seen]
            })
            .collect();
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        Ok(())
    }
}
