//! `GET /v1/ws`: from an HTTP request to a connection. Chooses the codec, takes the bare socket over from the HTTP
//! server so that nothing of it stays behind, and serves.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::listen::Peer;
use super::socket::Socket;
use super::{Gateway, connection};
use crate::refusal::Refusal;
use crate::session::Codec;

const JSON: &str = "kith.v1.json";
const MSGPACK: &str = "kith.v1.msgpack";

/// Answers the handshake; `guard` lives as long as the connection (it counts it).
pub fn upgrade<G: Send + 'static>(
    gateway: Arc<Gateway>,
    mut request: Request<axum::body::Body>,
    guard: G,
) -> Response {
    let refused = |message: &'static str| {
        let refusal = Refusal::bad_request(message);
        (StatusCode::BAD_REQUEST, axum::Json(refusal)).into_response()
    };
    if request.method() != Method::GET || !asks_for_upgrade(request.headers()) {
        return refused("this is a WebSocket: GET with the upgrade headers");
    }
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).cloned() else {
        return refused("the Sec-WebSocket-Key header is missing");
    };
    let Ok((codec, protocol)) = negotiate(request.headers()) else {
        return refused(
            "none of the offered subprotocols is spoken here: kith.v1.json, kith.v1.msgpack",
        );
    };
    let Some(upgrading) = request.extensions_mut().remove::<OnUpgrade>() else {
        return refused("this connection cannot be upgraded");
    };
    let peer = request.extensions().get::<Peer>();
    let address = peer.map(|Peer(address)| address.ip());
    tokio::spawn(take_over(gateway, upgrading, (codec, address), guard));

    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    response
}

fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let has = |name, token: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    };
    has(CONNECTION, "upgrade") && has(UPGRADE, "websocket") && has(SEC_WEBSOCKET_VERSION, "13")
}

/// The first offered subprotocol that is spoken here; JSON when none is offered.
fn negotiate(headers: &HeaderMap) -> Result<(Codec, Option<&'static str>), ()> {
    let offers: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offers.is_empty() {
        return Ok((Codec::Json, None));
    }
    offers
        .iter()
        .find_map(|offer| match *offer {
            JSON => Some((Codec::Json, Some(JSON))),
            MSGPACK => Some((Codec::Msgpack, Some(MSGPACK))),
            _ => None,
        })
        .ok_or(())
}

async fn take_over<G: Send + 'static>(
    gateway: Arc<Gateway>,
    upgrading: OnUpgrade,
    (codec, address): (Codec, Option<IpAddr>),
    guard: G,
) {
    let Some(socket) = bare(upgrading, gateway.limits.frame_bytes).await else {
        return;
    };
    connection::serve(gateway, socket, codec, address).await;
    drop(guard);
}

/// The socket itself. The rest goes here and now: the HTTP server's buffer would live as long as the connection.
async fn bare(upgrading: OnUpgrade, frame_bytes: usize) -> Option<Socket<TcpStream>> {
    let upgraded = upgrading.await.ok()?;
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("an upgraded connection is not the socket it was accepted as");
        return None;
    };
    let socket = parts.io.into_inner();
    Some(Socket::new(socket, &parts.read_buf, frame_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future a function of these arguments makes.
    fn size_of_future<F: Future>(
        _: impl FnOnce(Arc<Gateway>, OnUpgrade, (Codec, Option<IpAddr>), u128) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connections_task_is_small() {
        let size = size_of_future(take_over::<u128>);
        assert!(size <= 1152, "{size} bytes for every connection");
    }

    fn offered(offers: &[&'static str]) -> Result<(Codec, Option<&'static str>), ()> {
        let mut headers = HeaderMap::new();
        for offer in offers {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
        }
        negotiate(&headers)
    }

    #[test]
    fn the_first_spoken_subprotocol_is_taken_and_none_means_json() {
        assert_eq!(offered(&[]), Ok((Codec::Json, None)));
        assert_eq!(
            offered(&["other, kith.v1.msgpack", "kith.v1.json"]),
            Ok((Codec::Msgpack, Some(MSGPACK)))
        );
        assert_eq!(offered(&["other"]), Err(()));
    }
}
