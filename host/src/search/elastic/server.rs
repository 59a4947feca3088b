//! One request to the server and its answer, and what an answer that is none means. Every request has a time it may
//! take. Passwords are in no error's text.

use std::error::Error as _;
use std::time::Duration;

use elasticsearch::auth::Credentials;
use elasticsearch::http::headers::HeaderMap;
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, Url};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::search::SearchError;

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no answer, or one that asks to come again later.
    #[error("{0}")]
    Away(String),
    /// What was asked for is not there.
    #[error("there is no such index or document: {0}")]
    Missing(String),
    /// Somebody else wrote in between.
    #[error("another writer came in between: {0}")]
    Conflict(String),
    /// The server wants something else.
    #[error("{0}")]
    Refused(String),
}

impl From<Trouble> for SearchError {
    /// An index that is gone is made anew; everything else may pass.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Missing(_) => Self::Damaged(trouble.to_string()),
            _ => Self::Unavailable(trouble.to_string()),
        }
    }
}

/// A server that speaks what Elasticsearch and OpenSearch have in common.
pub struct Server {
    transport: Transport,
    /// Without credentials.
    pub shown: String,
}

impl Server {
    /// Speaks to nobody yet. What is wrong with the address is said in one line.
    pub fn new(url: &str, user: &str, password: &str) -> Result<Self, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut url: Url = url
            .parse()
            .map_err(|_| "search.url must be an http or https URL".to_owned())?;
        let within = |text: Option<&str>| {
            let text = percent_decode_str(text.unwrap_or_default());
            text.decode_utf8_lossy().into_owned()
        };
        let (user, password) = match user {
            "" => (within(Some(url.username())), within(url.password())),
            user => (user.to_owned(), password.to_owned()),
        };
        // From here on they are not in what an error may show.
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        if cleared.is_err() || !matches!(url.scheme(), "http" | "https") {
            return Err("search.url must be an http or https URL".to_owned());
        }
        let shown = url.to_string().trim_end_matches('/').to_owned();
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy();
        if !user.is_empty() {
            builder = builder.auth(Credentials::Basic(user, password));
        }
        let transport = builder
            .build()
            .map_err(|error| format!("search.url: {error}"))?;
        Ok(Self { transport, shown })
    }

    pub async fn get(&self, path: &str, patience: Duration) -> Result<Value, Trouble> {
        self.call(Method::Get, path, None, patience).await
    }

    pub async fn post(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Value, Trouble> {
        self.call(Method::Post, path, Some(body.to_string()), patience)
            .await
    }

    pub async fn put(
        &self,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Value, Trouble> {
        self.call(Method::Put, path, Some(body.to_string()), patience)
            .await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        patience: Duration,
    ) -> Result<Value, Trouble> {
        let query = None::<&()>;
        let headers = HeaderMap::new();
        let sent = self
            .transport
            .send(method, path, headers, query, body, Some(patience));
        let away = |error: elasticsearch::Error| Trouble::Away(self.silence(&error, patience));
        let response = sent.await.map_err(away)?;
        let status = response.status_code().as_u16();
        let text = response.text().await.map_err(away)?;
        if (200..300).contains(&status) {
            return serde_json::from_str(&text).map_err(|_| {
                Trouble::Refused(format!("{} answers something that is no JSON", self.shown))
            });
        }
        let why = reason(&text);
        Err(match status {
            404 => Trouble::Missing(why),
            409 => Trouble::Conflict(why),
            401 | 403 => Trouble::Refused(format!("{} does not let us: {why}", self.shown)),
            429 | 500.. => Trouble::Away(format!("{} answers {status}: {why}", self.shown)),
            _ => Trouble::Refused(format!("{} answers {status}: {why}", self.shown)),
        })
    }

    /// What kept an answer from coming, without the request's own address.
    fn silence(&self, error: &elasticsearch::Error, patience: Duration) -> String {
        if error.is_timeout() {
            return format!("{} did not answer within {patience:?}", self.shown);
        }
        let mut cause = error.source();
        let mut told = "no connection".to_owned();
        while let Some(inner) = cause {
            cause = inner.source();
            if cause.is_none() {
                told = inner.to_string();
            }
        }
        format!("cannot reach {}: {told}", self.shown)
    }
}

/// What the server says is wrong, short.
fn reason(body: &str) -> String {
    const SHOWN: usize = 200;
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &answer["error"];
    let told = error["reason"].as_str().or(error.as_str());
    let told = told.map_or_else(|| body.trim(), str::trim);
    match told {
        "" => "it does not say why".to_owned(),
        told => told.chars().take(SHOWN).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_come_out_of_the_url_and_are_shown_nowhere() {
        let server = Server::new("http://kith:p%40ss%2Fw%zz@localhost:9200/sub", "", "");
        let server = server.expect("good");
        assert_eq!(server.shown, "http://localhost:9200/sub");
        let transport = format!("{:?}", server.transport);
        assert!(transport.contains("p@ss/w%zz"), "{transport}");
        for wrong in ["", "localhost", "ftp://localhost", "mailto:a@b"] {
            assert!(Server::new(wrong, "", "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_short() {
        let told = |body: &str| reason(body);
        assert_eq!(told(r#"{"error":{"type":"a","reason":"b c"}}"#), "b c");
        assert_eq!(told(r#"{"error":"alias missing"}"#), "alias missing");
        assert_eq!(told("Unauthorized\n"), "Unauthorized");
        assert_eq!(told(""), "it does not say why");
        assert_eq!(told(&"x".repeat(900)).len(), 200);
    }
}
