//! The operators' port: whether the node lives and is ready, what it measures, and a look at its rooms.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use enfilade_actors::cluster::Cluster;
use enfilade_actors::host::Host;
use enfilade_proto::RoomId;
use enfilade_store::{NodeRow, Shard};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::PeerAddr;
use crate::drain::Drain;
use crate::edge::EdgeNode;
use crate::probe::INCARNATION;
use crate::profile::{self, ProfileError};
use crate::secret::Secret;
use crate::telemetry::{Exposition, Queues, Telemetry, Traces, Vitals};

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) cluster: Cluster,
    /// None: no rooms run here.
    pub(crate) host: Option<Host>,
    pub(crate) vitals: Vitals,
    pub(crate) queues: Queues,
    /// None: the process tells nothing of itself.
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) traces: Arc<Traces>,
    /// None: nobody connects here.
    pub(crate) edge: Option<Arc<EdgeNode>>,
    pub(crate) drain: Arc<Drain>,
    /// What operators have to know. None: whoever is on this machine is one.
    pub(crate) token: Secret,
}

pub(crate) fn router(admin: Admin) -> Router {
    let operators = Router::new()
        .route("/admin/cluster", get(cluster))
        .route("/admin/drain", post(drain))
        .route("/admin/shards/{shard}", get(shard))
        .route("/admin/telemetry", get(telemetry).patch(change_telemetry))
        .route("/admin/connections", get(slowest))
        .route("/admin/profile/cpu", get(cpu_profile))
        .route("/admin/profile/heap", get(heap_profile))
        .route("/admin/rooms", get(hottest))
        .route("/admin/rooms/{room}", get(inspect))
        .route("/admin/rooms/{room}/restart", post(restart))
        .route("/admin/rooms/{room}/release", post(release))
        .route_layer(from_fn_with_state(admin.clone(), only_operators));
    Router::new()
        .route("/livez", get(livez))
        // The port is opened when the node has started.
        .route("/startupz", get(async || "started\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(operators)
        .with_state(admin)
}

/// Where it is logged what operators do.
const AUDIT: &str = "enfilade::audit";
const PROFILES: &str = "/admin/profile/";

/// Lets operators through, and notes what they do.
async fn only_operators(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    let said = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let refusal = if admin.token.is_none() {
        let here = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
        (!here).then_some((
            StatusCode::FORBIDDEN,
            "forbidden",
            "without admin_token only this machine is answered",
        ))
    } else {
        let known =
            said.and_then(|said| said.strip_prefix("Bearer ")).is_some_and(|token| admin.token.is(token));
        (!known).then_some((
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Authorization: Bearer, with the admin_token",
        ))
    };
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match refusal {
        None => next.run(request).await,
        Some((status, code, message)) => {
            (status, Json(json!({ "code": code, "message": message }))).into_response()
        }
    };
    // What only looks changes nothing; but a profile slows the node down, and tells more of it than figures do.
    if method != Method::GET || uri.path().starts_with(PROFILES) || refusal.is_some() {
        let peer = peer.map(|peer| peer.to_string());
        let status = response.status().as_u16();
        tracing::warn!(target: AUDIT, %method, path = uri.path(), query = uri.query(), peer, status, "an operator's request");
    }
    response
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
    let drain = admin.drain.clone();
    let leaving = tokio::spawn(async move { drain.run().await });
    if wait && leaving.await.is_ok() { StatusCode::OK } else { StatusCode::ACCEPTED }
}

async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.vitals.ready().await {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    admin.vitals.look(admin.drain.has_begun());
    admin.queues.look().await;
    let Some(telemetry) = &admin.telemetry else { return StatusCode::NOT_FOUND.into_response() };
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let Exposition { content_type, text } = telemetry.expose(accept, &admin.traces);
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

/// What is told of the node, as far as it can be changed while it runs. A node that is started anew has its settings again.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// See the settings of these names.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_one_in: Option<u32>,
    /// Whether allocations are sampled, for a profile of the heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    heap_profile: Option<bool>,
}

async fn telemetry(State(admin): State<Admin>) -> Json<Told> {
    Json(Told {
        log: admin.telemetry.map(|telemetry| telemetry.log.get()),
        trace_one_in: admin.edge.map(|edge| edge.sampling().one_in()),
        heap_profile: Some(profile::heap_is_sampled().await),
    })
}

async fn change_telemetry(State(admin): State<Admin>, body: Result<Json<Told>, JsonRejection>) -> Response {
    let refuse = |message: String| {
        (StatusCode::BAD_REQUEST, Json(json!({ "code": "invalid_request", "message": message })))
            .into_response()
    };
    let wanted = match body {
        Ok(Json(wanted)) => wanted,
        Err(rejection) => return refuse(rejection.body_text()),
    };
    if let (Some(filter), Some(telemetry)) = (&wanted.log, &admin.telemetry)
        && let Err(error) = telemetry.log.set(filter)
    {
        return refuse(format!("log: {error}"));
    }
    if let Some(on) = wanted.heap_profile
        && let Err(error) = profile::sample_heap(on).await
    {
        return refuse(format!("heap_profile: {error}"));
    }
    if let (Some(one_in), Some(edge)) = (wanted.trace_one_in, &admin.edge) {
        edge.sampling().set(one_in);
    }
    let Told { log, trace_one_in, heap_profile } = wanted;
    tracing::warn!(target: AUDIT, log, trace_one_in, heap_profile, "what the node tells of itself is changed");
    telemetry(State(admin)).await.into_response()
}

/// For how long the CPU is looked at: at most, and if nobody says how long.
const LOOK: RangeInclusive<u64> = 1..=120;
const SOME_SECONDS: u64 = 10;

#[derive(Debug, Deserialize)]
struct Look {
    seconds: Option<u64>,
}

async fn cpu_profile(Query(Look { seconds }): Query<Look>) -> Response {
    let seconds = seconds.unwrap_or(SOME_SECONDS).clamp(*LOOK.start(), *LOOK.end());
    profiled("cpu.pb", profile::cpu(Duration::from_secs(seconds)).await)
}

async fn heap_profile() -> Response {
    profiled("heap.pb.gz", profile::heap().await)
}

fn profiled(file: &str, profile: Result<Vec<u8>, ProfileError>) -> Response {
    match profile {
        Ok(bytes) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
            ];
            (headers, bytes).into_response()
        }
        Err(error) => {
            let (status, code) = match error {
                ProfileError::Busy => (StatusCode::CONFLICT, "busy"),
                ProfileError::NotSampled => (StatusCode::CONFLICT, "not_sampled"),
                ProfileError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            };
            (status, Json(json!({ "code": code, "message": error.to_string() }))).into_response()
        }
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<usize>,
}

/// Rooms or connections that are told of at most, and if nobody says how many.
const MOST: usize = 200;
const SOME: usize = 20;

impl Page {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(SOME).min(MOST)
    }
}

