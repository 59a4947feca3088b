//! The caller's own account:
//! profile, password, devices.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::users::{check_password, checked_name};
use crate::conversation::Profile;
use crate::gateway::Caller;
use crate::gateway::listen::Peer;
use crate::gateway::respond::{Answer, Body};
use crate::journey::store_refusal;
use crate::refusal::{Code, Refusal};

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(me, change_me))
        .routes(routes!(change_password))
        .routes(routes!(devices))
        .routes(routes!(end_device))
}

/// The caller's profile.
#[utoipa::path(get, path = "/v1/me", security(("bearer" = [])), responses((status = 200), (status = 401)))]
async fn me(State(state): State<HttpState>, caller: Caller) -> Result<Json<Profile>, Answer> {
    let user = state
        .accounts
        .user(caller.user)
        .await
        .map_err(|e| store_refusal(&e))?;
    let user = user
        .ok_or_else(|| Refusal::new(Code::Unauthenticated, "the user does not exist any more"))?;
    Ok(Json(user.profile.clone()))
}

#[derive(Debug, Deserialize, ToSchema)]
struct ProfileChange {
    /// 1 to 64 characters.
    display_name: Option<String>,
    /// The media id of a complete picture of the caller's; `null` takes the avatar away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    avatar: Option<Option<String>>,
}

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// Changes the caller's profile.
#[utoipa::path(patch, path = "/v1/me", request_body = ProfileChange, security(("bearer" = [])),
    responses((status = 200), (status = 400), (status = 401), (status = 404), (status = 422)))]
async fn change_me(
    State(state): State<HttpState>,
    caller: Caller,
    Body(change): Body<ProfileChange>,
) -> Result<Json<Profile>, Answer> {
    let display_name = match &change.display_name {
        Some(name) => Some(checked_name(&state, name).await?),
        None => None,
    };
    if let Some(Some(avatar)) = &change.avatar {
        state.media.admit_avatar(caller.user, avatar).await?;
    }
    let avatar = change.avatar.as_ref().map(Option::as_deref);
    let changed = state
        .accounts
        .set_profile(caller.user, display_name.as_deref(), avatar)
        .await;
    let user = changed.map_err(|e| store_refusal(&e))?;
    let user = user
        .ok_or_else(|| Refusal::new(Code::Unauthenticated, "the user does not exist any more"))?;
    state.journey.profile_changed();
    Ok(Json(user.profile.clone()))
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordChange {
    current: String,
    /// At least 8 characters.
    #[schema(min_length = 8)]
    new: String,
}

/// Changes the password; every other device is signed out.
#[utoipa::path(put, path = "/v1/me/password", request_body = PasswordChange, security(("bearer" = [])),
    responses((status = 204), (status = 400), (status = 401), (status = 403), (status = 429), (status = 503)))]
async fn change_password(
    State(state): State<HttpState>,
    caller: Caller,
    peer: Option<Extension<Peer>>,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, Answer> {
    check_password(&change.new)?;
    // The current password can be guessed here as well as at the token endpoint.
    if let (Some(rates), Some(Extension(Peer(address)))) = (&state.strangers, peer) {
        rates
            .attempt(address.ip(), &caller.user.to_string())
            .await?;
    }
    state
        .identity
        .change_password(&caller, &change.current, &change.new)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The devices the caller is signed in on.
#[utoipa::path(get, path = "/v1/me/devices", security(("bearer" = [])),
    responses((status = 200, description = "`devices`: `id`, `kind`, `name`, `created_at`, `seen_at`, `online`, `current`"), (status = 401)))]
async fn devices(State(state): State<HttpState>, caller: Caller) -> Result<Json<Value>, Answer> {
    let devices = state
        .accounts
        .devices(caller.user)
        .await
        .map_err(|e| store_refusal(&e))?;
    let online: Vec<(String, u64)> = state.identity.registry.with(caller.user, |sessions| {
        sessions
            .iter()
            .map(|session| (session.device.clone(), session.heard_at()))
            .collect()
    });
    let elsewhere = state.identity.registry.devices_elsewhere(caller.user).await;
    let heard = |device: &str| online.iter().find(|(online, _)| online == device);
    let rows: Vec<_> = devices
        .iter()
        .map(|device| {
            json!({
                "id": device.id,
                "kind": device.kind,
                "name": device.name,
                "created_at": device.created_at,
                "seen_at": heard(&device.id).map_or(device.seen_at, |(_, at)| device.seen_at.max(*at)),
                "online": heard(&device.id).is_some() || elsewhere.contains(&device.id),
                "current": device.id == caller.device,
            })
        })
        .collect();
    Ok(Json(json!({"devices": rows})))
}

/// Signs one of the caller's devices out.
#[utoipa::path(delete, path = "/v1/me/devices/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 401), (status = 404)))]
async fn end_device(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Answer> {
    if state.identity.end_device(caller.user, &id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::not_found("no such device").into())
    }
}
