//! Arrival: a socket comes to the edge, straight from the accept loop or by way of the HTTP server.
//!
//! Most sockets that arrive while an audience comes back want to speak WebSocket at once: their handshake is read, judged and
//! answered on the hub that will own them. Everything else is handed to the HTTP server, with what was read of it. A handshake on a
//! connection that has served requests before (a proxy keeps them) comes back from there.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use enfilade_proto::Codec;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::handshake::{self, Agreed, Refused};
use super::{EdgeNode, Ends, Slot};
use crate::api::{Problem, trace};
use crate::server::{Accepted, HEAD_BYTES, Rewound};

/// How long the switch of protocols may take once it was agreed upon.
const SWITCH: Duration = Duration::from_secs(5);
const HEADERS: usize = 64;

/// A socket that a hub is to look after. Boxed, because the task that does so is as large as what it begins with.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// Nobody has spoken on it yet.
    Fresh(Box<Accepted>),
    /// Both sides have agreed to speak WebSocket.
    Switched(Box<Switched>),
}

#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) socket: std::net::TcpStream,
    /// What was read after the handshake.
    pub(crate) early: Vec<u8>,
    /// The codec that was asked for, if any was.
    pub(crate) codec: Option<Codec>,
    pub(crate) slot: Slot,
}

/// What the first bytes on a socket are.
#[derive(Debug)]
pub(crate) enum Head {
    /// Too little to tell.
    Partial,
    /// A request for `/ws`: its headers, and how many bytes it has.
    WebSocket(HeaderMap, usize),
    /// For the HTTP server to understand, or to refuse.
    Other,
}

impl Head {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let len = match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES && may_be_ours(&request) => {
                return Self::Partial;
            }
            _ => return Self::Other,
        };
        if !may_be_ours(&request) || request.version != Some(1) {
            return Self::Other;
        }
        let mut map = HeaderMap::with_capacity(request.headers.len());
        for header in request.headers.iter() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) else {
                return Self::Other;
            };
            map.append(name, value);
        }
        Self::WebSocket(map, len)
    }
}

/// Whether the request is one for `/ws`, as far as it is there.
fn may_be_ours(request: &httparse::Request<'_, '_>) -> bool {
    let path = |path: &str| path == "/ws" || path.starts_with("/ws?");
    request.method.is_none_or(|method| method == "GET") && request.path.is_none_or(path)
}

/// A whole response that accepts a handshake.
pub(crate) fn switching(agreed: &Agreed) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n",
        agreed.accept
    );
    if let Some(codec) = agreed.codec {
        head.push_str(&format!("sec-websocket-protocol: {}\r\n", codec.subprotocol()));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A whole response that refuses a handshake with these headers.
pub(crate) fn refusal(refused: Refused, asked: &HeaderMap) -> Vec<u8> {
    let (status, headers, body) = refuse(refused, asked);
    let mut response =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len()).into_bytes();
    for (name, value) in &headers {
        response.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    response.extend_from_slice(b"\r\n");
    response.extend(body);
    response
}

fn refuse(refused: Refused, asked: &HeaderMap) -> (StatusCode, HeaderMap, Vec<u8>) {
    metrics::counter!("enfilade_handshakes_refused_total", "reason" => refused.reason).increment(1);
    let status = refused.status;
    Problem::from(refused).tell(Some(status), trace::asked(asked))
}

/// `GET /ws` on a connection that the HTTP server has: answered there, and gone on with on a hub.
pub(crate) async fn upgrade(State(edge): State<EdgeNode>, mut request: Request) -> Response {
    let agreed = handshake::agree(request.headers(), &edge.0.allowed_origins);
    let both = agreed.and_then(|agreed| Ok((agreed, edge.0.slot().ok_or(handshake::FULL)?)));
    let (Agreed { accept, codec }, slot) = match both {
        Ok(both) => both,
        Err(refused) => return refuse(refused, request.headers()).into_response(),
    };
    tokio::spawn(switch(edge.0, hyper::upgrade::on(&mut request), codec, slot));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(codec) = codec {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(codec.subprotocol()));
    }
    response
}

/// Gets the bare socket out of the HTTP server's hands; what it had read ahead comes along.
async fn switch(ends: Arc<Ends>, switching: OnUpgrade, codec: Option<Codec>, slot: Slot) {
    let Ok(Ok(upgraded)) = tokio::time::timeout(SWITCH, switching).await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<Rewound>>() else {
        tracing::error!("the HTTP server wraps its sockets in something that cannot be taken apart");
        return;
    };
    let switched = |rewound: Rewound, read: &[u8]| -> io::Result<Switched> {
        let (mut early, socket) = rewound.into_parts()?;
        early.extend_from_slice(read);
        Ok(Switched { socket, early, codec, slot })
    };
    match switched(parts.io.into_inner(), &parts.read_buf) {
        Ok(switched) => ends.arrived([Arrival::Switched(Box::new(switched))]),
        Err(error) => tracing::debug!(%error, "a socket was lost while it switched"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HANDSHAKE: &str = "GET /ws?a=1 HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\nrest";

    fn name(head: &Head) -> &'static str {
        match head {
            Head::Partial => "partial",
            Head::WebSocket(..) => "ours",
            Head::Other => "other",
        }
    }

    #[test]
    fn a_handshake_is_recognised_as_soon_as_it_is_there() {
        let whole = HANDSHAKE.len() - "rest".len();
        for len in 0..whole {
            assert_eq!(name(&Head::of(&HANDSHAKE.as_bytes()[..len])), "partial", "{len}");
        }
        let Head::WebSocket(headers, len) = Head::of(HANDSHAKE.as_bytes()) else { panic!("not recognised") };
        assert_eq!((headers["upgrade"].as_bytes(), len), (&b"websocket"[..], whole));
    }

    #[test]
    fn everything_else_is_for_the_http_server() {
        let cases = [
            "GET / HTTP/1.1\r\n",
            "GET /wsx HTTP/1.1\r\n",
            "POST /ws HTTP/1.1\r\n",
            "GET /ws HTTP/1.0\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for bytes in cases {
            assert_eq!(name(&Head::of(bytes.as_bytes())), "other", "{bytes:?}");
        }
        let long = format!("GET /ws HTTP/1.1\r\nx: {}", "y".repeat(HEAD_BYTES));
        assert_eq!(name(&Head::of(long.as_bytes())), "other");
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes: Vec<u8>) {
            let _ = Head::of(&bytes);
        }
    }
}
