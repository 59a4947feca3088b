//! Hooks after the commit: calls that end whatever a guest does, grants, and that a call on the message's path is given
//! nothing of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kith_runtime::{
    Abilities, AbilityError, AfterCall, Binding, BreakerState, DirectoryUser, Event, Failure,
    Generation, Grants, HistoryEntry, Hook, HttpRequest, HttpResponse, KvItem, LlmPrompt, LlmUsage,
    Observed, Passage, RelationOf, Scope, Sent, ServiceError, Text, Version,
};
use serde_json::json;

use crate::guests::{Bench, bench_with, diligent};

const STOP: Duration = Duration::from_millis(300);

/// A host that knows randomness and a web that never answers.
struct Host;

fn none<T>() -> Result<T, AbilityError> {
    Err(AbilityError::Unavailable("not in this test".into()))
}

#[async_trait]
impl Abilities for Host {
    async fn random(&self, length: u32) -> Result<Vec<u8>, AbilityError> {
        Ok((0..length).map(|n| n as u8).collect())
    }
    async fn fetch(&self, _: HttpRequest) -> Result<HttpResponse, AbilityError> {
        std::future::pending().await
    }
    async fn kv_get(&self, _: &str) -> Result<Option<KvItem>, AbilityError> {
        none()
    }
    async fn kv_put(
        &self,
        _: String,
        _: Vec<u8>,
        _: Option<u64>,
        _: Option<u64>,
    ) -> Result<u64, AbilityError> {
        none()
    }
    async fn kv_delete(&self, _: String, _: Option<u64>) -> Result<(), AbilityError> {
        none()
    }
    async fn kv_keys(&self, _: &str, _: &str, _: u32) -> Result<Vec<String>, AbilityError> {
        none()
    }
    async fn user(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        none()
    }
    async fn user_named(&self, _: &str) -> Result<DirectoryUser, AbilityError> {
        none()
    }
    async fn relation(&self, _: &str, _: &str) -> Result<RelationOf, AbilityError> {
        none()
    }
    async fn members(
        &self,
        _: &str,
        _: &str,
        _: u32,
    ) -> Result<Vec<(String, String)>, AbilityError> {
        none()
    }
    async fn history(&self, _: &str, _: u64, _: u32) -> Result<Vec<HistoryEntry>, AbilityError> {
        none()
    }
    async fn send(&self, _: &str, _: &str, _: &str) -> Result<Sent, AbilityError> {
        none()
    }
    async fn reply_open(&self) -> Result<u32, AbilityError> {
        none()
    }
    async fn reply_write(&self, _: u32, _: String) -> Result<(), AbilityError> {
        none()
    }
    async fn reply_finish(&self, _: u32) -> Result<u64, AbilityError> {
        none()
    }
    async fn hand_over(&self, _: String) -> Result<(), AbilityError> {
        none()
    }
    async fn llm_open(&self, _: LlmPrompt) -> Result<u32, ServiceError> {
        Err(ServiceError::NotConfigured("not in this test".into()))
    }
    async fn llm_next(&self, _: u32) -> Result<Option<String>, ServiceError> {
        Err(ServiceError::NotConfigured("not in this test".into()))
    }
    async fn llm_finish(&self, _: u32) -> Result<LlmUsage, ServiceError> {
        Err(ServiceError::NotConfigured("not in this test".into()))
    }
    async fn knowledge(&self, _: &str, _: &str, _: u32) -> Result<Vec<Passage>, ServiceError> {
        Err(ServiceError::NotConfigured("not in this test".into()))
    }
    async fn count(&self, _: &str, _: u64) -> Result<(), AbilityError> {
        none()
    }
    async fn gauge(&self, _: &str, _: f64) -> Result<(), AbilityError> {
        none()
    }
}

struct Stage {
    _bench: Bench,
    version: Arc<Version>,
}

impl Stage {
    fn new() -> Self {
        let bench = bench_with(|settings| settings.after_stop = STOP);
        let version = bench
            .runtime
            .prepare(diligent(), &json!({}))
            .expect("prepared");
        Self {
            _bench: bench,
            version,
        }
    }

    async fn observe(&self, grants: &str, texts: &[&str]) -> Result<Observed, Failure> {
        let binding = Binding::as_wished(&self.version, Hook::Observer).expect("it exports it");
        let events: Arc<[Event]> = texts.iter().map(|text| event(text)).collect();
        binding.observe(call(grants), events).await
    }

