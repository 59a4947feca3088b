//! What is done with the members of the open group, and with those who ask to be some.
//! Lists come page by page; a name costs a request only the first time.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{cannot, encoded, path, settings};
use crate::chat::render;
use crate::chat::requests::More;
use crate::chat::talk::Talk;
use crate::client::WireError;

/// Members and requests shown at once.
const PAGE: usize = 50;

impl Talk {
    pub(in super::super) async fn members(
        &mut self,
        group: String,
        cursor: Option<String>,
    ) -> Result<(), WireError> {
        let page = self.page(&group, "/members", cursor).await?;
        let mut rows = Vec::new();
        for member in page["members"].as_array().into_iter().flatten() {
            rows.push(self.member_row(member).await);
        }
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        if let Some(cursor) = page["cursor"].as_str() {
            let cursor = cursor.to_owned();
            self.goes_on(More::Members { group, cursor }).await;
        }
        Ok(())
    }

    async fn member_row(&mut self, member: &Value) -> Vec<String> {
        let user = member["user"].as_str().unwrap_or_default();
        let [name, shown] = self.named_cells(user).await;
        let nickname = member["nickname"].as_str().map(render::label);
        let role = match member["role"].as_str() {
            Some("member") | None => String::new(),
            Some(role) => render::label(role),
        };
        let muted = member["muted_until"].as_u64();
        let muted = muted.map(|until| format!("muted {}", self.until(until)));
        let shown = nickname.unwrap_or(shown);
        vec![String::new(), name, shown, role, muted.unwrap_or_default()]
    }

    pub(in super::super) async fn requests(
        &mut self,
        group: String,
        cursor: Option<String>,
    ) -> Result<(), WireError> {
        let page = self.page(&group, "/join-requests", cursor).await?;
        let requests = page["join_requests"].as_array();
        let mut rows = Vec::new();
        for request in requests.into_iter().flatten() {
            let [name, shown] = self.named_cells(user_of(request)).await;
            let text = request["text"].as_str().map(render::label);
            let at = self.clock(request["at"].as_u64().unwrap_or_default());
            let row = [String::new(), at, name, shown, text.unwrap_or_default()];
            rows.push(row.to_vec());
        }
        if rows.is_empty() {
            self.say("* nobody asks to be let in").await;
        }
        for line in render::columns(&rows) {
            self.say(&line).await;
        }
        if let Some(cursor) = page["cursor"].as_str() {
            let cursor = cursor.to_owned();
            self.goes_on(More::Requests { group, cursor }).await;
        }
        Ok(())
    }

    async fn page(
        &mut self,
        group: &str,
        below: &str,
        cursor: Option<String>,
    ) -> Result<Value, WireError> {
        let cursor = cursor.map(|cursor| format!("&cursor={}", encoded(&cursor)));
        let below = format!("{below}?limit={PAGE}{}", cursor.unwrap_or_default());
        let rest = self.account.rest().await?;
        rest.get(&path(group, &below)).await
    }

    pub(super) async fn answer_request(
        &mut self,
        name: &str,
        accept: bool,
    ) -> Result<(), WireError> {
        let group = self.opened_group()?;
        let user = self.find(name).await?;
        let mut cursor = None;
        let id = loop {
            let page = self.page(&group, "/join-requests", cursor).await?;
            let requests = page["join_requests"].as_array().into_iter().flatten();
            let mut theirs = requests.filter(|request| user_of(request) == user);
            if let Some(id) = theirs.next().and_then(|request| request["id"].as_str()) {
                break id.to_owned();
            }
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Err(cannot(format!("{name} does not ask to be let in")));
            }
        };
        let below = format!("/join-requests/{}", encoded(&id));
        let rest = self.account.rest().await?;
        rest.post(&path(&group, &below), json!({"accept": accept}))
            .await?;
        let is = if accept { "is let in" } else { "is not let in" };
        self.say(&format!("* {name} {is}")).await;
        Ok(())
    }

    pub(super) async fn add_members(&mut self, names: &[String]) -> Result<(), WireError> {
        let group = self.opened_group()?;
        let users = self.find_all(names).await?;
        let rest = self.account.rest().await?;
        rest.post(&path(&group, "/members"), json!({"users": users}))
            .await?;
        let are = if names.len() == 1 { "is" } else { "are" };
        let names = names.join(", ");
        self.say(&format!("* {names} {are} in the group")).await;
        Ok(())
    }

    pub(super) async fn remove_member(&mut self, name: &str) -> Result<(), WireError> {
        let (group, user) = (self.opened_group()?, self.find(name).await?);
        let rest = self.account.rest().await?;
        rest.delete(&member_path(&group, &user)).await?;
        self.say(&format!("* {name} is out of the group")).await;
        Ok(())
    }

    pub(super) async fn leave_group(&mut self) -> Result<(), WireError> {
        let group = self.opened_group()?;
        let title = self.title_of(&group);
        let rest = self.account.rest().await?;
        rest.delete(&member_path(&group, &self.me.0)).await?;
        self.close_conversation(&group);
        self.say(&format!("* you have left {title}")).await;
        Ok(())
    }

    pub(super) async fn give_role(&mut self, name: &str, role: &str) -> Result<(), WireError> {
        self.change_member(name, json!({"role": role})).await?;
        let is = match role {
            "owner" => "owns the group; you are an admin of it",
            "admin" => "is an admin",
            _ => "is a member like the others",
        };
        self.say(&format!("* {name} {is}")).await;
        Ok(())
    }

    pub(super) async fn mute_member(
        &mut self,
        name: &str,
        minutes: Option<u64>,
    ) -> Result<(), WireError> {
        let until = settings::mute_end(minutes, Timestamp::now());
        let change = json!({"muted_until": until});
        self.change_member(name, change).await?;
        let until = self.until(until);
        self.say(&format!("* {name} is muted {until}")).await;
        Ok(())
    }

    pub(super) async fn unmute_member(&mut self, name: &str) -> Result<(), WireError> {
        let change = json!({"muted_until": null});
        self.change_member(name, change).await?;
        self.say(&format!("* {name} may write again")).await;
        Ok(())
    }

    pub(super) async fn take_nickname(&mut self, nick: Option<String>) -> Result<(), WireError> {
        let me = self.me.1.clone();
        let member = self.change_member(&me, json!({"nickname": nick})).await?;
        let line = match member["nickname"].as_str() {
            Some(nick) => format!("* you are {} in this group", render::label(nick)),
            None => "* you have no other name in this group".to_owned(),
        };
        self.say(&line).await;
        Ok(())
    }

    async fn change_member(&mut self, name: &str, change: Value) -> Result<Value, WireError> {
        let (group, user) = (self.opened_group()?, self.find(name).await?);
        let rest = self.account.rest().await?;
        rest.patch(&member_path(&group, &user), change).await
    }
}

fn member_path(group: &str, user: &str) -> String {
    path(group, &format!("/members/{}", encoded(user)))
}

fn user_of(request: &Value) -> &str {
    request["user"].as_str().unwrap_or_default()
}
