//! A client that follows the protocol: it resends by client id until it has an answer, reads the gap where it sees one, and
//! syncs after a reconnect or `behind`. What it is told is held against the truth as it arrives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kith::entry::Seq;
use kith::ids::{ConversationId, UserId};
use kith::store::log::key;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::chance::{tell, wrong};
use super::defects::Defect;
use super::known::{Known, id_of};
use super::node::{Node, Shared};
use super::store::short;
use super::wire;

/// Bytes that are on a connection's way.
const ON_THE_WAY: usize = 2_048;
/// Requests that wait to be written.
const WAITING_MOST: usize = 256;
/// How long an answer may take.
const ANSWERED: Duration = Duration::from_secs(90);

/// A message a client wants sent.
#[derive(Debug, Clone)]
pub struct Sending {
    pub client_id: String,
    pub to: Place,
    pub text: String,
    /// How often it was asked for, since it was last known not to be stored.
    pub tries: u32,
    /// An earlier try may have been stored.
    pub unsure: bool,
    /// It is asked for on this connection.
    pub asked: bool,
    pub answered: bool,
}

/// A recall that is asked for until it is answered.
#[derive(Debug, Clone, Copy)]
pub struct Recalling {
    pub id: ConversationId,
    pub target: Seq,
    /// An earlier try may have been stored.
    pub unsure: bool,
    /// It is asked for on this connection.
    pub asked: bool,
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    User(UserId),
    Group(ConversationId),
}

impl Place {
    pub fn conversation(self, from: UserId) -> ConversationId {
        match self {
            Self::User(user) => ConversationId::direct(from, user),
            Self::Group(id) => id,
        }
    }
}

/// What a request was about.
#[derive(Debug, Clone)]
pub enum Asked {
    Hello,
    List,
    Sync,
    History(ConversationId),
    Send(String),
    Presence,
    /// Up to where it has received and read.
    Receipt(ConversationId, Seq, Seq),
    Recall(ConversationId, Seq),
}

#[derive(Default)]
pub struct State {
    pub known: Known,
    pub sends: Vec<Sending>,
    pub(super) recalls: Vec<Recalling>,
    pub(super) requests: BTreeMap<u32, (Asked, Instant)>,
    pub(super) since: Option<String>,
    /// The whole list was read once.
    pub(super) listed: bool,
    pub(super) wants_sync: bool,
    pub(super) syncing: bool,
    pub(super) greeted: bool,
    /// Something was refused: it is asked again in a while.
    pub(super) paused: bool,
    pub(super) watching: bool,
    /// Whom it watches, as it was told.
    pub(super) online: BTreeMap<UserId, bool>,
    pub(super) out: Option<mpsc::Sender<Value>>,
    running: Vec<AbortHandle>,
    next_request: u32,
    connections: u64,
    stalled_until: Option<Instant>,
    /// Of this connection: the newest entry that was pushed, and that was acked, by conversation.
    pub(super) pushed: BTreeMap<ConversationId, Seq>,
    pub(super) acked: BTreeMap<ConversationId, Seq>,
}

pub struct Client {
    pub user: UserId,
    pub device: String,
    pub watches: Vec<UserId>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Mutex<State>,
}

impl Client {
    pub fn new(shared: &Arc<Shared>, user: UserId, device: &str, watches: &[UserId]) -> Arc<Self> {
        Arc::new(Self {
            user,
            device: device.to_owned(),
            watches: watches.to_vec(),
            shared: shared.clone(),
            state: Mutex::default(),
        })
    }

    pub fn name(&self) -> String {
        format!("u{}-{}", self.user, self.device)
    }

    pub fn is_connected(&self) -> bool {
        self.state.lock().out.is_some()
    }

    /// Connects to a node; an earlier connection is left as it is, and forgotten.
    pub fn connect(self: &Arc<Self>, node: &Node) {
        self.cut(false);
        let (ours, theirs) = tokio::io::duplex(ON_THE_WAY);
        node.connect(theirs);
        let (reading, writing) = split(ours);
        let (out, waiting) = mpsc::channel(WAITING_MOST);
        let mut state = self.state.lock();
        state.connections += 1;
        let number = state.connections;
        tell!(
            self.shared.sim,
            "{}: connects to n{}",
            self.name(),
            node.index
        );
        state.out = Some(out);
        let read = tokio::spawn(self.clone().read(number, reading));
        let opens = self.shared.sim.while_of(1, 30);
        let write = tokio::spawn(async move {
            sleep(opens).await;
            write(waiting, writing).await;
        });
        state.running = vec![read.abort_handle(), write.abort_handle()];
        let hello = json!({
            "op": "hello",
            "token": format!("{}:{}", self.user, self.device),
            "device": {"id": self.device, "kind": "web"},
        });
        self.ask(&mut state, Asked::Hello, hello);
    }

