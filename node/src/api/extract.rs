//! Reading requests: bodies, paths and queries, each failing with a problem that says where.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use enfilade_proto::ErrorCode;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path as JsonPath, Segment};

use super::problem::Problem;

/// A JSON body.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

/// A JSON body, or none at all.
#[derive(Debug)]
pub(super) struct JsonOrNothing<T>(pub(super) T);

/// What the path names. A path whose parts are not of the right form leads nowhere.
#[derive(Debug)]
pub(super) struct PathOf<T>(pub(super) T);

/// The query.
#[derive(Debug)]
pub(super) struct QueryOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let body = whole_body(request, state).await?;
        read_json(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for JsonOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = whole_body(request, state).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        require_json(&headers)?;
        read_json(&body).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path))
            .map_err(|_| Problem::new(ErrorCode::NotFound, "an id in the path is no id"))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Problem::new(ErrorCode::InvalidRequest, shorten(&error.body_text())))
    }
}

/// The body as far as the limit goes.
pub(super) async fn whole_body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| {
        if error.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(ErrorCode::PayloadTooLarge, "the body is too large")
        } else {
            Problem::new(ErrorCode::InvalidRequest, "the body did not arrive whole")
        }
    })
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json")) {
        Ok(())
    } else {
        Err(Problem::new(ErrorCode::UnsupportedMediaType, "the body has to be application/json"))
    }
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = shorten(&error.inner().to_string());
        if error.inner().is_data() {
            Problem::in_body(pointer(error.path()), message)
        } else {
            not_json(&message)
        }
    })?;
    deserializer.end().map_err(|error| not_json(&shorten(&error.to_string())))?;
    Ok(value)
}

fn not_json(message: &str) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, format!("the body is not JSON: {message}"))
}

/// A path through a value as a JSON pointer (RFC 6901).
fn pointer(path: &JsonPath) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Unknown => {}
        }
    }
    pointer
}

/// A message must not become a way to have the server echo a body.
fn shorten(message: &str) -> String {
    message.chars().take(200).collect()
}
