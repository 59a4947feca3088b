//! What somebody does next: drawn from the seed, so that the same seed has the same people try the same things.
//! Nothing here is sent.

use serde_json::{Value, json};

use super::device::Asked;
use super::{USERS, World};

const EMOJI: [&str; 3] = ["👍", "🎉", "❤️"];
/// A mute that outlasts every test, milliseconds since 1970 UTC.
const LATER: u64 = 4_102_444_800_000;
/// Entries a group keeps when its oldest are erased while others write: more than one round adds.
const KEPT: u64 = 16;
/// Groups that stand at the same time.
const GROUPS: usize = 3;

#[derive(Debug)]
pub enum Deed {
    /// A request of the device's connection.
    Ask(Ask),
    /// A call over REST.
    Call(Call),
}

#[derive(Debug, Clone)]
pub struct Ask {
    pub op: &'static str,
    pub fields: Value,
    pub expects: Expects,
}

/// What an answer has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Expects {
    /// Done, or refused for a fair reason.
    Fair,
    /// Done: an answer was lost before.
    Done,
    /// This very answer.
    Same(Value),
    Conflict,
}

impl Ask {
    pub fn asked(&self) -> Asked {
        match self.expects {
            Expects::Fair => Asked::New,
            Expects::Done => Asked::Perhaps,
            Expects::Same(_) | Expects::Conflict => Asked::Again,
        }
    }
}

#[derive(Debug)]
pub struct Call {
    /// The user's number.
    pub by: usize,
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    Create(Value, Option<&'static str>),
    /// Name, method, path, body.
    Plain(&'static str, &'static str, String, Option<Value>),
    Send(Ask),
    Dissolve(String),
    /// Whoever waits for longest is answered.
    LetIn(String, bool),
    /// All but the newest so many of a group's entries are erased.
    Erase(usize, u64),
    /// All but the newest so many of every conversation's entries are erased.
    EraseAll(u64),
    /// The newest friend request is answered.
    Befriend(bool),
}

impl World {
    /// What a device does next.
    pub fn choose(&mut self, at: usize) -> Deed {
        let user = self.devices[at].number;
        if let Some(lost) = self.lost.iter().position(|lost| lost.0 == user) {
            return Deed::Ask(self.lost.remove(lost).1);
        }
        if self.standing().len() < 2 && self.random.one_in(3) {
            return Deed::Call(self.create(user));
        }
        match self.random.below(128) {
            0..10 => self.again(user),
            10..13 => self.altered(user),
            13..46 => Deed::Ask(self.send(at)),
            46..80 => self.change(at),
            80..100 => self.receipt_or_preference(at),
            100..104 => Deed::Call(Call {
                by: user,
                what: What::Send(self.send_to_conversation(at)),
            }),
            104..107 => self.friends(user),
            _ => self.group_deed(user),
        }
    }

    /// Something this user was answered before.
    fn again(&mut self, user: usize) -> Deed {
        let at = self.random.below(1 << 20) as usize;
        let own: Vec<_> = self.answered.iter().filter(|one| one.0 == user).collect();
        let (_, ask, answer) = own[at % own.len()];
        let ask = Ask {
            expects: Expects::Same(answer.clone()),
            ..ask.clone()
        };
        let over_rest = ask.op == "send" && ask.fields["to"]["conversation"].is_string();
        if over_rest && at.is_multiple_of(3) {
            let what = What::Send(ask);
            return Deed::Call(Call { by: user, what });
        }
        Deed::Ask(ask)
    }

    /// The same id for other words.
    fn altered(&mut self, user: usize) -> Deed {
        let Deed::Ask(mut ask) = self.again(user) else {
            return self.again(user);
        };
        ask.fields["content"]["text"] = "other words".into();
        ask.expects = Expects::Conflict;
        Deed::Ask(ask)
    }

    /// A message to a user or into a conversation.
    fn send(&mut self, at: usize) -> Ask {
        if self.random.one_in(4) {
            self.send_to_user(self.devices[at].number)
        } else {
            self.send_to_conversation(at)
        }
    }

    pub fn send_to_user(&mut self, user: usize) -> Ask {
        let other = self.other_than(user);
        let to = json!({"user": self.users[other].id});
        fair(
            "send",
            json!({"to": to, "client_id": self.client_id(), "content": self.content()}),
        )
    }

    fn send_to_conversation(&mut self, at: usize) -> Ask {
        let (id, seq) = self.place(at);
        let to = json!({"conversation": id});
        let mut fields =
            json!({"to": to, "client_id": self.client_id(), "content": self.content()});
        if self.random.one_in(4) {
            fields["reply_to"] = seq.into();
        }
        fair("send", fields)
    }

    /// What is done to a message.
    fn change(&mut self, at: usize) -> Deed {
        let (id, any) = self.place(at);
        let own = self.message(at, &id, true).unwrap_or(any);
        let any = self.message(at, &id, false).unwrap_or(any);
        let (op, more) = match self.random.below(34) {
            0..12 => (
                "edit",
                json!({"seq": own, "content": self.content(), "client_id": self.client_id()}),
            ),
            12..19 => ("recall", json!({"seq": own})),
            19..22 => ("recall", json!({"seq": any})),
            _ => {
                let emoji = *self.random.pick(&EMOJI);
                let on = !self.random.one_in(3);
                ("react", json!({"seq": any, "emoji": emoji, "on": on}))
            }
        };
        Deed::Ask(fair(op, with(json!({"conversation": id}), &more)))
    }

