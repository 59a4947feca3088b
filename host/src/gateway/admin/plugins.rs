//! Routes of plugins: push, list, inspect, fetch, prune,
//! activate, grant, roll back, disable, bind, configure, logs.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use kith_runtime::Grants;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, made};
use crate::gateway::respond::{self, Answer};
use crate::journey::store_refusal;
use crate::plugins::bindings::BindingChange;
use crate::plugins::lines::LinePage;
use crate::plugins::rollout::COMPONENT_BYTES_MAX;
use crate::refusal::{Code, Refusal};

/// Lines of a log in one answer.
const LOG_LINES: usize = 100;
const LOG_LINES_MOST: usize = 500;
const LOG_WAIT_MOST: Duration = Duration::from_secs(30);

/// Every plugin route.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(list, push))
        .routes(routes!(inspect))
        .routes(routes!(component))
        .routes(routes!(prune))
        .routes(routes!(activate))
        .routes(routes!(grant))
        .routes(routes!(every_consumer))
        .routes(routes!(consumers))
        .routes(routes!(logs))
        .routes(routes!(rollback))
        .routes(routes!(disable))
        .routes(routes!(enable))
        .routes(routes!(bind))
        .routes(routes!(config, replace_config, set_config))
        .routes(routes!(rollback_config))
}

/// How much of a file that is too large is still read: a client that is answered before it has sent everything sees a
/// broken connection in place of the answer.
const READ_OUT_BYTES: usize = 512 * 1024 * 1024;

/// A component file of bearable size.
async fn read_component(body: Body) -> Result<Vec<u8>, Refusal> {
    let (mut component, mut size) = (Vec::new(), 0_usize);
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("the file broke off"))?;
        size += chunk.len();
        if size <= COMPONENT_BYTES_MAX {
            component.extend_from_slice(&chunk);
        } else if size > READ_OUT_BYTES {
            break;
        } else {
            component = Vec::new();
        }
    }
    if size > COMPONENT_BYTES_MAX {
        let message =
            format!("the component is too large: at most {COMPONENT_BYTES_MAX} bytes are taken");
        return Err(Refusal::new(Code::TooLarge, message));
    }
    Ok(component)
}

/// Every version the registry has, with its state.
#[utoipa::path(get, path = "/plugins",
    responses((status = 200, description = "`plugins`; `note` says what is unusual about one, `trouble` what went wrong with its hooks after the commit since the server started")))]
async fn list(State(admin): State<Admin>, _: Administrator) -> Result<Json<Value>, Answer> {
    let mut plugins = admin.rollout.list().await?;
    for row in &mut plugins {
        let is_bound = matches!(row["state"].as_str(), Some("active" | "disabled"));
        let trouble = row["name"]
            .as_str()
            .and_then(|name| admin.after.trouble(name));
        if let Some(trouble) = trouble.filter(|_| is_bound) {
            row["trouble"] = trouble.into();
        }
    }
    Ok(Json(json!({"plugins": plugins})))
}

/// Keeps a component as a version that can be activated.
#[utoipa::path(post, path = "/plugins", request_body(content = Vec<u8>, content_type = "application/wasm"),
    params(("x-kith-signature" = Option<String>, Header, description = "base64 ed25519 over the file's sha256")),
    responses((status = 201, description = "`name`, `version`, `digest`"), (status = 400), (status = 409), (status = 413)))]
async fn push(
    State(admin): State<Admin>,
    who: Administrator,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Answer> {
    let component = read_component(body).await?;
    let signature = headers
        .get("x-kith-signature")
        .and_then(|value| value.to_str().ok());
    let pushed = admin.rollout.push(component, signature).await?;
    let text = |field: &str| pushed[field].as_str().unwrap_or_default();
    let version = (text("name"), text("version"), text("digest"));
    audit_version(&admin, &who, "plugin.push", version).await?;
    Ok(made(pushed))
}

/// What was done with a version (name, number, digest), in the audit log: its subject is the plugin's name.
async fn audit_version(
    admin: &Admin,
    who: &Administrator,
    action: &str,
    (name, version, digest): (&str, &str, &str),
) -> Result<(), Refusal> {
    let detail = json!({"version": version, "digest": digest});
    admin.audit_with(who, action, name, Some(detail)).await
}

/// A version's component file, as it was pushed.
#[utoipa::path(get, path = "/plugins/{name}/versions/{version}/component", params(("name" = String, Path), ("version" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/wasm"), (status = 404)))]
async fn component(
    State(admin): State<Admin>,
    who: Administrator,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, Answer> {
    let (found, component) = admin.rollout.file(&name, &version).await?;
    let version = (&*name, &*found.version, &*found.digest);
    audit_version(&admin, &who, "plugin.fetch", version).await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], component).into_response())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Prune {
    /// How many unused versions of each plugin stay, the newest.
    #[serde(default)]
    keep: u32,
    /// Only say what would go.
    #[serde(default)]
    dry_run: bool,
}

