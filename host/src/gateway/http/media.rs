//! Media over HTTP: tickets, completion, where to read one; and, where the bytes pass through this host, the upload
//! and the download themselves. What comes without a bearer token comes with a signed link.

use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::HttpState;
use super::range::{self, Part};
use crate::gateway::Caller;
use crate::gateway::respond::{Answer, Body};
use crate::ids::MediaId;
use crate::media::blobs::BlobError;
use crate::media::{Link, NewUpload, Served, Upload, facts};
use crate::refusal::{Code, Refusal};
use crate::store::media::MediaRecord;

pub(super) fn routes() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(ticket))
        .routes(routes!(locate))
        .routes(routes!(complete))
        .routes(routes!(upload))
        .routes(routes!(download))
}

fn media_id(text: &str) -> Result<MediaId, Refusal> {
    text.parse()
        .map_err(|_| Refusal::not_found("no such media"))
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewMedia {
    /// The file's name, 1 to 255 characters; filters see it.
    name: String,
    /// As the client believes; the bytes decide.
    mime: String,
    /// Exactly as many will be uploaded.
    bytes: u64,
    /// Of the bytes, 64 hexadecimal digits; checked when given.
    sha256: Option<String>,
}

/// A ticket for one upload.
#[utoipa::path(post, path = "/v1/media", request_body = NewMedia, security(("bearer" = [])),
    responses((status = 201, description = "`id`, `upload`: {`url`, `method`, `headers`}, `expires_at`"), (status = 400),
        (status = 401), (status = 413), (status = 422), (status = 429), (status = 503)))]
async fn ticket(
    State(state): State<HttpState>,
    caller: Caller,
    headers: HeaderMap,
    Body(new): Body<NewMedia>,
) -> Result<Response, Answer> {
    let name = new.name.trim();
    if !(1..=255).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Refusal::bad_request("name must have 1 to 255 characters").into());
    }
    let sha256 = new.sha256.as_deref().map(sha256).transpose()?;
    let name = state.names.check("file-name", name).await?;
    let upload = NewUpload {
        name,
        mime: new.mime,
        bytes: new.bytes,
        sha256,
    };
    let ticket = state.media.ticket(caller.user, upload).await?;
    let (url, method) = match ticket.upload {
        Upload::Direct(direct) => (direct.url, direct.method),
        Upload::Here(path) => (format!("{}{path}", origin(&state, &headers)?), "PUT"),
    };
    let body = json!({
        "id": ticket.id,
        "upload": {"url": url, "method": method, "headers": {"content-type": ticket.mime}},
        "expires_at": ticket.expires_at,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

fn sha256(text: &str) -> Result<[u8; 32], Refusal> {
    let wrong = || Refusal::bad_request("sha256 must be 64 hexadecimal digits");
    let hash = blake3::Hash::from_hex(text).map_err(|_| wrong())?;
    Ok(*hash.as_bytes())
}

/// How this client reaches this server: the configured address, or the one it asked at.
fn origin(state: &HttpState, headers: &HeaderMap) -> Result<String, Refusal> {
    if !state.public_url.is_empty() {
        return Ok(state.public_url.trim_end_matches('/').to_owned());
    }
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let host = text("host").ok_or_else(|| Refusal::bad_request("the request names no host"))?;
    let scheme = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    Ok(format!("{scheme}://{host}"))
}

/// Checks what was uploaded; from then on it can be sent and read. Again: the same answer.
#[utoipa::path(post, path = "/v1/media/{id}/complete", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 200, description = "`id`, `mime`, `bytes`, `width`?, `height`?, `duration_ms`?, `thumb`? (a media id)"),
        (status = 400), (status = 401), (status = 404), (status = 409), (status = 413), (status = 503)))]
