//! Tokens: RFC 6749 password and refresh grants,
//! RFC 7009 revocation, the public keys.

use axum::Json;
use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use crate::gateway::listen::Peer;
use crate::gateway::respond::Answer;
use crate::identity::{GrantError, Issued, NewDevice};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(token))
        .routes(routes!(revoke))
        .routes(routes!(jwks))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Grant {
    /// `password` or `refresh_token`.
    grant_type: Option<String>,
    username: Option<String>,
    password: Option<String>,
    /// The client's stable id of this device, 1–128 characters.
    device_id: Option<String>,
    /// `web`, `ios`, `android`, `desktop` or `bot`.
    device_kind: Option<String>,
    refresh_token: Option<String>,
}

/// Issues tokens; errors are those of RFC 6749.
#[utoipa::path(post, path = "/v1/oauth/token",
    request_body(content = Grant, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "`access_token`, `refresh_token`, `expires_in`, `token_type`"),
              (status = 400, description = "`error`, `error_description`"), (status = 429)))]
async fn token(
    State(state): State<HttpState>,
    peer: Option<Extension<Peer>>,
    form: Result<Form<Grant>, FormRejection>,
) -> Response {
    let Ok(Form(grant)) = form else {
        return oauth_error("invalid_request", "the body must be a form");
    };
    let granted = match grant.grant_type.as_deref() {
        Some("password") => password_grant(&state, peer, grant).await,
        Some("refresh_token") => match grant.refresh_token {
            Some(token) => refresh_grant(&state, peer, &token).await,
            None => return oauth_error("invalid_request", "refresh_token is missing"),
        },
        Some(_) => {
            return oauth_error(
                "unsupported_grant_type",
                "password and refresh_token are known",
            );
        }
        None => return oauth_error("invalid_request", "grant_type is missing"),
    };
    match granted {
        Ok(issued) => tokens(&issued),
        Err(GrantError::InvalidGrant(why)) if why == MISSING => oauth_error("invalid_request", why),
        Err(GrantError::InvalidGrant(why)) => oauth_error("invalid_grant", why),
        Err(GrantError::Refused(refusal)) => Answer(refusal).into_response(),
    }
}

const MISSING: &str = "username, password, device_id (1 to 128 characters) and device_kind (web, ios, android, desktop, bot) are needed";

async fn password_grant(
    state: &HttpState,
    peer: Option<Extension<Peer>>,
    grant: Grant,
) -> Result<Issued, GrantError> {
    let missing = || GrantError::InvalidGrant(MISSING);
    let (Some(username), Some(password)) = (grant.username, grant.password) else {
        return Err(missing());
    };
    let (Some(id), Some(kind)) = (grant.device_id, grant.device_kind) else {
        return Err(missing());
    };
    let known_kind = ["web", "ios", "android", "desktop", "bot"].contains(&kind.as_str());
    if !known_kind || !(1..=128).contains(&id.chars().count()) {
        return Err(missing());
    }
    let address = peer.map(|Extension(Peer(address))| address.ip());
    if let (Some(rates), Some(address)) = (&state.strangers, address) {
        rates.attempt(address, &username).await?;
    }
    state
        .identity
        .sign_in(&username, &password, NewDevice { id, kind }, address)
        .await
}

async fn refresh_grant(
    state: &HttpState,
    peer: Option<Extension<Peer>>,
    token: &str,
) -> Result<Issued, GrantError> {
    let address = peer.map(|Extension(Peer(address))| address.ip());
    if let (Some(rates), Some(address)) = (&state.strangers, address) {
        rates.sign_in(address).await?;
    }
    state.identity.refresh(token, address).await
}

fn tokens(issued: &Issued) -> Response {
    let body = json!({
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "expires_in": issued.expires_in,
        "token_type": "Bearer",
    });
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn oauth_error(error: &str, description: &str) -> Response {
    (
        StatusCode::BAD_REQUEST,
        Json(json!({"error": error, "error_description": description})),
    )
        .into_response()
}

#[derive(Debug, Deserialize, ToSchema)]
struct Revoked {
    /// An access or a refresh token.
    token: Option<String>,
}

/// Signs the token's device out. Unknown tokens are no error.
#[utoipa::path(post, path = "/v1/oauth/revoke",
    request_body(content = Revoked, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200), (status = 400)))]
async fn revoke(
    State(state): State<HttpState>,
    form: Result<Form<Revoked>, FormRejection>,
) -> Response {
    let Ok(Form(Revoked { token: Some(token) })) = form else {
        return oauth_error("invalid_request", "token is missing");
    };
    match state.identity.revoke(&token).await {
        Ok(()) => Json(json!({})).into_response(),
        Err(refusal) => Answer(refusal).into_response(),
    }
}

/// The keys access tokens are signed with.
#[utoipa::path(get, path = "/.well-known/jwks.json", responses((status = 200, description = "RFC 7517")))]
async fn jwks(State(state): State<HttpState>) -> Json<Value> {
    Json(state.identity.tokens.jwks())
}
