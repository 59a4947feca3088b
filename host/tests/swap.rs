//! Swapping under load: while people talk, versions that are good, slow, trapping, looping and hoarding take over from
//! each other. The clients keep the books; what they were told must be what stands in the log, and why.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, TestServer, TestSocket, TestUser, plugins_folder};

const KINDS: [&str; 6] = ["good", "slow", "other", "trapping", "looping", "hoarding"];
/// Those that take over from each other; `other` is a canary meanwhile, and `strict` in the shadow.
const SWAPPED: [&str; 5] = ["good", "slow", "trapping", "looping", "hoarding"];
const SENDERS: usize = 4;
/// Messages of each sender that wait for their ack.
const WINDOW: usize = 8;
/// Of a long run every so many decisions are looked up: each is a request, and there are hundreds of thousands.
const LOOKED_UP: usize = 20;

fn is_long() -> bool {
    std::env::var_os("KITH_LONG").is_some()
}

/// A component of one kind, built once a run.
pub fn component(kind: &'static str) -> Vec<u8> {
    type Built = Mutex<HashMap<&'static str, Vec<u8>>>;
    static BUILT: OnceLock<Built> = OnceLock::new();
    let mut built = BUILT.get_or_init(Built::default).lock().expect("no panic");
    let build = || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests/wayward");
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wayward");
        std::fs::create_dir_all(&target).expect("a folder for the components");
        let out = target.join(format!("{kind}.wasm"));
        kith::guest::build(&folder, Some(&out), Some(kind), &|_| {}).expect("the guest builds");
        std::fs::read(out).expect("the component")
    };
    built.entry(kind).or_insert_with(build).clone()
}

/// A server with the first-party plugins and every wayward version, none of which serves yet.
pub async fn server() -> TestServer {
    let server = TestServer::with(|config| {
        // Listeners say nothing for as long as it takes.
        config.session.heartbeat_ms = 3_600_000;
        config.server.plugins = plugins_folder().display().to_string();
        config.plugins.hard_stop_ms = 50;
        config.plugins.watch_s = 60;
    })
    .await;
    push(&server, &KINDS).await;
    server
}

/// Pushes wayward versions.
pub async fn push(server: &TestServer, kinds: &'static [&'static str]) {
    let components = move || kinds.iter().map(|kind| component(kind)).collect::<Vec<_>>();
    let components = tokio::task::spawn_blocking(components).await;
    for component in components.expect("the guests") {
        let (status, pushed) = server.push(component).await;
        assert!(matches!(status, 200 | 201), "{pushed}");
    }
}

pub async fn activate(server: &TestServer, kind: &str) -> u64 {
    let body = json!({"version": format!("1.0.0-{kind}"), "force": true});
    let (status, done) = server
        .admin("POST", "/plugins/wayward/activate", Some(body))
        .await;
    assert_eq!(status, 200, "{done}");
    done["generation"].as_u64().expect("a generation")
}

async fn bind(server: &TestServer, change: Value) {
    let path = "/plugins/wayward/bindings/content-filter";
    let (status, done) = server.admin("PATCH", path, Some(change)).await;
    assert_eq!(status, 200, "{done}");
}

/// What one sender was told: its messages' places, in the order in which they were sent.
#[derive(Default)]
struct Book {
    conversation: String,
    places: Vec<(u64, u64)>,
}

/// Talks until told to stop; every message is acknowledged as committed, in order.
async fn talk(mut socket: TestSocket, peer: String, mut stop: watch::Receiver<bool>) -> Book {
    let mut book = Book::default();
    let (mut sent, mut answered) = (0_u64, 0_u64);
    let mut requests = std::collections::VecDeque::new();
    loop {
        let stopping = *stop.borrow_and_update();
        if stopping && sent == answered {
            return book;
        }
        while !stopping && sent - answered < WINDOW as u64 {
            let content = json!({"type": "text", "text": format!("left right {sent}")});
            let fields =
                json!({"to": {"user": peer}, "client_id": format!("n{sent}"), "content": content});
            requests.push_back((socket.start("send", fields).await, sent));
            sent += 1;
        }
        let frame = socket.frame().await.expect("a session that lasts");
        let Some(re) = frame["re"].as_u64() else {
            continue;
        };
        let (request, number) = requests.pop_front().expect("an answer to something");
        assert_eq!(re, u64::from(request), "acks keep the order of the sends");
        let ok = &frame["ok"];
        let seq = ok["seq"]
            .as_u64()
            .unwrap_or_else(|| panic!("message {number}: {frame}"));
        book.conversation = ok["conversation"]
            .as_str()
            .expect("a conversation")
            .to_owned();
        book.places.push((number, seq));
        answered += 1;
    }
}

