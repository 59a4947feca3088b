//! The administration API, on a listener of its own: plugins, words, held messages, users, bans, tokens, decisions.
//! Every route asks for an administrator's token and writes what it did to the audit log.

pub mod audit;
pub mod bans;
pub mod export;
pub mod handovers;
pub mod held;
pub mod metrics;
mod nodes;
pub mod people;
pub mod plugins;
pub mod replay;
pub mod reports;
pub mod rollout;
pub mod words;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::{self, Audience};
use super::respond::Answer;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::conversation::Profile;
use crate::entry::Viewer;
use crate::journey::reads::PageLimits;
use crate::journey::{Journey, store_refusal};
use crate::moderation::Rules;
use crate::plugins::after::AfterCommit;
use crate::plugins::lines::PluginLines;
use crate::plugins::replay::Replays;
use crate::plugins::rollout::Rollout;
use crate::plugins::words::Words;
use crate::refusal::{Code, Refusal};
use crate::session::registry::Registry;
use crate::store::accounts::{Accounts, AuditLine, User};

/// Ends what lives of a disabled user.
pub trait Ender: Send + Sync + 'static {
    fn end_user(&self, user: crate::ids::UserId);
}

/// What the administration's routes share.
#[derive(Clone)]
pub struct Admin {
    pub accounts: Arc<dyn Accounts>,
    pub journey: Arc<Journey>,
    pub registry: Arc<Registry>,
    pub rollout: Arc<Rollout>,
    pub after: Arc<AfterCommit>,
    pub replays: Arc<Replays>,
    pub lines: Arc<PluginLines>,
    pub words: Arc<Words>,
    pub clock: Arc<dyn Clock>,
    pub ender: Arc<dyn Ender>,
    /// Asked about what administrators do to people and messages; never about plugins, so that a rule can be mended.
    pub rules: Arc<Rules>,
    /// Accepted until the first administrator's token exists.
    pub bootstrap: Option<Arc<str>>,
    pub health: Arc<super::http::health::Health>,
    pub bus: Arc<dyn Bus>,
    pub sources: Arc<dyn metrics::Sources>,
    pub streams: audit::Streams,
    pub exports: export::Exports,
}

/// A request with a good administrator's token; `0` is the token's name.
#[derive(Debug, Clone)]
pub struct Administrator(pub String);

impl FromRequestParts<Admin> for Administrator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Response> {
        admin
            .administrator(bearer(&parts.headers))
            .await
            .map_err(|refusal| Answer(refusal).into_response())
    }
}

/// The token a request carries; empty for none.
fn bearer(headers: &HeaderMap) -> &str {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    token
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map_or("", |(_, token)| token.trim())
}

