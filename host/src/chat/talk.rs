//! The conversation itself: one loop over what is typed, what arrives and what is due. It owns the connection and
//! makes it again when it is lost; what was missed is fetched, what was not answered is sent again.

mod incoming;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::account::Account;
use super::commands;
use super::outbox::{self, Outbox};
use super::render;
use super::requests::More;
use super::state::State;
use super::terminal::Terminal;
use super::transfers::{News, Transfers};
use crate::client::{Closing, Connection, Events, Incoming, To, WireError};

/// A request unanswered for this long means that the connection is dead.
const PATIENCE: Duration = Duration::from_secs(15);
/// Pauses before connecting again grow from here …
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// … to here.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// When the input has ended, what is unsent has this long to leave.
const LAST_CALL: Duration = Duration::from_secs(30);

pub(super) struct Talk {
    pub(super) account: Account,
    pub(super) terminal: Terminal,
    link: Option<(Connection, Events)>,
    pub(super) state: State,
    pub(super) outbox: Outbox,
    pub(super) transfers: Transfers,
    /// One's own user id and name.
    pub(super) me: (String, String),
    /// Whom the next line goes to, and by what name.
    pub(super) open: Option<(To, String)>,
    /// Who was to be talked with from the start and had no account then: looked for again with each line.
    pub(super) awaited: Option<String>,
    /// Where the list shown last goes on.
    pub(super) more: Option<More>,
    /// Users whose coming and going is told.
    pub(super) watched: Vec<String>,
    /// What `sync` goes on from.
    since: Option<String>,
    /// Texts of one's own that are held, by their hold.
    held: HashMap<String, String>,
    pause: Duration,
    connect_at: Instant,
    zone: TimeZone,
    input_ended: Option<Instant>,
    over: Option<ExitCode>,
}

/// What the loop wakes up for.
enum Next {
    Line(Option<String>),
    Arrived(Option<Incoming>),
    Transfer(News),
    Connect,
    Send,
    GiveUp,
}

impl Talk {
    pub(super) fn new(account: Account, terminal: Terminal) -> Self {
        Self {
            account,
            terminal,
            link: None,
            state: State::default(),
            outbox: Outbox::default(),
            transfers: Transfers::default(),
            me: (String::new(), String::new()),
            open: None,
            awaited: None,
            more: None,
            watched: Vec::new(),
            since: None,
            held: HashMap::new(),
            pause: FIRST_PAUSE,
            connect_at: Instant::now(),
            zone: TimeZone::system(),
            input_ended: None,
            over: None,
        }
    }

    pub(super) async fn run(mut self, peer: Option<String>) -> Result<ExitCode> {
        self.connect().await.map_err(super::reached)?;
        if let Some(peer) = peer
            && let Err(error) = self.open_named(&peer).await
        {
            self.fail(&error).await;
            if error.code() == "not_found" {
                self.say(&format!(
                    "* what you write goes to {peer} once there is one"
                ))
                .await;
                self.awaited = Some(peer);
            }
        }
        self.prompt().await;
        while self.over.is_none() {
            self.send_due().await;
            if self.input_ended.is_some() && self.has_nothing_under_way() {
                break;
            }
            match self.next().await {
                Next::Line(Some(line)) => {
                    self.line(&line).await;
                    self.prompt().await;
                }
                Next::Line(None) => self.input_ended = Some(Instant::now()),
                Next::Arrived(Some(incoming)) => self.arrived(incoming).await,
                Next::Arrived(None) => self.lost().await,
                Next::Transfer(news) => self.transferred(news).await,
                Next::Connect => self.connect_again().await,
                Next::Send => {}
                Next::GiveUp => break,
            }
        }
        Ok(self.leave().await)
    }

    async fn next(&mut self) -> Next {
        let typing = self.input_ended.is_none() && self.outbox.has_room();
        let due = self.outbox.next_due().filter(|_| self.link.is_some());
        let connected = self.link.is_some();
        let events = self.link.as_mut().map(|(_, events)| events);
        // A file ends by itself, sooner or later; what it makes of it has its time then.
        let last_call = self.input_ended.filter(|_| self.transfers.is_empty());
        let last_call = last_call.map(|ended| ended + LAST_CALL);
        tokio::select! {
            arrived = next_of(events) => Next::Arrived(arrived),
            line = self.terminal.line(), if typing => Next::Line(line),
            news = self.transfers.next() => Next::Transfer(news),
            () = until(Some(self.connect_at)), if !connected => Next::Connect,
            () = until(due) => Next::Send,
            () = until(last_call) => Next::GiveUp,
        }
    }

    async fn transferred(&mut self, news: News) {
        match news {
            News::Moved(line) => self.say(&line).await,
            News::Ended(ended) => {
                self.input_ended = self.input_ended.map(|_| Instant::now());
                if let Err(error) = self.file_ended(ended).await {
                    self.fail(&error).await;
                }
            }
        }
    }

    fn has_nothing_under_way(&self) -> bool {
        self.outbox.is_empty() && self.transfers.is_empty()
    }

    async fn line(&mut self, line: &str) {
        match commands::read(line) {
            None => {}
            Some(Ok(action)) => {
                if let Err(error) = self.act(action).await {
                    self.fail(&error).await;
                }
            }
            Some(Err(hint)) => self.say(&format!("! {hint}")).await,
        }
    }

    /// Sends what is due, in the order it was typed.
    async fn send_due(&mut self) {
        let Some((connection, _)) = &self.link else {
            return;
        };
        let connection = connection.clone();
        while let Some(unsent) = self.outbox.due(Instant::now()) {
            let fields = json!({
                "to": unsent.to.json(),
                "client_id": unsent.client_id,
                "content": unsent.content,
                "reply_to": unsent.reply_to,
            });
            match connection.post("send", fields).await {
                Ok(request) => unsent.asked(request),
                // The loop hears of the loss by itself and sends again.
                Err(_) => return,
            }
        }
    }