    /// The connection is gone. The host notices at once, or only when nothing is heard for long.
    pub fn cut(self: &Arc<Self>, unnoticed: bool) {
        let mut state = self.state.lock();
        let running = std::mem::take(&mut state.running);
        let Some(out) = state.out.take() else {
            return;
        };
        tell!(
            self.shared.sim,
            "{}: is cut off{}",
            self.name(),
            if unnoticed { ", unnoticed" } else { "" }
        );
        forget(&mut state);
        if unnoticed {
            // The connection stays, and nobody is at its end.
            state.connections += 1;
            drop(state);
            running.iter().skip(1).for_each(AbortHandle::abort);
            tokio::spawn(async move {
                sleep(Duration::from_secs(30)).await;
                drop(out);
                running.iter().for_each(AbortHandle::abort);
            });
        } else {
            running.iter().for_each(AbortHandle::abort);
        }
    }

    /// Does not read for a while.
    pub fn stall(&self, while_of: Duration) {
        self.state.lock().stalled_until = Some(Instant::now() + while_of);
    }

    async fn read(self: Arc<Self>, number: u64, mut stream: ReadHalf<tokio::io::DuplexStream>) {
        loop {
            let stalled = self.state.lock().stalled_until.take();
            if let Some(until) = stalled {
                sleep_until(until).await;
            }
            let frame = wire::next(&mut stream).await;
            if !self.is_here(number) {
                // Nobody is, any more; what is read is read by nobody.
                return std::future::pending().await;
            }
            if !self.takes(frame) {
                return;
            }
        }
    }

    fn is_here(&self, number: u64) -> bool {
        self.state.lock().connections == number
    }

    /// Whether there may be more.
    fn takes(&self, frame: Option<Value>) -> bool {
        let mut state = self.state.lock();
        match frame {
            Some(frame) => {
                self.hears(&mut state, &frame);
                self.go_on(&mut state);
                true
            }
            None => {
                tell!(self.shared.sim, "{}: the host has gone", self.name());
                state.out = None;
                forget(&mut state);
                false
            }
        }
    }

    pub(super) fn ask(&self, state: &mut State, about: Asked, mut request: Value) {
        state.next_request += 1;
        let id = state.next_request;
        request["id"] = id.into();
        if let Some(out) = &state.out
            && out.try_send(request).is_ok()
        {
            state.requests.insert(id, (about, Instant::now()));
        }
    }

    /// A new message, or several at once.
    pub fn send(&self, to: Place, text: &str) {
        let mut state = self.state.lock();
        let number = state.sends.len() + 1;
        let client_id = format!("{}-{number}", self.name());
        state.sends.push(Sending {
            text: format!("{text} {client_id}"),
            client_id,
            to,
            tries: 0,
            unsure: false,
            asked: false,
            answered: false,
        });
        self.go_on(&mut state);
    }

    /// Asks again for what was answered: the answer is the same.
    pub fn resend_answered(&self) {
        let mut state = self.state.lock();
        let answered: Vec<usize> = (0..state.sends.len())
            .filter(|at| state.sends[*at].answered && !state.sends[*at].asked)
            .collect();
        if !answered.is_empty() && state.greeted {
            let at = answered[self.shared.sim.below(answered.len())];
            self.ask_to_send(&mut state, at);
        }
    }

    fn ask_to_send(&self, state: &mut State, at: usize) {
        let send = &mut state.sends[at];
        send.tries += 1;
        send.asked = true;
        let to = match send.to {
            Place::User(user) => json!({"user": user}),
            Place::Group(id) => json!({"conversation": id}),
        };
        let request = json!({
            "op": "send",
            "to": to,
            "client_id": send.client_id,
            "content": {"type": "text", "text": send.text},
        });
        let about = Asked::Send(send.client_id.clone());
        self.ask(state, about, request);
    }

    /// Says how far it is.
    pub fn receipt(&self, id: ConversationId, seq: Seq, reads: bool) {
        let mut state = self.state.lock();
        if state.greeted {
            let (op, read) = if reads {
                ("read", seq)
            } else {
                ("received", 0)
            };
            let request = json!({"op": op, "conversation": id, "seq": seq});
            self.ask(&mut state, Asked::Receipt(id, seq, read), request);
        }
    }

    pub fn recall(&self, id: ConversationId, seq: Seq) {
        let mut state = self.state.lock();
        let same = |one: &Recalling| (one.id, one.target) == (id, seq);
        if !state.recalls.iter().any(same) {
            state.recalls.push(Recalling {
                id,
                target: seq,
                unsure: false,
                asked: false,
            });
            self.go_on(&mut state);
        }
    }

