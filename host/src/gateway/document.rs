//! What the OpenAPI documents say of all routes alike, so that no route says it by itself: the answers that come of
//! tokens, parameters, bodies, rates and stores. Never about what one route does.

use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, Response};

/// What watches the server asks for no token, is not counted, and hears of a store that is down as of a state.
pub const OF_PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Whose routes a document describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Counted, some of them strangers.
    Clients,
    /// Never without a token.
    Administrators,
}

/// Names the tokens' scheme and every answer that is not of one route alone.
pub fn complete(document: &mut OpenApi, audience: Audience) {
    let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("bearer", scheme);
    for (path, item) in &mut document.paths.paths {
        let methods = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        if !OF_PROBES.contains(&path.as_str()) {
            for operation in methods.into_iter().flatten() {
                answers(operation, audience);
            }
        }
    }
}

fn answers(operation: &mut Operation, audience: Audience) {
    if audience == Audience::Administrators {
        let bearer = SecurityRequirement::new("bearer", [""; 0]);
        operation.security.get_or_insert_with(|| vec![bearer]);
    }
    let mut say = |status: &str, why: &str| {
        let known = &mut operation.responses.responses;
        known
            .entry(status.to_owned())
            .or_insert(Response::new(why).into());
    };
    if operation.security.is_some() {
        say("401", "no good token");
        if audience == Audience::Clients {
            say("403", "`banned`, or not allowed");
        }
    }
    let of_url = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(own) => matches!(own.parameter_in, ParameterIn::Path | ParameterIn::Query),
        RefOr::Ref(_) => true,
    };
    let mut parameters = operation.parameters.iter().flatten();
    if operation.request_body.is_some() || parameters.any(of_url) {
        say("400", "`bad_request`: not of the form described here");
    }
    if operation.request_body.is_some() {
        say("413", "the body is too large");
    }
    if audience == Audience::Clients {
        say("429", "too often: `retry_after_ms`");
    }
    say("503", "nothing was done, ask again: `retry_after_ms`");
}