/// Reads until everything the sender was told has arrived; each seq once, in order. The first entry was there before.
async fn listen(mut socket: TestSocket, mut until: watch::Receiver<Option<u64>>) -> Vec<Value> {
    let mut entries: Vec<Value> = Vec::new();
    loop {
        let last = entries
            .last()
            .map_or(1, |entry| entry["seq"].as_u64().expect("a seq"));
        if until.borrow_and_update().is_some_and(|head| last >= head) {
            return entries;
        }
        tokio::select! {
            frame = socket.frame() => {
                let frame = frame.expect("a session that lasts");
                if frame["ev"] == "entry" {
                    assert_eq!(frame["entry"]["seq"].as_u64(), Some(last + 1), "each once, in order");
                    entries.push(frame["entry"].clone());
                }
            }
            _ = until.changed() => {}
        }
    }
}

/// The decision record of an entry says one generation; of each entry of a log none is older than the one before.
async fn check_decisions(
    server: &TestServer,
    book: &Book,
    entries: &[Value],
) -> HashMap<String, usize> {
    let (mut newest, mut outcomes) = (0, HashMap::new());
    let one_in = if is_long() { LOOKED_UP } else { 1 };
    for (place, (entry, (number, seq))) in entries.iter().zip(&book.places).enumerate() {
        assert_eq!(entry["seq"].as_u64(), Some(*seq));
        if place % one_in != 0 {
            continue;
        }
        let path = format!("/conversations/{}/entries/{seq}", book.conversation);
        let (status, record) = server.admin("GET", &path, None).await;
        assert_eq!(status, 200, "{record}");
        let decision = &record["decision"];
        let generation = decision["generation"].as_u64().expect("a generation");
        assert!(
            generation >= newest,
            "generation {generation} after {newest} along the log"
        );
        newest = generation;
        let hooks = decision["hooks"].as_array().expect("hooks");
        let own = hooks.iter().find(|hook| hook["plugin"] == "wayward");
        let stored = entry["content"]["text"].as_str().expect("a text");
        let (version, outcome) = match own {
            Some(own) => (
                own["version"].as_str().expect("a version"),
                own["outcome"].as_str().expect("an outcome"),
            ),
            None => ("", "unbound"),
        };
        let expected = match (version, outcome) {
            (_, "failed" | "absent" | "unbound") => format!("left right {number}"),
            ("1.0.0-other", _) => format!("left ***** {number}"),
            _ => format!("**** right {number}"),
        };
        assert_eq!(
            stored, expected,
            "judged by {version} ({outcome}): {record}"
        );
        *outcomes.entry(format!("{version} {outcome}")).or_default() += 1;
    }
    outcomes
}

pub async fn pair(server: &TestServer) -> (TestUser, TestUser) {
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    // No strangers: the strategy lets a stranger write a single message.
    let mut answer = server.session(&bob).await;
    let said = answer.send_text(&ann.id, "hello", "hello").await;
    assert!(said["ok"].is_object(), "{said}");
    (ann, bob)
}

