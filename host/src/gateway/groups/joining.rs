//! REST of coming in by oneself: asking to join,
//! and answering those who ask.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::members::Window;
use crate::gateway::conversations::{Conversations, SignedIn};
use crate::gateway::frame::conversation_id;
use crate::gateway::respond::{Answer, Body};
use crate::ids::JoinRequestId;
use crate::journey::groups::joining::Joining;
use crate::refusal::Refusal;
use crate::store::groups::JoinRequest;

pub(super) fn routes() -> OpenApiRouter<Conversations> {
    OpenApiRouter::new()
        .routes(routes!(list, ask))
        .routes(routes!(answer))
}

#[derive(Debug, Default, Deserialize, ToSchema)]
struct Wish {
    /// At most 200 characters, for those who answer.
    text: Option<String>,
}

/// Joins an open group, or asks to be let into one by approval; asking again gives the same request. 200 when the
/// caller is a member already.
#[utoipa::path(post, path = "/v1/groups/{conversation}/join-requests", params(("conversation" = String, Path)), request_body = Wish, security(("bearer" = [])),
    responses((status = 201, description = "`state`: `joined`, or `waiting` with `id`"), (status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 413), (status = 422), (status = 503)))]
async fn ask(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    wish: Bytes,
) -> Result<Response, Answer> {
    let conversation = conversation_id(&conversation)?;
    // A wish without a word needs no body.
    let wish: Wish = match &*wish {
        [] => Wish::default(),
        body => {
            serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?
        }
    };
    let journey = &state.gateway.journey;
    let joining = journey
        .ask_to_join(caller.user, conversation, wish.text.as_deref())
        .await?;
    let (status, body) = match joining {
        Joining::Joined => (StatusCode::CREATED, json!({"state": "joined"})),
        Joining::Member => (StatusCode::OK, json!({"state": "joined"})),
        Joining::Waiting(id) => (StatusCode::CREATED, json!({"state": "waiting", "id": id})),
    };
    Ok((status, Json(body)).into_response())
}

/// Who waits to be let in, oldest first; for the owner and admins.
#[utoipa::path(get, path = "/v1/groups/{conversation}/join-requests", params(("conversation" = String, Path), Window), security(("bearer" = [])),
    responses((status = 200, description = "`join_requests`: `id`, `user`, `text`?, `at`; and `cursor` while there is more"),
              (status = 400), (status = 401), (status = 403), (status = 404)))]
async fn list(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let conversation = conversation_id(&conversation)?;
    let limit = state.gateway.limits.pages.cut(window.limit)?;
    let after = window.after()?;
    let journey = &state.gateway.journey;
    let mut page = journey
        .join_requests(caller.user, conversation, after, limit + 1)
        .await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let requests: Vec<Value> = page.iter().map(request_json).collect();
    let mut answer = json!({"join_requests": requests});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

fn request_json(request: &JoinRequest) -> Value {
    let mut object = json!({"id": request.id, "user": request.user, "at": request.at_ms()});
    if let Some(text) = &request.text {
        object["text"] = text.as_str().into();
    }
    object
}

#[derive(Debug, Deserialize, ToSchema)]
struct Verdict {
    accept: bool,
}

/// Lets somebody who waits in, or not.
#[utoipa::path(post, path = "/v1/groups/{conversation}/join-requests/{id}", params(("conversation" = String, Path), ("id" = String, Path)), request_body = Verdict, security(("bearer" = [])),
    responses((status = 200, description = "`state`: `joined` or `refused`"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 413), (status = 422), (status = 503)))]
async fn answer(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path((conversation, id)): Path<(String, String)>,
    Body(Verdict { accept }): Body<Verdict>,
) -> Result<Json<Value>, Answer> {
    let conversation = conversation_id(&conversation)?;
    let none = |_| Refusal::not_found("no such join request");
    let id: JoinRequestId = id.parse().map_err(none)?;
    let journey = &state.gateway.journey;
    journey
        .answer_join_request(caller.user, conversation, id, accept)
        .await?;
    let state = if accept { "joined" } else { "refused" };
    Ok(Json(json!({"state": state})))
}