async fn complete(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Answer> {
    let record = state.media.complete(caller.user, media_id(&id)?).await?;
    Ok(Json(complete_json(&record)))
}

fn complete_json(record: &MediaRecord) -> Value {
    let facts = facts(record);
    let mut body = json!({"id": record.id, "mime": facts.mime, "bytes": facts.bytes});
    let known = [
        ("width", facts.width.map(Value::from)),
        ("height", facts.height.map(Value::from)),
        ("duration_ms", facts.duration_ms.map(Value::from)),
        ("thumb", facts.thumb.map(|id| id.to_string().into())),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    body
}

/// Leads to the bytes of a media, or of a thumbnail by its id: a link that ends.
#[utoipa::path(get, path = "/v1/media/{id}", params(("id" = String, Path)), security(("bearer" = [])),
    responses((status = 302, description = "`Location`: where the bytes are"), (status = 401), (status = 404), (status = 503)))]
async fn locate(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Answer> {
    let location = state.media.locate(caller.user, media_id(&id)?).await?;
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::FOUND, headers).into_response())
}

/// What the links of this server carry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LinkQuery {
    /// Milliseconds since 1970 UTC.
    expires: Option<u64>,
    signature: Option<String>,
}

impl LinkQuery {
    fn link(self) -> Result<Link, Refusal> {
        match (self.expires, self.signature) {
            (Some(expires_at), Some(signature)) => Ok(Link {
                expires_at,
                signature,
            }),
            _ => Err(Refusal::new(
                Code::Unauthenticated,
                "this is no signed link",
            )),
        }
    }
}

/// Takes the bytes of a ticket in; the ticket's `upload.url` leads here, where media pass through this host.
#[utoipa::path(put, path = "/v1/media/uploads/{id}", params(("id" = String, Path), LinkQuery), request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = 400), (status = 401), (status = 404), (status = 409), (status = 413), (status = 429), (status = 503)))]
async fn upload(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<LinkQuery>,
    request: Request,
) -> Result<StatusCode, Answer> {
    let link = query.link()?;
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = request.into_body().into_data_stream();
    let body = body.map_err(|error| BlobError::Broken(error.to_string()));
    let received = state
        .media
        .receive(media_id(&id)?, &link, length, Box::pin(body));
    received.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bytes behind a link; `Range` asks for a part.
#[utoipa::path(get, path = "/v1/media/blobs/{id}", params(("id" = String, Path), LinkQuery),
    responses((status = 200), (status = 206), (status = 304), (status = 401), (status = 404), (status = 416), (status = 503)))]
async fn download(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<LinkQuery>,
    headers: HeaderMap,
) -> Result<Response, Answer> {
    let link = query.link()?;
    let id = media_id(&id)?;
    let served = state.media.served(id, &link).await?;
    let mut answer = headers_of(&served);
    let same = |value: &HeaderValue| value.as_bytes() == served.tag.as_bytes();
    if headers.get(header::IF_NONE_MATCH).is_some_and(same) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    let asked = headers.get(header::RANGE).filter(|_| {
        // A part of something else than the client has the rest of is of no use to it.
        headers.get(header::IF_RANGE).is_none_or(same)
    });
    let part = range::part(asked.and_then(|value| value.to_str().ok()), served.bytes);
    let (status, range) = match part {
        Part::Whole => (StatusCode::OK, 0..served.bytes),
        Part::Some(range) => {
            let of = format!("bytes {}-{}/{}", range.start, range.end - 1, served.bytes);
            answer.insert(header::CONTENT_RANGE, header_value(&of));
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Part::Outside => {
            let of = format!("bytes */{}", served.bytes);
            let refusal = Refusal::bad_request("the range is outside of the file");
            let headers = [(header::CONTENT_RANGE, of)];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers, Json(refusal)).into_response());
        }
    };
    answer.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(range.end - range.start),
    );
    let stream = state.media.read(id, range).await?;
    Ok((status, answer, Bytes::from_stream(stream)).into_response())
}

/// What every answer with the bytes carries: no browser may take them for a page, or for what they are not.
fn headers_of(served: &Served) -> HeaderMap {
    let keep = format!("private, max-age={}", served.keep_s);
    [
        (header::CONTENT_TYPE, served.shown.mime.as_str()),
        (
            header::CONTENT_DISPOSITION,
            served.shown.disposition.as_str(),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
        (header::ACCEPT_RANGES, "bytes"),
        (header::ETAG, served.tag.as_str()),
        (header::CACHE_CONTROL, keep.as_str()),
    ]
    .into_iter()
    .map(|(name, value)| (name, header_value(value)))
    .collect()
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
