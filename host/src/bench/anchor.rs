//! The yardstick: the least a durable message can cost here. A WebSocket relay that appends each message to a file and
//! syncs it before the ack and the delivery. No accounts, no plugins, no order but the file's; it is no chat server.

use std::cell::RefCell;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use anyhow::{Context as _, Result};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

use super::speech::anchor::{self, ACK, DELIVERY, HEADER};
use crate::maps::HashMap;

/// Each connection's buffers, bytes.
const BUFFER: usize = 4096;

/// Records that may wait for the file, and frames for one client: more than the generator ever has under way.
const WAITING: usize = 65_536;

/// What waits to be written to one client.
#[derive(Default)]
struct Outgoing {
    frames: RefCell<Vec<Message>>,
    /// Of its connection's task, while that waits.
    task: RefCell<Option<Waker>>,
}

/// What a connection's task has to do next.
enum Turn {
    Write(Vec<Message>),
    Read(Option<Result<Message, tungstenite::Error>>),
}

/// The clients, by their numbers.
type Routes = Rc<RefCell<HashMap<u32, Rc<Outgoing>>>>;

/// A message on its way to the file.
struct Record {
    from: u32,
    to: u32,
    number: u32,
    payload: Bytes,
}

/// Serves on a free port of the loopback, whose address it prints, until it is killed.
pub fn serve(folder: &Path) -> Result<()> {
    let file = File::create(folder.join("anchor.log")).context("cannot write the anchor's file")?;
    let (log, records) = mpsc::sync_channel(WAITING);
    let (synced, batches) = tokio::sync::mpsc::channel(WAITING);
    thread::spawn(move || append(file, &records, &synced));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let routes = Routes::default();
        tokio::task::spawn_local(hand_out(batches, routes.clone()));
        accept(routes, log).await
    })
}

async fn accept(routes: Routes, log: mpsc::SyncSender<Record>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("anchor: {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(connection(stream, routes.clone(), log.clone()));
    }
}

/// One client: its first frame says its number, every other one is a message.
async fn connection(
    stream: TcpStream,
    routes: Routes,
    log: mpsc::SyncSender<Record>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER);
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let Some(Ok(Message::Binary(hello))) = socket.next().await else {
        return Ok(());
    };
    let from = anchor::number_at(&hello, 0);
    let outgoing = Rc::new(Outgoing::default());
    outgoing.push(anchor::short(ACK, 0));
    routes.borrow_mut().insert(from, outgoing.clone());
    let ended = attend(&mut socket, from, &outgoing, &log).await;
    routes.borrow_mut().remove(&from);
    ended
}

/// Hands on what arrives; writes what waits, then flushes once.
async fn attend(
    socket: &mut WebSocketStream<TcpStream>,
    from: u32,
    outgoing: &Outgoing,
    log: &mpsc::SyncSender<Record>,
) -> Result<()> {
    loop {
        match poll_fn(|cx| outgoing.turn(socket, cx)).await {
            Turn::Write(frames) => {
                for frame in frames {
                    socket.feed(frame).await?;
                }
                socket.flush().await?;
            }
            Turn::Read(Some(Ok(Message::Binary(payload)))) => log.send(Record {
                from,
                to: anchor::number_at(&payload, 0),
                number: anchor::number_at(&payload, 4),
                payload,
            })?,
            Turn::Read(Some(Ok(_))) => {}
            Turn::Read(Some(Err(_)) | None) => return Ok(()),
        }
    }
}

impl Outgoing {
    /// More than may wait is left out.
    fn push(&self, frame: Bytes) {
        let mut frames = self.frames.borrow_mut();
        if frames.len() < WAITING {
            frames.push(Message::Binary(frame));
            if let Some(task) = self.task.take() {
                task.wake();
            }
        }
    }

    /// What waits to be written comes first.
    fn turn(&self, socket: &mut WebSocketStream<TcpStream>, cx: &mut Context<'_>) -> Poll<Turn> {
        let frames = self.frames.take();
        if !frames.is_empty() {
            return Poll::Ready(Turn::Write(frames));
        }
        let read = socket.poll_next_unpin(cx).map(Turn::Read);
        if read.is_pending() {
            self.task.replace(Some(cx.waker().clone()));
        }
        read
    }
}

/// The file's thread: everything that waits is one write and one sync, and handed on as a whole.
fn append(mut file: File, records: &mpsc::Receiver<Record>, synced: &Sender<Vec<Record>>) {
    let mut bytes = Vec::new();
    while let Ok(first) = records.recv() {
        let batch: Vec<Record> = std::iter::once(first).chain(records.try_iter()).collect();
        bytes.clear();
        for record in &batch {
            bytes.extend_from_slice(&record.from.to_le_bytes());
            bytes.extend_from_slice(&record.payload);
        }
        if let Err(error) = file.write_all(&bytes).and_then(|()| file.sync_data()) {
            eprintln!("anchor: the file cannot be written: {error}");
            std::process::exit(1);
        }
        if synced.blocking_send(batch).is_err() {
            return;
        }
    }
}

/// Acks and deliveries of what is durable.
async fn hand_out(mut batches: Receiver<Vec<Record>>, routes: Routes) {
    while let Some(batch) = batches.recv().await {
        let routes = routes.borrow();
        for record in batch {
            if let Some(sender) = routes.get(&record.from) {
                sender.push(anchor::short(ACK, record.number));
            }
            if let Some(receiver) = routes.get(&record.to) {
                let mut frame = Vec::with_capacity(1 + record.payload.len() - HEADER + 4);
                frame.push(DELIVERY);
                frame.extend_from_slice(&record.payload[4..]);
                receiver.push(frame.into());
            }
        }
    }
}
