//! People who talk through whichever node takes them: they resend what was not answered to the next one, fetch what they
//! missed as the protocol says, and remember everything they were told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{TestSocket, TestUser, try_connect_to};

/// Between two tries to reach a node, and after an answer that says to come again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long an answer is waited for on one session.
const SILENT: Duration = Duration::from_secs(10);
/// Between two messages of one person.
const PACE: Duration = Duration::from_millis(30);

/// Where the nodes are now; those that are down are left out.
pub type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// What everybody shares.
pub struct Scene {
    pub addresses: Addresses,
    pub conversation: String,
    /// Nobody begins another message.
    pub quiet: AtomicBool,
    pub acked: AtomicU64,
}

/// What one person was told, and how long it took to be back.
#[derive(Default)]
pub struct Memory {
    /// Texts by their places.
    pub seen: BTreeMap<u64, String>,
    /// Texts whose commit was acknowledged, by their places.
    pub acked: BTreeMap<u64, String>,
    /// From a session's end to the next one's `hello`.
    pub away: Vec<Duration>,
}

impl Memory {
    /// The newest place without a gap before it.
    pub fn whole(&self) -> u64 {
        let dense = self.seen.keys().zip(1..).take_while(|(seq, n)| **seq == *n);
        dense.map(|(seq, _)| *seq).last().unwrap_or(0)
    }

    fn see(&mut self, entry: &Value) {
        let seq = entry["seq"].as_u64().expect("a place");
        let text = match entry["kind"].as_str() {
            Some("message") => entry["content"]["text"].as_str().expect("a text"),
            _ => "a system entry",
        };
        let before = self.seen.insert(seq, text.to_owned());
        assert!(before.is_none_or(|before| before == text), "{seq}: {entry}"); // I3
    }
}

pub struct Person {
    pub user: TestUser,
    pub memory: Arc<Mutex<Memory>>,
    scene: Arc<Scene>,
    /// Which node is tried first.
    turn: usize,
    said: u64,
    /// The message that was sent and not acknowledged.
    open: Option<(String, u32)>,
    /// Frames that came while a page was waited for.
    kept: VecDeque<Value>,
}

/// The session is over.
struct Over;

impl Person {
    pub fn new(user: TestUser, scene: &Arc<Scene>, turn: usize) -> Self {
        Self {
            user,
            memory: Arc::default(),
            scene: scene.clone(),
            turn,
            said: 0,
            open: None,
            kept: VecDeque::new(),
        }
    }

    /// Talks until it is quiet and everything said is acknowledged; then listens, until this is dropped.
    pub async fn live(mut self) {
        let mut since: Option<Instant> = None;
        loop {
            let Some(mut socket) = self.arrive().await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            if let Some(since) = since {
                self.memory.lock().away.push(since.elapsed());
            }
            let Err(Over) = self.session(&mut socket).await;
            since = Some(Instant::now());
        }
    }

    /// A session on the next node that is there.
    async fn arrive(&mut self) -> Option<TestSocket> {
        self.turn += 1;
        let address = {
            let addresses = self.scene.addresses.lock();
            *addresses.get(self.turn % addresses.len().max(1))?
        };
        let arriving = async {
            let mut socket = try_connect_to(address, None).await.ok()?;
            let device = json!({"id": "phone", "kind": "web", "name": "test"});
            let hello = json!({"token": self.user.token, "device": device});
            let id = socket.try_start("hello", hello).await.ok()?;
            while let Ok(frame) = socket.frame().await {
                if frame["re"] == id {
                    return frame["ok"].is_object().then_some(socket);
                }
            }
            None
        };
        tokio::time::timeout(SILENT, arriving).await.ok()?
    }

    async fn session(&mut self, socket: &mut TestSocket) -> Result<std::convert::Infallible, Over> {
        self.kept.clear();
        self.catch_up(socket).await?;
        if let Some((text, _)) = self.open.take() {
            self.say(socket, text).await?;
        }
        loop {
            if self.open.is_none() && !self.scene.quiet.load(Ordering::Relaxed) {
                tokio::time::sleep(PACE).await;
                self.said += 1;
                let text = format!("{} says {}", self.user.username, self.said);
                self.say(socket, text).await?;
            }
            // Who has nothing to say looks now and then whether it should.
            let frame = match self.kept.pop_front() {
                Some(kept) => Ok(Ok(kept)),
                None => tokio::time::timeout(AGAIN, socket.frame()).await,
            };
            if let Ok(frame) = frame {
                self.hear(socket, frame.map_err(|_| Over)?).await?;
            }
        }
    }