/// Removes what neither serves nor could be gone back to, and its compiled code.
#[utoipa::path(post, path = "/plugins/prune", request_body = Prune,
    responses((status = 200, description = "`removed`, a list of `name`, `version`, `digest`, `bytes`; `freed`, bytes of `components` and `code`; `dry_run`")))]
async fn prune(
    State(admin): State<Admin>,
    who: Administrator,
    respond::Body(wanted): respond::Body<Prune>,
) -> Result<Json<Value>, Answer> {
    let keep = usize::try_from(wanted.keep).unwrap_or(usize::MAX);
    let pruned = admin.rollout.prune(keep, wanted.dry_run).await?;
    if !wanted.dry_run {
        for version in &pruned.removed {
            let version = (&*version.name, &*version.version, &*version.digest);
            audit_version(&admin, &who, "plugin.prune", version).await?;
        }
    }
    Ok(Json(pruned.json()))
}

/// What a version is: hooks, abilities, configuration schema.
#[utoipa::path(get, path = "/plugins/{name}/versions/{version}", params(("name" = String, Path), ("version" = String, Path)), responses((status = 200), (status = 404)))]
async fn inspect(
    State(admin): State<Admin>,
    _: Administrator,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.rollout.inspect(&name, &version).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Activate {
    /// A version, or `sha256:…`.
    version: String,
    /// Activate it although it was quarantined.
    #[serde(default)]
    force: bool,
    /// What it may do beyond what it was granted before: `http:host=example.org,kv:bytes=1048576`.
    #[serde(default)]
    grants: String,
}

fn grants(text: &str) -> Result<Grants, Refusal> {
    Grants::parse(text).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Makes a version serve.
#[utoipa::path(post, path = "/plugins/{name}/activate", params(("name" = String, Path)), request_body = Activate,
    responses((status = 200), (status = 400), (status = 404), (status = 409, description = "quarantined, or it wants grants: they are named")))]
async fn activate(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(wanted): respond::Body<Activate>,
) -> Result<Json<Value>, Answer> {
    let added = grants(&wanted.grants)?;
    let rollout = admin.rollout.clone();
    // A task of its own: who asked may go away, and what is begun is brought to an end.
    let activation = tokio::spawn(async move {
        let activated = rollout.activate(&who.0, &name, &wanted.version, wanted.force, &added);
        activated.await
    });
    let done = activation
        .await
        .map_err(|_| Refusal::new(Code::Internal, "activating the plugin ended unexpectedly"))??;
    Ok(Json(done))
}

#[derive(Debug, Deserialize, ToSchema)]
struct GrantChange {
    /// Added to what it has: `http:host=example.org,kv:bytes=1048576`.
    #[serde(default)]
    grants: String,
    /// Abilities taken back.
    #[serde(default)]
    revoke: Vec<String>,
}

/// Grants abilities to a plugin and takes them back; with neither, shows them.
#[utoipa::path(post, path = "/plugins/{name}/grants", params(("name" = String, Path)), request_body = GrantChange,
    responses((status = 200, description = "`grants`, and `wanted`: what the version that serves imports beyond them"), (status = 400), (status = 404)))]
async fn grant(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(change): respond::Body<GrantChange>,
) -> Result<Json<Value>, Answer> {
    let added = grants(&change.grants)?;
    let rollout = &admin.rollout;
    let granted = rollout.grant(&who.0, &name, &added, &change.revoke);
    Ok(Json(granted.await?))
}

/// How a plugin's hooks after the commit come along, the numbers it keeps, and how much it keeps otherwise.
#[utoipa::path(get, path = "/plugins/{name}/consumers", params(("name" = String, Path)),
    responses((status = 200, description = "`consumers`, `metrics`, `values` (`bytes`, `quota`, `refused`); `moving` while a state is made anew"), (status = 404)))]
async fn consumers(
    State(admin): State<Admin>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.after.report(&name).await?))
}

/// Where each hook after the commit stands, of every plugin.
#[utoipa::path(get, path = "/consumers",
    responses((status = 200, description = "`consumers`, each `plugin`, `hook`, `version`, `state`, `cursor`, `behind` (commits it has not looked at, counted up to 1000; `more`, where there are more), `behind_ms`, `delivered`, `skipped`, `refused`, `failures`, `waiting_for`; of several nodes `node`, which shows them what was committed, and the last five as the node that was asked counts them")))]
async fn every_consumer(
    State(admin): State<Admin>,
    _: Administrator,
) -> Result<Json<Value>, Answer> {
    Ok(Json(json!({"consumers": admin.after.consumers().await?})))
}

