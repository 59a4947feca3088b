//! Routes of trying a version beside the one that serves:
//! shadow, canary, and what came of either.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator};
use crate::gateway::respond::{self, Answer};

pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(shadow))
        .routes(routes!(canary))
        .routes(routes!(report))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShadowWish {
    /// A version, or `sha256:…`.
    version: String,
}

/// Shows a version what happens and compares what it decides; nothing of it takes effect.
#[utoipa::path(post, path = "/plugins/{name}/shadow", params(("name" = String, Path)), request_body = ShadowWish,
    responses((status = 200), (status = 404), (status = 409)))]
async fn shadow(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(wanted): respond::Body<ShadowWish>,
) -> Result<Json<Value>, Answer> {
    let begun = admin.rollout.shadow(&who.0, &name, &wanted.version);
    Ok(Json(begun.await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CanaryWish {
    /// A version, or `sha256:…`.
    version: String,
    /// The share of conversations, 1 to 100.
    percent: u64,
}

/// Lets a version decide in a share of the conversations; asked again it changes the share.
#[utoipa::path(post, path = "/plugins/{name}/canary", params(("name" = String, Path)), request_body = CanaryWish,
    responses((status = 200), (status = 400), (status = 404), (status = 409)))]
async fn canary(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(wanted): respond::Body<CanaryWish>,
) -> Result<Json<Value>, Answer> {
    let rollout = &admin.rollout;
    let begun = rollout.canary(&who.0, &name, &wanted.version, wanted.percent);
    Ok(Json(begun.await?))
}

/// What serves and is tried of a plugin, what each decided, and how a shadow differs.
#[utoipa::path(get, path = "/plugins/{name}/rollout", params(("name" = String, Path)),
    responses((status = 200, description = "`serves`, `previous`, `canary`, `shadow`: `version`, `digest` and counts"), (status = 404)))]
async fn report(
    State(admin): State<Admin>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.rollout.report(&name).await?))
}
