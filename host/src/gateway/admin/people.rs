//! Routes of users and of
//! administrators' tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use base64::Engine;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, PAGES, made, user_json};
use crate::gateway::respond::{Answer, Body};
use crate::ids::UserId;
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::accounts::User;

/// Every route of people.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(users))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(create_token))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    #[serde(default)]
    query: String,
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<i64>,
}

/// Users by name.
#[utoipa::path(get, path = "/users", params(Window), responses((status = 200, description = "`users`, `cursor`")))]
async fn users(
    State(admin): State<Admin>,
    _: Administrator,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = PAGES.cut(window.limit)?;
    let found = admin
        .accounts
        .find_users(&window.query, window.cursor.as_deref(), limit + 1)
        .await;
    let mut found = found.map_err(|e| store_refusal(&e))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let cursor = found
        .last()
        .filter(|_| more)
        .map(|last| last.profile.username.clone());
    let ids: Vec<UserId> = found.iter().map(|user| user.profile.id).collect();
    let labels = admin.rules.store.labels(&ids).await;
    let labels = labels.map_err(|e| store_refusal(&e))?;
    let row = |user: &Arc<User>| {
        let own = labels.iter().filter(|(of, _)| *of == user.profile.id);
        let mut row = user_json(user);
        row["labels"] = own.map(|(_, label)| label.as_str()).collect();
        row
    };
    let mut answer = json!({"users": found.iter().map(row).collect::<Vec<_>>()});
    if let Some(cursor) = cursor {
        answer["cursor"] = cursor.into();
    }
    Ok(Json(answer))
}

impl Admin {
    /// A user by id or by name.
    pub(super) async fn user(&self, name_or_id: &str) -> Result<Arc<User>, Refusal> {
        if let Ok(id) = name_or_id.parse::<UserId>()
            && let Some(user) = self
                .accounts
                .user(id)
                .await
                .map_err(|e| store_refusal(&e))?
        {
            return Ok(user);
        }
        let named = self
            .accounts
            .user_named(name_or_id)
            .await
            .map_err(|e| store_refusal(&e))?;
        named.ok_or_else(|| Refusal::not_found("no such user"))
    }
}

/// Ends a user's sessions and tokens and keeps them out.
#[utoipa::path(post, path = "/users/{user}/disable", params(("user" = String, Path)), responses((status = 200), (status = 403), (status = 404), (status = 422)))]
async fn disable(
    State(admin): State<Admin>,
    who: Administrator,
    Path(user): Path<String>,
) -> Result<Json<Value>, Answer> {
    let user = admin.user(&user).await?;
    let id = user.profile.id;
    let rules = &admin.rules;
    rules
        .ask_action(&who.0, "user.disable", Some(id), &user.profile.username)
        .await?;
    admin
        .accounts
        .set_disabled(id, true)
        .await
        .map_err(|e| store_refusal(&e))?;
    admin.ender.end_user(id);
    admin.audit(&who, "user.disable", &id.to_string()).await?;
    Ok(Json(
        json!({"id": id, "username": user.profile.username, "disabled": true}),
    ))
}

/// Lets a user in again; they sign in anew.
#[utoipa::path(post, path = "/users/{user}/enable", params(("user" = String, Path)), responses((status = 200), (status = 403), (status = 404), (status = 422)))]
async fn enable(
    State(admin): State<Admin>,
    who: Administrator,
    Path(user): Path<String>,
) -> Result<Json<Value>, Answer> {
    let user = admin.user(&user).await?;
    let id = user.profile.id;
    let rules = &admin.rules;
    rules
        .ask_action(&who.0, "user.enable", Some(id), &user.profile.username)
        .await?;
    admin
        .accounts
        .set_disabled(id, false)
        .await
        .map_err(|e| store_refusal(&e))?;
    admin.audit(&who, "user.enable", &id.to_string()).await?;
    Ok(Json(
        json!({"id": id, "username": user.profile.username, "disabled": false}),
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewToken {
    /// Whose it is, for the audit log.
    name: String,
}

/// Makes a lasting administrator's token; only its hash is kept.
#[utoipa::path(post, path = "/tokens", request_body = NewToken,
    responses((status = 201, description = "`name` and `token`, shown once"), (status = 403), (status = 422)))]
async fn create_token(
    State(admin): State<Admin>,
    who: Administrator,
    Body(NewToken { name }): Body<NewToken>,
) -> Result<Response, Answer> {
    if name.is_empty() || name.chars().count() > 64 {
        return Err(Refusal::bad_request("name must have 1 to 64 characters").into());
    }
    let rules = &admin.rules;
    rules
        .ask_action(&who.0, "token.create", None, &name)
        .await?;
    let secret: [u8; 32] = rand::random();
    let token = format!(
        "kith_admin_{}",
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(secret)
    );
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let now = admin.clock.now_ms();
    admin
        .accounts
        .put_admin_token(hash, &name, now)
        .await
        .map_err(|e| store_refusal(&e))?;
    admin.audit(&who, "token.create", &name).await?;
    Ok(made(json!({"name": name, "token": token})))
}
