//! A registry that speaks the distribution protocol as far as plugins are pulled by it, with good manners and with bad
//! ones. It writes down who asked for what, and how they proved who they are.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{StreamExt, stream};
use kith::oci::{Artifact, Described, Descriptor, Digest};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::component;

/// The repository every registry here has.
pub const REPOSITORY: &str = "team/words";
pub const USER: &str = "ann";
pub const PASSWORD: &str = "password-1";
const TOKEN: &str = "a-token-of-the-registry";

/// What a registry wants to know, and what it does to what it gives.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// Basic, or a token that the address gives.
    pub asks: Asks,
    pub blobs: Blobs,
    /// In place of every manifest.
    pub manifest: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Asks {
    #[default]
    Nothing,
    Password,
    /// A token, given at this URL.
    Token(String),
    /// In a way of its own.
    Oddly,
}

/// How blobs are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Blobs {
    #[default]
    Whole,
    /// By a redirect to what this is followed by.
    At(String),
    /// To the same place for ever.
    InCircles,
    Other,
    CutOff,
    Endless,
    Stated(u64),
    Failing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
}

struct Held {
    manners: Manners,
    /// By digest, and the tag `1.0`.
    manifests: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Vec<u8>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running registry; ends with this.
pub struct Registry {
    pub address: SocketAddr,
    pub manifest: Digest,
    held: Arc<Held>,
    task: JoinHandle<()>,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A first-party plugin as an artifact.
pub fn artifact(name: &str) -> Artifact {
    Artifact::of(Described {
        name,
        version: "0.1.0",
        summary: "A plugin of the tests.",
        component: &component(name),
        signature: None,
    })
}

impl Registry {
    /// With the word filter.
    pub async fn start(manners: Manners) -> Self {
        Self::with(manners, &["word-filter"]).await
    }

    /// With several, the first of which has the tag; an index of all is what `manifest` leads to when there are more.
    pub async fn with(manners: Manners, names: &[&str]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mut manifests, mut blobs, mut entries) = (HashMap::new(), HashMap::new(), Vec::new());
        for name in names {
            let artifact = artifact(name);
            for (descriptor, bytes) in artifact.blobs {
                if descriptor.digest == artifact.entry.digest {
                    manifests.insert(descriptor.digest, bytes);
                } else {
                    blobs.insert(descriptor.digest, bytes);
                }
            }
            entries.push(artifact.entry);
        }
        let mut root = entries[0].digest.clone();
        if let [_, _, ..] = &*entries {
            let index = index(&entries).to_string().into_bytes();
            root = Digest::of(&index).to_string();
            manifests.insert(root.clone(), index);
        }
        manifests.insert("1.0".to_owned(), manifests[&root].clone());
        let held = Arc::new(Held {
            manners,
            manifests,
            blobs,
            asked: Mutex::default(),
        });
        let routes = Router::new()
            .route("/v2/{*rest}", get(answer))
            .route("/token", get(token))
            .route("/elsewhere/{digest}", get(elsewhere))
            .with_state(held.clone());
        let served = async move { axum::serve(listener, routes).await.expect("serves") };
        Self {
            address,
            manifest: Digest::parse(&root).expect("a digest"),
            held,
            task: tokio::spawn(served),
        }
    }

    /// `REGISTRY/REPOSITORY` of this.
    pub fn repository(&self) -> String {
        format!("{}/{REPOSITORY}", self.address)
    }

    pub fn reference(&self) -> String {
        format!("{}@{}", self.repository(), self.manifest)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.held.asked.lock().clone()
    }

    /// The proofs of those who asked for something whose path begins so.
    pub fn proofs(&self, path: &str) -> Vec<Option<String>> {
        let asked = self.asked().into_iter();
        asked
            .filter(|asked| asked.path.starts_with(path))
            .map(|asked| asked.authorization)
            .collect()
    }
}

fn index(entries: &[Descriptor]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    })
}

/// As `Authorization` has a name and a password.
pub fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

