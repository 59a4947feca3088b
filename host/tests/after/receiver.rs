//! A web server on loopback that takes what plugins send and answers as its paths say.
//! For the tests here only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

/// What was taken: its path, headers and body.
#[derive(Clone)]
pub struct Taken {
    pub path: String,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Desk {
    taken: Arc<Mutex<Vec<Taken>>>,
    /// Told of each.
    pub arrived: Arc<tokio::sync::Notify>,
    /// So many are refused first.
    pub refusing: Arc<Mutex<u32>>,
}

pub struct Receiver {
    address: SocketAddr,
    pub desk: Desk,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let desk = Desk::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(take).with_state(desk.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            address,
            desk,
            serving,
        }
    }

    /// As grants name it.
    pub fn host(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The paths asked for, in order.
    pub fn taken(&self) -> Vec<String> {
        self.all().into_iter().map(|taken| taken.path).collect()
    }

    pub fn all(&self) -> Vec<Taken> {
        self.desk.taken.lock().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(desk): State<Desk>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let path = parts.uri.path().to_owned();
    desk.taken.lock().push(Taken {
        path: path.clone(),
        headers: parts.headers,
        body: body.to_vec(),
    });
    desk.arrived.notify_one();
    {
        let mut refusing = desk.refusing.lock();
        if *refusing > 0 {
            *refusing -= 1;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    match path.as_str() {
        "/elsewhere" => (StatusCode::FOUND, [("location", "/ok")]).into_response(),
        "/endless" => {
            let chunk = || Ok::<_, std::io::Error>(vec![0_u8; 65536]);
            Body::from_stream(futures_util::stream::repeat_with(chunk)).into_response()
        }
        _ => "ok".into_response(),
    }
}