    fn ask_to_recall(&self, state: &mut State, at: usize) {
        let one = &mut state.recalls[at];
        one.asked = true;
        let (id, seq) = (one.id, one.target);
        let request = json!({"op": "recall", "conversation": id, "seq": seq});
        self.ask(state, Asked::Recall(id, seq), request);
    }

    /// Looks for what it may not have been told.
    pub fn sync(&self) {
        let mut state = self.state.lock();
        state.wants_sync = true;
        self.go_on(&mut state);
    }

    /// Asks for whatever is wanted and not asked for.
    pub(super) fn go_on(&self, state: &mut State) {
        if !state.greeted || state.out.is_none() || state.paused {
            return;
        }
        if !state.watching {
            state.watching = true;
            let watch = json!({"op": "presence", "users": self.watches, "watch": true});
            self.ask(state, Asked::Presence, watch);
        }
        if !state.syncing && (state.wants_sync || !state.listed) {
            state.syncing = true;
            match state.since.clone().filter(|_| state.listed) {
                Some(since) => {
                    state.wants_sync = false;
                    self.ask(state, Asked::Sync, json!({"op": "sync", "since": since}));
                }
                None => self.ask(state, Asked::List, json!({"op": "conversations"})),
            }
        }
        let behind: Vec<(ConversationId, Seq)> = state
            .known
            .conversations
            .iter_mut()
            .filter(|(_, one)| one.is_behind && !one.reading)
            .map(|(id, one)| {
                one.reading = true;
                (*id, one.head())
            })
            .collect();
        for (id, head) in behind {
            let request = json!({"op": "history", "conversation": id, "after": head});
            self.ask(state, Asked::History(id), request);
        }
        for at in 0..state.sends.len() {
            if !state.sends[at].answered && !state.sends[at].asked {
                self.ask_to_send(state, at);
            }
        }
        for at in 0..state.recalls.len() {
            if !state.recalls[at].asked {
                self.ask_to_recall(state, at);
            }
        }
    }

    /// Again and again: what failed is asked for again.
    pub async fn run(self: Arc<Self>) {
        loop {
            sleep(Duration::from_millis(400)).await;
            let mut state = self.state.lock();
            state.paused = false;
            self.go_on(&mut state);
            let late = state
                .requests
                .values()
                .find(|(_, since)| since.elapsed() > ANSWERED);
            if let Some((about, _)) = late {
                wrong!(
                    self.shared.sim,
                    "I5: {} has no answer to {about:?}",
                    self.name()
                );
            }
        }
    }

    /// Whether it wants nothing any more; what it is waiting for.
    pub fn wants(&self) -> Option<String> {
        let state = self.state.lock();
        let behind = state
            .known
            .conversations
            .iter()
            .find(|(_, one)| one.is_behind);
        let unanswered = state.sends.iter().find(|send| !send.answered);
        if !state.greeted || !state.listed {
            Some("it is not connected".to_owned())
        } else if let Some((id, _)) = behind {
            Some(format!("it reads {}", short(*id)))
        } else if let Some(send) = unanswered {
            Some(format!("{} is not answered", send.client_id))
        } else if !state.recalls.is_empty() {
            Some("a recall is not answered".to_owned())
        } else if state.wants_sync || state.syncing {
            Some("it syncs".to_owned())
        } else {
            None
        }
    }

    /// Whether the store may hold a send of this client.
    pub(super) fn may_be_stored(&self, send: &Sending) -> bool {
        let lane = send.to.conversation(self.user);
        let place = key::answer(lane, self.user, &send.client_id);
        self.shared.store.may_hold(&place)
    }

    pub(super) fn checks_gaps(&self) -> bool {
        !self.shared.sim.has(Defect::GapCheckOff)
    }

    /// Looks at what it knows.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    pub(super) fn conversation_in(value: &Value) -> Option<ConversationId> {
        id_of(&value["conversation"])
    }
}

/// What ends with a connection.
fn forget(state: &mut State) {
    state.greeted = false;
    state.paused = false;
    state.watching = false;
    state.syncing = false;
    state.wants_sync = true;
    state.requests.clear();
    state.pushed.clear();
    state.acked.clear();
    state.online.clear();
    state.stalled_until = None;
    state
        .known
        .conversations
        .values_mut()
        .for_each(|one| one.reading = false);
    for send in &mut state.sends {
        send.unsure |= send.asked;
        send.asked = false;
    }
    for recall in &mut state.recalls {
        recall.unsure |= recall.asked;
        recall.asked = false;
    }
}

/// Writes what waits; says that it is there when nothing does.
async fn write(mut waiting: mpsc::Receiver<Value>, mut stream: WriteHalf<tokio::io::DuplexStream>) {
    loop {
        let request = match timeout(Duration::from_secs(2), waiting.recv()).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => json!({"id": u32::MAX, "op": "ping"}),
        };
        if stream.write_all(&wire::framed(&request)).await.is_err() {
            return;
        }
    }
}