/// The connections of this node that lag the most.
async fn slowest(State(admin): State<Admin>, Query(page): Query<Page>) -> Json<Value> {
    let connections = match &admin.edge {
        Some(edge) => edge.slowest(page.limit()).await,
        None => Vec::new(),
    };
    Json(json!({ "connections": connections }))
}

/// The rooms of this node in which most is going on.
async fn hottest(State(admin): State<Admin>, Query(page): Query<Page>) -> Json<Value> {
    let Some(host) = &admin.host else { return Json(json!({ "awake": 0, "rooms": [] })) };
    let mut rooms = Vec::new();
    for (room, ops_per_second) in host.hottest(page.limit()) {
        if let Some(inspection) = host.inspect(room).await {
            rooms.push(json!({ "ops_per_second": ops_per_second, "room": inspection }));
        }
    }
    Json(json!({ "awake": host.awake(), "rooms": rooms }))
}

/// Who owns a shard, as this node sees it, and which of its rooms are awake here.
async fn shard(State(admin): State<Admin>, Path(number): Path<u16>) -> Response {
    let Some(shard) = Shard::new(number) else {
        let message = format!("shards are numbered from 0 to {}", Shard::COUNT - 1);
        return (StatusCode::NOT_FOUND, Json(json!({ "code": "not_found", "message": message })))
            .into_response();
    };
    let owner = admin.cluster.owner_of(shard);
    let nodes = admin.cluster.nodes();
    let owner = owner.map(|owner| {
        let known = nodes.iter().find(|(row, _)| row.node.incarnation == owner);
        known.map_or_else(
            || json!({ "incarnation": owner.to_string() }),
            |(row, shards)| describe(row, *shards),
        )
    });
    let here = admin.host.as_ref().map(|host| host.rooms_of(shard)).unwrap_or_default();
    Json(json!({ "shard": number, "owner": owner, "awake_here": here })).into_response()
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
    if let Some(host) = &admin.host {
        host.kill(RoomId(room));
    }
    StatusCode::ACCEPTED
}

/// Gives a room that was set aside another chance.
async fn release(State(admin): State<Admin>, Path(room): Path<Uuid>) -> StatusCode {
    if let Some(host) = &admin.host {
        host.release(RoomId(room));
    }
    StatusCode::NO_CONTENT
}