pub fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn note(held: &Held, request: &Request) -> Option<String> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| value.to_str().expect("text").to_owned());
    held.asked.lock().push(Asked {
        path: request.uri().path().to_owned(),
        authorization: authorization.clone(),
    });
    authorization
}

async fn answer(
    State(held): State<Arc<Held>>,
    Path(rest): Path<String>,
    request: Request,
) -> Response {
    let authorization = note(&held, &request);
    let (wanted, challenge) = match &held.manners.asks {
        Asks::Nothing => (None, String::new()),
        Asks::Password => (
            Some(basic(USER, PASSWORD)),
            "Basic realm=\"team\"".to_owned(),
        ),
        Asks::Token(realm) => (
            Some(bearer()),
            format!(
                "Bearer realm=\"{realm}\",service=\"the registry\",scope=\"repository:{REPOSITORY}:pull\""
            ),
        ),
        Asks::Oddly => (Some(String::new()), "Negotiate".to_owned()),
    };
    if wanted.is_some() && authorization != wanted {
        let headers = [(header::WWW_AUTHENTICATE, challenge)];
        let words = json!({"errors": [{"code": "UNAUTHORIZED", "message": "who\u{1b}[31m asks?"}]});
        return (StatusCode::UNAUTHORIZED, headers, words.to_string()).into_response();
    }
    let path = rest
        .strip_prefix(&format!("{REPOSITORY}/"))
        .unwrap_or_default();
    let found = match path.split_once('/') {
        Some(("manifests", name)) => held.manifests.get(name).map(|bytes| {
            let bytes = held.manners.manifest.as_ref().unwrap_or(bytes);
            bytes.clone().into_response()
        }),
        Some(("blobs", digest)) => held
            .blobs
            .get(digest)
            .map(|bytes| blob(&held, digest, bytes, request.uri().path())),
        _ => None,
    };
    found.unwrap_or_else(|| {
        let words = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]});
        (StatusCode::NOT_FOUND, words.to_string()).into_response()
    })
}

fn blob(held: &Held, digest: &str, bytes: &[u8], path: &str) -> Response {
    let redirect = |to: String| {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, to.parse().expect("a header"));
        (StatusCode::TEMPORARY_REDIRECT, headers).into_response()
    };
    match &held.manners.blobs {
        Blobs::Whole => bytes.to_vec().into_response(),
        Blobs::At(place) => redirect(format!("{place}{digest}")),
        Blobs::InCircles => redirect(path.to_owned()),
        Blobs::Other => {
            let mut other = bytes.to_vec();
            other[0] ^= 1;
            other.into_response()
        }
        Blobs::CutOff => {
            let half = bytes[..bytes.len() / 2].to_vec();
            // The half goes out before the end comes.
            let end = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut off"))
            });
            let parts = stream::once(async { Ok(half) }).chain(end);
            Body::from_stream(parts).into_response()
        }
        Blobs::Endless => {
            let parts = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10]));
            Body::from_stream(parts).into_response()
        }
        Blobs::Stated(bytes) => {
            let headers = [(header::CONTENT_LENGTH, bytes.to_string())];
            let nothing = stream::pending::<Result<Vec<u8>, std::io::Error>>();
            (headers, Body::from_stream(nothing)).into_response()
        }
        Blobs::Failing => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
    }
}

/// Gives tokens to whom knows the password.
async fn token(State(held): State<Arc<Held>>, request: Request) -> Response {
    let authorization = note(&held, &request);
    let query = request.uri().query().unwrap_or_default().to_owned();
    let asks_rightly = query.contains("service=the+registry")
        && query.contains("scope=repository%3Ateam%2Fwords%3Apull");
    if !asks_rightly || authorization != Some(basic(USER, PASSWORD)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    json!({"token": TOKEN, "expires_in": 60})
        .to_string()
        .into_response()
}

/// Where blobs are that the registry only points to.
async fn elsewhere(
    State(held): State<Arc<Held>>,
    Path(digest): Path<String>,
    request: Request,
) -> Response {
    note(&held, &request);
    match held.blobs.get(&digest) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
