//! Calls over REST while requests of the devices are on their way, several at once.
//! What an answer must be is for the caller to see.

use kith::journey::retention::Retention;
use serde_json::{Value, json};

use super::deeds::{Ask, Call, Expects, What};
use super::group::Group;
use super::{DEVICES, World};

/// The status and the body.
type Answer = (u16, Value);

impl World {
    /// Makes calls at the same time and takes in what came of them.
    pub async fn call_all(&mut self, calls: Vec<Call>) {
        let answers = futures_util::future::join_all(calls.iter().map(|call| self.call(call)));
        let answers = answers.await;
        for (call, (status, body)) in calls.into_iter().zip(answers) {
            println!("{call:?}: {status} {body}");
            self.called(call, status, body);
        }
    }

    fn called(&mut self, call: Call, status: u16, body: Value) {
        let done = status < 300;
        match call.what {
            What::Send(ask) => {
                let reply = match done {
                    true => json!({"ok": body}),
                    false => json!({"err": body}),
                };
                let again = matches!(ask.expects, Expects::Same(_));
                assert!(!done || (status == 200) == again, "{ask:?}: {status}");
                self.settle(call.by, ask, &reply);
            }
            _ if !done => self.is_fair(&format!("{call:?}"), &body),
            What::Create(asked, history) => {
                let id = body["id"].as_str().expect("an id").to_owned();
                let title = asked["title"].as_str().expect("a title");
                self.groups.push(Group::new(id, title, history));
                self.count("create");
            }
            What::Dissolve(id) => {
                self.dissolved.insert(id);
                self.count("dissolve");
            }
            What::Plain(name, _, path, _) => {
                if body["state"] == "waiting" {
                    let asked = |group: &Group| path.contains(&group.id);
                    self.waited_for.extend(self.groups.iter().position(asked));
                }
                self.count(name);
            }
            What::LetIn(..) => self.count("let in"),
            What::Befriend(_) => self.count("befriend"),
            What::Erase(group, _) => {
                self.groups[group].erased = true;
                if body != 0 {
                    self.count("erase");
                }
            }
            What::EraseAll(_) => {
                self.groups.iter_mut().for_each(|group| group.erased = true);
                if body != 0 {
                    self.count("erase all");
                }
            }
        }
    }

    /// Erases what is too much by the groups' own settings, and by a deployment's that keeps so many entries.
    async fn retain(&self, count: u64) -> u64 {
        let deployment = Retention { days: 0, count };
        let erased = self.server.app().journey.retain(deployment).await;
        erased.expect("what is too much is erased")
    }

    async fn call(&self, call: &Call) -> Answer {
        let ask = move |method: &'static str, path: String, body| async move {
            let token = Some(&*self.devices[call.by * DEVICES.len()].token);
            self.server.call(method, &path, token, body).await
        };
        match &call.what {
            What::Create(body, _) => ask("POST", "/v1/groups".to_owned(), Some(body.clone())).await,
            What::Plain(_, method, path, body) => ask(method, path.clone(), body.clone()).await,
            What::Send(Ask { fields, .. }) => {
                let id = fields["to"]["conversation"].as_str().expect("an id");
                let path = format!("/v1/conversations/{id}/entries");
                ask("POST", path, Some(fields.clone())).await
            }
            What::Dissolve(id) => ask("DELETE", format!("/v1/groups/{id}"), None).await,
            What::LetIn(id, accept) => {
                let path = format!("/v1/groups/{id}/join-requests");
                let (status, list) = ask("GET", path.clone(), None).await;
                match list["join_requests"][0]["id"].as_str() {
                    Some(first) => {
                        let body = Some(json!({"accept": accept}));
                        ask("POST", format!("{path}/{first}"), body).await
                    }
                    None if status == 200 => nobody(),
                    None => (status, list),
                }
            }
            What::Befriend(accept) => {
                let path = "/v1/friend-requests".to_owned();
                let (_, list) = ask("GET", path.clone(), None).await;
                let list = list["friend_requests"].as_array().expect("a list");
                let received = list.iter().find(|one| one["direction"] == "received");
                match received.and_then(|one| one["id"].as_str()) {
                    Some(first) => {
                        let body = Some(json!({"accept": accept}));
                        ask("POST", format!("{path}/{first}"), body).await
                    }
                    None => nobody(),
                }
            }
            What::Erase(group, kept) => {
                let path = format!("/v1/groups/{}", self.groups[*group].id);
                let keep = json!({"retention": {"count": kept}});
                let (status, refused) = ask("PATCH", path.clone(), Some(keep)).await;
                if status != 200 {
                    return (status, refused);
                }
                let erased = self.retain(0).await;
                // Whoever set it may have lost its role in between: then it stays.
                ask("PATCH", path, Some(json!({"retention": null}))).await;
                (200, json!(erased))
            }
            What::EraseAll(kept) => (200, json!(self.retain(*kept).await)),
        }
    }
}

fn nobody() -> Answer {
    let nobody = json!({"code": "not_found", "message": "nobody waits"});
    (404, nobody)
}