    async fn say(&mut self, socket: &mut TestSocket, text: String) -> Result<(), Over> {
        let content = json!({"type": "text", "text": text});
        let to = json!({"conversation": self.scene.conversation});
        let send = json!({"to": to, "client_id": text, "content": content});
        // Kept before it is sent: whatever becomes of this session, it is said again.
        self.open = Some((text.clone(), 0));
        let id = socket.try_start("send", send).await.map_err(|_| Over)?;
        self.open = Some((text, id));
        Ok(())
    }

    async fn hear(&mut self, socket: &mut TestSocket, frame: Value) -> Result<(), Over> {
        if let Some((text, id)) = self.open.clone()
            && frame["re"] == id
        {
            return self.answered(socket, text, &frame).await;
        }
        match frame["ev"].as_str() {
            Some("entry") => {
                let whole = {
                    let mut memory = self.memory.lock();
                    memory.see(&frame["entry"]);
                    memory.whole()
                };
                if frame["entry"]["seq"].as_u64().expect("a place") > whole {
                    self.catch_up(socket).await?;
                }
            }
            Some("behind") => self.catch_up(socket).await?,
            Some("bye") => return Err(Over),
            _ => {}
        }
        Ok(())
    }

    async fn answered(
        &mut self,
        socket: &mut TestSocket,
        text: String,
        frame: &Value,
    ) -> Result<(), Over> {
        if let Some(seq) = frame["ok"]["seq"].as_u64() {
            self.open = None;
            let whole = {
                let mut memory = self.memory.lock();
                let before = memory.seen.insert(seq, text.clone());
                assert!(before.is_none_or(|before| before == text), "{seq}: {frame}");
                memory.acked.insert(seq, text);
                memory.whole()
            };
            self.scene.acked.fetch_add(1, Ordering::Relaxed);
            if seq > whole {
                self.catch_up(socket).await?;
            }
            return Ok(());
        }
        let code = frame["err"]["code"].as_str().unwrap_or_default();
        assert!(["unavailable", "timeout"].contains(&code), "{frame}");
        tokio::time::sleep(AGAIN).await;
        self.say(socket, text).await
    }

    /// Fetches what is missing, in pages.
    async fn catch_up(&mut self, socket: &mut TestSocket) -> Result<(), Over> {
        loop {
            let after = self.memory.lock().whole();
            let ask =
                json!({"conversation": self.scene.conversation, "after": after, "limit": 200});
            let id = socket.try_start("history", ask).await.map_err(|_| Over)?;
            let page = self.page(socket, id).await?;
            let Some(page) = page else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let mut memory = self.memory.lock();
            let entries = page["entries"].as_array().expect("entries");
            entries.iter().for_each(|entry| memory.see(entry));
            if memory.whole() >= page["head"].as_u64().expect("a head") {
                return Ok(());
            }
        }
    }

    /// The page that was asked for; `None` when it is to be asked for again. Everything before it is heard.
    async fn page(&mut self, socket: &mut TestSocket, id: u32) -> Result<Option<Value>, Over> {
        loop {
            let frame = tokio::time::timeout(SILENT, socket.frame()).await;
            // Who hears nothing for so long looks for another node.
            let frame = frame.map_err(|_| Over)?.map_err(|_| Over)?;
            if frame["re"] == id {
                let code = frame["err"]["code"].as_str();
                assert!(
                    code.is_none_or(|code| ["unavailable", "timeout"].contains(&code)),
                    "{frame}"
                );
                return Ok(code.is_none().then(|| frame["ok"].clone()));
            }
            match frame["ev"].as_str() {
                Some("entry") => self.memory.lock().see(&frame["entry"]),
                Some("bye") => return Err(Over),
                _ => self.kept.push_back(frame),
            }
        }
    }
}
