//! The operators' port: whether the node lives and is ready, what it measures, and a look at its rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use enfilade_actors::host::Host;
use enfilade_proto::{RoomId, Seq};
use enfilade_store::RoomLog;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) host: Host,
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) metrics: Option<PrometheusHandle>,
    /// Whether new work is welcome.
    pub(crate) ready: Arc<AtomicBool>,
}

/// How long the database may take to say that it is there.
const DATABASE: Duration = Duration::from_secs(2);

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        // The port is opened when the node has started.
        .route("/startupz", get(async || "started\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/admin/rooms/{room}", get(inspect))
        .route("/admin/rooms/{room}/restart", post(restart))
        .route("/admin/rooms/{room}/release", post(release))
        .with_state(admin)
}

async fn readyz(State(admin): State<Admin>) -> Response {
    if !admin.ready.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    // Any read will do; there is no such room.
    let read = admin.log.read(RoomId(Uuid::nil()), Seq(0), 1);
    match tokio::time::timeout(DATABASE, read).await {
        Ok(Ok(_)) => "ready\n".into_response(),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response(),
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.metrics.map(|metrics| metrics.render()).ok_or(StatusCode::NOT_FOUND).into_response()
}

async fn inspect(State(admin): State<Admin>, Path(room): Path<Uuid>) -> Response {
    match admin.host.inspect(RoomId(room)).await {
        Some(inspection) => Json(inspection).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "code": "not_awake" }))).into_response(),
    }
}

/// Ends the room's actor as a fault would. It starts anew from checkpoint and log; its members notice nothing.
async fn restart(State(admin): State<Admin>, Path(room): Path<Uuid>) -> StatusCode {
    tracing::warn!(%room, "an operator restarts the room");
    admin.host.kill(RoomId(room));
    StatusCode::ACCEPTED
}

/// Gives a room that was set aside another chance.
async fn release(State(admin): State<Admin>, Path(room): Path<Uuid>) -> StatusCode {
    tracing::warn!(%room, "an operator releases the room");
    admin.host.release(RoomId(room));
    StatusCode::NO_CONTENT
}
