//! Routes of conversations that plugins have handed over to a person:
//! which they are, and giving them back.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator, PAGES};
use crate::gateway::respond::Answer;
use crate::refusal::Refusal;
use crate::store::moderation::Handover;

/// Every route of conversations handed over.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(give_back))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<i64>,
}

/// Conversations in which a responder is not called until they are given back, newest first.
#[utoipa::path(get, path = "/handovers", params(Window),
    responses((status = 200, description = "`handovers`: `id`, `conversation`, `account`, `plugin`, `reason`, `seq`, `at`; `cursor`"), (status = 400)))]
async fn list(
    State(admin): State<Admin>,
    _: Administrator,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = PAGES.cut(window.limit)?;
    let not_one = |_| Refusal::bad_request("not a cursor of this list");
    let before = window.cursor.map(|cursor| cursor.parse().map_err(not_one));
    let mut page = admin
        .after
        .handovers(before.transpose()?, limit + 1)
        .await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut answer = json!({"handovers": page.iter().map(row).collect::<Vec<_>>()});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

fn row(handover: &Handover) -> Value {
    let made = &handover.made;
    json!({
        "id": handover.id.to_string(),
        "conversation": made.conversation,
        "account": made.account,
        "plugin": made.plugin,
        "reason": made.reason,
        "seq": made.seq,
        "at": made.at,
    })
}

/// Gives a conversation back: the responder is called for what is written from now on.
#[utoipa::path(delete, path = "/handovers/{id}", params(("id" = String, Path)), responses((status = 204), (status = 404)))]
async fn give_back(
    State(admin): State<Admin>,
    who: Administrator,
    Path(id): Path<String>,
) -> Result<StatusCode, Answer> {
    let none = |_| Refusal::not_found("no such conversation is handed over");
    let given = admin.after.give_back(id.parse().map_err(none)?).await?;
    let subject = format!("{} {}", given.made.conversation, given.made.plugin);
    admin.audit(&who, "handover.return", &subject).await?;
    Ok(StatusCode::NO_CONTENT)
}
