//! The few calls of the HTTP API that recordings, replays and audits need.

use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::{LoggedOp, Position, RoomId, Seq, Snapshot};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::target::Target;

const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(250);
/// A snapshot of the largest board in JSON.
const BODY_BYTES: usize = 256 * 1024 * 1024;
/// Ops of a page of history.
const PAGE: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("there is no server to ask")]
    NoServer,
    #[error("cannot reach {0}: {1}")]
    Unreachable(Target, String),
    #[error("{method} {path} was answered with {status}: {body}")]
    Refused { method: Method, path: String, status: StatusCode, body: String },
    #[error("{method} {path} was answered with something else: {problem}")]
    Malformed { method: Method, path: String, problem: String },
}

impl ApiError {
    /// Another server, or the same one later, may answer.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(..) => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 429 | 502 | 503 | 504),
            Self::Malformed { .. } | Self::NoServer => false,
        }
    }
}

/// Asks one server after the other until one answers.
///
/// # Errors
/// When none of them can, or one refuses for good.
pub async fn any<T>(
    targets: &[Target],
    ask: impl AsyncFn(&Target) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let mut rest = targets.iter();
    loop {
        let Some(target) = rest.next() else { return Err(ApiError::NoServer) };
        match ask(target).await {
            Err(error) if error.is_passing() && rest.len() > 0 => tracing::debug!(%error, "the next one"),
            answered => return answered,
        }
    }
}

/// The same, again and again for so long.
///
/// # Errors
/// When none of them can in all that time, or one refuses for good.
pub async fn patiently<T>(
    targets: &[Target],
    patience: Duration,
    ask: impl AsyncFn(&Target) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + patience;
    loop {
        match any(targets, &ask).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => sleep(AGAIN).await,
            answered => return answered,
        }
    }
}

#[derive(Debug, Deserialize)]
pub struct CreatedRoom {
    pub id: RoomId,
    /// The secret of a link for its owner.
    #[serde(default)]
    pub link: Option<String>,
}

/// A stretch of a room's history.
#[derive(Debug, Deserialize)]
pub struct Page {
    pub first_seq: Seq,
    pub ops: Vec<LoggedOp>,
}

#[derive(Debug, Deserialize)]
pub struct RoomSnapshot {
    pub position: Position,
    pub snapshot: Snapshot,
}

/// # Errors
/// When the server cannot be reached or refuses.
pub async fn create_board(target: &Target, title: &str) -> Result<CreatedRoom, ApiError> {
    let body = json!({ "kind": "board", "title": title }).to_string();
    call(target, Method::POST, "/api/v1/rooms", None, body).await
}

/// The ops after `after`, up to a thousand.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn history(
    target: &Target,
    room: RoomId,
    link: Option<&str>,
    after: Seq,
) -> Result<Page, ApiError> {
    let path = format!("/api/v1/rooms/{room}/ops?after={after}&limit={PAGE}");
    call(target, Method::GET, &path, link, String::new()).await
}

/// # Errors
/// When the server cannot be reached or refuses.
pub async fn snapshot(target: &Target, room: RoomId, link: Option<&str>) -> Result<RoomSnapshot, ApiError> {
    call(target, Method::GET, &format!("/api/v1/rooms/{room}/snapshot"), link, String::new()).await
}

/// What a server answers as text.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn text(target: &Target, path: &str) -> Result<String, ApiError> {
    let (_, body) = ask(target, Method::GET, path, &[], String::new()).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Posts a body with headers of one's own; the answer, and its headers.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn post<T: DeserializeOwned>(
    target: &Target,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<(T, HeaderMap), ApiError> {
    let (headers, body) = ask(target, Method::POST, path, headers, body).await?;
    Ok((read(Method::POST, path, &body)?, headers))
}

async fn call<T: DeserializeOwned>(
    target: &Target,
    method: Method,
    path: &str,
    link: Option<&str>,
    body: String,
) -> Result<T, ApiError> {
    let link = link.map(|link| ("enfilade-link", link));
    let (_, body) = ask(target, method.clone(), path, link.as_slice(), body).await?;
    read(method, path, &body)
}

fn read<T: DeserializeOwned>(method: Method, path: &str, body: &[u8]) -> Result<T, ApiError> {
    let malformed = |error: serde_json::Error| ApiError::Malformed {
        method,
        path: path.to_owned(),
        problem: error.to_string(),
    };
    serde_json::from_slice(body).map_err(malformed)
}

async fn ask(
    target: &Target,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<(HeaderMap, Bytes), ApiError> {
    let unreachable = |problem: String| ApiError::Unreachable(target.clone(), problem);
    let exchange = exchange(target, &method, path, headers, body);
    let answered = timeout(TIMEOUT, exchange).await.map_err(|_| unreachable("no answer in 30 s".into()))?;
    let (status, headers, body) = answered.map_err(unreachable)?;
    if !status.is_success() {
        let body: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        return Err(ApiError::Refused { method, path: path.to_owned(), status, body });
    }
    Ok((headers, body))
}

/// One connection a request: there are few, and none of them is measured.
async fn exchange(
    target: &Target,
    method: &Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let tcp = TcpStream::connect(target.address()).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await.map_err(|e| e.to_string())?;
    let mut request = Request::builder()
        .method(method)
        .uri(target.path(path))
        .header(header::HOST, target.authority())
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
    // It owns the sender: the connection ends when the exchange does.
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES).collect().await.map_err(|e| e.to_string())?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    // The connection is driven beside the exchange. How it ends, the exchange says.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
