//! The WebSocket handshake (RFC 6455, section 4.2): decided from the headers of a request, whoever has read them.

use axum::http::header::{
    CONNECTION, HOST, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use enfilade_proto::{Codec, ErrorCode};
use sha1::{Digest as _, Sha1};

use crate::api::Problem;
use crate::people::Refusal;

/// What the protocol has a server add to a client's key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A handshake that is accepted.
#[derive(Debug, PartialEq)]
pub(crate) struct Agreed {
    /// The value of `Sec-WebSocket-Accept`.
    pub(crate) accept: String,
    /// The codec that was asked for, if any was.
    pub(crate) codec: Option<Codec>,
}

/// A handshake that is refused.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    code: ErrorCode,
    message: &'static str,
    /// What the metric calls it.
    pub(crate) reason: &'static str,
}

/// There is no room for another connection just now.
pub(crate) const FULL: Refused = Refused {
    status: StatusCode::SERVICE_UNAVAILABLE,
    code: ErrorCode::Busy,
    message: "too many connections",
    reason: "full",
};
/// After how long to try again then.
const RETRY_MS: u64 = 5_000;

impl From<Refused> for Problem {
    fn from(Refused { code, message, .. }: Refused) -> Self {
        let refusal = Refusal::new(code, message);
        if code == ErrorCode::Busy { refusal.after(RETRY_MS) } else { refusal }.into()
    }
}

/// # Errors
/// When the request is none, or comes from a page that may not connect.
pub(crate) fn agree(headers: &HeaderMap, allowed_origins: &[String]) -> Result<Agreed, Refused> {
    let refused = |status, message, reason| {
        let code = if reason == "origin" { ErrorCode::CrossSite } else { ErrorCode::InvalidRequest };
        Err(Refused { status, code, message, reason })
    };
    if !has_token(headers, CONNECTION.as_str(), "upgrade")
        || !has_token(headers, UPGRADE.as_str(), "websocket")
    {
        return refused(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket", "no_upgrade");
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return refused(
            StatusCode::UPGRADE_REQUIRED,
            "only version 13 of WebSocket is spoken here",
            "version",
        );
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).map(|key| key.as_bytes().trim_ascii());
    let Some(key) = key.filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16)) else {
        return refused(StatusCode::BAD_REQUEST, "Sec-WebSocket-Key is missing or no key", "key");
    };
    if !is_allowed_origin(headers, allowed_origins) {
        return refused(StatusCode::FORBIDDEN, "pages of other sites may not connect", "origin");
    }
    let Ok(codec) = chosen_codec(headers) else {
        return refused(StatusCode::BAD_REQUEST, "none of these subprotocols is known", "subprotocol");
    };
    let accept = BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize());
    Ok(Agreed { accept, codec })
}

/// The values of a header that is a list.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

fn has_token(headers: &HeaderMap, name: &str, token: &str) -> bool {
    list(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

struct UnknownSubprotocol;

fn chosen_codec(headers: &HeaderMap) -> Result<Option<Codec>, UnknownSubprotocol> {
    let mut offered = list(headers, SEC_WEBSOCKET_PROTOCOL.as_str()).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let known = |name| Codec::ALL.into_iter().find(|codec| codec.subprotocol() == name);
    offered.find_map(known).map(Some).ok_or(UnknownSubprotocol)
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
    use axum::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn request() -> HeaderMap {
        headers(&[
            (HOST, "a.example"),
            (CONNECTION, "keep-alive, Upgrade"),
            (UPGRADE, "WebSocket"),
            (SEC_WEBSOCKET_VERSION, "13"),
            (SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ])
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let agreed = Agreed { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), codec: None };
        assert_eq!(agree(&request(), &[]), Ok(agreed));
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let refusal = |name: HeaderName, value: Option<&'static str>| {
            let mut headers = request();
            match value {
                Some(value) => headers.insert(name, HeaderValue::from_static(value)),
                None => headers.remove(name),
            };
            agree(&headers, &[]).unwrap_err().reason
        };
        assert_eq!(refusal(UPGRADE, None), "no_upgrade");
        assert_eq!(refusal(CONNECTION, Some("keep-alive")), "no_upgrade");
        assert_eq!(refusal(SEC_WEBSOCKET_VERSION, Some("8")), "version");
        assert_eq!(refusal(SEC_WEBSOCKET_KEY, None), "key");
        assert_eq!(refusal(SEC_WEBSOCKET_KEY, Some("c2hvcnQ=")), "key");
        assert_eq!(refusal(ORIGIN, Some("https://evil.example")), "origin");
        assert_eq!(refusal(SEC_WEBSOCKET_PROTOCOL, Some("enfilade.v2.json")), "subprotocol");
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