/// Pairs who talk, some of them in the canary's share and some not.
async fn pairs(server: &TestServer) -> Vec<(TestUser, TestUser)> {
    let (mut within, mut without) = (Vec::new(), Vec::new());
    while within.len() < SENDERS / 2 || without.len() < SENDERS / 2 {
        let (ann, bob) = pair(server).await;
        let (_, conversations) = server
            .call("GET", "/v1/conversations", Some(&ann.token), None)
            .await;
        let conversation = &conversations["conversations"][0]["id"];
        let conversation = conversation.as_str().expect("a conversation");
        let path = format!("/conversations/{conversation}/entries/1");
        let (_, record) = server.admin("GET", &path, None).await;
        let hooks = record["decision"]["hooks"].as_array().expect("hooks");
        let own = hooks.iter().find(|hook| hook["plugin"] == "wayward");
        let side = match own.expect("it was asked")["version"] == "1.0.0-other" {
            true => &mut within,
            false => &mut without,
        };
        if side.len() < SENDERS / 2 {
            side.push((ann, bob));
        }
    }
    within.into_iter().chain(without).collect()
}

/// What the shadow was asked and could not be asked, in all; how often it agreed.
async fn shadowed(server: &TestServer) -> (u64, u64) {
    let path = "/plugins/wayward/rollout";
    let (status, report) = server.admin("GET", path, None).await;
    assert_eq!(status, 200, "{report}");
    let hook = &report["shadow"]["hooks"][0];
    let of = |field: &str| hook[field].as_u64().unwrap_or(0);
    let all = ["agreed", "differed", "failed", "dropped"].map(of);
    (all.iter().sum(), of("agreed"))
}

/// Who talks, who listens, and how far the listener is to read.
type Talking = (
    JoinHandle<Book>,
    JoinHandle<Vec<Value>>,
    watch::Sender<Option<u64>>,
);

/// Swaps for as long as is asked for; how often.
async fn swap(server: &TestServer) -> usize {
    let until = Instant::now() + Duration::from_secs(if is_long() { 600 } else { 30 });
    let (mut swaps, mut newest) = (0_usize, 0);
    // A busy machine takes longer for a swap: the number of them counts, and that they go on for that long.
    while Instant::now() < until || swaps < 4 * SWAPPED.len() {
        let generation = activate(server, SWAPPED[swaps % SWAPPED.len()]).await;
        assert!(generation > newest, "generations only rise");
        newest = generation;
        swaps += 1;
        // 50 to 200 ms, in an order that repeats.
        tokio::time::sleep(Duration::from_millis(50 + (swaps as u64 * 67) % 151)).await;
    }
    swaps
}

/// What was told to senders and what arrived. All are read to their ends first: a listener would lose its patience while
/// others' decisions are looked up.
async fn ended(talking: Vec<Talking>) -> Vec<(Book, Vec<Value>)> {
    let mut told = Vec::new();
    for (sender, listener, heads) in talking {
        let book = sender.await.expect("a sender that was never refused");
        let places = book.places.windows(2);
        assert!(
            places.into_iter().all(|two| two[0].1 < two[1].1),
            "the log keeps the order of the sends"
        );
        let head = book.places.last().expect("messages").1;
        assert_eq!(
            head,
            book.places.len() as u64 + 1,
            "nothing lost, nothing twice"
        );
        heads.send_replace(Some(head));
        told.push((book, listener));
    }
    let mut read = Vec::new();
    for (book, listener) in told {
        let entries = listener.await.expect("a listener that missed nothing");
        assert_eq!(entries.len(), book.places.len());
        read.push((book, entries));
    }
    read
}

/// Looks at every decision: the canary's conversations are its alone, and never another's. How often each outcome was, and
/// how many messages there are.
async fn check_all(
    server: &TestServer,
    read: Vec<(Book, Vec<Value>)>,
) -> (HashMap<String, usize>, usize) {
    let (mut outcomes, mut messages, mut sides) = (HashMap::new(), 0, HashSet::new());
    for (book, entries) in read {
        let found = check_decisions(server, &book, &entries).await;
        let tried = found
            .keys()
            .filter(|outcome| outcome.starts_with("1.0.0-other "));
        let (canary, all) = (tried.count(), found.len());
        assert!(
            canary == 0 || canary == all,
            "a share that moves: {found:?}"
        );
        sides.insert(canary > 0);
        for (outcome, count) in found {
            *outcomes.entry(outcome).or_insert(0) += count;
        }
        messages += book.places.len();
    }
    assert_eq!(sides.len(), 2, "some are the canary's, some not");
    (outcomes, messages)
}

