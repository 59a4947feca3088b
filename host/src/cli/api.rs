//! The administration API as the commands use it:
//! one place for address, token and error texts.

use anyhow::{Context, Result, anyhow};
use reqwest::Method;
use serde_json::Value;

/// Where the server is and who asks.
#[derive(Debug, Clone, clap::Args)]
pub struct Server {
    /// The administration address.
    #[arg(
        long,
        env = "KITH_ADMIN_URL",
        default_value = "http://127.0.0.1:7701",
        global = true
    )]
    pub admin_url: String,
    /// An administrator's token.
    #[arg(long, env = "KITH_ADMIN_TOKEN", hide_env_values = true, global = true)]
    pub admin_token: Option<String>,
    /// Machine-readable output.
    #[arg(long, global = true)]
    pub json: bool,
}

/// A client of the administration API.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// What a request carries.
#[derive(Debug)]
pub enum Body {
    None,
    Json(Value),
    /// A component, with its signature if there is one.
    Component(Vec<u8>, Option<String>),
    Csv(String),
}

impl Api {
    pub fn new(server: &Server) -> Result<Self> {
        let token = server
            .admin_token
            .clone()
            .filter(|token| !token.is_empty())
            .context(
                "no administrator's token: set KITH_ADMIN_TOKEN (`cargo dev` prints the line; \
             `kith admin token create` makes a lasting one)",
            )?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = format!("{}/admin/v1", server.admin_url.trim_end_matches('/'));
        Ok(Self {
            http: reqwest::Client::builder().build()?,
            base,
            token,
        })
    }

    /// The answer's JSON; `null` for an empty one. A refusal is an error with the server's own words.
    pub async fn call(&self, method: Method, path: &str, body: Body) -> Result<Value> {
        let (status, bytes) = self.send(method, path, body).await?;
        let value: Value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .context("the answer is not JSON: is this the administration address?")?
        };
        if status.is_success() {
            return Ok(value);
        }
        Err(refusal(status, &value))
    }

    /// A file, as it is.
    pub async fn file(&self, path: &str) -> Result<Vec<u8>> {
        let (status, bytes) = self.send(Method::GET, path, Body::None).await?;
        if status.is_success() {
            return Ok(bytes.into());
        }
        Err(refusal(
            status,
            &serde_json::from_slice(&bytes).unwrap_or_default(),
        ))
    }

    /// An answer without an end, to be read as it comes.
    pub async fn stream(&self, path: &str) -> Result<reqwest::Response> {
        let request = self.http.get(format!("{}{path}", self.base));
        let response = request.bearer_auth(&self.token).send().await;
        let response = response.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.context("the answer broke off")?;
        let value = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(refusal(status, &value))
    }

    fn no_answer(&self, error: &reqwest::Error) -> anyhow::Error {
        anyhow!(
            "no server answers at {}: {} (`kith serve` starts one)",
            self.base,
            root_cause(error)
        )
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<(reqwest::StatusCode, bytes::Bytes)> {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(&self.token);
        let request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Component(bytes, signature) => {
                let request = request
                    .header("content-type", "application/wasm")
                    .body(bytes);
                match signature {
                    Some(signature) => {
                        request.header("x-kith-signature", signature.trim().to_owned())
                    }
                    None => request,
                }
            }
            Body::Csv(text) => request.header("content-type", "text/csv").body(text),
        };
        let response = request.send().await;
        let response = response.map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let bytes = response.bytes().await.context("the answer broke off")?;
        Ok((status, bytes))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, Body::None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, Body::Json(body)).await
    }
}

fn refusal(status: reqwest::StatusCode, value: &Value) -> anyhow::Error {
    match value["message"].as_str() {
        Some(message) => anyhow!("{message}"),
        None => anyhow!("the server answered {status}"),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Runs a command's asynchronous part to its end.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// Percent-encodes one path segment.
pub fn segment(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
