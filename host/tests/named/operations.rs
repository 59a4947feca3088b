//! The operations, each by its name: what it does, and that whoever has no business there finds nothing.
//! No routes.

use serde_json::{Value, json};

use super::{World, code, ok, said, text};
use crate::support::{Ended, TestSocket};

/// Ann and Bob in a conversation with one message of Ann's, and Cat outside.
struct Scene {
    world: World,
    ann: TestSocket,
    bob: TestSocket,
    cat: TestSocket,
    conversation: String,
}

impl Scene {
    async fn new() -> Self {
        let world = World::bare().await;
        let conversation = world.direct().await;
        Self {
            ann: world.session(&world.ann).await,
            bob: world.session(&world.bob).await,
            cat: world.session(&world.cat).await,
            world,
            conversation,
        }
    }

    /// Fields with the place of the first message.
    fn at_first(&self, more: Value) -> Value {
        let mut fields = json!({"conversation": self.conversation, "seq": 1});
        let more = more.as_object().expect("fields").clone();
        fields.as_object_mut().expect("fields").extend(more);
        fields
    }

    /// A stranger finds nothing, and a request without its fields is told so.
    async fn guards(&mut self, op: &str, fields: &Value) {
        let stranger = self.cat.request(op, fields.clone()).await;
        assert_eq!(code(&stranger), "not_found", "{op}");
        let empty = self.ann.request(op, json!({})).await;
        assert_eq!(code(&empty), "bad_request", "{op}");
    }

    async fn summary(&mut self) -> Value {
        let list = self.bob.request("conversations", json!({})).await;
        ok(&list)["conversations"][0].clone()
    }
}

#[tokio::test]
async fn op_hello() {
    let mut scene = Scene::new().await;
    let again = json!({"token": scene.world.ann.token, "device": {"id": "phone", "kind": "web"}});
    assert_eq!(
        code(&scene.ann.request("hello", again).await),
        "bad_request"
    );
    let mut stranger = scene.world.server.connect(None).await;
    let refused = stranger.hello("none", "phone").await;
    assert_eq!(code(&refused), "unauthenticated");
    let end = stranger.end().await;
    assert_eq!(end, (Some("unauthenticated".into()), Ended::Closed(4401)));
}

#[tokio::test]
async fn op_send() {
    let mut scene = Scene::new().await;
    let to = json!({"conversation": scene.conversation});
    let fields = json!({"to": to, "client_id": "2", "content": said("yes"), "reply_to": 1});
    let ack = scene.bob.request("send", fields.clone()).await;
    assert_eq!(
        (&ok(&ack)["seq"], &ack["ok"]["state"]),
        (&json!(2), &json!("committed"))
    );
    let told = scene.ann.event("entry").await;
    assert_eq!(told["entry"]["content"], said("yes"));
    scene.guards("send", &fields).await;
}

#[tokio::test]
async fn op_received() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({}));
    ok(&scene.bob.request("received", fields.clone()).await);
    let told = scene.ann.event("receipt").await;
    assert_eq!((&told["received"], &told["read"]), (&json!(1), &json!(0)));
    scene.guards("received", &fields).await;
}

#[tokio::test]
async fn op_read() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({}));
    ok(&scene.bob.request("read", fields.clone()).await);
    let told = scene.ann.event("receipt").await;
    assert_eq!((&told["received"], &told["read"]), (&json!(1), &json!(1)));
    assert_eq!(scene.summary().await["unread"], 0);
    scene.guards("read", &fields).await;
}

#[tokio::test]
async fn op_recall() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({}));
    assert_eq!(
        code(&scene.bob.request("recall", fields.clone()).await),
        "forbidden"
    );
    let first = scene.ann.request("recall", fields.clone()).await;
    assert_eq!(ok(&first)["seq"], 2);
    let again = scene.ann.request("recall", fields.clone()).await;
    assert_eq!(again["ok"], first["ok"]);
    let told = scene.bob.event("entry").await["entry"].clone();
    assert_eq!(
        (&told["kind"], &told["target"]),
        (&json!("recall"), &json!(1))
    );
    scene.guards("recall", &fields).await;
}

#[tokio::test]
async fn op_edit() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({"content": said("good day")}));
    assert_eq!(
        code(&scene.bob.request("edit", fields.clone()).await),
        "forbidden"
    );
    assert_eq!(
        ok(&scene.ann.request("edit", fields.clone()).await)["seq"],
        2
    );
    assert_eq!(scene.summary().await["last"]["content"], said("good day"));
    scene.guards("edit", &fields).await;
}

#[tokio::test]
async fn op_react() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({"emoji": "👍", "on": true}));
    assert_eq!(
        ok(&scene.bob.request("react", fields.clone()).await)["seq"],
        2
    );
    let told = scene.ann.event("entry").await["entry"].clone();
    assert_eq!(
        (&told["kind"], &told["emoji"]),
        (&json!("react"), &json!("👍"))
    );
    let words = scene.at_first(json!({"emoji": "no emoji", "on": true}));
    assert_eq!(
        code(&scene.bob.request("react", words).await),
        "bad_request"
    );
    scene.guards("react", &fields).await;
}

