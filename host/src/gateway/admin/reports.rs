//! Reports as administrators
//! read them, newest first.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator};
use crate::gateway::respond::Answer;
use crate::refusal::Refusal;
use crate::store::people::Report;

/// Every route of reports.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Window {
    /// From the page before.
    cursor: Option<String>,
    /// 1 to 200; 50 when left out.
    limit: Option<usize>,
}

/// What users reported, newest first.
#[utoipa::path(get, path = "/reports", params(Window),
    responses((status = 200, description = "`reports`: `id`, `at`, `reporter`, `user`?, `conversation`?, `seq`?, `reason`, `text`?; `cursor`"), (status = 400)))]
async fn list(
    State(admin): State<Admin>,
    _: Administrator,
    Query(window): Query<Window>,
) -> Result<Json<Value>, Answer> {
    let limit = window.limit.unwrap_or(50).clamp(1, 200);
    let before = match window.cursor {
        Some(cursor) => Some(
            cursor
                .parse()
                .map_err(|_| Refusal::bad_request("not a cursor of this list"))?,
        ),
        None => None,
    };
    let mut page = admin.journey.reports(before, limit + 1).await?;
    let more = page.len() > limit;
    page.truncate(limit);
    let mut answer = json!({"reports": page.iter().map(report_json).collect::<Vec<_>>()});
    if let Some(last) = page.last().filter(|_| more) {
        answer["cursor"] = last.id.to_string().into();
    }
    Ok(Json(answer))
}

fn report_json(report: &Report) -> Value {
    let filed = &report.filed;
    let mut row = json!({
        "id": report.id.to_string(),
        "at": filed.at,
        "reporter": filed.reporter,
        "reason": filed.reason,
    });
    if let Some(user) = filed.user {
        row["user"] = user.to_string().into();
    }
    if let Some(conversation) = filed.conversation {
        row["conversation"] = conversation.to_string().into();
    }
    if let Some(seq) = filed.seq {
        row["seq"] = seq.into();
    }
    if let Some(text) = &filed.text {
        row["text"] = text.as_str().into();
    }
    row
}
