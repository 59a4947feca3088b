//! The yardstick: the least a durable message can cost here. A WebSocket relay that appends each message to a file and
//! syncs it before the ack and the delivery. No accounts, no plugins, no order but the file's; it is no chat server.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::speech::anchor::{self, ACK, DELIVERY, HEADER};

/// Each connection's buffers, bytes.
const BUFFER: usize = 4096;

type Routes = Arc<Mutex<HashMap<u32, UnboundedSender<Message>>>>;

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
    let routes = Routes::default();
    let (log, records) = mpsc::channel();
    let receivers = routes.clone();
    thread::spawn(move || append(file, &records, &receivers));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(accept(routes, log))
}

async fn accept(routes: Routes, log: mpsc::Sender<Record>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("anchor: {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream, routes.clone(), log.clone()));
    }
}

/// One client: its first frame says its number, every other one is a message.
async fn connection(stream: TcpStream, routes: Routes, log: mpsc::Sender<Record>) -> Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER);
    let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let (sink, mut stream) = socket.split();
    let Some(Ok(Message::Binary(hello))) = stream.next().await else {
        return Ok(());
    };
    let from = anchor::number_at(&hello, 0);
    let (sender, outgoing) = unbounded_channel();
    let _ = sender.send(Message::Binary(anchor::short(ACK, 0)));
    routes.lock().insert(from, sender);
    tokio::spawn(write(sink, outgoing));
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(payload) = message else {
            continue;
        };
        let record = Record {
            from,
            to: anchor::number_at(&payload, 0),
            number: anchor::number_at(&payload, 4),
            payload,
        };
        if log.send(record).is_err() {
            break;
        }
    }
    routes.lock().remove(&from);
    Ok(())
}

/// Writes what waits, then flushes once.
async fn write(
    mut sink: futures_util::stream::SplitSink<WebSocketStream<TcpStream>, Message>,
    mut outgoing: UnboundedReceiver<Message>,
) -> Result<()> {
    while let Some(message) = outgoing.recv().await {
        sink.feed(message).await?;
        while let Ok(message) = outgoing.try_recv() {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

/// The file's thread: everything that waits is one write and one sync; acks and deliveries follow it.
fn append(mut file: File, records: &mpsc::Receiver<Record>, routes: &Routes) {
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
        let routes = routes.lock();
        for record in batch {
            if let Some(sender) = routes.get(&record.from) {
                let _ = sender.send(Message::Binary(anchor::short(ACK, record.number)));
            }
            if let Some(receiver) = routes.get(&record.to) {
                let mut frame = Vec::with_capacity(1 + record.payload.len() - HEADER + 4);
                frame.push(DELIVERY);
                frame.extend_from_slice(&record.payload[4..]);
                let _ = receiver.send(Message::Binary(frame.into()));
            }
        }
    }
}
