//! Routes of the filter's words. They change as a whole:
//! one change, one new generation.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Admin, Administrator};
use crate::gateway::respond::{Answer, Body};
use crate::plugins::words::Word;

/// Room for a million words.
const WORDS_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Every word route.
pub fn routes() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(remove))
        .routes(routes!(import))
        .routes(routes!(test))
        .layer(axum::extract::DefaultBodyLimit::max(WORDS_BODY_BYTES))
}

/// Every word with its level.
#[utoipa::path(get, path = "/words", responses((status = 200, description = "`words`, `count`, `generation`")))]
async fn list(State(admin): State<Admin>, _: Administrator) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.words.list().await?))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Added {
    words: Vec<Word>,
}

/// Adds words, or changes the level of known ones.
#[utoipa::path(post, path = "/words", request_body = Added, responses((status = 200), (status = 400)))]
async fn add(
    State(admin): State<Admin>,
    who: Administrator,
    Body(Added { words }): Body<Added>,
) -> Result<Json<Value>, Answer> {
    let count = words.len();
    let done = admin.words.add(words).await?;
    admin
        .audit(&who, "words.add", &format!("{count} words"))
        .await?;
    Ok(Json(done))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Removed {
    words: Vec<String>,
}

/// Takes words away.
#[utoipa::path(post, path = "/words/remove", request_body = Removed, responses((status = 200), (status = 404)))]
async fn remove(
    State(admin): State<Admin>,
    who: Administrator,
    Body(Removed { words }): Body<Removed>,
) -> Result<Json<Value>, Answer> {
    let done = admin.words.remove(&words).await?;
    admin
        .audit(&who, "words.remove", &format!("{} words", words.len()))
        .await?;
    Ok(Json(done))
}

/// Adds the words of a CSV file; one bad row imports nothing and is named.
#[utoipa::path(post, path = "/words/import", request_body(content = String, content_type = "text/csv"),
    responses((status = 200), (status = 400)))]
async fn import(
    State(admin): State<Admin>,
    who: Administrator,
    csv: String,
) -> Result<Json<Value>, Answer> {
    let done = admin.words.import(&csv).await?;
    admin.audit(&who, "words.import", "csv").await?;
    Ok(Json(done))
}

#[derive(Debug, Deserialize, ToSchema)]
struct Tested {
    text: String,
}

/// What the serving filters find in a text, and what would become of it.
#[utoipa::path(post, path = "/words/test", request_body = Tested,
    responses((status = 200, description = "`verdict`, `text`, `hits`")))]
async fn test(
    State(admin): State<Admin>,
    _: Administrator,
    Body(Tested { text }): Body<Tested>,
) -> Result<Json<Value>, Answer> {
    Ok(Json(admin.words.test(&text).await?))
}
