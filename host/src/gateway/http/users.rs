//! Users as others see them: register,
//! search, look at one, block.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::friends::direction;
use crate::conversation::Profile;
use crate::gateway::Caller;
use crate::gateway::frame::user_id;
use crate::gateway::listen::Peer;
use crate::gateway::respond::{Answer, Body};
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::moderation::bans::Visitor;
use crate::moderation::{Occasion, Permission};
use crate::refusal::{Code, Refusal};
use crate::store::accounts::{User, UserKind};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(register, search))
        .routes(routes!(show))
        .routes(routes!(blocks))
        .routes(routes!(block, unblock))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Registration {
    /// 3 to 32 of a–z, 0–9, `_`, `.`, `-`.
    #[schema(pattern = "^[a-z0-9_.-]{3,32}$")]
    username: String,
    /// At least 8 characters.
    #[schema(min_length = 8)]
    password: String,
    /// 1 to 64 characters; the user name when left out.
    display_name: Option<String>,
}

/// Makes a user.
#[utoipa::path(post, path = "/v1/users", request_body = Registration,
    responses((status = 201, description = "`id`, `username`, `display_name`; `approval`: `waiting` where an administrator enables the user first"), (status = 400), (status = 403), (status = 409), (status = 422), (status = 429)))]
async fn register(
    State(state): State<HttpState>,
    peer: Option<Extension<Peer>>,
    Body(new): Body<Registration>,
) -> Result<Response, Answer> {
    let named = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-');
    if !(3..=32).contains(&new.username.len()) || !new.username.chars().all(named) {
        return Err(Refusal::bad_request("username must be 3 to 32 of a-z, 0-9, _ . -").into());
    }
    check_password(&new.password)?;
    let display_name = match &new.display_name {
        Some(name) => checked_name(&state, name).await?,
        None => new.username.clone(),
    };
    let address = peer.map(|Extension(Peer(address))| address.ip());
    if let (Some(rates), Some(address)) = (&state.strangers, address) {
        rates.registration(address).await?;
    }
    let waits = ruled_on(&state, &new.username, address).await?;
    state.names.check("username", &new.username).await?;
    let password = state.identity.passwords.hash(new.password).await?;
    let now = state.clock.now_ms();
    let profile = Profile {
        id: UserId(state.ids.next(now)),
        username: new.username,
        display_name,
        avatar: None,
    };
    let user = User {
        profile,
        kind: UserKind::Person,
        password: Some(password),
        disabled: waits,
        created_at: now,
    };
    if !state
        .accounts
        .create_user(&user)
        .await
        .map_err(|e| store_refusal(&e))?
    {
        return Err(Refusal::new(Code::Conflict, "the user name is taken").into());
    }
    let mut body = serde_json::to_value(&user.profile).expect("a profile encodes");
    if waits {
        body["approval"] = "waiting".into();
    }
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Bans and administrators' rules about who registers; whether an administrator has to approve.
async fn ruled_on(
    state: &HttpState,
    username: &str,
    address: Option<IpAddr>,
) -> Result<bool, Refusal> {
    let rules = &state.identity.rules;
    let visitor = Visitor {
        address,
        ..Visitor::default()
    };
    rules.bans.admit(visitor, state.clock.now_ms())?;
    let asked = rules.ask(|| Occasion {
        kind: "register",
        username: username.to_owned(),
        address: address.map_or_else(String::new, |address| address.to_canonical().to_string()),
        ..Occasion::default()
    });
    Ok(asked.await? != Permission::Granted)
}

/// 8 to 1024 characters.
pub(super) fn check_password(password: &str) -> Result<(), Refusal> {
    if (8..=1024).contains(&password.chars().count()) {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "a password must have 8 to 1024 characters",
    ))
}

/// A display name that may be shown: of a sane length, without control characters, past the filters.
pub(super) async fn checked_name(state: &HttpState, name: &str) -> Result<String, Refusal> {
    let shown = name.trim();
    if !(1..=64).contains(&shown.chars().count()) || shown.chars().any(char::is_control) {
        return Err(Refusal::bad_request(
            "display_name must have 1 to 64 characters, none of them control characters",
        ));
    }
    state.names.check("display-name", shown).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Search {
    /// The beginning of a user name, or any part of a display name.
    query: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// No name is longer.
const QUERY_CHARS_MOST: usize = 64;

/// Users by name.
#[utoipa::path(get, path = "/v1/users", params(Search), security(("bearer" = [])),
    responses((status = 200, description = "`users`, and `cursor` while there is more"), (status = 400), (status = 401)))]
