//! Refusals as HTTP answers: the only table.
//! Also turns what the router itself refuses into documented errors.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::refusal::{Code, Refusal};

/// A refusal on its way out.
#[derive(Debug)]
pub struct Answer(pub Refusal);

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Self(refusal) = self;
        if refusal.code == Code::Internal {
            tracing::error!(why = %refusal.message, "a request met a defect");
        }
        let status = StatusCode::from_u16(refusal.code.status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = refusal.retry_after_ms.map(|wait| wait.div_ceil(1000));
        let mut response = (status, Json(refusal)).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON body; what is wrong with one is told as a documented error.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(Answer(body_refusal(&rejection)).into_response()),
        }
    }
}

fn body_refusal(rejection: &JsonRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(Code::TooLarge, "the body is too large"),
        _ => Refusal::bad_request(rejection.body_text()),
    }
}

/// A known path, but not this method.
pub async fn method_not_allowed() -> Response {
    let refusal = Refusal::bad_request("this path does not take this method");
    (StatusCode::METHOD_NOT_ALLOWED, Json(refusal)).into_response()
}

/// No such path.
pub async fn not_found() -> Response {
    Answer(Refusal::not_found("there is no such path")).into_response()
}

/// Turns the router's own refusals (of paths and queries) into documented errors; ours pass as they are.
pub async fn documented(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if !status.is_client_error() || is_json {
        return response;
    }
    let refusal = match status {
        StatusCode::NOT_FOUND => Refusal::not_found("there is no such thing"),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(Code::TooLarge, "the body is too large"),
        StatusCode::METHOD_NOT_ALLOWED => return method_not_allowed().await,
        _ => Refusal::bad_request("the path, the query or the body is not of the documented form"),
    };
    Answer(refusal).into_response()
}
