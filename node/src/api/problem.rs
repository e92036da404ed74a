//! Refusals as HTTP shows them: problems of RFC 9457, with our stable code.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use enfilade_proto::{ErrorCode, TraceParent};
use serde::Serialize;
use utoipa::ToSchema;

use super::trace;
use crate::named;
use crate::people::Refusal;

/// What a handler fails with.
#[derive(Debug)]
pub struct Problem {
    refusal: Refusal,
    /// Where in the body it went wrong, if it went wrong while reading it.
    pointer: Option<Box<str>>,
    /// What to ask for instead of a snapshot that is gone.
    latest: Option<Box<str>>,
}

/// Why a request was refused (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
struct Body<'a> {
    /// `urn:enfilade:error:` and the code.
    #[schema(example = "urn:enfilade:error:room_not_found")]
    r#type: String,
    /// What the code means.
    title: &'a str,
    status: u16,
    /// What was the matter this time, for people.
    detail: &'a str,
    /// Stable; the table is in PROTOCOL.md.
    #[schema(example = "room_not_found")]
    code: &'a str,
    /// Present when the same request may succeed after so many milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// Names this error in the server's log: the trace of the request if it came with a `traceparent`.
    #[schema(example = "4bf92f3577b34da6a3ce929d0e0e4736")]
    trace_id: String,
    /// With `snapshot_gone`: the name of the newest snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<&'a str>,
    /// What is wrong with which part of the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<Wrong<'a>>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WrongField)]
struct Wrong<'a> {
    /// A JSON pointer (RFC 6901) into the body.
    #[schema(example = "/username")]
    pointer: String,
    code: &'a str,
    detail: &'a str,
}

impl Problem {
    /// The part of a JSON body that `pointer` names could not be understood.
    pub(super) fn in_body(pointer: String, message: String) -> Self {
        let refusal = Refusal::new(ErrorCode::InvalidRequest, message);
        Self { pointer: Some(pointer.into()), ..refusal.into() }
    }

    /// The name of the snapshot to ask for instead.
    pub(super) fn with_latest(self, latest: String) -> Self {
        Self { latest: Some(latest.into()), ..self }
    }

    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    fn wrong(&self) -> Vec<Wrong<'_>> {
        let fields = self.refusal.fields.iter().map(|wrong| Wrong {
            pointer: format!("/{}", wrong.field),
            code: wrong.code.as_str(),
            detail: &wrong.message,
        });
        let at = self.pointer.iter().map(|pointer| Wrong {
            pointer: pointer.to_string(),
            code: self.refusal.code.as_str(),
            detail: &self.refusal.message,
        });
        fields.chain(at).collect()
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, pointer: None, latest: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.tell(None, trace::current()).into_response()
    }
}

impl Problem {
    /// What is answered, under a name by which it is in the log: that of the request's trace, or one of its own. `status`: one that HTTP
    /// knows and our codes do not, instead of that of the code.
    pub(crate) fn tell(
        self,
        status: Option<StatusCode>,
        trace: Option<TraceParent>,
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let trace_id = trace.map_or_else(named::fresh, |parent| parent.trace);
        self.refusal.log(trace_id);
        let code = self.refusal.code;
        let status = status.or_else(|| StatusCode::from_u16(code.http_status()).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Body {
            r#type: format!("urn:enfilade:error:{code}"),
            title: code.meaning(),
            status: status.as_u16(),
            detail: &self.refusal.message,
            code: code.as_str(),
            retry_after_ms: self.refusal.retry_after_ms,
            latest: self.latest.as_deref(),
            errors: self.wrong(),
            trace_id: trace_id.to_string(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(retry_after_ms) = self.refusal.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_ms.div_ceil(1_000)));
        }
        if matches!(code, ErrorCode::Unauthenticated | ErrorCode::TokenExpired) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        (status, headers, enfilade_proto::Codec::Json.encode_value(&body))
    }
}

/// For paths that are none.
pub(super) async fn no_such_path() -> Problem {
    Problem::new(ErrorCode::NotFound, "there is nothing at this path")
}

/// For methods that a path does not have; the router adds those that it has as `Allow`.
pub(super) async fn no_such_method() -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, "this path does not have this method; see the Allow header")
}

/// The schemas that the document refers to by name.
pub(super) fn schemas() -> Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)> {
    use utoipa::PartialSchema;
    vec![("Problem".to_owned(), Body::schema()), ("WrongField".to_owned(), Wrong::schema())]
}
