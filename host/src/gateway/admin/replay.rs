//! Routes of replays: ask a version again what was decided,
//! and the files about calls that failed.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, made};
use crate::gateway::respond::{self, Answer};
use crate::refusal::Refusal;

/// Every route of replays.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(report, cancel))
        .routes(routes!(files))
        .routes(routes!(file, remove_file))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Begin {
    /// A version that was pushed, or `sha256:…`; it need not serve.
    version: String,
    /// How many of the newest commands; without, as many as there may be.
    last: Option<usize>,
}

/// Begins to ask a version about the newest commands again, without effect. One at a time.
#[utoipa::path(post, path = "/plugins/{name}/replays", params(("name" = String, Path)), request_body = Begin,
    responses((status = 201, description = "The report so far; see `GET /replays/{id}`"), (status = 400), (status = 404), (status = 409, description = "another one runs")))]
async fn begin(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(wanted): respond::Body<Begin>,
) -> Result<Response, Answer> {
    let begun = admin
        .replays
        .begin(&name, &wanted.version, wanted.last)
        .await?;
    audit(&admin, &who, "plugin.replay", &begun).await?;
    Ok(made(begun))
}

/// What was done with a replay, in the audit log: its subject is the plugin's name.
async fn audit(
    admin: &Admin,
    who: &Administrator,
    action: &str,
    report: &Value,
) -> Result<(), Refusal> {
    let detail = json!({
        "version": report["version"],
        "digest": report["digest"],
        "replay": report["id"],
    });
    let plugin = report["plugin"].as_str().unwrap_or_default();
    admin.audit_with(who, action, plugin, Some(detail)).await
}

fn id_of(id: &str) -> Result<u64, Refusal> {
    id.parse().map_err(|_| Refusal::not_found("no such replay"))
}

/// A replay's report, whole or so far.
#[utoipa::path(get, path = "/replays/{id}", params(("id" = String, Path)),
    responses((status = 200, description = "`state` (`running`, `done`, `cancelled`, `failed`), `last`, `seen`, `replayed`, `skipped` by reason, `approximate`, `config_changed` (judged with another configuration than today's), `not_covered` (what no replay asks about), `differing`, and `differ`: a list of `conversation`, `seq`, `at`, `operation`, `hook`, `recorded`, `now`"), (status = 404)))]
async fn report(
    State(admin): State<Admin>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.replays.report(id_of(&id)?)?))
}

/// Ends a replay that runs.
#[utoipa::path(delete, path = "/replays/{id}", params(("id" = String, Path)),
    responses((status = 200, description = "Its report"), (status = 404)))]
async fn cancel(
    State(admin): State<Admin>,
    who: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Answer> {
    let report = admin.replays.cancel(id_of(&id)?)?;
    audit(&admin, &who, "plugin.replay.cancel", &report).await?;
    Ok(Json(report))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OfPlugin {
    /// Of one plugin.
    plugin: Option<String>,
}

/// What made calls fail after their second try.
#[utoipa::path(get, path = "/replay-files", params(OfPlugin),
    responses((status = 200, description = "`files`, oldest first: `id`, `at`, `plugin`, `version`, `digest`, `hook`, `failure`, `conversation`, `seq`")))]
async fn files(
    State(admin): State<Admin>,
    _: Administrator,
    Query(of): Query<OfPlugin>,
) -> Result<Json<Value>, Answer> {
    let replays = admin.replays.clone();
    let listed = blocking(move || replays.files().list(of.plugin.as_deref())).await?;
    Ok(Json(json!({"files": listed})))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct With {
    /// With what people and plugins wrote, where that is still kept.
    #[serde(default)]
    text: bool,
    /// With the plugin's configuration as it is now, secrets included.
    #[serde(default)]
    config: bool,
}

/// A replay file, for `kith plugin test --replay FILE`.
#[utoipa::path(get, path = "/replay-files/{id}", params(("id" = String, Path), With),
    responses((status = 200, description = "The file"), (status = 404)))]
async fn file(
    State(admin): State<Admin>,
    who: Administrator,
    Path(id): Path<String>,
    Query(with): Query<With>,
) -> Result<Json<Value>, Answer> {
    let file = admin.replays.file(&id, with.text, with.config).await?;
    let mut subject = id;
    for (asked, what) in [(with.text, " with text"), (with.config, " with config")] {
        subject.push_str(if asked { what } else { "" });
    }
    admin.audit(&who, "replay-file.fetch", &subject).await?;
    Ok(Json(file))
}

/// Removes a replay file.
#[utoipa::path(delete, path = "/replay-files/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
async fn remove_file(
    State(admin): State<Admin>,
    who: Administrator,
    Path(id): Path<String>,
) -> Result<StatusCode, Answer> {
    let (replays, removed) = (admin.replays.clone(), id.clone());
    blocking(move || replays.files().remove(&removed)).await??;
    admin.audit(&who, "replay-file.remove", &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a folder beside what serves.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Refusal::unavailable("the replay files could not be read"))
}