#[tokio::test]
async fn op_typing() {
    let mut scene = Scene::new().await;
    let fields = json!({"conversation": scene.conversation, "on": true});
    ok(&scene.ann.request("typing", fields.clone()).await);
    let told = scene.bob.event("typing").await;
    assert_eq!(
        (&told["user"], &told["on"]),
        (&json!(scene.world.ann.id), &json!(true))
    );
    scene.guards("typing", &fields).await;
}

#[tokio::test]
async fn op_history() {
    let mut scene = Scene::new().await;
    let fields = json!({"conversation": scene.conversation, "limit": 1});
    let page = scene.bob.request("history", fields.clone()).await;
    assert_eq!(ok(&page)["entries"][0]["content"], said("hello"));
    assert_eq!(
        (&page["ok"]["head"], &page["ok"]["floor"]),
        (&json!(1), &json!(1))
    );
    scene.guards("history", &fields).await;
}

#[tokio::test]
async fn op_conversations() {
    let mut scene = Scene::new().await;
    let id = scene.summary().await["id"].clone();
    assert_eq!(id, scene.conversation.as_str());
    let none = scene.cat.request("conversations", json!({})).await;
    assert_eq!(ok(&none)["conversations"], json!([]));
    let wrong = scene
        .cat
        .request("conversations", json!({"limit": 0}))
        .await;
    assert_eq!(code(&wrong), "bad_request");
}

#[tokio::test]
async fn op_sync() {
    let mut scene = Scene::new().await;
    let mut device = scene.world.server.connect(None).await;
    let hello = device.hello(&scene.world.bob.token, "phone").await;
    let since = hello["ok"]["since"].clone();
    let read = scene.at_first(json!({}));
    ok(&device.request("read", read).await);
    let changes = device.request("sync", json!({"since": since})).await;
    assert_eq!(
        ok(&changes)["changed"][0]["id"],
        scene.conversation.as_str()
    );
    let others = scene.cat.request("sync", json!({"since": since})).await;
    assert_eq!(ok(&others)["changed"], json!([]));
    let unusable = scene.cat.request("sync", json!({"since": "none"})).await;
    assert_eq!(ok(&unusable)["reset"], true);
    let missing = scene.cat.request("sync", json!({})).await;
    assert_eq!(code(&missing), "bad_request");
}

#[tokio::test]
async fn op_prefs() {
    let mut scene = Scene::new().await;
    let fields = json!({"conversation": scene.conversation, "pinned": true});
    let summary = scene.bob.request("prefs", fields.clone()).await;
    assert_eq!(ok(&summary)["pinned"], true);
    scene.guards("prefs", &fields).await;
}

#[tokio::test]
async fn op_readers() {
    let mut scene = Scene::new().await;
    let fields = scene.at_first(json!({}));
    ok(&scene.bob.request("read", fields.clone()).await);
    let readers = scene.ann.request("readers", fields.clone()).await;
    assert_eq!(
        (&ok(&readers)["received"], &readers["ok"]["read"]),
        (&json!(2), &json!(2))
    );
    scene.guards("readers", &fields).await;
}

#[tokio::test]
async fn op_draft() {
    let mut scene = Scene::new().await;
    let fields = json!({"conversation": scene.conversation, "text": "I was about"});
    ok(&scene.bob.request("draft", fields.clone()).await);
    assert_eq!(scene.summary().await["draft"], "I was about");
    scene.guards("draft", &fields).await;
}

#[tokio::test]
async fn op_presence() {
    let mut scene = Scene::new().await;
    let (ann, users) = (&scene.world.ann.id, |id: &str| json!({"users": [id]}));
    let here = scene.bob.request("presence", users(ann)).await;
    assert_eq!(ok(&here)["users"][ann]["online"], true);
    let block = format!("PUT /v1/blocks/{}", scene.world.cat.id);
    scene.world.ok(204, &scene.world.ann, &block, None).await;
    let hidden = scene.cat.request("presence", users(ann)).await;
    assert_eq!(ok(&hidden)["users"][ann]["online"], false);
    let missing = scene.cat.request("presence", json!({})).await;
    assert_eq!(code(&missing), "bad_request");
}

#[tokio::test]
async fn op_ping() {
    let mut scene = Scene::new().await;
    assert!(ok(&scene.ann.request("ping", json!({})).await)["now"].is_u64());
    let mut stranger = scene.world.server.connect(None).await;
    let refused = stranger.request("ping", json!({})).await;
    assert_eq!(code(&refused), "unauthenticated");
    assert_eq!(text(&json!(stranger.end().await.0)), "unauthenticated");
}