    fn receipt_or_preference(&mut self, at: usize) -> Deed {
        let (id, seq) = self.place(at);
        let ahead = self.random.below(3);
        let on = self.random.one_in(2);
        let (op, more) = match self.random.below(20) {
            0..2 => ("received", json!({"seq": seq})),
            2..9 => ("read", json!({"seq": seq + ahead})),
            9..11 => {
                let path = format!("/v1/conversations/{id}/read");
                let body = Some(json!({"seq": seq + ahead}));
                let what = What::Plain("read", "POST", path, body);
                let by = self.devices[at].number;
                return Deed::Call(Call { by, what });
            }
            11..14 => (
                "draft",
                json!({"text": *self.random.pick(&["", "one", "two"])}),
            ),
            14..18 => {
                let pref = *self.random.pick(&["pinned", "muted", "hidden"]);
                ("prefs", json!({pref: on}))
            }
            _ => ("typing", json!({"on": on})),
        };
        Deed::Ask(fair(op, with(json!({"conversation": id}), &more)))
    }

    fn create(&mut self, user: usize) -> Call {
        let members: Vec<&String> = (0..USERS)
            .filter(|_| !self.random.one_in(3))
            .map(|number| &self.users[number].id)
            .collect();
        let members = json!(members);
        let history = *self.random.pick(&["from_joining", "all"]);
        let join = *self
            .random
            .pick(&["invite", "approval", "approval", "open"]);
        let title = format!("group {}", self.random.below(1000));
        let body = json!({"title": title, "members": members, "join": join, "history": history});
        let stays = (!self.random.one_in(3)).then_some(history);
        let what = What::Create(body, stays);
        Call { by: user, what }
    }

    fn friends(&mut self, user: usize) -> Deed {
        let other = self.other_than(user);
        let id = &self.users[other].id;
        let what = match self.random.below(4) {
            0 | 1 => What::Plain(
                "friend request",
                "POST",
                "/v1/friend-requests".to_owned(),
                Some(json!({"user": id})),
            ),
            2 => What::Befriend(!self.random.one_in(3)),
            _ => What::Plain(
                "end of a friendship",
                "DELETE",
                format!("/v1/friends/{id}"),
                None,
            ),
        };
        Deed::Call(Call { by: user, what })
    }

    /// Nearly everything is erased, of a group or wherever it stands.
    pub fn erase(&mut self) -> Option<Call> {
        let standing = self.standing();
        if self.random.one_in(20) {
            let what = What::EraseAll(1);
            return Some(Call { by: 0, what });
        }
        if standing.is_empty() || !self.random.one_in(6) {
            return None;
        }
        let group = *self.random.pick(&standing);
        let owner = self.groups[group].roster().owner;
        let by = self.users.iter().position(|user| user.id == owner)?;
        let what = What::Erase(group, 4);
        Some(Call { by, what })
    }

    /// A change of a group, mostly by somebody who may.
    fn group_deed(&mut self, user: usize) -> Deed {
        let standing = self.standing();
        if standing.is_empty() || (standing.len() < GROUPS && self.random.one_in(8)) {
            return Deed::Call(self.create(user));
        }
        let group = *self.random.pick(&standing);
        let roster = self.groups[group].roster();
        let owner = self.users.iter().position(|user| user.id == roster.owner);
        let by = match self.random.below(3) {
            0 => user,
            _ => owner.unwrap_or(user),
        };
        let (other, accept) = (self.other_than(by), !self.random.one_in(3));
        if let Some(at) = self.waited_for.iter().position(|at| *at == group) {
            self.waited_for.remove(at);
            let what = What::LetIn(self.groups[group].id.clone(), accept);
            return Deed::Call(Call { by, what });
        }
        let what = match self.random.below(16) {
            0..11 => self.membership(group, by, other),
            _ => self.settings(group),
        };
        // Only oneself can leave or come in.
        let by = match &what {
            What::Plain("leave", ..) => other,
            What::Plain("ask to join", ..) => {
                let outside = |user: &usize| !roster.roles.contains_key(&self.users[*user].id);
                (0..USERS).find(outside).unwrap_or(other)
            }
            _ => by,
        };
        Deed::Call(Call { by, what })
    }

