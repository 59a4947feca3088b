//! Friends and their requests: list,
//! ask, answer, end. Decides nothing.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::users::found;
use crate::gateway::Caller;
use crate::gateway::frame::user_id;
use crate::gateway::respond::{Answer, Body};
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::people::{FriendRequest, RequestState};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(friends))
        .routes(routes!(end))
        .routes(routes!(requests, ask))
        .routes(routes!(answer))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// A place in a list, from its cursor.
fn place<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, Refusal> {
    let read = |cursor: &str| {
        cursor
            .parse()
            .map_err(|_| Refusal::bad_request("not a cursor of this list"))
    };
    cursor.map(read).transpose()
}

/// The caller's friends.
#[utoipa::path(get, path = "/v1/friends", params(Window), security(("bearer" = [])),
    responses((status = 200, description = "`friends`: profiles with `since`, and `cursor` while there is more"), (status = 400), (status = 401)))]
async fn friends(
    State(state): State<HttpState>,
    caller: Caller,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = state.pages.cut(window.limit)?;
    let after = place::<UserId>(window.cursor.as_deref())?;
    let mut page = state.journey.friends(caller.user, after, limit + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut rows = Vec::with_capacity(page.len());
    for friend in &page {
        let mut row = profile(&state, friend.user).await?;
        row["since"] = friend.since.into();
        rows.push(row);
    }
    let mut answer = json!({"friends": rows});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.user.to_string().into();
    }
    Ok(Json(answer))
}

async fn profile(state: &HttpState, user: UserId) -> Result<Value, Refusal> {
    let known = state
        .accounts
        .user(user)
        .await
        .map_err(|e| store_refusal(&e))?;
    Ok(match known {
        Some(user) => serde_json::to_value(&user.profile).expect("a profile encodes"),
        None => json!({"id": user}),
    })
}

/// Ends a friendship; one that is not there stays so.
#[utoipa::path(delete, path = "/v1/friends/{user}", params(("user" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 401), (status = 404)))]
async fn end(
    State(state): State<HttpState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Answer> {
    let other = found(&state, &user).await?.profile.id;
    state.journey.end_friend(caller.user, other).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Requests that wait, sent and received, newest first.
#[utoipa::path(get, path = "/v1/friend-requests", params(Window), security(("bearer" = [])),
    responses((status = 200, description = "`friend_requests`: `id`, `from`, `to`, `user` (the other side), `profile` (the other side's), `text`?, `at`, `direction` (`sent` or `received`), `state`; and `cursor` while there is more"), (status = 400), (status = 401)))]
async fn requests(
    State(state): State<HttpState>,
    caller: Caller,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = state.pages.cut(window.limit)?;
    let before = place(window.cursor.as_deref())?;
    let mut page = state
        .journey
        .friend_requests(caller.user, before, limit + 1)
        .await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut rows = Vec::with_capacity(page.len());
    for request in &page {
        rows.push(request_json(&state, request, caller.user).await?);
    }
    let mut answer = json!({"friend_requests": rows});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

/// Whether `user` sent or received a request.
pub(super) fn direction(request: &FriendRequest, user: UserId) -> &'static str {
    if request.asker == user {
        "sent"
    } else {
        "received"
    }
}

async fn request_json(
    state: &HttpState,
    request: &FriendRequest,
    user: UserId,
) -> Result<Value, Refusal> {
    let sent = request.asker == user;
    let other = if sent { request.asked } else { request.asker };
    let mut row = json!({
        "id": request.id,
        "from": request.asker,
        "to": request.asked,
        "user": other,
        "profile": profile(state, other).await?,
        "at": request.at,
        "direction": direction(request, user),
        "state": match request.state {
            RequestState::Accepted => "accepted",
            RequestState::Refused if !sent => "refused",
            // Whoever was refused sees it waiting.
            RequestState::Refused | RequestState::Waiting => "waiting",
        },
    });
    if let Some(text) = &request.text {
        row["text"] = text.as_str().into();
    }
    Ok(row)
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewRequest {
    /// Whom to ask.
    user: String,
    /// What to say with it, at most 300 characters.
    #[serde(default)]
    text: Option<String>,
}

/// Asks a user to be a friend. 201 when it was made now (`state` is `accepted` when the other one had asked already),
/// 200 when it waited before.
#[utoipa::path(post, path = "/v1/friend-requests", request_body = NewRequest, security(("bearer" = [])),
    responses((status = 201), (status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409), (status = 413), (status = 422), (status = 429), (status = 503)))]
async fn ask(
    State(state): State<HttpState>,
    caller: Caller,
    Body(new): Body<NewRequest>,
) -> Result<Response, Answer> {
    let asked = user_id(&new.user)?;
    if let Some(rates) = &state.identity.rates {
        rates.friend_request(caller.user).await?;
    }
    let made = state
        .journey
        .ask_friend(caller.user, asked, new.text)
        .await?;
    let body = request_json(&state, &made.request, caller.user).await?;
    let status = if made.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(body)).into_response())
}

#[derive(Debug, Deserialize, ToSchema)]
struct RequestAnswer {
    accept: bool,
}

/// Accepts or refuses a request; whoever asked is told only when it is accepted.
#[utoipa::path(post, path = "/v1/friend-requests/{id}", params(("id" = String, Path)), request_body = RequestAnswer, security(("bearer" = [])),
    responses((status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 409), (status = 422), (status = 503)))]
async fn answer(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Body(RequestAnswer { accept }): Body<RequestAnswer>,
) -> Result<Json<Value>, Answer> {
    let id = id
        .parse()
        .map_err(|_| Refusal::not_found("no such friend request"))?;
    let request = state.journey.answer_friend(caller.user, id, accept).await?;
    Ok(Json(request_json(&state, &request, caller.user).await?))
}
