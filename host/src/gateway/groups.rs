//! REST of groups: made, looked at, changed, dissolved. Bodies to changes and back;
//! who may do what is the journey's.

mod joining;
mod members;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conversations::{Conversations, SignedIn};
use super::frame::{conversation_id, user_id};
use super::respond::{Answer, Body};
use crate::conversation::Conversation;
use crate::conversation::group::{GroupEdit, JoinPolicy, Past, Retention, group_json};
use crate::ids::UserId;
use crate::journey::groups::GroupDraft;
use crate::refusal::{Code, Refusal};

/// Every route of groups.
pub fn routes() -> OpenApiRouter<Conversations> {
    OpenApiRouter::new()
        .routes(routes!(create))
        .routes(routes!(show, change, dissolve))
        .merge(members::routes())
        .merge(joining::routes())
}

/// Longest slow mode: a day.
const SLOW_MODE_S_MOST: u32 = 86_400;

/// Tells `null` from a field that is not there.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[derive(Debug, Deserialize, ToSchema)]
struct KeptFor {
    /// At least 1.
    days: Option<u32>,
    /// The newest so many entries; at least 1.
    count: Option<u64>,
}

impl KeptFor {
    /// Without a bound it is no retention at all.
    fn checked(self) -> Result<Option<Retention>, Refusal> {
        let Self { days, count } = self;
        if days == Some(0) || count == Some(0) {
            return Err(Refusal::bad_request(
                "retention takes days and count of at least 1",
            ));
        }
        Ok((days.is_some() || count.is_some()).then_some(Retention { days, count }))
    }
}

#[derive(Debug, Deserialize, ToSchema)]
struct Creation {
    /// 1 to 100 characters.
    title: String,
    /// Users besides the caller, who owns the group.
    #[serde(default)]
    members: Vec<String>,
    /// A media id.
    avatar: Option<String>,
    /// `invite` (the default), `approval` or `open`.
    #[schema(value_type = Option<String>)]
    join: Option<JoinPolicy>,
    /// What a new member sees of the past: `from_joining` (the default) or `all`.
    #[schema(value_type = Option<String>)]
    history: Option<Past>,
    /// Seconds between two messages of a plain member; at most a day.
    slow_mode_s: Option<u32>,
    retention: Option<KeptFor>,
}

/// Makes a group. Answers its summary.
#[utoipa::path(post, path = "/v1/groups", request_body = Creation, security(("bearer" = [])),
    responses((status = 201, description = "the summary of the conversation"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 413), (status = 422), (status = 503)))]
async fn create(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Body(new): Body<Creation>,
) -> Result<Response, Answer> {
    let draft = GroupDraft {
        title: new.title,
        avatar: new.avatar,
        join: new.join.unwrap_or_default(),
        history: new.history.unwrap_or_default(),
        slow_mode_s: slow_mode(new.slow_mode_s)?,
        retention: match new.retention {
            Some(kept) => kept.checked()?,
            None => None,
        },
        users: users(&new.members)?,
    };
    let journey = &state.gateway.journey;
    let id = journey.create_group(caller.user, draft).await?;
    let summary = journey.summary_json(caller.user, id).await?;
    let gone = || Refusal::new(Code::NotMember, "no longer a member of this conversation");
    Ok((StatusCode::CREATED, Json(summary.ok_or_else(gone)?)).into_response())
}

/// A group the caller is a member of.
#[utoipa::path(get, path = "/v1/groups/{conversation}", params(("conversation" = String, Path)), security(("bearer" = [])),
    responses((status = 200, description = "`id`, `title`, `avatar`?, `join`, `history`, `muted_until`?, `slow_mode_s`?, `retention`?, `members`, `owner`"),
              (status = 401), (status = 403), (status = 404)))]
async fn show(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
) -> Result<Json<Value>, Answer> {
    let conversation = conversation_id(&conversation)?;
    let group = state
        .gateway
        .journey
        .group(caller.user, conversation)
        .await?;
    shown(&state, &group)
}

#[derive(Debug, Deserialize, ToSchema)]
struct SettingsChange {
    /// 1 to 100 characters.
    title: Option<String>,
    /// A media id; `null` takes the avatar away.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    avatar: Option<Option<String>>,
    /// `invite`, `approval` or `open`.
    #[schema(value_type = Option<String>)]
    join: Option<JoinPolicy>,
    /// `from_joining` or `all`; for those who join from now on.
    #[schema(value_type = Option<String>)]
    history: Option<Past>,
    /// Until then everyone but owner and admins is muted, milliseconds since 1970 UTC; `null` or past lifts it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    muted_until: Option<Option<u64>>,
    /// Seconds between two messages of a plain member; `null` or 0 is none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    slow_mode_s: Option<Option<u32>>,
    /// `null` is the deployment's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<KeptFor>)]
    retention: Option<Option<KeptFor>>,
}

/// Changes title and settings; what is left out stays as it is.
#[utoipa::path(patch, path = "/v1/groups/{conversation}", params(("conversation" = String, Path)), request_body = SettingsChange, security(("bearer" = [])),
    responses((status = 200, description = "the group"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 422), (status = 503)))]
async fn change(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
    Body(change): Body<SettingsChange>,
) -> Result<Json<Value>, Answer> {
    let conversation = conversation_id(&conversation)?;
    let now_ms = state.gateway.clock.now_ms();
    let edit = GroupEdit {
        title: change.title,
        avatar: change.avatar,
        join: change.join,
        history: change.history,
        muted_until: change.muted_until.map(|until| future(until, now_ms)),
        slow_mode_s: match change.slow_mode_s {
            Some(seconds) => Some(slow_mode(seconds)?),
            None => None,
        },
        retention: match change.retention {
            Some(Some(kept)) => Some(kept.checked()?),
            Some(None) => Some(None),
            None => None,
        },
    };
    let journey = &state.gateway.journey;
    let group = journey
        .change_group(caller.user, conversation, edit)
        .await?;
    shown(&state, &group)
}

/// Dissolves a group: its conversation is gone for everyone.
#[utoipa::path(delete, path = "/v1/groups/{conversation}", params(("conversation" = String, Path)), security(("bearer" = [])),
    responses((status = 204), (status = 401), (status = 403), (status = 404), (status = 503)))]
async fn dissolve(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Path(conversation): Path<String>,
) -> Result<StatusCode, Answer> {
    let conversation = conversation_id(&conversation)?;
    let journey = &state.gateway.journey;
    journey.dissolve_group(caller.user, conversation).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn shown(state: &Conversations, group: &Conversation) -> Result<Json<Value>, Answer> {
    let shown = group_json(group, state.gateway.clock.now_ms());
    Ok(Json(
        shown.ok_or_else(|| Refusal::not_found("no such group"))?,
    ))
}

/// A time that is over lifts what it ends.
fn future(until: Option<u64>, now_ms: u64) -> Option<u64> {
    until.filter(|until| *until > now_ms)
}

fn slow_mode(seconds: Option<u32>) -> Result<Option<u32>, Refusal> {
    if seconds > Some(SLOW_MODE_S_MOST) {
        return Err(Refusal::bad_request("slow_mode_s is at most a day"));
    }
    Ok(seconds.filter(|seconds| *seconds > 0))
}

fn users(ids: &[String]) -> Result<Vec<UserId>, Refusal> {
    ids.iter().map(|id| user_id(id)).collect()
}