    /// Asks and waits; a server that does not answer counts as lost.
    pub(super) async fn ask(&mut self, op: &str, fields: Value) -> Result<Value, WireError> {
        let Some((connection, _)) = &self.link else {
            return Err(WireError::Closed(Closing {
                reason: "not connected; trying".to_owned(),
                ..Closing::default()
            }));
        };
        let connection = connection.clone();
        match tokio::time::timeout(PATIENCE, connection.request(op, fields)).await {
            Ok(answer) => answer,
            Err(_) => {
                connection.cut();
                Err(WireError::Closed(connection.closed().await))
            }
        }
    }

    /// Asks without caring for the answer.
    async fn tell(&self, op: &str, fields: Value) {
        if let Some((connection, _)) = &self.link {
            let _ = connection.post(op, fields).await;
        }
    }

    async fn connect(&mut self) -> Result<(), WireError> {
        let connecting = self.account.connect();
        let connected = tokio::time::timeout(PATIENCE, connecting).await;
        let (connection, events, welcome) = connected.unwrap_or_else(|_| {
            Err(WireError::Closed(Closing {
                reason: "no answer".to_owned(),
                ..Closing::default()
            }))
        })?;
        let beat = welcome["heartbeat_ms"].as_u64().unwrap_or(30_000);
        connection.keep_alive(Duration::from_millis(beat)).await;
        self.link = Some((connection, events));
        self.pause = FIRST_PAUSE;
        let me = |field: &str| {
            welcome["user"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.me = (me("id"), me("username"));
        self.state.learn(&welcome["user"]);
        if self.since.is_some() {
            self.catch_up().await?;
            self.watch_again().await?;
            self.say("* connected again").await;
        } else {
            self.since = welcome["since"].as_str().map(str::to_owned);
            self.load_conversations().await?;
            let greeting = format!(
                "* you are {} on {}; :help shows the commands",
                self.me.1,
                self.account.server()
            );
            self.say(&greeting).await;
            self.list_unread().await;
        }
        Ok(())
    }

    async fn connect_again(&mut self) {
        let Err(error) = self.connect().await else {
            return;
        };
        if let Some((connection, _)) = self.link.take() {
            connection.cut();
        }
        match error.code() {
            "banned" | "invalid_grant" | "unauthenticated" => {
                let why = render::refusal(&error);
                self.say(&format!("! the server lets you in no more: {why}"))
                    .await;
                self.over = Some(ExitCode::from(1));
            }
            _ => self.wait_to_connect(error.retry_after_ms()),
        }
    }

    fn wait_to_connect(&mut self, asked_ms: Option<u64>) {
        // Not all clients of a server that went should come back at the same moment.
        let pause = self.pause.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.connect_at = Instant::now() + asked_ms.map_or(pause, Duration::from_millis).max(pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// The connection is gone: says why, and when it makes sense prepares the next.
    async fn lost(&mut self) {
        let Some((connection, _)) = self.link.take() else {
            return;
        };
        let closing = connection.closed().await;
        self.outbox.forget_requests(Instant::now());
        let (meaning, comes_back) = match closing.reason.as_str() {
            "banned" => ("the account is disabled", false),
            "kicked" => ("an administrator ended the session", false),
            "replaced" => (
                "this device, or too many of them, connected from elsewhere",
                false,
            ),
            "unauthenticated" | "expired" => ("the sign-in is good no more", true),
            "draining" => ("the server is being stopped", true),
            "slow" => ("this client read too slowly", true),
            "too_fast" => ("this client asked too fast", true),
            "idle" => ("nothing was heard from this client", true),
            _ => ("connection lost", true),
        };
        self.say(&format!("! {meaning}: {closing}")).await;
        if comes_back {
            self.wait_to_connect(closing.retry_after_ms);
        } else {
            self.over = Some(ExitCode::from(1));
        }
    }

    async fn leave(mut self) -> ExitCode {
        if let Some((connection, _)) = self.link.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), connection.close()).await;
        }
        let unsent = self.outbox.len();
        if unsent > 0 {
            self.say(&format!("! {unsent} messages were not sent"))
                .await;
        }
        let broken_off = self.transfers.len();
        if broken_off > 0 {
            self.say(&format!("! {broken_off} files did not arrive"))
                .await;
        }
        self.terminal.close();
        match self.over {
            Some(code) => code,
            None if unsent + broken_off > 0 => ExitCode::from(1),
            None => ExitCode::SUCCESS,
        }
    }

    pub(super) fn quit(&mut self) {
        self.over = Some(if self.has_nothing_under_way() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(1)
        });
    }

    pub(super) async fn say(&self, line: &str) {
        self.terminal.print(line).await;
    }

    pub(super) async fn fail(&self, error: &WireError) {
        self.say(&format!("! {}", render::refusal(error))).await;
    }

    pub(super) fn clock(&self, at_ms: u64) -> String {
        render::clock(at_ms, Timestamp::now(), &self.zone)
    }

    /// Where one is.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    async fn prompt(&self) {
        let name = self.open.as_ref().map_or("", |(_, name)| name.as_str());
        self.terminal.prompt(&format!("{name}> ")).await;
    }
}

async fn next_of(events: Option<&mut Events>) -> Option<Incoming> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether what was refused may be sent again, by itself.
fn goes_again(error: &WireError) -> bool {
    outbox::may_be_sent_again(error)
}
