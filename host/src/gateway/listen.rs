//! The accept loop: sockets in, HTTP connections served,
//! counted by address, drained at the end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

/// How long a client may take to send a request's headers.
const HEADERS: Duration = Duration::from_secs(10);
/// Most bytes of a request's headers.
const HEADER_BYTES: usize = 16 * 1024;

/// Where a request came from, as the socket says it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Open WebSocket connections by address.
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
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                let _ = socket.set_nodelay(true);
                tokio::spawn(one(socket, peer, router.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, mostly: accepting again at once would only spin.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn one(socket: TcpStream, peer: SocketAddr, router: Router, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
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
