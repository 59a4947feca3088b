//! REST of conversations, for bots and scripts:
//! the same operations as over the WebSocket, and the socket itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::frame::conversation_id;
use super::listen::{AddressCount, Peer};
use super::respond::{Answer, Body};
use super::{Caller, Gateway, ops, search, websocket};
use crate::delivery::{command_body, refused};
use crate::ids::ConversationId;
use crate::journey::held::Sent;
use crate::journey::search::Finder;
use crate::journey::{Draft, Target, store_refusal};
use crate::refusal::{Code, Refusal};
use crate::store::{Committed, FirstAnswer, HeldMessage, Origin, Outcome, Span};

/// What these routes share.
#[derive(Clone)]
pub struct Conversations {
    pub gateway: Arc<Gateway>,
    pub addresses: AddressCount,
    pub finder: Arc<Finder>,
}

/// A request with a good access token.
pub struct SignedIn(pub Caller);

impl FromRequestParts<Conversations> for SignedIn {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &Conversations,
    ) -> Result<Self, Response> {
        let value = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let refused = || {
            Answer(Refusal::new(
                Code::Unauthenticated,
                "a bearer token is needed",
            ))
            .into_response()
        };
        let token = value
            .and_then(|value| value.split_once(' '))
            .ok_or_else(refused)?;
        if !token.0.eq_ignore_ascii_case("bearer") {
            return Err(refused());
        }
        let doorkeeper = &state.gateway.doorkeeper;
        let caller = doorkeeper.authenticate(token.1.trim()).await;
        let admitted =
            caller.and_then(|caller| doorkeeper.admit_request(caller.user).map(|()| caller));
        admitted
            .map(SignedIn)
            .map_err(|refusal| Answer(refusal).into_response())
    }
}

/// Every route of conversations.
pub fn routes() -> OpenApiRouter<Conversations> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(history, send))
        .routes(routes!(read))
        .routes(routes!(held))
        .routes(routes!(socket))
        .merge(search::routes())
}

/// The WebSocket of everything live; subprotocols `kith.v1.json` and `kith.v1.msgpack`.
#[utoipa::path(get, path = "/v1/ws", responses((status = 101), (status = 400), (status = 429)))]
async fn socket(State(state): State<Conversations>, request: Request) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let guard = match peer {
        Some(Peer(address)) => match state.addresses.enter(address.ip()) {
            Some(guard) => Some(guard),
            None => {
                let wait = std::time::Duration::from_secs(1);
                let refusal = Refusal::rate_limited(wait, "too many connections from this address");
                return Answer(refusal).into_response();
            }
        },
        None => None,
    };
    websocket::upgrade(state.gateway, request, guard)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListWindow {
    /// From the page before.
    cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// The caller's conversations: pinned first, then the newest message.
#[utoipa::path(get, path = "/v1/conversations", params(ListWindow), security(("bearer" = [])),
    responses((status = 200, description = "`conversations`, and `cursor` while there is more"), (status = 401)))]
async fn list(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Query(window): Query<ListWindow>,
) -> Result<Json<Value>, Answer> {
    let limit = state.gateway.limits.pages.cut(window.limit)?;
    Ok(Json(
        ops::conversations_json(&state.gateway, caller.user, window.cursor.as_deref(), limit)
            .await?,
    ))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Stretch {
    /// Only entries above this seq.
    after: Option<u64>,
    /// Only entries below this seq.
    before: Option<u64>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// A stretch of a conversation, ascending; the newest page when neither bound is given.
#[utoipa::path(get, path = "/v1/conversations/{conversation}/entries", params(("conversation" = String, Path), Stretch), security(("bearer" = [])),
    responses((status = 200, description = "`entries`, `head`, `floor`"), (status = 403), (status = 404)))]
