//! The HTTP API: a thin shell around [`People`] and [`Rooms`], and its own description.
//!
//! [`router`] is all that the server needs. The accept loop has to put a [`PeerAddr`] into the extensions of
//! each request. Everything under `/api` answers with problems, never with bare statuses; nothing changes by
//! `GET`.

mod auth;
mod caller;
mod carry;
mod content;
mod cookie;
mod document;
mod extract;
mod idempotency;
mod members;
mod page;
mod peer;
mod problem;
mod rooms;
mod same_site;
mod schema;
mod sessions;
mod share;
mod snapshots;
pub(crate) mod trace;
mod users;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{CACHE_CONTROL, HeaderValue};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::any;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::people::People;

pub use document::document;
pub use peer::{InvalidNetwork, InvalidOrigin, Network, PeerAddr, SiteOrigin, client_address, seen_origin};
pub use problem::Problem;
pub use rooms::{History, Rooms, Submission};
pub use sessions::{Connection, Session, Sessions};
pub use snapshots::WrittenSnapshot;

/// Bytes of a body. Ops are smaller by far; files travel another way.
pub const BODY_BYTES: usize = 1024 * 1024;

/// How the site is reached.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Where links lead; what the client says in `Host`, unless given.
    pub public_url: Option<SiteOrigin>,
    /// Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether connections are encrypted up to here.
    pub encrypted: bool,
}

/// What the handlers work with.
#[derive(Clone, Debug)]
pub struct Api {
    pub people: Arc<People>,
    pub rooms: Arc<dyn Rooms>,
    pub sessions: Arc<dyn Sessions>,
    pub site: Arc<Site>,
}

/// `/api`, `/swagger/` and `/.well-known/jwks.json`.
pub fn router(api: Api) -> axum::Router {
    let (routes, document) = routes().split_for_parts();
    routes
        .layer(from_fn_with_state(api.clone(), idempotency::remember))
        .merge(document::routes(&document::complete(document)))
        .route("/api", any(problem::no_such_path))
        .route("/api/", any(problem::no_such_path))
        .route("/api/{*rest}", any(problem::no_such_path))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn(trace::follow))
        .layer(from_fn(carry::carry))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        // Tokens and secrets pass here; what may be cached says so itself.
        .layer(SetResponseHeaderLayer::if_not_present(CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .with_state(api)
}

/// Every route, with its description.
fn routes() -> OpenApiRouter<Api> {
    let v1 = OpenApiRouter::new()
        .routes(routes!(auth::sign_up))
        .routes(routes!(auth::sign_in))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::sign_out))
        .routes(routes!(auth::list_logins))
        .routes(routes!(auth::end_login))
        .routes(routes!(users::me, users::rename))
        .routes(routes!(sessions::presence))
        .routes(routes!(rooms::create, rooms::list))
        .routes(routes!(rooms::get, rooms::rename, rooms::delete))
        .routes(routes!(share::create_link, share::list_links))
        .routes(routes!(share::revoke_link))
        .routes(routes!(members::list))
        .routes(routes!(members::people))
        .routes(routes!(members::join, members::leave))
        .routes(routes!(members::remove))
        .routes(routes!(content::snapshot))
        .routes(routes!(snapshots::latest))
        .routes(routes!(snapshots::named))
        .routes(routes!(content::history, content::submit));
    OpenApiRouter::new().nest("/api/v1", v1).routes(routes!(auth::public_keys))
}