/// Which lines of a plugin's log are asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogWindow {
    /// Behind this number; without it the newest.
    after: Option<u64>,
    /// 1 to 500, 100 where it is left out.
    limit: Option<usize>,
    /// Seconds to wait for a line where there is none, at most 30.
    wait_s: Option<u64>,
}

/// A plugin's log: the lines still in memory, of every version of it, oldest first. With `after` and `wait_s` it is followed.
#[utoipa::path(get, path = "/plugins/{name}/logs", params(("name" = String, Path), LogWindow),
    responses((status = 200, description = "`lines`, each `number`, `at`, `version`, `level`, `text`; `next`, to be asked behind; `missed`, where older ones are forgotten"), (status = 400), (status = 404)))]
async fn logs(
    State(admin): State<Admin>,
    _: Administrator,
    Path(name): Path<String>,
    Query(window): Query<LogWindow>,
) -> Result<Json<LinePage>, Answer> {
    let known = admin.accounts.plugins().await;
    let known = known.map_err(|error| store_refusal(&error))?;
    if !known.iter().any(|version| version.name == name) {
        return Err(Refusal::not_found(format!("there is no plugin {name}")).into());
    }
    let limit = window.limit.unwrap_or(LOG_LINES).clamp(1, LOG_LINES_MOST);
    let wait = Duration::from_secs(window.wait_s.unwrap_or(0)).min(LOG_WAIT_MOST);
    let lines = admin.lines.follow(&name, window.after, limit, wait);
    Ok(Json(lines.await))
}

/// Ends a shadow and a canary; without either, goes back to the version before. The configuration stays as it is today.
#[utoipa::path(post, path = "/plugins/{name}/rollback", params(("name" = String, Path)),
    responses((status = 200, description = "what serves now; `ended`, where something tried was ended"), (status = 404), (status = 409)))]
async fn rollback(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.rollout.rollback(&who.0, &name).await?))
}

/// Unbinds a plugin: messages pass without it.
#[utoipa::path(post, path = "/plugins/{name}/disable", params(("name" = String, Path)), responses((status = 200), (status = 404)))]
async fn disable(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.rollout.set_disabled(&who.0, &name, true).await?))
}

/// Binds a disabled plugin again.
#[utoipa::path(post, path = "/plugins/{name}/enable", params(("name" = String, Path)),
    responses((status = 200), (status = 404), (status = 409, description = "quarantined, or another plugin answers one of its commands")))]
async fn enable(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(
        admin.rollout.set_disabled(&who.0, &name, false).await?,
    ))
}

/// Changes how a plugin is bound to a hook.
#[utoipa::path(patch, path = "/plugins/{name}/bindings/{hook}", params(("name" = String, Path), ("hook" = String, Path)), request_body = BindingChange,
    responses((status = 200), (status = 400), (status = 404)))]
async fn bind(
    State(admin): State<Admin>,
    who: Administrator,
    Path((name, hook)): Path<(String, String)>,
    respond::Body(change): respond::Body<BindingChange>,
) -> Result<Json<Value>, Answer> {
    let bound = admin.rollout.bind(&who.0, &name, &hook, change);
    Ok(Json(bound.await?))
}

/// A plugin's configuration, defaults filled in.
#[utoipa::path(get, path = "/plugins/{name}/config", params(("name" = String, Path)), responses((status = 200), (status = 404)))]
async fn config(
    State(admin): State<Admin>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.rollout.config(&name).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Values {
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

/// Replaces a plugin's configuration.
#[utoipa::path(put, path = "/plugins/{name}/config", params(("name" = String, Path)), request_body = Values,
    responses((status = 200), (status = 400), (status = 404), (status = 409)))]
async fn replace_config(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(Values { values }): respond::Body<Values>,
) -> Result<Json<Value>, Answer> {
    let replaced = admin.rollout.replace_config(&who.0, &name, values);
    Ok(Json(replaced.await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Texts {
    /// Each value as text; read as JSON where the schema's type is not text.
    #[schema(value_type = Object)]
    texts: Map<String, Value>,
}

/// Sets some keys of a plugin's configuration.
#[utoipa::path(patch, path = "/plugins/{name}/config", params(("name" = String, Path)), request_body = Texts,
    responses((status = 200), (status = 400), (status = 404), (status = 409)))]
async fn set_config(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
    respond::Body(Texts { texts }): respond::Body<Texts>,
) -> Result<Json<Value>, Answer> {
    let set = admin.rollout.set_config(&who.0, &name, texts);
    Ok(Json(set.await?))
}

/// Back to the configuration before.
#[utoipa::path(post, path = "/plugins/{name}/config/rollback", params(("name" = String, Path)), responses((status = 200), (status = 404), (status = 409)))]
async fn rollback_config(
    State(admin): State<Admin>,
    who: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Value>, Answer> {
    let rolled_back = admin.rollout.rollback_config(&who.0, &name);
    Ok(Json(rolled_back.await?))
}
