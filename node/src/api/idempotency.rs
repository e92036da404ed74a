//! `Idempotency-Key`: a POST that is sent again is answered as it was the first time, for a day.
//!
//! Keys belong to the person, or to the address of a guest. Remembered is what will not get better by itself:
//! successes and the client's own mistakes; not our failures, nor refusals that invite to try again. What is
//! remembered may contain the secret of a link, which the store must not know, so it is encrypted under the
//! key itself; of the key, the store has a hash.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use enfilade_proto::ErrorCode;
use enfilade_store::Idempotency;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use super::Api;
use super::caller::{Caller, LINK_HEADER};
use super::extract::whole_body;
use super::problem::Problem;
use crate::people::Refusal;

const HEADER: &str = "idempotency-key";
/// Set on an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const LONGEST_KEY: usize = 255;
/// Larger than any answer to a POST.
const LARGEST_ANSWER: usize = 64 * 1024;

/// For the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only describes the header")]
pub(super) struct IdempotencyHeader {
    /// Any text of yours, a random UUID for instance. The same request under the same key is carried out
    /// once, and answered alike for 24 hours.
    #[param(rename = "Idempotency-Key", max_length = 255)]
    key: Option<String>,
}

/// What is remembered of an answer, beside its status.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    body: String,
}

/// The middleware. Signing in and out is not for repeating: its answers set cookies.
pub(super) async fn remember(State(api): State<Api>, request: Request, next: Next) -> Response {
    let repeatable = request.method() == Method::POST && !request.uri().path().starts_with("/api/v1/auth/");
    match request.headers().get(HEADER).filter(|_| repeatable).cloned() {
        None => next.run(request).await,
        Some(key) => answer_once(&api, &key, request, next).await.unwrap_or_else(IntoResponse::into_response),
    }
}

async fn answer_once(
    api: &Api,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let caller = Caller::of(&parts, api)?;
    let slot = Slot::new(&caller, check_key(key)?);
    api.people.count_key(caller.user(), caller.address)?;
    let body = whole_body(Request::from_parts(parts.clone(), body), api).await?;
    let fingerprint = fingerprint(&parts.method, &parts.uri.to_string(), &parts.headers, &body);

    let directory = api.people.directory();
    let known = directory.begin_idempotent(&slot.name, &fingerprint, api.people.now_ms()).await;
    match known.map_err(Refusal::from)? {
        Idempotency::New => {}
        Idempotency::Done { status, body } => return slot.replay(status, &body),
        Idempotency::InProgress => {
            let message = "a request with this Idempotency-Key is still being worked on";
            return Err(Refusal::new(ErrorCode::IdempotencyInProgress, message).after(1_000).into());
        }
        Idempotency::Mismatch => {
            let message = "this Idempotency-Key was used for another request";
            return Err(Problem::new(ErrorCode::IdempotencyMismatch, message));
        }
    }

    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_ANSWER).await.map_err(Refusal::internal)?;
    let sealed = if is_final(parts.status) { slot.seal(&parts.headers, &body) } else { None };
    let answer = sealed.as_deref().map(|answer| (parts.status.as_u16(), answer));
    if let Err(error) = directory.finish_idempotent(&slot.name, answer, api.people.now_ms()).await {
        tracing::warn!(%error, "an answer was not remembered for its Idempotency-Key");
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// Whether the same request would get the same answer later.
fn is_final(status: StatusCode) -> bool {
    let try_again = [StatusCode::UNAUTHORIZED, StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    !status.is_server_error() && !try_again.contains(&status)
}

fn check_key(key: &HeaderValue) -> Result<&[u8], Problem> {
    let key = key.as_bytes();
    if (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) {
        Ok(key)
    } else {
        let message = "an Idempotency-Key has 1 to 255 visible ASCII characters";
        Err(Problem::new(ErrorCode::InvalidRequest, message))
    }
}

/// What makes a request the same request. The link counts: it decides who is asking.
fn fingerprint(method: &Method, uri: &str, headers: &HeaderMap, body: &[u8]) -> [u8; 32] {
    let link = headers.get(LINK_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    digest(&[method.as_str().as_bytes(), uri.as_bytes(), link, body])
}

/// A digest of parts that cannot be shifted against each other.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Where an answer lies in the store, and the key to it.
struct Slot {
    name: String,
    cipher: ChaCha20Poly1305,
}

impl Slot {
    fn new(caller: &Caller, key: &[u8]) -> Self {
        let who = caller.user().map_or_else(|| caller.address.to_string(), |user| user.to_string());
        let name = digest(&[b"name", who.as_bytes(), key]);
        let secret = digest(&[b"answer", who.as_bytes(), key]);
        Self { name: URL_SAFE_NO_PAD.encode(name), cipher: ChaCha20Poly1305::new(&secret.into()) }
    }

    /// None if the answer is no text, which ours are.
    fn seal(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        let header =
            |name| headers.get(name).and_then(|it: &HeaderValue| it.to_str().ok()).map(str::to_owned);
        let body = str::from_utf8(body).ok()?.to_owned();
        let answer = Answer { location: header(LOCATION), content_type: header(CONTENT_TYPE), body };
        let plain = enfilade_proto::Codec::Json.encode_value(&answer);
        let nonce: [u8; 12] = rand::random();
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), &*plain).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    fn open(&self, sealed: &str) -> Option<Answer> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<12>()?;
        let plain = self.cipher.decrypt(&Nonce::from(*nonce), sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    fn replay(&self, status: u16, sealed: &str) -> Result<Response, Problem> {
        let answer = self.open(sealed).ok_or_else(|| Refusal::internal("a remembered answer is damaged"))?;
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(status).map_err(Refusal::internal)?;
        let headers = response.headers_mut();
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        for (name, value) in [(LOCATION, answer.location), (CONTENT_TYPE, answer.content_type)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().map_err(Refusal::internal)?);
            }
        }
        Ok(response)
    }
}
