//! The commands about people: friends, one's own name and devices, reports.
//! Each is a REST call and a line or two that say what came of it.

use serde_json::{Value, json};

use super::render;
use super::talk::Talk;
use crate::client::rest::encoded;
use crate::client::{Refused, WireError};

/// What is to be done about people; names are user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    Friends,
    Ask(String, Option<String>),
    /// Accepts, or refuses.
    Answer(String, bool),
    End(String),
    /// The name one is shown with.
    Name(String),
    Devices,
    SignOut(String),
    Report(String, String),
}

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
            Deed::Name(name) => {
                let rest = self.account.rest().await?;
                let me = rest.patch("/v1/me", json!({"display_name": name})).await?;
                let shown = render::plain(me["display_name"].as_str().unwrap_or_default());
                self.say(&format!("* you are shown as {shown}")).await;
                Ok(())
            }
            Deed::Devices => self.devices().await,
            Deed::SignOut(id) => {
                let rest = self.account.rest().await?;
                rest.delete(&format!("/v1/me/devices/{}", encoded(&id)))
                    .await?;
                self.say(&format!("* {id} is signed out")).await;
                Ok(())
            }
            Deed::Report(name, reason) => {
                let user = self.find(&name).await?;
                let rest = self.account.rest().await?;
                let report = json!({"user": user, "reason": reason});
                rest.post("/v1/reports", report).await?;
                self.say(&format!("* {name} is reported")).await;
                Ok(())
            }
        }
    }

    async fn friends(&mut self) -> Result<(), WireError> {
        let rest = self.account.rest().await?;
        let friends = rest.get("/v1/friends?limit=200").await?;
        let requests = rest.get("/v1/friend-requests?limit=200").await?;
        let friends = friends["friends"].as_array().cloned().unwrap_or_default();
        if friends.is_empty() {
            self.say("* you have no friends here yet; :ask NAME").await;
        }
        for friend in &friends {
            self.say(&format!("  {}", username(friend))).await;
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
            return Err(WireError::Refused(Refused {
                code: "not_found".to_owned(),
                message: format!("{name} does not ask"),
                ..Refused::default()
            }));
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

    async fn devices(&mut self) -> Result<(), WireError> {
        let listed = self.account.rest().await?.get("/v1/me/devices").await?;
        for device in listed["devices"].as_array().into_iter().flatten() {
            let text = |field: &str| render::plain(device[field].as_str().unwrap_or_default());
            let seen = self.clock(device["seen_at"].as_u64().unwrap_or_default());
            let state = match (device["current"] == true, device["online"] == true) {
                (true, _) => "this one",
                (false, true) => "online",
                (false, false) => "away",
            };
            let (id, kind, name) = (text("id"), text("kind"), text("name"));
            self.say(&format!("  {id}  {kind} {name}, {state}, seen {seen}"))
                .await;
        }
        Ok(())
    }
}

fn username(profile: &Value) -> String {
    let name = profile["username"].as_str().or(profile["id"].as_str());
    render::plain(name.unwrap_or_default())
}