    /// What the guest tells of one event.
    async fn told(&self, grants: &str, text: &str) -> String {
        let observed = self.observe(grants, &[text]).await.expect("an answer");
        String::from_utf8(observed.effects[0].effect.value.clone()).expect("text")
    }
}

fn call(grants: &str) -> AfterCall {
    AfterCall {
        grants: Arc::new(Grants::parse(grants).expect("grants")),
        host: Arc::new(Host),
        namespace: "diligent".into(),
        now_ms: 5,
    }
}

fn event(text: &str) -> Event {
    Event {
        id: text.into(),
        kind: "entry".into(),
        conversation: "c".into(),
        conversation_kind: "direct".into(),
        seq: 9,
        at_ms: 1,
        sender: "u".into(),
        entry_kind: "message".into(),
        content_type: "text".into(),
        text: text.into(),
        content: String::new(),
        target: 0,
        attempt: 0,
        facts: Vec::new(),
    }
}

#[tokio::test]
async fn a_batch_is_answered_with_effects_and_with_what_is_to_come_again() {
    let stage = Stage::new();
    assert!(stage.version.is_baked());
    let observed = stage
        .observe("", &["one", "two", "do:later", "three"])
        .await
        .expect("an answer");
    assert_eq!((observed.done, observed.effects.len()), (2, 2));
    assert_eq!(observed.retry.map(|retry| retry.after_ms), Some(7));
    let binding = Binding::as_wished(&stage.version, Hook::Responder).expect("it exports it");
    let answered = binding
        .respond(call(""), Arc::new(event("x")), "me".into())
        .await;
    let retry = answered.expect("an answer").expect_err("its wish");
    assert_eq!((retry.after_ms, retry.reason.as_str()), (9, "me"));
}

#[tokio::test]
async fn an_ability_is_there_where_it_is_granted_and_denied_elsewhere() {
    let stage = Stage::new();
    assert_eq!(stage.told("random", "do:random").await, "ok [0, 1, 2, 3]");
    assert!(
        stage
            .told("http:host=a.example", "do:random")
            .await
            .starts_with("no Error::Denied")
    );
    let generation = Generation::new(
        1,
        vec![Binding::as_wished(&stage.version, Hook::ContentFilter).expect("it exports it")],
    );
    let text = Text {
        place: "message",
        text: "x",
    };
    let ruling = generation.filter(Scope::Direct, &[text], 1);
    assert_eq!(
        ruling.hits[0].rule, "denied",
        "on the message's path nothing is granted"
    );
}

#[tokio::test]
async fn a_call_ends_whatever_the_guest_or_the_host_does() {
    let stage = Stage::new();
    let began = Instant::now();
    let looping = stage.observe("", &["do:loop"]);
    let beside = async {
        let told = stage.told("", "beside").await;
        (told, began.elapsed())
    };
    let (looped, (told, after)) = tokio::join!(looping, beside);
    assert_eq!(looped.err(), Some(Failure::Timeout));
    assert_eq!(told, "ok beside");
    assert!(
        after < STOP * 2,
        "it waited for the one that loops: {after:?}"
    );
    assert_eq!(
        stage.observe("", &["do:hog"]).await.err(),
        Some(Failure::Memory)
    );
    // The host itself never answers: the clock outside the guest ends it.
    let began = Instant::now();
    let waited = stage.observe("http:host=a.example", &["do:fetch"]).await;
    assert_eq!(waited.err(), Some(Failure::Timeout));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn traps_open_the_breaker_and_a_lie_is_a_bad_answer() {
    let stage = Stage::new();
    let lied = stage.observe("", &["do:lie"]).await;
    assert!(matches!(lied, Err(Failure::BadOutput(_))), "{lied:?}");
    for _ in 0..3 {
        let trapped = stage.observe("", &["do:trap"]).await;
        let Err(Failure::Trap(why)) = trapped else {
            panic!("{trapped:?}");
        };
        assert!(why.contains("told to trap"), "{why}");
    }
    assert_eq!(stage.version.breaker(Hook::Observer), BreakerState::Open);
    let broken = stage.observe("", &["fine"]).await;
    assert_eq!(broken.err(), Some(Failure::Broken(Hook::Observer)));
    assert_eq!(stage.version.breaker(Hook::Responder), BreakerState::Closed);
}
