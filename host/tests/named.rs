//! A test for each thing of the protocol, named after it: routes (`get_v1_me`), operations (`op_send`), errors
//! (`error_too_late`). Each asks as any client would; the rest of the tests go deeper.

mod admin;
mod bans;
mod complete;
mod conversations;
mod errors;
mod export;
mod friends;
mod groups;
mod handovers;
mod me;
mod media;
mod operations;
mod plugins;
mod replay;
mod rollout;
mod seams;
mod users;

use serde_json::{Value, json};

use crate::support::{TestServer, TestSocket, TestUser};

/// A server with three users who know nothing of each other.
pub struct World {
    pub server: TestServer,
    pub ann: TestUser,
    pub bob: TestUser,
    pub cat: TestUser,
}

impl World {
    /// Without plugins.
    pub async fn bare() -> Self {
        Self::on(TestServer::bare().await).await
    }

    pub async fn with_plugins() -> Self {
        Self::on(TestServer::with_plugins().await).await
    }

    pub async fn on(server: TestServer) -> Self {
        let ann = server.user("ann").await;
        let bob = server.user("bob").await;
        let cat = server.user("cat").await;
        Self {
            server,
            ann,
            bob,
            cat,
        }
    }

    /// A user's request; the body when it is answered with `status`.
    pub async fn ok(
        &self,
        status: u16,
        who: &TestUser,
        route: &str,
        body: impl Into<Option<Value>>,
    ) -> Value {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        let answered = self
            .server
            .call(method, path, Some(&who.token), body.into());
        let (got, answer) = answered.await;
        assert_eq!(got, status, "{route}: {answer}");
        answer
    }

    /// A user's request that is refused with a code, and with the status that goes with it.
    pub async fn no(
        &self,
        code: &str,
        who: &TestUser,
        route: &str,
        body: impl Into<Option<Value>>,
    ) -> Value {
        let known = kith::refusal::Code::ALL.iter();
        let status = known.clone().find(|known| known.as_str() == code);
        let status = status.expect("a code of the protocol").status();
        let refusal = self.ok(status, who, route, body).await;
        assert_eq!(refusal["code"], code, "{route}: {refusal}");
        refusal
    }

    /// Nobody gets an answer without a token, or with one that is none.
    pub async fn asks_for_a_token(&self, route: &str) {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        for token in [None, Some("none"), Some(crate::support::BOOTSTRAP)] {
            let (status, refusal) = self.server.call(method, path, token, None).await;
            let refused = (status, refusal["code"].as_str());
            assert_eq!(refused, (401, Some("unauthenticated")), "{route}");
        }
    }

    /// An administrator's request; the body when it is answered with `status`. Nobody else is answered.
    pub async fn admin(&self, status: u16, route: &str, body: impl Into<Option<Value>>) -> Value {
        let (method, path) = route.split_once(' ').expect("a method and a path");
        for token in ["none", &self.ann.token] {
            let method: reqwest::Method = method.parse().expect("a method");
            let request = self
                .server
                .http
                .request(method, self.server.admin_url(path));
            let answer = request.bearer_auth(token).send().await.expect("an answer");
            assert_eq!(answer.status(), 401, "{route}");
        }
        let (got, answer) = self.server.admin(method, path, body.into()).await;
        assert_eq!(got, status, "{route}: {answer}");
        answer
    }

    /// The words that the filter masks, rejects and holds, one of each.
    pub async fn words(&self) {
        let words = json!({"words": [
            {"word": "badger", "level": "mask"},
            {"word": "spam", "level": "reject"},
            {"word": "maybe", "level": "hold"},
        ]});
        self.admin(200, "POST /words", words).await;
    }

    /// Ann and Bob, with one message of Ann's.
    pub async fn direct(&self) -> String {
        let mut socket = self.server.session(&self.ann).await;
        let ack = socket.send_text(&self.bob.id, "first", "hello").await;
        text(&ack["ok"]["conversation"])
    }

    /// Ann's group, with Bob.
    pub async fn group(&self) -> String {
        self.group_with(json!({})).await
    }

    pub async fn group_with(&self, settings: Value) -> String {
        let mut body = settings;
        body["title"] = "us".into();
        body["members"] = json!([self.bob.id]);
        text(&self.ok(201, &self.ann, "POST /v1/groups", body).await["id"])
    }

    pub async fn session(&self, who: &TestUser) -> TestSocket {
        self.server.session(who).await
    }
}

/// A member of an object, as text.
pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A text message's content.
pub fn said(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

/// The ok of a reply.
pub fn ok(reply: &Value) -> &Value {
    assert!(reply["ok"].is_object(), "{reply}");
    &reply["ok"]
}

/// The code of a reply's error.
pub fn code(reply: &Value) -> &str {
    reply["err"]["code"].as_str().unwrap_or("no error")
}
