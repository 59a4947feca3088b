//! Reports of users and entries,
//! as their reporters file them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use crate::gateway::Caller;
use crate::gateway::frame::{conversation_id, user_id};
use crate::gateway::respond::{Answer, Body};
use crate::journey::reports::Complaint;
use crate::moderation::Occasion;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(file))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewReport {
    /// Whom it is about; of an entry its author when left out.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    conversation: Option<String>,
    /// An entry of the conversation that the caller may see.
    #[serde(default)]
    seq: Option<u64>,
    /// Why, 1 to 64 characters.
    reason: String,
    /// At most 2000 characters.
    #[serde(default)]
    text: Option<String>,
}

/// Reports a user, a conversation or an entry to the administrators.
#[utoipa::path(post, path = "/v1/reports", request_body = NewReport, security(("bearer" = [])),
    responses((status = 201, description = "`id`"), (status = 400), (status = 401), (status = 403), (status = 404), (status = 413), (status = 429)))]
async fn file(
    State(state): State<HttpState>,
    caller: Caller,
    Body(new): Body<NewReport>,
) -> Result<Response, Answer> {
    let complaint = Complaint {
        user: new.user.as_deref().map(user_id).transpose()?,
        conversation: new
            .conversation
            .as_deref()
            .map(conversation_id)
            .transpose()?,
        seq: new.seq,
        reason: new.reason,
        text: new.text,
    };
    if let Some(rates) = &state.identity.rates {
        rates.report(caller.user).await?;
    }
    let told = (
        complaint.reason.trim().to_owned(),
        complaint.text.clone().unwrap_or_default(),
        complaint.conversation,
    );
    let (id, about) = state.journey.report(caller.user, complaint).await?;
    let (what, text, conversation) = told;
    let filed = state.identity.rules.tell(|| Occasion {
        kind: "report-filed",
        user: about.map(|user| user.to_string()).unwrap_or_default(),
        actor: caller.user.to_string(),
        conversation: conversation.map(|id| id.to_string()).unwrap_or_default(),
        what,
        text,
        ..Occasion::default()
    });
    filed.await;
    Ok((StatusCode::CREATED, Json(json!({"id": id.to_string()}))).into_response())
}
