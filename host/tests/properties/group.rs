//! What the whole log of a group says of it: who is in it, in which role, under which title.
//! The log is read by the administrator, who sees all of it; members are held to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::device::Device;
use super::fresh::Log;
use crate::support::TestServer;

/// A group and every entry there was.
#[derive(Debug)]
pub struct Group {
    pub id: String,
    title: String,
    /// What new members see of the past; `None` when that changes.
    pub history: Option<&'static str>,
    entries: Vec<Value>,
    /// Its oldest entries may be gone.
    pub erased: bool,
}

/// What a log's `system` entries come to.
#[derive(Debug, Default)]
pub struct Roster {
    pub title: String,
    pub owner: String,
    /// The present members' roles.
    pub roles: BTreeMap<String, String>,
    /// Where each joined last; who ever was a member is here.
    joined: BTreeMap<String, u64>,
    pub is_dissolved: bool,
}

impl Group {
    pub fn new(id: String, title: &str, history: Option<&'static str>) -> Self {
        Self {
            id,
            title: title.to_owned(),
            history,
            entries: Vec::new(),
            erased: false,
        }
    }

    /// Reads what is new.
    pub async fn follow(&mut self, server: &TestServer) {
        loop {
            let seq = self.entries.len() + 1;
            let path = format!("/conversations/{}/entries/{seq}", self.id);
            let (status, answer) = server.admin("GET", &path, None).await;
            if status == 404 {
                return;
            }
            assert_eq!(status, 200, "{answer}");
            assert_eq!(answer["entry"]["seq"], seq);
            self.entries.push(answer["entry"].clone());
        }
    }

    pub fn roster(&self) -> Roster {
        let mut roster = Roster {
            title: self.title.clone(),
            ..Roster::default()
        };
        let system = self
            .entries
            .iter()
            .filter(|entry| entry["kind"] == "system");
        for entry in system {
            roster.hear(entry);
        }
        roster
    }

    /// The group as each user finds it; `devices` has one of each.
    pub async fn check(&self, server: &TestServer, devices: &mut [&mut Device]) {
        let roster = self.roster();
        let mut present = Vec::new();
        for (at, device) in devices.iter().enumerate() {
            if roster.is_dissolved || !roster.roles.contains_key(&device.user) {
                self.is_closed_to(server, device, &roster).await;
            } else {
                let log = Log::read(server, &device.token, &self.id).await;
                let log = log.unwrap_or_else(|answer| panic!("{}: {answer}", self.id));
                self.is_seen_by(&device.user, &log, &roster);
                self.is_shown_to(server, device, &roster).await;
                present.push((at, log));
            }
        }
        for (at, log) in &present {
            for seq in [
                log.floor,
                u64::midpoint(log.floor, self.head()),
                self.head(),
            ] {
                self.is_read_by(devices, *at, &present, seq).await;
            }
        }
    }

    fn head(&self) -> u64 {
        self.entries.len() as u64
    }

    async fn is_closed_to(&self, server: &TestServer, device: &Device, roster: &Roster) {
        let status = match roster.joined.contains_key(&device.user) {
            true => json!({"status": 403, "code": "not_member"}),
            false => json!({"status": 404, "code": "not_found"}),
        };
        let read = Log::read(server, &device.token, &self.id).await;
        assert_eq!(read.err(), Some(status), "{} to {}", self.id, device.user);
    }

    /// The whole from where the group's setting says, and nothing before.
    fn is_seen_by(&self, user: &str, log: &Log, roster: &Roster) {
        let joined = roster.joined[user];
        match self.history {
            Some("all") if !self.erased => assert_eq!(log.floor, 1),
            Some("from_joining") => {
                assert!(log.floor <= joined || self.erased);
                // Who came with the same change came at once.
                let mut before = self.entries.iter().take(joined as usize);
                let early = before.find(|entry| {
                    entry["seq"].as_u64() >= Some(log.floor) && entry["code"] != "member_joined"
                });
                assert_eq!(early, None, "{user} joined at {joined}");
            }
            _ => assert!(log.floor <= joined || self.erased),
        }
        for (entry, seen) in self.entries[log.floor as usize - 1..]
            .iter()
            .zip(&log.entries)
        {
            for field in ["seq", "id", "at", "from", "kind", "code", "args", "target"] {
                assert_eq!(entry[field], seen[field], "{field} to {user}");
            }
        }
        assert_eq!(log.floor - 1 + log.entries.len() as u64, self.head());
    }

