//! The page: the single-page application, built once and served from the binary itself.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use tower_http::compression::CompressionLayer;

#[derive(RustEmbed)]
#[folder = "../web/app/dist"]
#[allow_missing = true]
struct Files;

/// Nothing but our own scripts, styles and sockets; pictures that the page itself draws. `connect-src 'self'` covers `ws:` of the
/// same site in all browsers since 2022.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; \
     connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// Files under `assets/` have their content's hash in their name and never change.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("no-cache");

const PERMISSIONS: (HeaderName, HeaderValue) = (
    HeaderName::from_static("permissions-policy"),
    HeaderValue::from_static("camera=(), microphone=(), geolocation=(), interest-cohort=()"),
);

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async |headers: HeaderMap| page(&headers)))
        .route("/b/{room}", get(async |headers: HeaderMap| page(&headers)))
        .route(
            "/{*file}",
            get(async |Path(file): Path<String>, headers: HeaderMap| file_or_nothing(&file, &headers)),
        )
        .layer(CompressionLayer::new())
}

fn page(headers: &HeaderMap) -> Response {
    match Files::get("index.html") {
        Some(index) => serve("index.html", index, headers),
        None => {
            (StatusCode::NOT_FOUND, "this build has no page: run `make web` and build again").into_response()
        }
    }
}

fn file_or_nothing(name: &str, headers: &HeaderMap) -> Response {
    match Files::get(name) {
        Some(file) => serve(name, file, headers),
        None => (StatusCode::NOT_FOUND, "there is nothing here").into_response(),
    }
}

fn serve(name: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let hash: String =
        file.metadata.sha256_hash().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("\"{hash}\"");
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let caching = if name.starts_with("assets/") { FOR_EVER } else { ASK_EACH_TIME };
    let mut response = Response::new(Body::from(file.data.into_owned()));
    let out = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(file.metadata.mimetype()) {
        out.insert(CONTENT_TYPE, kind);
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(ETAG, etag);
    }
    out.insert(CACHE_CONTROL, caching);
    out.insert(CONTENT_SECURITY_POLICY, POLICY);
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    out.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    out.insert(PERMISSIONS.0, PERMISSIONS.1);
    response
}
