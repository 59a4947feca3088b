//! A registry, asked by the distribution protocol: manifests and blobs of one repository. It is told who asks only when it
//! wants to know; what it answers with is read to a limit and believed by nobody.

use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

pub use super::challenge::Credentials;
use super::challenge::{Challenge, may_go};
use super::documents::{INDEX, MANIFEST};
use super::reference::Reference;
use super::{DOCUMENT_BYTES_MAX, Digest, OciError, Part, Source};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longest silence of a registry.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
/// Bytes of an answer that gives a token, or says what is wrong.
const SMALL_ANSWER_MAX: u64 = 64 << 10;
const SHOWN_CHARS: usize = 200;

/// One repository of a registry.
#[derive(Debug)]
pub struct Remote {
    http: Client,
    host: String,
    repository: String,
    plain: bool,
    credentials: Credentials,
    /// What the registry took last.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Remote {
    pub fn new(reference: &Reference, credentials: Credentials) -> Result<Self, OciError> {
        let (host, plain) = (reference.host.clone(), reference.plain);
        let unusable = |why: String| OciError::Unreachable {
            host: host.clone(),
            why,
        };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let follow = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                attempt.error("it redirects in circles")
            } else if may_go(attempt.url(), plain) {
                attempt.follow()
            } else {
                attempt.error("it redirects to where there is no TLS")
            }
        });
        let mut builder = Client::builder()
            .redirect(follow)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(ANSWER_WITHIN);
        if plain {
            // What is on this machine is not asked for elsewhere.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| unusable(cause(&error)))?;
        let token = credentials.token.as_deref().map(bearer).transpose();
        let authorization =
            token.map_err(|()| unusable("the token given for it is none".to_owned()))?;
        Ok(Self {
            http,
            repository: reference.repository.clone(),
            plain,
            credentials,
            authorization: Mutex::new(authorization),
            host,
        })
    }

    /// The manifest or index of a digest, checked.
    pub async fn root(&self, digest: &Digest) -> Result<Vec<u8>, OciError> {
        let bytes = self
            .fetch(Part::Manifest, digest, DOCUMENT_BYTES_MAX)
            .await?;
        let found = Digest::of(&bytes);
        if found != *digest {
            let what = format!("what {} has as {digest}", self.host);
            return Err(OciError::Digest { what, found });
        }
        Ok(bytes)
    }

    /// Where a tag leads at this moment.
    pub async fn resolve(&self, tag: &str) -> Result<Digest, OciError> {
        let response = self.get("manifests", tag).await?;
        let bytes = self.body(response, tag, DOCUMENT_BYTES_MAX).await?;
        Ok(Digest::of(&bytes))
    }

    async fn get(&self, kind: &str, name: &str) -> Result<Response, OciError> {
        let scheme = if self.plain { "http" } else { "https" };
        let url = format!(
            "{scheme}://{}/v2/{}/{kind}/{name}",
            self.host, self.repository
        );
        let url = Url::parse(&url).map_err(|error| self.unreachable(&error))?;
        let mut response = self.send(&url).await?;
        // Not where it redirected to: who asks is no business of that one.
        let asked_by_registry = response.url().origin() == url.origin();
        if response.status() == StatusCode::UNAUTHORIZED && asked_by_registry {
            let authorization = self.authorize(&response).await?;
            *self.authorization.lock() = Some(authorization);
            response = self.send(&url).await?;
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, name).await)
    }

    async fn send(&self, url: &Url) -> Result<Response, OciError> {
        let request = self.http.get(url.clone());
        let request = request.header(ACCEPT, format!("{MANIFEST}, {INDEX}, */*"));
        let request = match self.authorization.lock().clone() {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))
    }

    /// What the registry wants to be shown.
    async fn authorize(&self, response: &Response) -> Result<HeaderValue, OciError> {
        if self.credentials.token.is_some() {
            return Err(self.answer("does not take the token"));
        }
        let challenge = Challenge::of(response.headers(), &self.repository, self.plain);
        let basic = self.credentials.basic.as_ref();
        match challenge.map_err(|why| self.answer(why))? {
            Challenge::Basic => {
                let basic = basic.ok_or_else(|| self.answer("wants a name and a password"))?;
                password(basic).map_err(|()| self.answer("cannot be sent that password"))
            }
            Challenge::Bearer(url) => self.token(*url).await,
        }
    }

    async fn token(&self, url: Url) -> Result<HeaderValue, OciError> {
        let mut request = self.http.get(url);
        if let Some((name, password)) = &self.credentials.basic {
            request = request.basic_auth(name, Some(password));
        }
        let response = request.send().await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            let who = match self.credentials.basic {
                Some(_) => "with this name and password",
                None => "without a name and a password",
            };
            let what = format!("gives no token {who}: {}", response.status());
            return Err(self.answer(what));
        }
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            access_token: Option<String>,
        }
        let bytes = self.body(response, "the token", SMALL_ANSWER_MAX).await?;
        let given = serde_json::from_slice::<Given>(&bytes).ok();
        let token = given.and_then(|given| given.token.or(given.access_token));
        let authorization = token.and_then(|token| bearer(&token).ok());
        authorization.ok_or_else(|| self.answer("gives tokens in no known form"))
    }

    /// An answer's bytes, at most `most`.
    async fn body(
        &self,
        mut response: Response,
        name: &str,
        most: u64,
    ) -> Result<Vec<u8>, OciError> {
        let what = || format!("{name} of {}", self.host);
        let too_large = || OciError::TooLarge { what: what(), most };
        if response
            .content_length()
            .is_some_and(|length| length > most)
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| self.answer(format!("broke off in {name}: {}", cause(&error))))?;
            let Some(chunk) = chunk else {
                return Ok(bytes);
            };
            if (bytes.len() + chunk.len()) as u64 > most {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Why the registry did not give something, in its own words where it has some.
    async fn refusal(&self, response: Response, name: &str) -> OciError {
        let status = response.status();
        let said = self.body(response, name, SMALL_ANSWER_MAX).await;
        let said: Value = said
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let error = &said["errors"][0];
        let words = ["code", "message"].map(|key| error[key].as_str().unwrap_or_default());
        let words = clean(words.join(" ").trim());
        let what = match status {
            StatusCode::NOT_FOUND => format!("has no {name} in {}", self.repository),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("does not let this asker read {}", self.repository)
            }
            StatusCode::TOO_MANY_REQUESTS => "was asked too often: try again later".to_owned(),
            _ => format!("answered {status} for {name}"),
        };
        match words.is_empty() {
            true => self.answer(what),
            false => self.answer(format!("{what} ({words})")),
        }
    }

    fn answer(&self, what: impl Into<String>) -> OciError {
        OciError::Answer {
            host: self.host.clone(),
            what: what.into(),
        }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> OciError {
        OciError::Unreachable {
            host: self.host.clone(),
            why: cause(error),
        }
    }
}

#[async_trait]
impl Source for Remote {
    async fn fetch(&self, part: Part, digest: &Digest, most: u64) -> Result<Vec<u8>, OciError> {
        let kind = match part {
            Part::Manifest => "manifests",
            Part::Blob => "blobs",
        };
        let response = self.get(kind, digest.as_str()).await?;
        self.body(response, digest.as_str(), most).await
    }
}

fn bearer(token: &str) -> Result<HeaderValue, ()> {
    secret(&format!("Bearer {token}"))
}

fn password((name, password): &(String, String)) -> Result<HeaderValue, ()> {
    use base64::Engine as _;
    let text = format!("{name}:{password}");
    secret(&format!(
        "Basic {}",
        base64::prelude::BASE64_STANDARD.encode(text)
    ))
}

fn secret(text: &str) -> Result<HeaderValue, ()> {
    let mut value = HeaderValue::from_str(text).map_err(drop)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What lies below an error: the rest of its text is of URLs.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Somebody else's text, fit for a terminal.
pub(super) fn clean(text: &str) -> String {
    let shown = text.chars().take(SHOWN_CHARS);
    shown
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
