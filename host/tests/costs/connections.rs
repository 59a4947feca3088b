//! What a connection keeps of the heap while nothing happens on it: silent since its hello, and after it has sent and
//! received a message. The clients keep nothing of the heap themselves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use kith::bench::people::User;

const CONNECTIONS: usize = 200;
/// What was counted when this was last changed on purpose, and a tenth.
const SILENT_BYTES_MOST: f64 = 2_550.0;
/// Some 430 of them are the newest entries that are kept for those who follow: of all connections at most 8 MiB.
const SPOKEN_BYTES_MOST: f64 = 5_100.0;

#[test]
fn an_idle_connection_keeps_no_more_than_it_did() {
    let _alone = super::alone();
    let runtime = super::runtime();
    let data = tempfile::tempdir().expect("a folder");
    let app = runtime.block_on(super::start(&data));
    let users = runtime.block_on(super::users(app.address, 2 * CONNECTIONS));
    let frames: Vec<_> = users.iter().map(hello).collect();
    let (warm, counted) = users.split_at(CONNECTIONS);
    let sends = |users: &[User]| -> Vec<Vec<u8>> {
        (0..users.len())
            .map(|number| send(&users[number ^ 1].id, number))
            .collect()
    };
    let (warm_sends, counted_sends) = (sends(warm), sends(counted));

    let mut first = Vec::with_capacity(CONNECTIONS);
    for frame in &frames[..CONNECTIONS] {
        first.push(Client::connect(app.address, frame));
    }
    talk(&mut first, &warm_sends);

    let mut clients = Vec::with_capacity(CONNECTIONS);
    let profiler = super::count();
    for frame in &frames[CONNECTIONS..] {
        clients.push(Client::connect(app.address, frame));
    }
    clients.iter_mut().for_each(Client::settle);
    let silent = kept();
    talk(&mut clients, &counted_sends);
    clients.iter_mut().for_each(Client::settle);
    let spoken = kept();
    drop(profiler);

    println!("{silent:.0} bytes for a silent connection, {spoken:.0} for one that has talked");
    assert!(silent <= SILENT_BYTES_MOST, "{silent:.0} bytes, silent");
    assert!(spoken <= SPOKEN_BYTES_MOST, "{spoken:.0} bytes, talked");
    runtime.block_on(app.drain());
}

/// Bytes of the heap that are in use since the count began, by connection.
fn kept() -> f64 {
    dhat::HeapStats::get().curr_bytes as f64 / CONNECTIONS as f64
}

/// Each says one thing to the other of its pair.
fn talk(clients: &mut [Client], sends: &[Vec<u8>]) {
    for (number, frame) in sends.iter().enumerate() {
        clients[number].write(frame);
        clients[number].read_until(b"{\"re\":2,\"ok\":");
        clients[number ^ 1].read_until(b"{\"ev\":\"entry\",");
    }
}

fn hello(user: &User) -> Vec<u8> {
    let token = &user.token;
    let hello = format!(
        r#"{{"id":1,"op":"hello","token":"{token}","device":{{"id":"bench","kind":"bot","name":"costs"}}}}"#
    );
    frame(1, hello.as_bytes())
}

fn send(to: &str, number: usize) -> Vec<u8> {
    let text = "x".repeat(200);
    let send = format!(
        r#"{{"id":2,"op":"send","to":{{"user":"{to}"}},"client_id":"c{number}","content":{{"type":"text","text":"{text}"}}}}"#
    );
    frame(1, send.as_bytes())
}

/// A client's frame; its mask of zeros leaves the payload as it is.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// A socket, and nothing of the heap.
struct Client(TcpStream);

impl Client {
    fn connect(address: SocketAddr, hello: &[u8]) -> Self {
        let mut client = Self(TcpStream::connect(address).expect("connects"));
        client.write(
            b"GET /v1/ws HTTP/1.1\r\nHost: kith\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        client.read_until(b"\r\n\r\n");
        client.write(hello);
        client.read_until(b"{\"re\":1,\"ok\":");
        client
    }

    /// Once the pong is here, everything before it has been dealt with.
    fn settle(&mut self) {
        self.write(&[0x89, 0x80, 0, 0, 0, 0]);
        self.read_until(&[0x8a, 0]);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("writes");
    }

    /// Reads until what is read holds `wanted` and there is nothing more to read at once.
    fn read_until(&mut self, wanted: &[u8]) {
        let (mut bytes, mut length) = ([0; 4096], 0);
        loop {
            let read = self.0.read(&mut bytes[length..]).expect("reads");
            assert!(read > 0, "the server hung up");
            length += read;
            if bytes[..length]
                .windows(wanted.len())
                .any(|some| some == wanted)
            {
                return;
            }
        }
    }
}
