//! The public REST router: every route of clients, the document that describes them, and what holds for all of
//! them (authorisation by bearer token, documented errors, body limits).

mod friends;
pub mod health;
mod me;
mod media;
mod oauth;
mod range;
mod reports;
mod users;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::{Json, Router};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::conversations::{self, Conversations};
use super::document::{self, Audience, OF_PROBES};
use super::groups;
use super::listen::Peer;
use super::rate::StrangerRates;
use super::respond::{Answer, documented, method_not_allowed, not_found};
use super::{Caller, Doorkeeper as _};
use crate::clock::Clock;
use crate::identity::Identity;
use crate::ids::IdSource;
use crate::journey::Journey;
use crate::journey::reads::PageLimits;
use crate::media::Media;
use crate::refusal::{Code, Refusal};
use crate::store::accounts::Accounts;

/// Asks the filters about a name.
#[async_trait]
pub trait NameCheck: Send + Sync + 'static {
    /// The name as it may be stored: masked where the filter masks; refused where it may not be.
    async fn check(&self, place: &'static str, name: &str) -> Result<String, Refusal>;
}

/// What the routes of accounts share.
#[derive(Clone)]
pub struct HttpState {
    pub identity: Arc<Identity>,
    pub accounts: Arc<dyn Accounts>,
    pub journey: Arc<Journey>,
    pub names: Arc<dyn NameCheck>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<IdSource>,
    /// `None` when rates are off.
    pub strangers: Option<Arc<StrangerRates>>,
    pub pages: PageLimits,
    pub health: Arc<health::Health>,
    pub media: Arc<Media>,
    /// Where clients reach this server; empty is where each asked.
    pub public_url: Arc<str>,
}

impl FromRequestParts<HttpState> for Caller {
    type Rejection = axum::response::Response;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &HttpState,
    ) -> Result<Self, Self::Rejection> {
        let authenticated = match bearer(parts) {
            Some(token) => state.identity.authenticate(token).await,
            None => Err(Refusal::new(
                Code::Unauthenticated,
                "a bearer token is needed",
            )),
        };
        let admitted = authenticated.and_then(|caller: Self| {
            state.identity.admit_request(caller.user)?;
            Ok(caller)
        });
        admitted.map_err(|refusal| Answer(refusal).into_response())
    }
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Kith",
    version = "1",
    description = "REST of Kith, protocol version 1"
))]
struct Document;

/// Most bytes of a request's body.
const BODY_BYTES: usize = 256 * 1024;

/// Every public route.
pub fn router(state: HttpState, conversations: Conversations) -> Router {
    let strangers = state.strangers.clone();
    let accounts = OpenApiRouter::with_openapi(Document::openapi())
        .merge(users::routes())
        .merge(oauth::routes())
        .merge(me::routes())
        .merge(friends::routes())
        .merge(reports::routes())
        .merge(media::routes())
        .merge(health::routes())
        .with_state(state);
    let (router, mut document) = accounts
        .merge(groups::routes().with_state(conversations.clone()))
        .merge(conversations::routes().with_state(conversations))
        .split_for_parts();
    document::complete(&mut document, Audience::Clients);
    let document = Arc::new(document);
    router
        .route(
            "/v1/openapi.json",
            axum::routing::get(async move || Json((*document).clone())),
        )
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::map_response(documented))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(strangers, admitted))
}

/// One more request of an address, before it is known whose it is.
async fn admitted(
    State(strangers): State<Option<Arc<StrangerRates>>>,
    request: Request,
    next: Next,
) -> axum::response::Response {
    let peer = request.extensions().get::<Peer>();
    if let (Some(rates), Some(Peer(address))) = (&strangers, peer)
        && !OF_PROBES.contains(&request.uri().path())
        && let Err(refusal) = rates.admit_request(address.ip())
    {
        return Answer(refusal).into_response();
    }
    next.run(request).await
}
