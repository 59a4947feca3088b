//! The accept loop: sockets in, HTTP connections served,
//! counted by address, drained at the end.

mod range;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt;

pub use range::AddressRange;

use super::rate::network;
use crate::refusal::Refusal;

/// How long a client may take to send a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const HEADER_BYTES: usize = 16 * 1024;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Whose sockets are taken, and whom they stand for.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Sockets of everybody.
    all: Arc<Semaphore>,
    /// Sockets of one address.
    by_address: AddressCount,
    /// Their word on whom a request came from is taken, and their sockets are nobody's in particular.
    proxies: Arc<[AddressRange]>,
}

impl Entrance {
    /// So many sockets of `all` and of each address (0 is no limit) that is none of the `proxies`.
    pub fn new(all: usize, by_address: usize, proxies: &[AddressRange]) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            by_address: AddressCount::new(by_address),
            proxies: proxies.into(),
        }
    }

    fn enter(&self, address: IpAddr) -> Option<(OwnedSemaphorePermit, Option<AddressGuard>)> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        if self.is_proxy(&address) {
            return Some((permit, None));
        }
        Some((permit, Some(self.by_address.enter(address)?)))
    }

    fn is_proxy(&self, address: &IpAddr) -> bool {
        self.proxies.iter().any(|range| range.contains(address))
    }

    /// Whom a request came from: the socket's other end or, behind proxies, the nearest address that is none of them.
    fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if !self.is_proxy(&peer.ip()) {
            return peer;
        }
        let values = headers.get_all("x-forwarded-for").iter();
        let hops: Vec<_> = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|hop| hop.trim().parse::<IpAddr>())
            .collect();
        let mut nearest = hops.into_iter().rev();
        match nearest.find(|hop| !hop.as_ref().is_ok_and(|hop| self.is_proxy(hop))) {
            Some(Ok(client)) => SocketAddr::new(client, 0),
            Some(Err(_)) | None => peer,
        }
    }
}

/// Open sockets, or WebSocket connections among them, by address.
#[derive(Debug, Clone)]
pub struct AddressCount {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

impl AddressCount {
    /// `most` is how many one address may have open; 0 is no limit.
    pub fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// Counts one more until the guard is dropped; `None` when the address has enough.
    pub fn enter(&self, address: IpAddr) -> Option<AddressGuard> {
        let address = network(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_insert(0);
        if self.most > 0 && *count >= self.most {
            return None;
        }
        *count += 1;
        Some(AddressGuard {
            open: self.open.clone(),
            address,
        })
    }
}

/// One counted connection.
#[derive(Debug)]
pub struct AddressGuard {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Drop for AddressGuard {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// Accepts until `stop` turns true, then lets requests under way finish; upgraded connections go on by themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    entrance: Entrance,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let Some(guard) = entrance.enter(peer.ip()) else {
                    refuse(&socket);
                    continue;
                };
                let _ = socket.set_nodelay(true);
                let serving = one(socket, peer, router.clone(), entrance.clone(), stop.clone());
                tokio::spawn(async move {
                    serving.await;
                    drop(guard);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: accepting again at once would only spin.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Tells a client that there is no room, if it can be told without waiting.
fn refuse(socket: &TcpStream) {
    let wait = Duration::from_secs(1);
    let refusal = Refusal::rate_limited(wait, "too many connections");
    let body = serde_json::to_string(&refusal).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = socket.try_write(answer.as_bytes());
}

async fn one(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    entrance: Entrance,
    mut stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        let client = entrance.client(peer, request.headers());
        request.extensions_mut().insert(Peer(client));
        router.oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_known_proxy_is_believed_about_whom_a_request_came_from() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let range = |text: &str| AddressRange::try_from(text.to_owned()).expect("a range");
        let entrance = Entrance::new(1, 1, &[range("10.0.0.1"), range("10.0.0.2/31")]);
        let client = |peer: &str, forwarded: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a header"));
            }
            entrance.client(SocketAddr::new(ip(peer), 7), &headers).ip()
        };
        assert_eq!(client("192.0.2.1", &["203.0.113.9"]), ip("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        // What stands before the nearest address is the client's own claim.
        let claimed = ["198.51.100.7, 203.0.113.9", "10.0.0.2"];
        assert_eq!(client("10.0.0.1", &claimed), ip("203.0.113.9"));
        assert_eq!(
            client("10.0.0.1", &["203.0.113.9, unknown"]),
            ip("10.0.0.1")
        );
        assert_eq!(client("10.0.0.1", &[]), ip("10.0.0.1"));
    }
}
