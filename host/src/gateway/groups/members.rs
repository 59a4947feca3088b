//! REST of a group's members: the list, adding, changing one, removing or leaving.
//! Bodies to changes and back; who may do what is the journey's.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{future, given, users};
use crate::conversation::Role;
use crate::conversation::group::{MemberEdit, member_json};
use crate::gateway::conversations::{Conversations, SignedIn};
use crate::gateway::frame::{conversation_id, user_id};
use crate::gateway::respond::{Answer, Body};
use crate::refusal::Refusal;
use crate::store::groups::MemberRow;

pub(super) fn routes() -> OpenApiRouter<Conversations> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(change, remove))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// From the page before.
    pub cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    pub limit: Option<i64>,
}

impl Window {
    /// Where the page begins.
    pub fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Refusal> {
        let wrong = |_| Refusal::bad_request("not a cursor of this list");
        self.cursor
            .as_ref()
            .map(|cursor| cursor.parse().map_err(wrong))
            .transpose()
    }
}

/// A group's members, by id.
#[utoipa::path(get, path = "/v1/groups/{conversation}/members", params(("conversation" = String, Path), Window), security(("bearer" = [])),
    responses((status = 200, description = "`members`: `user`, `role`, `joined_at`, `muted_until`?, `nickname`?; and `cursor` while there is more"),
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
        .group_members(caller.user, conversation, after, limit + 1)
        .await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut answer = rendered(&state, &page);
    if let Some((last, _)) = page.last().filter(|_| more) {
        answer["cursor"] = last.to_string().into();
    }
    Ok(Json(answer))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Newcomers {
    /// Ids of users.
    users: Vec<String>,
}

/// Adds users; who is a member already stays as it is. 200 when everyone was.
#[utoipa::path(post, path = "/v1/groups/{conversation}/members", params(("conversation" = String, Path)), request_body = Newcomers, security(("bearer" = [])),
    responses((status = 201, description = "`members`: those named"), (status = 200), (status = 400), (status = 401), (status = 403), (status = 404), (status = 413), (status = 422), (status = 503)))]
async fn add(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Body(new): Body<Newcomers>,
) -> Result<Response, Answer> {
    let conversation = conversation_id(&conversation)?;
    let users = users(&new.users)?;
    let journey = &state.gateway.journey;
    let added = journey
        .add_members(caller.user, conversation, &users)
        .await?;
    let status = if added.anew {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(rendered(&state, &added.members))).into_response())
}

#[derive(Debug, Deserialize, ToSchema)]
struct MemberChange {
    /// `admin`, `member`, or `owner`: transfers the group, the former owner is then an admin.
    #[schema(value_type = Option<String>)]
    role: Option<Role>,
    /// May not speak until then, milliseconds since 1970 UTC; `null` or past lifts it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    muted_until: Option<Option<u64>>,
    /// At most 64 characters; `null` takes it away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    nickname: Option<Option<String>>,
}

/// Changes a member: all that is named, or nothing.
#[utoipa::path(patch, path = "/v1/groups/{conversation}/members/{user}", params(("conversation" = String, Path), ("user" = String, Path)), request_body = MemberChange, security(("bearer" = [])),
    responses((status = 200, description = "the member"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 422), (status = 503)))]
async fn change(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path((conversation, user)): Path<(String, String)>,
    Body(change): Body<MemberChange>,
) -> Result<Json<Value>, Answer> {
    let conversation = conversation_id(&conversation)?;
    let user = user_id(&user)?;
    let now_ms = state.gateway.clock.now_ms();
    let edit = MemberEdit {
        role: change.role,
        muted_until: change.muted_until.map(|until| future(until, now_ms)),
        nickname: change.nickname,
    };
    let journey = &state.gateway.journey;
    let member = journey
        .change_member(caller.user, conversation, user, edit)
        .await?;
    Ok(Json(member_json(user, &member, now_ms)))
}

/// Removes a member; the caller itself leaves.
#[utoipa::path(delete, path = "/v1/groups/{conversation}/members/{user}", params(("conversation" = String, Path), ("user" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 503)))]
async fn remove(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path((conversation, user)): Path<(String, String)>,
) -> Result<StatusCode, Answer> {
    let conversation = conversation_id(&conversation)?;
    let user = user_id(&user)?;
    let journey = &state.gateway.journey;
    journey
        .remove_member(caller.user, conversation, user)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn rendered(state: &Conversations, members: &[MemberRow]) -> Value {
    let now_ms = state.gateway.clock.now_ms();
    let members: Vec<Value> = members
        .iter()
        .map(|(user, member)| member_json(*user, member, now_ms))
        .collect();
    json!({"members": members})
}