impl Admin {
    async fn administrator(&self, token: &str) -> Result<Administrator, Refusal> {
        let refused = || Refusal::new(Code::Unauthenticated, "an administrator's token is needed");
        if token.is_empty() {
            return Err(refused());
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self
            .accounts
            .admin_token(hash)
            .await
            .map_err(|e| store_refusal(&e))?;
        if let Some(name) = known {
            return Ok(Administrator(name));
        }
        let bootstrap = self
            .bootstrap
            .as_deref()
            .map(|bootstrap| <[u8; 32]>::from(Sha256::digest(bootstrap.as_bytes())));
        if bootstrap != Some(hash)
            || self
                .accounts
                .any_admin_token()
                .await
                .map_err(|e| store_refusal(&e))?
        {
            return Err(refused());
        }
        Ok(Administrator("bootstrap".to_owned()))
    }

    /// One line in the audit log.
    pub async fn audit(
        &self,
        who: &Administrator,
        action: &str,
        subject: &str,
    ) -> Result<(), Refusal> {
        self.audit_with(who, action, subject, None).await
    }

    /// The same with more about it, a JSON object.
    pub async fn audit_with(
        &self,
        who: &Administrator,
        action: &str,
        subject: &str,
        detail: Option<Value>,
    ) -> Result<(), Refusal> {
        let line = AuditLine {
            at: self.clock.now_ms(),
            actor: who.0.clone(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
            ..AuditLine::default()
        };
        self.accounts
            .audit(&line)
            .await
            .map_err(|e| store_refusal(&e))
    }
}

/// How long the administration's lists are.
const PAGES: PageLimits = PageLimits {
    default: 50,
    most: 200,
};

#[derive(OpenApi)]
#[openapi(info(title = "Kith administration", version = "1"))]
struct Document;

/// Every route of the administration, and the document that describes them.
pub fn router(admin: Admin) -> Router {
    let (router, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .nest(
            "/admin/v1",
            plugins::routes()
                .merge(rollout::routes())
                .merge(audit::routes())
                .merge(export::routes())
                .merge(words::routes())
                .merge(held::routes())
                .merge(people::routes())
                .merge(bans::routes())
                .merge(handovers::routes())
                .merge(reports::routes())
                .merge(replay::routes())
                .merge(nodes::routes())
                .merge(own_routes()),
        )
        .split_for_parts();
    document::complete(&mut document, Audience::Administrators);
    let document = Arc::new(document);
    router
        .route("/healthz", axum::routing::get(super::http::health::healthz))
        .route("/readyz", axum::routing::get(readyz))
        .route("/metrics", axum::routing::get(metrics::metrics))
        .route(
            "/admin/v1/openapi.json",
            axum::routing::get(async move || Json((*document).clone())),
        )
        .fallback(async || Answer(Refusal::not_found("there is no such path")))
        .method_not_allowed_fallback(super::respond::method_not_allowed)
        .layer(axum::middleware::map_response(super::respond::documented))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let (status, body) = admin.health.report();
    (status, Json(body)).into_response()
}

fn own_routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(entry))
}

/// An entry with the decision that let it in; with `made`, where a plugin made it.
#[utoipa::path(get, path = "/conversations/{conversation}/entries/{seq}", params(("conversation" = String, Path), ("seq" = String, Path)),
    responses((status = 200, description = "`entry` and its `decision`"), (status = 404)))]
async fn entry(
    State(admin): State<Admin>,
    _: Administrator,
    Path((conversation, seq)): Path<(String, u64)>,
) -> Result<Json<Value>, Answer> {
    let conversation = super::frame::conversation_id(&conversation)?;
    let found = admin
        .journey
        .log
        .entry(conversation, seq)
        .await
        .map_err(|e| store_refusal(&e))?;
    let (entry, record) = found.ok_or_else(|| Refusal::not_found("there is no such entry"))?;
    let mut hooks = admin
        .rollout
        .explain(record.generation, &record.hooks)
        .await?;
    let mut earlier = Vec::new();
    for judgement in &record.earlier {
        let hooks = admin
            .rollout
            .explain(judgement.generation, &judgement.hooks)
            .await?;
        earlier.push(json!({"generation": judgement.generation, "hooks": hooks}));
    }
    let decision = if earlier.is_empty() {
        json!({"generation": record.generation, "hooks": hooks.take()})
    } else {
        json!({"generation": record.generation, "hooks": hooks.take(), "earlier": earlier})
    };
    let mut shown = json!({"entry": entry.view(Viewer::Author), "decision": decision});
    if let Some(made) = &entry.made {
        shown["made"] = json!(made);
    }
    Ok(Json(shown))
}

/// A user as administrators see it.
pub fn user_json(user: &User) -> Value {
    let Profile {
        id,
        username,
        display_name,
        ..
    } = &user.profile;
    json!({
        "id": id,
        "username": username,
        "display_name": display_name,
        "kind": user.kind,
        "disabled": user.disabled,
        "created_at": user.created_at,
    })
}

/// Answers 201 with the thing made.
pub fn made(value: Value) -> Response {
    (StatusCode::CREATED, Json(value)).into_response()
}
