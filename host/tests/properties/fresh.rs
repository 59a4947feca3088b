//! What a device that knew nothing reads, against what one that listened has put together.
//! Counts are made anew from the entries, one by one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::device::Device;
use super::known::{Known, RECEIPTS, SET};
use crate::support::TestServer;

/// Everything of one user, read anew.
pub struct Fresh {
    list: Vec<Value>,
    pub logs: BTreeMap<String, Log>,
}

/// One conversation as its member reads it.
#[derive(Debug)]
pub struct Log {
    pub entries: Vec<Value>,
    pub floor: u64,
    head: u64,
}

impl Fresh {
    /// Reads the list, and the conversations of the list and those a device knows.
    pub async fn read(server: &TestServer, device: &Device) -> Self {
        let path = "/v1/conversations";
        let list = pages(server, device, path, "conversations").await;
        let mut ids: BTreeSet<String> = device.known.keys().cloned().collect();
        ids.extend(list.iter().map(|item| text(&item["id"])));
        let mut logs = BTreeMap::new();
        for id in ids {
            let log = Log::read(server, &device.token, &id).await;
            let log = log.unwrap_or_else(|answer| {
                panic!("{id} is no conversation of {}: {answer}", device.user)
            });
            logs.insert(id, log);
        }
        Self { list, logs }
    }

    /// Fails on the first thing that differs from what a device knows.
    pub fn compare(&self, device: &Device) {
        let order = self
            .list
            .iter()
            .map(|item| (item["pinned"] == true, item["updated_at"].as_u64()));
        let order: Vec<_> = order.collect();
        assert!(
            order.is_sorted_by(|one, next| one >= next),
            "the list's order: {order:?}"
        );
        for (id, log) in &self.logs {
            let known = device.known.get(id);
            let known = known.unwrap_or_else(|| panic!("{} never heard of {id}", device.user));
            let views = known.views(log.floor);
            for entry in &log.entries {
                let seq = entry["seq"].as_u64().expect("a seq");
                let at = format!("entry {seq} of {id} at {}", device.user);
                assert_eq!(views.get(&seq), Some(entry), "{at}");
            }
            assert_eq!(views.len(), log.entries.len(), "{id} at {}", device.user);
            assert!(known.floor <= log.floor, "a floor goes back");
            match self.list.iter().find(|item| item["id"] == id.as_str()) {
                Some(summary) => compare_summary(device, known, &views, log, summary),
                None => assert_eq!(
                    known.state.get("hidden"),
                    Some(&json!(true)),
                    "{id} is not listed for {}",
                    device.user
                ),
            }
        }
        for id in device.known.keys() {
            assert!(self.logs.contains_key(id), "{id} is gone");
        }
    }
}

impl Log {
    /// `Err` is what was answered instead.
    pub async fn read(server: &TestServer, token: &str, id: &str) -> Result<Self, Value> {
        let mut log = Self {
            entries: Vec::new(),
            floor: 1,
            head: 0,
        };
        let mut after = 0;
        loop {
            let path = format!("/v1/conversations/{id}/entries?after={after}&limit=100");
            let (status, page) = server.call("GET", &path, Some(token), None).await;
            if status != 200 {
                return Err(json!({"status": status, "code": page["code"]}));
            }
            log.floor = page["floor"].as_u64().expect("a floor");
            log.head = page["head"].as_u64().expect("a head");
            log.entries
                .extend(page["entries"].as_array().expect("entries").iter().cloned());
            let last = log.entries.last().and_then(|entry| entry["seq"].as_u64());
            if last.is_none_or(|last| last == log.head) {
                break;
            }
            after = last.expect("a last");
        }
        let seqs = log.entries.iter().map(|entry| entry["seq"].as_u64());
        assert!(
            seqs.eq((log.floor..=log.head).map(Some)),
            "{id} is not dense from {} to {}",
            log.floor,
            log.head
        );
        Ok(log)
    }
}

/// All of a list.
async fn pages(server: &TestServer, device: &Device, path: &str, noun: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{path}?limit=3{cursor}");
        let (status, page) = server.call("GET", &path, Some(&device.token), None).await;
        assert_eq!(status, 200, "{path}: {page}");
        all.extend(page[noun].as_array().expect("a list").iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn compare_summary(
    device: &Device,
    known: &Known,
    views: &BTreeMap<u64, Value>,
    log: &Log,
    summary: &Value,
) {
    let at = format!("at {}: {summary}", device.user);
    let read = summary["read"].as_u64().expect("read");
    let unread: Vec<&Value> = Known::unread_in(views, &device.user, (read, log.head)).collect();
    let mentions = |entry: &&&Value| {
        let mentioned = entry["content"]["mentions"].as_array();
        mentioned
            .is_some_and(|all| all.contains(&json!("all")) || all.contains(&json!(device.user)))
    };
    assert_eq!(summary["unread"], unread.len(), "unread {at}");
    let mentions = unread.iter().filter(mentions).count();
    assert_eq!(summary["mentions"], mentions, "mentions {at}");
    let last = views
        .values()
        .rev()
        .find(|entry| entry["kind"] == "message");
    assert_eq!(Some(&summary["last"]), last.or(Some(&Value::Null)), "{at}");
    if let Some(last) = last {
        assert_eq!(summary["updated_at"], last["at"], "updated_at {at}");
    }
    assert_eq!(summary["head"], log.head, "head {at}");
    assert_eq!(known.head(), log.head, "head {at}");
    for field in RECEIPTS {
        let of_peer = field.starts_with("peer");
        if of_peer && summary["kind"] != "direct" {
            assert!(summary[field].is_null(), "{field} {at}");
        } else {
            assert_eq!(summary[field], known.now(field), "{field} {at}");
        }
    }
    for field in SET {
        // Who opened a direct conversation, and whose own log begins, was given no summary.
        let unless_told = match field {
            "pinned" | "muted" | "hidden" => json!(false),
            "draft" => Value::Null,
            _ => summary[field].clone(),
        };
        let told = known.state.get(field).unwrap_or(&unless_told);
        assert_eq!(summary[field], *told, "{field} {at}");
    }
    if let Some(told) = known.told.last() {
        let same = |field: &str| told[field] == summary[field];
        if same("head") && same("read") {
            for field in ["unread", "mentions", "last", "updated_at"] {
                assert_eq!(told[field], summary[field], "{field} differs {at}");
            }
        }
    }
    if summary["kind"] == "group" {
        assert!(known.state.contains_key("role"), "no summary was told {at}");
    }
}

/// What summaries told on the way, against the entries that are all known now.
pub fn recount(device: &mut Device, id: &str, log: &Log) {
    let user = device.user.clone();
    let known = device.known.get_mut(id).expect("known");
    for told in &known.told {
        let now = |field: &str| told[field].as_u64().expect("a seq");
        if now("read") + 1 >= log.floor {
            let span = (now("read"), now("head"));
            let unread = Known::unread_in(&known.entries, &user, span).count();
            assert_eq!(told["unread"], unread, "{told} to {user}");
        }
    }
    let newest = known.told.pop();
    known.told = newest.into_iter().collect();
}

fn text(id: &Value) -> String {
    id.as_str().expect("an id").to_owned()
}