async fn history(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Query(stretch): Query<Stretch>,
) -> Result<Json<Value>, Answer> {
    let limit = state.gateway.limits.pages.cut(stretch.limit)?;
    let span = Span {
        after: stretch.after,
        before: stretch.before,
        limit,
    };
    let conversation = conversation_id(&conversation)?;
    Ok(Json(
        ops::history_json(&state.gateway, caller.user, conversation, span).await?,
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewMessage {
    /// The sender's own id, 1–64 characters.
    client_id: String,
    /// As in the protocol: `type` and its fields.
    #[schema(value_type = Object)]
    content: Value,
    /// The seq of the entry this answers.
    #[serde(default)]
    reply_to: Option<u64>,
}

/// Sends a message. 201 when it was committed now, 200 when it was before or was a plugin's command, 202 when it is held
/// or not kept.
#[utoipa::path(post, path = "/v1/conversations/{conversation}/entries", params(("conversation" = String, Path)), request_body = NewMessage, security(("bearer" = [])),
    responses((status = 201), (status = 200), (status = 202), (status = 400), (status = 403), (status = 404), (status = 409), (status = 422), (status = 429), (status = 503)))]
async fn send(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Body(message): Body<NewMessage>,
) -> Result<Response, Answer> {
    state.gateway.doorkeeper.admit_send(caller.user)?;
    let draft = Draft {
        to: Target::Conversation(conversation_id(&conversation)?),
        client_id: message.client_id,
        content: message.content,
        reply_to: message.reply_to,
        made: None,
    };
    match state
        .gateway
        .journey
        .send_and_wait(caller.user, draft)
        .await?
    {
        Sent::Now(outcome) => sent(conversation_id(&conversation)?, outcome),
        Sent::Before(conversation, first) => answered_before(conversation, first),
    }
}

fn sent(conversation: ConversationId, outcome: Outcome) -> Result<Response, Answer> {
    match outcome {
        Outcome::Committed(committed) => {
            Ok((StatusCode::CREATED, Json(committed_json(&committed))).into_response())
        }
        Outcome::Held { hold, .. } => {
            let body = json!({"conversation": conversation, "state": "held", "hold": hold});
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Outcome::Dropped => {
            let body = json!({"conversation": conversation, "state": "dropped"});
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Outcome::Command { reply } => {
            Ok(Json(command_body(conversation, reply.as_deref())).into_response())
        }
        Outcome::Resent(first) => answered_before(conversation, first),
        Outcome::Refused(_)
        | Outcome::Member { .. }
        | Outcome::Group(_)
        | Outcome::Erased { .. }
        | Outcome::Kv(_)
        | Outcome::KvDropped { .. }
        | Outcome::Done => {
            Err(Refusal::new(Code::Internal, "a send was settled as something else").into())
        }
    }
}

fn answered_before(conversation: ConversationId, first: FirstAnswer) -> Result<Response, Answer> {
    let body = match first {
        FirstAnswer::Committed { seq, id, replaced } => {
            let mut body = json!({
                "conversation": conversation, "seq": seq, "id": id, "at": id.at_ms(), "state": "committed",
            });
            if let Some(content) = replaced {
                body["content"] = serde_json::from_str(content.get()).unwrap_or_default();
            }
            body
        }
        FirstAnswer::Held { hold } => {
            json!({"conversation": conversation, "state": "held", "hold": hold})
        }
        FirstAnswer::Dropped => json!({"conversation": conversation, "state": "dropped"}),
        FirstAnswer::Command { reply } => {
            return Ok(Json(command_body(conversation, reply.as_deref())).into_response());
        }
        FirstAnswer::Refused { by, reason } => return Err(refused(&by, &reason).into()),
    };
    Ok(Json(body).into_response())
}

fn committed_json(committed: &Committed) -> Value {
    let entry = &committed.entry;
    let mut body = json!({
        "conversation": entry.conversation, "seq": entry.seq, "id": entry.id, "at": entry.at, "state": "committed",
    });
    if committed.replaced
        && let Some(content) = entry
            .message()
            .and_then(|message| message.content.as_deref())
    {
        body["content"] = serde_json::from_str(content.get()).unwrap_or_default();
    }
    body
}

#[derive(Debug, Deserialize, ToSchema)]
struct Read {
    /// Everything up to here was read.
    seq: u64,
}

/// Moves the caller's `read` forward.
#[utoipa::path(post, path = "/v1/conversations/{conversation}/read", params(("conversation" = String, Path)), request_body = Read, security(("bearer" = [])),
    responses((status = 200), (status = 400), (status = 403), (status = 404)))]
async fn read(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Body(Read { seq }): Body<Read>,
) -> Result<Json<Value>, Answer> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let conversation = conversation_id(&conversation)?;
    state
        .gateway
        .journey
        .read(caller.user, conversation, seq, Origin::Caller(sender))
        .await?;
    match receiver.await {
        Ok(Ok(_)) => Ok(Json(json!({}))),
        Ok(Err(error)) => Err(crate::journey::commit_refusal(&error).into()),
        Err(_) => Err(Refusal::new(Code::Timeout, "not known whether it was stored").into()),
    }
}

/// The caller's held messages, refused ones among them.
#[utoipa::path(get, path = "/v1/held", params(ListWindow), security(("bearer" = [])),
    responses((status = 200, description = "`held`, and `cursor` while there is more"), (status = 401)))]
async fn held(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Query(window): Query<ListWindow>,
) -> Result<Json<Value>, Answer> {
    let limit = state.gateway.limits.pages.cut(window.limit)?;
    let after = match window.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let page = state
        .gateway
        .journey
        .log
        .held_page(Some(caller.user), after, limit + 1)
        .await;
    let mut page = page.map_err(|error| store_refusal(&error))?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut answer = json!({"held": page.iter().map(|held| held_json(held)).collect::<Vec<_>>()});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

fn held_json(held: &HeldMessage) -> Value {
    let hold = &held.hold;
    let mut row = json!({
        "hold": held.id,
        "conversation": hold.conversation,
        "client_id": hold.key.as_ref().map(|key| &key.client_id),
        "content": hold.content,
        "at": held.at,
        "state": if held.refused.is_some() { "refused" } else { "held" },
    });
    if let Some(target) = hold.edits {
        row["edits"] = target.into();
    }
    if let Some(reason) = &held.refused {
        row["reason"] = reason.as_str().into();
    }
    row
}
