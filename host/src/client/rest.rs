//! The REST half of the protocol: accounts, lists, and any path by hand.
//! It keeps nothing but an address and a token, and retries nothing.

mod media;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Device, Refused, WireError, choose_tls_provider, root_cause};

pub use media::Download;

/// A client of one server, signed in or not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// Any answer, refusals included.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// `null` when the answer has no body.
    pub body: Value,
}

/// What the token endpoint gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds the access token is good.
    pub expires_in: u64,
}

impl Rest {
    /// `base` is an address as `http://127.0.0.1:7700`. Nothing is connected yet.
    pub fn new(base: &str) -> Result<Self, WireError> {
        choose_tls_provider();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self {
            http: http.map_err(|error| WireError::Unreachable {
                url: base.to_owned(),
                why: root_cause(&error),
            })?,
            base: base.trim_end_matches('/').to_owned(),
            token: None,
        })
    }

    /// The same server, asked with this access token.
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self.clone()
        }
    }

    /// The address, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Makes a user: `{id, username, display_name}`.
    pub async fn register(
        &self,
        username: &str,
        password: &str,
        display_name: Option<&str>,
    ) -> Result<Value, WireError> {
        let mut body = json!({"username": username, "password": password});
        if let Some(name) = display_name {
            body["display_name"] = name.into();
        }
        self.post("/v1/users", body).await
    }

    /// The password grant; the tokens are bound to the device.
    pub async fn sign_in(
        &self,
        username: &str,
        password: &str,
        device: &Device,
    ) -> Result<Tokens, WireError> {
        self.grant(&[
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
            ("device_id", &device.id),
            ("device_kind", &device.kind),
        ])
        .await
    }

    /// The refresh grant; the token given is used up.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, WireError> {
        self.grant(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ])
        .await
    }

    /// Signs a token's device out.
    pub async fn revoke(&self, token: &str) -> Result<(), WireError> {
        let answer = self.form("/v1/oauth/revoke", &[("token", token)]).await?;
        answer.good().map(drop)
    }

    pub async fn me(&self) -> Result<Value, WireError> {
        self.get("/v1/me").await
    }

    /// Users whose names fit, best first.
    pub async fn users(&self, query: &str) -> Result<Vec<Value>, WireError> {
        let found = self
            .get(&format!("/v1/users?query={}", encoded(query)))
            .await?;
        Ok(items(found, "users"))
    }

    pub async fn user(&self, id: &str) -> Result<Value, WireError> {
        self.get(&format!("/v1/users/{}", encoded(id))).await
    }

    /// The first page of those the caller has blocked.
    pub async fn blocks(&self) -> Result<Vec<Value>, WireError> {
        Ok(items(self.get("/v1/blocks").await?, "blocks"))
    }

    pub async fn block(&self, user: &str) -> Result<(), WireError> {
        let path = format!("/v1/blocks/{}", encoded(user));
        self.put(&path, json!({})).await.map(drop)
    }

    pub async fn unblock(&self, user: &str) -> Result<(), WireError> {
        self.delete(&format!("/v1/blocks/{}", encoded(user)))
            .await
            .map(drop)
    }

    /// The first page of the caller's held messages.
    pub async fn held(&self) -> Result<Vec<Value>, WireError> {
        Ok(items(self.get("/v1/held").await?, "held"))
    }

    pub async fn get(&self, path: &str) -> Result<Value, WireError> {
        self.call(Method::GET, path, None).await?.good()
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, WireError> {
        self.call(Method::POST, path, Some(body)).await?.good()
    }

    pub async fn put(&self, path: &str, body: Value) -> Result<Value, WireError> {
        self.call(Method::PUT, path, Some(body)).await?.good()
    }

    pub async fn patch(&self, path: &str, body: Value) -> Result<Value, WireError> {
        self.call(Method::PATCH, path, Some(body)).await?.good()
    }

    pub async fn delete(&self, path: &str) -> Result<Value, WireError> {
        self.call(Method::DELETE, path, None).await?.good()
    }

    /// Any request; an answer of any status is an answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, WireError> {
        let request = self.request(method, path);
        self.send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// Any request with a body of any kind.
    pub async fn call_raw(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer, WireError> {
        let request = self.request(method, path);
        self.send(request.header("content-type", content_type).body(body))
            .await
    }

    async fn grant(&self, form: &[(&str, &str)]) -> Result<Tokens, WireError> {
        let body = self.form("/v1/oauth/token", form).await?.good()?;
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        let tokens = (text("access_token"), text("refresh_token"));
        let (Some(access_token), Some(refresh_token)) = tokens else {
            return Err(WireError::Unintelligible("an answer without tokens".into()));
        };
        Ok(Tokens {
            access_token,
            refresh_token,
            expires_in: body["expires_in"].as_u64().unwrap_or_default(),
        })
    }

    async fn form(&self, path: &str, form: &[(&str, &str)]) -> Result<Answer, WireError> {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, WireError> {
        let unreachable = |error: reqwest::Error| self.unreachable(&error);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(unreachable)?;
        Answer::read(status, &bytes)
    }

    fn unreachable(&self, error: &reqwest::Error) -> WireError {
        WireError::Unreachable {
            url: self.base.clone(),
            why: root_cause(error),
        }
    }
}

impl Answer {
    fn read(status: u16, body: &[u8]) -> Result<Self, WireError> {
        let body = match body {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|error| {
                WireError::Unintelligible(format!("status {status} with a body of {error}"))
            })?,
        };
        Ok(Self { status, body })
    }

    /// The body of a success, the refusal of anything else.
    pub fn good(self) -> Result<Value, WireError> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        Err(match Refused::read(Some(self.status), &self.body) {
            Some(refused) => WireError::Refused(refused),
            None => WireError::Unintelligible(format!("status {} without a code", self.status)),
        })
    }
}

fn items(mut page: Value, noun: &str) -> Vec<Value> {
    match page[noun].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Percent-encodes one path segment or query value.
pub fn encoded(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_everything_the_server_said() {
        let body = json!({"code": "rate_limited", "message": "slow down", "retry_after_ms": 250});
        let error = Answer { status: 429, body }.good().expect_err("a refusal");
        assert_eq!((error.code(), error.status()), ("rate_limited", Some(429)));
        assert_eq!(error.retry_after_ms(), Some(250));
        let body = json!({"error": "invalid_grant", "error_description": "wrong password"});
        let error = Answer { status: 400, body }.good().expect_err("a refusal");
        assert_eq!(error.to_string(), "invalid_grant: wrong password");
        let strange = Answer {
            status: 502,
            body: Value::Null,
        }
        .good()
        .expect_err("no answer");
        assert_eq!(strange.code(), "unintelligible");
    }

    #[test]
    fn any_name_can_stand_in_a_query() {
        assert_eq!(encoded("小明 &=a.b"), "%E5%B0%8F%E6%98%8E%20%26%3Da.b");
    }
}