    fn membership(&mut self, group: usize, by: usize, other: usize) -> What {
        let id = self.groups[group].id.clone();
        let base = format!("/v1/groups/{id}");
        let member = format!("{base}/members/{}", self.users[other].id);
        match self.random.below(29) {
            0..7 => {
                let third = self.other_than(by);
                let users = json!([self.users[other].id, self.users[third].id]);
                let body = Some(json!({"users": users}));
                What::Plain("add", "POST", format!("{base}/members"), body)
            }
            7..10 => What::Plain("remove", "DELETE", member, None),
            10..12 => What::Plain("leave", "DELETE", member, None),
            12..17 => {
                let body = Some(json!({"text": "please"}));
                What::Plain("ask to join", "POST", format!("{base}/join-requests"), body)
            }
            17..24 => {
                let role = *self.random.pick(&["admin", "admin", "member", "owner"]);
                let name = if role == "owner" { "transfer" } else { "role" };
                What::Plain(name, "PATCH", member, Some(json!({"role": role})))
            }
            24 => {
                let nickname = format!("nick {}", self.random.below(9));
                let body = Some(json!({"nickname": nickname}));
                What::Plain("nickname", "PATCH", member, body)
            }
            _ => {
                let until = *self.random.pick(&[Some(LATER), None, None]);
                let body = Some(json!({"muted_until": until}));
                What::Plain("mute", "PATCH", member, body)
            }
        }
    }

    fn settings(&mut self, group: usize) -> What {
        let id = self.groups[group].id.clone();
        let patch = |name, body| What::Plain(name, "PATCH", format!("/v1/groups/{id}"), Some(body));
        match self.random.below(20) {
            0..4 => {
                let title = format!("title {}", self.random.below(1000));
                patch("title", json!({"title": title}))
            }
            4..7 => {
                let join = *self.random.pick(&["invite", "approval", "open"]);
                patch("join", json!({"join": join}))
            }
            7..9 => {
                let until = *self.random.pick(&[Some(LATER), None, None]);
                patch("mute all", json!({"muted_until": until}))
            }
            12..15 if self.groups[group].history.is_none() => {
                let history = *self.random.pick(&["from_joining", "all"]);
                patch("history", json!({"history": history}))
            }
            9..12 => What::Dissolve(id),
            _ => What::Erase(group, KEPT),
        }
    }

    /// A conversation and a seq in it, as far as a device knows; mostly one of a group, mostly near the head.
    fn place(&mut self, at: usize) -> (String, u64) {
        let (user, kind) = (self.devices[at].number, self.random.below(20));
        let (which, back) = (self.random.below(1 << 20), self.random.below(1 << 20));
        let standing = self.standing();
        let is_known = |group: &usize| {
            let id = &self.groups[*group].id;
            self.devices[at].known.contains_key(id)
        };
        let pool: Vec<&String> = match kind {
            0 if !self.groups.is_empty() => self.groups.iter().map(|group| &group.id).collect(),
            1 if !standing.is_empty() => standing.iter().map(|at| &self.groups[*at].id).collect(),
            2..14 if standing.iter().any(is_known) => {
                let known = standing.iter().filter(|at| is_known(at));
                known.map(|at| &self.groups[*at].id).collect()
            }
            _ => {
                let own = |pair: &(usize, usize)| pair.0 == user || pair.1 == user;
                let own = self.directs.iter().filter(|(pair, _)| own(pair));
                own.map(|(_, id)| id).collect()
            }
        };
        let id = pool[which as usize % pool.len()].clone();
        let known = self.devices[at].known.get(&id);
        let head = known.map_or(5, |known| known.head()).max(1);
        let far = if which.is_multiple_of(3) {
            head
        } else {
            head.min(6)
        };
        (id, head - back % far)
    }

    /// Mostly a message, perhaps of one's own, if there is one.
    fn message(&mut self, at: usize, id: &str, own: bool) -> Option<u64> {
        let which = self.random.below(1 << 20) as usize;
        let device = &self.devices[at];
        let entries = &device.known.get(id)?.entries;
        let found = entries.iter().filter(|(_, entry)| {
            entry["kind"] == "message" && (!own || entry["from"] == device.user.as_str())
        });
        let found: Vec<u64> = found.map(|(seq, _)| *seq).collect();
        let newest = found.len().min(8);
        (newest > 0 && !which.is_multiple_of(6)).then(|| found[found.len() - 1 - which % newest])
    }

    /// Groups that were not dissolved.
    fn standing(&self) -> Vec<usize> {
        let standing = |at: &usize| !self.dissolved.contains(&self.groups[*at].id);
        (0..self.groups.len()).filter(standing).collect()
    }

    fn other_than(&mut self, user: usize) -> usize {
        (user + 1 + self.random.below(USERS as u64 - 1) as usize) % USERS
    }

    fn client_id(&mut self) -> String {
        self.count += 1;
        format!("c{}", self.count)
    }

    fn content(&mut self) -> Value {
        let words = format!("words {}", self.random.below(1000));
        let mut content = json!({"type": "text", "text": words});
        if self.random.one_in(3) {
            let whom = &self.users[self.random.below(USERS as u64) as usize].id;
            content["mentions"] = match self.random.below(3) {
                0 => json!(["all"]),
                1 => json!([whom, "all"]),
                _ => json!([whom]),
            };
        }
        content
    }
}

pub fn fair(op: &'static str, fields: Value) -> Ask {
    let expects = Expects::Fair;
    Ask {
        op,
        fields,
        expects,
    }
}

fn with(mut fields: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().expect("fields") {
        fields[name] = value.clone();
    }
    fields
}
