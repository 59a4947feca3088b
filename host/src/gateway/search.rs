//! `GET /v1/search`: takes the query's fields, asks the journey, answers with hits as the protocol has them.
//! Knows no index.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conversations::{Conversations, SignedIn};
use super::frame::{conversation_id, user_id};
use super::respond::Answer;
use crate::entry::Viewer;
use crate::ids::UserId;
use crate::journey::search::{Hit, Wanted};
use crate::refusal::Refusal;
use crate::search::Order;

pub(super) fn routes() -> OpenApiRouter<Conversations> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SearchFields {
    /// Words, all of which must occur; at most 256 characters. Case and width are folded; Chinese by substring.
    q: Option<String>,
    /// Only in this conversation.
    conversation: Option<String>,
    /// Only of this sender.
    from: Option<String>,
    /// Not before, milliseconds since 1970 UTC.
    after: Option<u64>,
    /// Not after, milliseconds since 1970 UTC.
    before: Option<u64>,
    /// `newest` (default) or `best` first.
    #[param(pattern = "^(newest|best)$")]
    order: Option<String>,
    /// From the page before, with the same query.
    cursor: Option<String>,
    /// At least 1; cut to the deployment's `batch`.
    limit: Option<i64>,
}

/// Messages the caller may see. A page may hold fewer than asked for and still lead on by its `cursor`.
#[utoipa::path(get, path = "/v1/search", params(SearchFields), security(("bearer" = [])),
    responses((status = 200, description = "`messages`: `entry` and `highlights` (`start`, `end` in Unicode scalar values of its text; `field` when that is not `text`), and `cursor` while there is more"),
        (status = 400), (status = 401), (status = 403), (status = 404), (status = 429), (status = 503)))]
async fn search(
    State(state): State<Conversations>,
    SignedIn(caller): SignedIn,
    Query(fields): Query<SearchFields>,
) -> Result<Json<Value>, Answer> {
    state.gateway.doorkeeper.admit_search(caller.user)?;
    let limit = state.gateway.limits.pages.cut(fields.limit)?;
    let wanted = wanted(fields, limit)?;
    let found = state.finder.find(caller.user, &wanted).await?;
    let messages: Vec<Value> = found
        .hits
        .iter()
        .map(|hit| hit_json(hit, caller.user))
        .collect();
    let mut answer = json!({"messages": messages});
    if let Some(cursor) = found.cursor {
        answer["cursor"] = cursor.into();
    }
    Ok(Json(answer))
}

fn wanted(fields: SearchFields, limit: usize) -> Result<Wanted, Refusal> {
    let order = match fields.order.as_deref() {
        None | Some("newest") => Order::Newest,
        Some("best") => Order::Best,
        Some(_) => return Err(Refusal::bad_request("order must be newest or best")),
    };
    let conversation = fields.conversation.as_deref().map(conversation_id);
    Ok(Wanted {
        words: fields.q.unwrap_or_default(),
        conversation: conversation.transpose()?,
        from: fields.from.as_deref().map(user_id).transpose()?,
        after_ms: fields.after,
        before_ms: fields.before,
        order,
        cursor: fields.cursor,
        limit,
    })
}

fn hit_json(hit: &Hit, user: UserId) -> Value {
    let highlights: Vec<Value> = hit
        .highlights
        .iter()
        .map(|(field, stretch)| {
            let mut highlight = json!({"start": stretch.start, "end": stretch.end});
            if *field != "text" {
                highlight["field"] = (*field).into();
            }
            highlight
        })
        .collect();
    json!({"entry": hit.entry.view(Viewer::of(&hit.entry, user)), "highlights": highlights})
}
