//! `GET /ws`: from an HTTP request to a raw socket that speaks WebSocket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use enfilade_proto::Codec;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{EdgeNode, Ends, greeting};

/// How long the switch of protocols may take once it was agreed upon.
const SWITCH: Duration = Duration::from_secs(5);
const RETRY_SECONDS: HeaderName = RETRY_AFTER;

/// Answers a handshake. The connection goes on in a task of its own.
pub(crate) async fn upgrade(State(edge): State<EdgeNode>, mut request: Request) -> Response {
    if !is_upgrade_request(&request) {
        return (StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket").into_response();
    }
    if !is_allowed_origin(request.headers(), &edge.0.allowed_origins) {
        metrics::counter!("enfilade_handshakes_refused_total", "reason" => "origin").increment(1);
        return (StatusCode::FORBIDDEN, "pages of other sites may not connect").into_response();
    }
    let Ok(slot) = edge.0.slots.clone().try_acquire_owned() else {
        metrics::counter!("enfilade_handshakes_refused_total", "reason" => "full").increment(1);
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_SECONDS, "5")], "too many connections")
            .into_response();
    };
    let codec = match chosen_codec(request.headers()) {
        Ok(codec) => codec,
        Err(UnknownSubprotocol) => {
            return (StatusCode::BAD_REQUEST, "none of these subprotocols is known").into_response();
        }
    };
    match fastwebsockets::upgrade::upgrade(&mut request) {
        Ok((response, switching)) => {
            tokio::spawn(switch(edge.0, switching, codec, slot));
            let mut response = response.map(|_| Body::empty());
            if let Some(codec) = codec {
                let name = HeaderValue::from_static(codec.subprotocol());
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
            }
            response
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Gets the bare socket out of the HTTP server's hands; what it had read ahead comes along.
async fn switch(
    ends: Arc<Ends>,
    switching: UpgradeFut,
    codec: Option<Codec>,
    slot: tokio::sync::OwnedSemaphorePermit,
) {
    let Ok(Ok(socket)) = tokio::time::timeout(SWITCH, switching).await else { return };
    let upgraded = socket.into_inner().into_inner();
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
        tracing::error!("the HTTP server wraps its sockets in something that cannot be taken apart");
        return;
    };
    // Large state ends here: the connection goes on as a task that is as small as can be.
    greeting::greet(ends, parts.io.into_inner(), parts.read_buf.to_vec(), codec, slot).await;
}

struct UnknownSubprotocol;

/// The codec that was asked for, if any was.
fn chosen_codec(headers: &HeaderMap) -> Result<Option<Codec>, UnknownSubprotocol> {
    let offered: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let known =
        offered.iter().find_map(|name| Codec::ALL.into_iter().find(|codec| codec.subprotocol() == *name));
    if known.is_none() && !offered.is_empty() { Err(UnknownSubprotocol) } else { Ok(known) }
}

/// A page of another site must not act in its visitor's name. Clients that are no browsers send no origin.
fn is_allowed_origin(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let same = origin.split_once("://").is_some_and(|(_, site)| Some(site) == host);
    same || allowed.iter().any(|allowed| allowed == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_our_own_pages_and_allowed_ones_connect() {
        let allowed = ["https://draw.example".to_owned()];
        let cases = [
            (&[(HOST, "a.example"), (ORIGIN, "https://a.example")][..], true),
            (&[(HOST, "a.example:8080"), (ORIGIN, "http://a.example:8080")], true),
            (&[(HOST, "a.example")], true),
            (&[(HOST, "a.example"), (ORIGIN, "https://draw.example")], true),
            (&[(HOST, "a.example"), (ORIGIN, "https://evil.example")], false),
            (&[(HOST, "a.example"), (ORIGIN, "null")], false),
        ];
        for (pairs, expected) in cases {
            assert_eq!(is_allowed_origin(&headers(pairs), &allowed), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_first_known_subprotocol_is_taken() {
        let offer = |value| chosen_codec(&headers(&[(SEC_WEBSOCKET_PROTOCOL, value)])).ok();
        assert_eq!(offer("enfilade.v1.json"), Some(Some(Codec::Json)));
        assert_eq!(offer("other, enfilade.v1.msgpack, enfilade.v1.json"), Some(Some(Codec::MessagePack)));
        assert_eq!(offer("enfilade.v2.json"), None);
        assert_eq!(chosen_codec(&HeaderMap::new()).ok(), Some(None));
    }
}
