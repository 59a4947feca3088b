//! The audit log: who did what, when, from what to what; as pages, and as a stream of server-sent events that can be taken
//! up again behind any line. A stream reads the log itself: nothing is buffered for it, and nothing is lost by it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, PAGES, bearer};
use crate::gateway::respond::Answer;
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::accounts::{AuditEntry, AuditQuery};

/// Streams open at once.
const STREAMS_MOST: usize = 32;
/// Lines read at once for a stream.
const STREAM_PAGE: usize = 100;
/// After so long without a line the log and the token are looked at again.
const LOOK: Duration = Duration::from_secs(10);

/// What bounds and ends streams of events.
#[derive(Clone)]
pub struct Streams {
    free: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Streams {
    /// They end when `stopped` turns true.
    pub fn new(stopped: watch::Receiver<bool>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(STREAMS_MOST)),
            stopped,
        }
    }
}

pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(audit))
        .routes(routes!(events))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditWish {
    /// Lines behind this one, oldest first; without it the newest come first.
    after: Option<u64>,
    /// Lines before this one.
    before: Option<u64>,
    /// What the actions begin with, such as `plugin.`.
    #[serde(default)]
    prefix: String,
    limit: Option<usize>,
}

/// Lines of the audit log.
#[utoipa::path(get, path = "/audit", params(AuditWish),
    responses((status = 200, description = "`lines`, a list of `id`, `at`, `actor`, `action`, `subject` (of `plugin.` the plugin's name), `from`, `to`, `detail`")))]
async fn audit(
    State(admin): State<Admin>,
    _: Administrator,
    Query(wish): Query<AuditWish>,
) -> Result<Json<Value>, Answer> {
    let query = AuditQuery {
        after: wish.after,
        before: wish.before,
        prefix: wish.prefix,
        limit: wish.limit.unwrap_or(PAGES.default).clamp(1, PAGES.most),
    };
    let lines = admin.accounts.audit_page(&query).await;
    let lines = lines.map_err(|e| store_refusal(&e))?;
    Ok(Json(json!({"lines": lines})))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventsWish {
    /// Begin behind this line; without it (and without `Last-Event-ID`) with the next one that is written.
    after: Option<u64>,
    /// What the actions begin with, such as `plugin.`.
    #[serde(default)]
    prefix: String,
}

/// The audit log as it is written: server-sent events, each with its line's id.
#[utoipa::path(get, path = "/events", params(EventsWish, ("last-event-id" = Option<u64>, Header, description = "the last line seen; `after` is over it")),
    responses((status = 200, content_type = "text/event-stream", body = String, description = "`event` is the action, `data` the line as JSON"), (status = 400), (status = 429)))]
async fn events(
    State(admin): State<Admin>,
    _: Administrator,
    headers: HeaderMap,
    Query(wish): Query<EventsWish>,
) -> Result<Response, Answer> {
    let seen = match headers.get("last-event-id") {
        None => None,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse().ok());
            let wrong = || Refusal::bad_request("Last-Event-ID is the id of a line");
            Some(id.ok_or_else(wrong)?)
        }
    };
    let place = admin.streams.free.clone().try_acquire_owned();
    let full = |_| Refusal::rate_limited(LOOK, "too many streams of events are open");
    let place = place.map_err(full)?;
    let mut audited = admin.accounts.audited();
    let newest = *audited.borrow_and_update();
    let following = Following {
        after: wish.after.or(seen).unwrap_or(newest),
        prefix: wish.prefix,
        token: bearer(&headers).to_owned(),
        stopped: admin.streams.stopped.clone(),
        audited,
        admin,
        waiting: Vec::new().into_iter(),
        _place: place,
    };
    let keep_alive = KeepAlive::new().interval(LOOK);
    let stream = Sse::new(following.stream()).keep_alive(keep_alive);
    Ok(stream.into_response())
}

/// One stream, and where it stands.
struct Following {
    admin: Admin,
    token: String,
    prefix: String,
    after: u64,
    audited: watch::Receiver<u64>,
    stopped: watch::Receiver<bool>,
    /// Read and not sent yet: at most a page.
    waiting: std::vec::IntoIter<AuditEntry>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut following| async move {
            let entry = following.next().await?;
            Some((Ok(event(&entry)), following))
        })
    }

    /// The next line; `None` when the server stops, the token is good no more, or the log cannot be read: whoever follows
    /// comes back and goes on where it was.
    async fn next(&mut self) -> Option<AuditEntry> {
        loop {
            if let Some(entry) = self.waiting.next() {
                self.after = entry.id;
                return Some(entry);
            }
            let is_stopped = *self.stopped.borrow();
            if is_stopped || self.admin.administrator(&self.token).await.is_err() {
                return None;
            }
            let newest = *self.audited.borrow_and_update();
            let query = AuditQuery {
                after: Some(self.after),
                before: None,
                prefix: self.prefix.clone(),
                limit: STREAM_PAGE,
            };
            let lines = self.admin.accounts.audit_page(&query).await.ok()?;
            if lines.is_empty() {
                // What does not begin with the prefix is not read again.
                self.after = self.after.max(newest);
                let audited = tokio::time::timeout(LOOK, self.audited.changed());
                tokio::select! {
                    _ = audited => {}
                    () = stopped(&mut self.stopped) => return None,
                }
            }
            self.waiting = lines.into_iter();
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn event(entry: &AuditEntry) -> Event {
    let data = serde_json::to_string(entry).unwrap_or_default();
    let event = Event::default().id(entry.id.to_string());
    event.event(&entry.line.action).data(data)
}
