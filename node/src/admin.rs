//! The operators' port: whether the node lives and is ready, what it measures, and a look at its rooms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use enfilade_actors::cluster::Cluster;
use enfilade_actors::host::Host;
use enfilade_proto::{RoomId, Seq};
use enfilade_store::{NodeRow, RoomLog};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::drain::Drain;
use crate::probe::INCARNATION;

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) cluster: Cluster,
    /// None: no rooms run here.
    pub(crate) host: Option<Host>,
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) metrics: Option<PrometheusHandle>,
    /// Whether new work is welcome.
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) drain: Arc<Drain>,
}

/// How long the database may take to say that it is there.
const DATABASE: Duration = Duration::from_secs(2);

pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(livez))
        // The port is opened when the node has started.
        .route("/startupz", get(async || "started\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/admin/cluster", get(cluster))
        .route("/admin/drain", post(drain))
        .route("/admin/rooms/{room}", get(inspect))
        .route("/admin/rooms/{room}/restart", post(restart))
        .route("/admin/rooms/{room}/release", post(release))
        .with_state(admin)
}

/// Says who it is, because others ask: a process that was started anew at this address is not the one before.
async fn livez(State(admin): State<Admin>) -> Response {
    ([(INCARNATION, admin.cluster.me().to_string())], "alive\n").into_response()
}

/// The cluster as this node sees it.
async fn cluster(State(admin): State<Admin>) -> Json<Value> {
    let nodes: Vec<Value> =
        admin.cluster.nodes().into_iter().map(|(row, shards)| describe(&row, shards)).collect();
    Json(json!({ "me": admin.cluster.me().to_string(), "nodes": nodes }))
}

/// A node as operators see it.
pub(crate) fn describe(row: &NodeRow, shards: usize) -> Value {
    let NodeRow { node, renewal, expired } = row;
    json!({
        "incarnation": node.incarnation.to_string(),
        "name": node.name,
        "address": node.address,
        "version": node.version,
        "edge": node.edge,
        "host": node.host,
        "state": renewal.state,
        "on_bus": renewal.on_bus,
        "expired": expired,
        "shards": shards,
    })
}

#[derive(Debug, Deserialize)]
struct Draining {
    #[serde(default)]
    wait: bool,
}

/// Moves everything that is here to other nodes; the process goes on. With `wait` it answers when that is done.
async fn drain(State(admin): State<Admin>, Query(Draining { wait }): Query<Draining>) -> StatusCode {
    tracing::warn!("an operator drains the node");
    let drain = admin.drain.clone();
    let leaving = tokio::spawn(async move { drain.run().await });
    if wait && leaving.await.is_ok() { StatusCode::OK } else { StatusCode::ACCEPTED }
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
    let inspection = match &admin.host {
        Some(host) => host.inspect(RoomId(room)).await,
        None => None,
    };
    match inspection {
        Some(inspection) => Json(inspection).into_response(),
        None => (StatusCode::NOT_FOUND, Json(json!({ "code": "not_awake" }))).into_response(),
    }
}

/// Ends the room's actor as a fault would. It starts anew from checkpoint and log; its members notice nothing.
async fn restart(State(admin): State<Admin>, Path(room): Path<Uuid>) -> StatusCode {
    tracing::warn!(%room, "an operator restarts the room");
    if let Some(host) = &admin.host {
        host.kill(RoomId(room));
    }
    StatusCode::ACCEPTED
}

/// Gives a room that was set aside another chance.
async fn release(State(admin): State<Admin>, Path(room): Path<Uuid>) -> StatusCode {
    tracing::warn!(%room, "an operator releases the room");
    if let Some(host) = &admin.host {
        host.release(RoomId(room));
    }
    StatusCode::NO_CONTENT
}