async fn search(
    State(state): State<HttpState>,
    caller: Caller,
    Query(search): Query<Search>,
) -> Result<Json<Value>, Answer> {
    let query = search.query.unwrap_or_default();
    if query.trim().is_empty() {
        return Err(Refusal::bad_request("query is missing").into());
    }
    if query.chars().count() > QUERY_CHARS_MOST {
        return Err(Refusal::bad_request("query must have 1 to 64 characters").into());
    }
    let limit = state.pages.cut(search.limit)?;
    state
        .identity
        .admit(|rates| rates.admit_search(caller.user))?;
    let found = state
        .accounts
        .find_users(query.trim(), search.cursor.as_deref(), limit + 1)
        .await;
    let mut found = found.map_err(|e| store_refusal(&e))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let users: Vec<&Profile> = found.iter().map(|user| &user.profile).collect();
    let mut answer = json!({"users": users});
    if let Some(last) = found.last().filter(|_| more) {
        answer["cursor"] = last.profile.username.as_str().into();
    }
    Ok(Json(answer))
}

/// A public profile, and the caller's relation to it.
#[utoipa::path(get, path = "/v1/users/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, description = "a profile and `relation`: `self`, `blocked`, `friend`, `request`? (`sent` or `received`), `request_id`?"), (status = 401), (status = 404)))]
async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Answer> {
    let user = found(&state, &id).await?;
    let relation = state
        .accounts
        .relation(caller.user, user.profile.id)
        .await
        .map_err(|e| store_refusal(&e))?;
    let mut body = serde_json::to_value(&user.profile).expect("a profile encodes");
    body["relation"] = json!({
        "self": caller.user == user.profile.id,
        "blocked": relation.blocking,
        "friend": relation.friends,
    });
    let waiting = state
        .journey
        .waiting_between(caller.user, user.profile.id)
        .await?;
    if let Some(request) = waiting {
        body["relation"]["request"] = direction(&request, caller.user).into();
        body["relation"]["request_id"] = request.id.to_string().into();
    }
    Ok(Json(body))
}

pub(super) async fn found(state: &HttpState, id: &str) -> Result<std::sync::Arc<User>, Refusal> {
    let user = state
        .accounts
        .user(user_id(id)?)
        .await
        .map_err(|e| store_refusal(&e))?;
    user.ok_or_else(|| Refusal::not_found("no such user"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// Whom the caller has blocked.
#[utoipa::path(get, path = "/v1/blocks", params(Window), security(("bearer" = [])),
    responses((status = 200, description = "`blocks`: profiles, and `cursor` while there is more"), (status = 401)))]
async fn blocks(
    State(state): State<HttpState>,
    caller: Caller,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = state.pages.cut(window.limit)?;
    let after = match window.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let mut ids = state
        .accounts
        .blocks(caller.user, after, limit + 1)
        .await
        .map_err(|e| store_refusal(&e))?;
    let more = ids.len() > limit;
    ids.truncate(limit);
    let mut profiles = Vec::with_capacity(ids.len());
    for id in &ids {
        if let Some(user) = state
            .accounts
            .user(*id)
            .await
            .map_err(|e| store_refusal(&e))?
        {
            profiles.push(user.profile.clone());
        }
    }
    let mut answer = json!({"blocks": profiles});
    if let Some(last) = ids.last().filter(|_| more) {
        answer["cursor"] = last.to_string().into();
    }
    Ok(Json(answer))
}

/// Blocks a user; again changes nothing.
#[utoipa::path(put, path = "/v1/blocks/{user}", params(("user" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 400), (status = 401), (status = 404)))]
async fn block(
    State(state): State<HttpState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Answer> {
    let other = found(&state, &user).await?.profile.id;
    if other == caller.user {
        return Err(Refusal::bad_request("one cannot block oneself").into());
    }
    state
        .accounts
        .set_block(caller.user, other, true)
        .await
        .map_err(|e| store_refusal(&e))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unblocks a user; one that is not blocked stays so.
#[utoipa::path(delete, path = "/v1/blocks/{user}", params(("user" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 401), (status = 404)))]
async fn unblock(
    State(state): State<HttpState>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<StatusCode, Answer> {
    let other = found(&state, &user).await?.profile.id;
    state
        .accounts
        .set_block(caller.user, other, false)
        .await
        .map_err(|e| store_refusal(&e))?;
    Ok(StatusCode::NO_CONTENT)
}