/// Everything was shown to the shadow, or is counted as left out; it would have rejected all of it.
async fn check_shadow(server: &TestServer, messages: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let (asked, agreed) = shadowed(server).await;
        // The greetings of all who were asked whether they talk.
        assert!(agreed < 100, "{agreed} agreed");
        if asked >= messages as u64 {
            return;
        }
        assert!(
            Instant::now() < until,
            "{asked} of {messages} shown to the shadow"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapping_under_load_loses_doubles_reorders_and_refuses_nothing() {
    let server = server().await;
    push(&server, &["strict"]).await;
    activate(&server, "good").await;
    // A failing build must stop nobody here; what a failure means otherwise is a policy's business, and its own test.
    bind(&server, json!({"on_failed": "pass", "on_absent": "pass"})).await;
    for (verb, body) in [
        ("canary", json!({"version": "1.0.0-other", "percent": 50})),
        ("shadow", json!({"version": "1.0.0-strict"})),
    ] {
        let path = format!("/plugins/wayward/{verb}");
        let (status, done) = server.admin("POST", &path, Some(body)).await;
        assert_eq!(status, 200, "{done}");
    }
    let (stop, stopped) = watch::channel(false);
    let mut talking = Vec::new();
    for (ann, bob) in pairs(&server).await {
        let (heads, until) = watch::channel(None);
        let listener = tokio::spawn(listen(server.session(&bob).await, until));
        let socket = server.session(&ann).await;
        let sender = tokio::spawn(talk(socket, bob.id.clone(), stopped.clone()));
        talking.push((sender, listener, heads));
    }
    let swaps = swap(&server).await;
    stop.send_replace(true);
    let (outcomes, messages) = check_all(&server, ended(talking).await).await;
    check_shadow(&server, messages).await;
    assert!(messages >= 200, "{swaps} swaps, {messages} messages");
    for kind in ["good", "other", "slow"] {
        let version = format!("1.0.0-{kind} ");
        assert!(
            outcomes.keys().any(|outcome| outcome.starts_with(&version)),
            "{outcomes:?}"
        );
    }
    assert!(
        outcomes.keys().any(|outcome| outcome.ends_with("failed")),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_rollback_takes_less_than_a_millisecond_even_while_another_version_is_being_compiled() {
    let server = server().await;
    activate(&server, "good").await;
    activate(&server, "other").await;
    let mut micros = Vec::new();
    for round in 0..1_000 {
        let (status, done) = server
            .admin("POST", "/plugins/wayward/rollback", Some(json!({})))
            .await;
        assert_eq!(status, 200, "{done}");
        let back_at = if round % 2 == 0 {
            "1.0.0-good"
        } else {
            "1.0.0-other"
        };
        assert_eq!(done["version"], back_at);
        micros.push(done["switched_us"].as_u64().expect("microseconds"));
    }
    micros.sort_unstable();
    let median = micros[micros.len() / 2];
    assert!(median < 1_000, "median {median} µs");
    let generations_before = server.app().rollout.generation();
    // While a configuration with many words is being prepared, the way back stays open.
    let words: Vec<Value> = (0..20_000)
        .map(|n| json!({"word": format!("word{n}x"), "level": "mask"}))
        .collect();
    let body = Some(json!({"words": words}));
    let slow = server.admin("POST", "/words", body);
    let quick = async {
        let mut during = Vec::new();
        for _ in 0..20 {
            let (status, done) = server
                .admin("POST", "/plugins/wayward/rollback", Some(json!({})))
                .await;
            assert_eq!(status, 200, "{done}");
            during.push(done["switched_us"].as_u64().expect("microseconds"));
        }
        during.sort_unstable();
        during[10]
    };
    let ((status, done), median) = tokio::join!(slow, quick);
    assert_eq!(status, 200, "{done}");
    assert!(
        median < 5_000,
        "median {median} µs while words are being prepared"
    );
    assert_eq!(server.app().rollout.generation(), generations_before + 21);
}