    async fn is_shown_to(&self, server: &TestServer, device: &Device, roster: &Roster) {
        let get = |below: &str| {
            let path = format!("/v1/groups/{}{below}", self.id);
            let token = device.token.clone();
            async move { server.call("GET", &path, Some(&token), None).await.1 }
        };
        let shown = get("").await;
        assert_eq!(shown["members"], roster.roles.len(), "{shown}");
        assert_eq!(shown["owner"], roster.owner, "{shown}");
        assert_eq!(shown["title"], roster.title, "{shown}");
        let listed = get("/members").await;
        let listed = listed["members"].as_array().expect("members");
        let roles = listed.iter().map(|member| {
            let text = |field: &str| member[field].as_str().expect("a text").to_owned();
            (text("user"), text("role"))
        });
        assert_eq!(roles.collect::<BTreeMap<_, _>>(), roster.roles);
        let owners = roster.roles.values().filter(|role| *role == "owner");
        assert_eq!(owners.count(), 1, "{roster:?}");
        let known = &device.known[&self.id];
        let role = known.state.get("role");
        assert_eq!(role, Some(&json!(roster.roles[&device.user])));
        let read = known.now("received").min(known.now("read"));
        let joined = roster.joined[&device.user];
        assert!(read >= joined, "{} begins at {joined}: {read}", device.user);
    }

    /// How far everybody is with an entry, counted from what everybody knows of oneself.
    async fn is_read_by(
        &self,
        devices: &mut [&mut Device],
        at: usize,
        present: &[(usize, Log)],
        seq: u64,
    ) {
        let fields = json!({"conversation": self.id, "seq": seq});
        let answer = devices[at].ask("readers", fields).await;
        let sender = &self.entries[seq as usize - 1]["from"];
        let (mut received, mut read) = (0, BTreeSet::new());
        for (at, _) in present.iter().filter(|(_, log)| log.floor <= seq) {
            let (user, known) = (&devices[*at].user, &devices[*at].known[&self.id]);
            let is_sender = sender == user.as_str();
            received += usize::from(is_sender || known.now("received") >= seq);
            if is_sender || known.now("read") >= seq {
                read.insert(user.as_str());
            }
        }
        let users = answer["users"].as_array().expect("users").iter();
        let users: BTreeSet<&str> = users.filter_map(Value::as_str).collect();
        let what = format!("entry {seq} of {}: {answer}", self.id);
        assert_eq!(
            (&answer["received"], &answer["read"]),
            (&json!(received), &json!(read.len())),
            "{what}"
        );
        assert_eq!(users, read, "{what}");
    }
}

impl Roster {
    fn hear(&mut self, entry: &Value) {
        let args = &entry["args"];
        let user = args["user"].as_str().unwrap_or_default().to_owned();
        match entry["code"].as_str().expect("a code") {
            "member_joined" => {
                let seq = entry["seq"].as_u64().expect("a seq");
                let mut role = "member";
                if seq == 1 {
                    self.owner.clone_from(&user);
                    role = "owner";
                }
                let before = self.roles.insert(user.clone(), role.to_owned());
                assert_eq!(before, None, "joins twice: {entry}");
                self.joined.insert(user, seq);
            }
            "member_left" => {
                assert_ne!(user, self.owner, "a group without an owner: {entry}");
                assert!(self.roles.remove(&user).is_some(), "not here: {entry}");
            }
            "role_changed" => {
                let role = args["role"].as_str().expect("a role").to_owned();
                let before = self.roles.insert(user.clone(), role.clone());
                assert!(before.is_some_and(|before| before != role), "{entry}");
                if role == "owner" {
                    self.owner = user;
                }
            }
            "title_changed" => self.title = args["title"].as_str().expect("a title").to_owned(),
            "group_changed" => {}
            "dissolved" => self.is_dissolved = true,
            other => panic!("a group's log says {other}"),
        }
        assert!(
            !self.is_dissolved || entry["code"] == "dissolved",
            "goes on: {entry}"
        );
    }
}
