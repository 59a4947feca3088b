//! Routes of held messages: what waits,
//! and an administrator's word on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, PAGES};
use crate::gateway::respond::{Answer, Body};
use crate::ids::HoldId;
use crate::journey::store_refusal;
use crate::refusal::Refusal;
use crate::store::{HeldMessage, Outcome};

/// Every route of held messages.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(release))
        .routes(routes!(refuse))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<i64>,
}

/// Messages that wait for a decision, oldest first.
#[utoipa::path(get, path = "/held", params(Window), responses((status = 200, description = "`held`, `cursor`")))]
async fn list(
    State(admin): State<Admin>,
    _: Administrator,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = PAGES.cut(window.limit)?;
    let after = match window.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let (page, more) = waiting(&admin, after, limit).await?;
    let cursor = page.last().filter(|_| more).map(|last| last.id.to_string());
    let held: Vec<_> = page.iter().map(|held| held_json(held)).collect();
    let mut answer = json!({"held": held});
    if let Some(cursor) = cursor {
        answer["cursor"] = cursor.into();
    }
    Ok(Json(answer))
}

/// The next messages that wait, and whether there are more; refused ones stay for their senders' lists alone.
async fn waiting(
    admin: &Admin,
    mut after: Option<HoldId>,
    limit: usize,
) -> Result<(Vec<Arc<HeldMessage>>, bool), Refusal> {
    let mut waiting = Vec::new();
    loop {
        let page = admin
            .journey
            .log
            .held_page(None, after, limit + 1)
            .await
            .map_err(|e| store_refusal(&e))?;
        let whole = page.len() > limit;
        after = page.last().map(|last| last.id);
        waiting.extend(page.into_iter().filter(|held| held.refused.is_none()));
        if waiting.len() > limit {
            waiting.truncate(limit);
            return Ok((waiting, true));
        }
        if !whole {
            return Ok((waiting, false));
        }
    }
}

fn held_json(held: &HeldMessage) -> Value {
    let hold = &held.hold;
    json!({
        "hold": held.id,
        "conversation": hold.conversation,
        "from": hold.author,
        "client_id": hold.key.as_ref().map(|key| &key.client_id),
        "content": hold.content,
        "edits": hold.edits,
        "at": held.at,
        "by": hold.by,
        "reason": hold.reason,
        "cause": match hold.cause {
            crate::store::HoldCause::Verdict => "verdict",
            crate::store::HoldCause::Failed => "failed",
            crate::store::HoldCause::Absent => "absent",
        },
    })
}

impl Admin {
    /// Asks the rules about what is done to a held message; one that does not wait is found to be gone later.
    async fn asks(&self, who: &Administrator, what: &str, hold: HoldId) -> Result<(), Refusal> {
        let held = self.journey.log.held(hold).await;
        let held = held.map_err(|error| store_refusal(&error))?;
        let author = held.map(|held| held.hold.author);
        let subject = hold.to_string();
        self.rules.ask_action(&who.0, what, author, &subject).await
    }
}

fn hold_id(text: &str) -> Result<HoldId, Refusal> {
    text.parse()
        .map_err(|_| Refusal::not_found("no such held message"))
}

/// Lets a message through; what the filters mask or reject of it, they still do.
#[utoipa::path(post, path = "/held/{hold}/release", params(("hold" = String, Path)), responses((status = 200), (status = 403), (status = 404), (status = 422), (status = 503)))]
async fn release(
    State(admin): State<Admin>,
    who: Administrator,
    Path(hold): Path<String>,
) -> Result<Json<Value>, Answer> {
    let id = hold_id(&hold)?;
    admin.asks(&who, "held.release", id).await?;
    let outcome = admin.journey.release(id).await?;
    admin.audit(&who, "held.release", &hold).await?;
    let Outcome::Committed(committed) = outcome else {
        return Err(Refusal::not_found("no such held message").into());
    };
    let entry = &committed.entry;
    Ok(Json(
        json!({"hold": hold, "conversation": entry.conversation, "seq": entry.seq, "id": entry.id}),
    ))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Refuse {
    /// The reason's code, told to the sender.
    reason: String,
}

/// Refuses a message for good.
#[utoipa::path(post, path = "/held/{hold}/refuse", params(("hold" = String, Path)), request_body = Refuse, responses((status = 200), (status = 403), (status = 404), (status = 422)))]
async fn refuse(
    State(admin): State<Admin>,
    who: Administrator,
    Path(hold): Path<String>,
    Body(Refuse { reason }): Body<Refuse>,
) -> Result<Json<Value>, Answer> {
    let well_formed = reason
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if reason.is_empty() || reason.len() > 64 || !well_formed {
        return Err(Refusal::bad_request("reason must be a code: letters, digits, - and _").into());
    }
    let id = hold_id(&hold)?;
    admin.asks(&who, "held.refuse", id).await?;
    admin.journey.refuse(id, &reason).await?;
    admin.audit(&who, "held.refuse", &hold).await?;
    Ok(Json(
        json!({"hold": hold, "state": "refused", "reason": reason}),
    ))
}
