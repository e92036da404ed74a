//! What is in a room: its snapshot, its history, and adding to it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use enfilade_proto::{
    ClientId, Codec, DisplayName, ErrorCode, LoggedOp, Op, OpId, Position, Role, RoomId, RoomKind, Seq, User,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::caller::Caller;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::idempotency::IdempotencyHeader;
use super::page::within;
use super::problem::Problem;
use super::rooms::{History, LinkHeader, Submission};
use super::{Api, schema};
use crate::people::{Admission, Refusal};

const MESSAGE_PACK: &str = "application/msgpack";
/// Ops of one page.
const MOST_OPS: u32 = 1_000;
/// Where JavaScript's whole numbers end.
const LAST_OP_ID: u64 = (1 << 53) - 1;

/// A room as it is now. Its snapshot was written by the room itself, so it is appended.
#[derive(Debug, Serialize)]
struct SnapshotHead {
    room: RoomId,
    kind: RoomKind,
    title: DisplayName,
    position: Position,
}

/// A part of a room's history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct HistoryBody {
    /// The seq of the first of these ops.
    #[schema(value_type = u64)]
    first_seq: Seq,
    #[schema(value_type = Vec<schema::LoggedOp>)]
    ops: Vec<LoggedOp>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    next: Option<Seq>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// The seq after which to begin; 0 for all.
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    after: Seq,
    /// How many ops, 1 to 1000; 1000 unless given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Submission)]
pub(super) struct SubmitBody {
    /// The client that the op id belongs to.
    #[schema(value_type = Uuid)]
    client: ClientId,
    /// Starts above 0 and only grows. `(client, op_id)` names the op for ever: sent again, it is applied
    /// once.
    #[schema(value_type = u64, minimum = 1)]
    op_id: OpId,
    #[schema(value_type = schema::Op)]
    op: Op,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Accepted)]
pub(super) struct AcceptedBody {
    /// The op's place in the history.
    #[schema(value_type = u64)]
    seq: Seq,
}

/// The room as it is now
#[utoipa::path(
    get,
    path = "/rooms/{id}/snapshot",
    operation_id = "getSnapshot",
    tag = "content",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = OK, content(
        (schema::RoomSnapshot = "application/json"),
        (schema::RoomSnapshot = "application/msgpack"),
    )))
)]
pub(super) async fn snapshot(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = RoomId(room);
    let codec = wanted(&headers);
    api.people.reads_snapshot(caller.address)?;
    let Admission { kind, title, .. } = api.people.access(room, &caller.visitor()).await?;
    let (position, snapshot) = api.rooms.snapshot(room, codec).await?;
    let body = codec.encode_value(&SnapshotHead { room, kind, title, position });
    Ok(written(codec, add_field(codec, body, "snapshot", &snapshot)))
}

/// The history of a room
#[utoipa::path(
    get,
    path = "/rooms/{id}/ops",
    operation_id = "listOps",
    tag = "content",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader, HistoryQuery),
    responses((status = OK, content(
        (HistoryBody = "application/json"),
        (HistoryBody = "application/msgpack"),
    )))
)]
pub(super) async fn history(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    QueryOf(query): QueryOf<HistoryQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let room = RoomId(room);
    let limit = within(query.limit.unwrap_or(MOST_OPS), MOST_OPS)? as usize;
    api.people.access(room, &caller.visitor()).await?;
    let History { first_seq, ops, more } = api.rooms.history(room, query.after, limit).await?;
    let next = more.then(|| Seq((first_seq.0 + ops.len() as u64).saturating_sub(1)));
    let codec = wanted(&headers);
    Ok(written(codec, codec.encode_value(&HistoryBody { first_seq, ops, next })))
}

/// Submit an op
///
/// For editors and owners. The answer comes after the commit.
#[utoipa::path(
    post,
    path = "/rooms/{id}/ops",
    operation_id = "submitOp",
    tag = "content",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader, IdempotencyHeader),
    request_body = SubmitBody,
    responses((status = OK, body = AcceptedBody))
)]
pub(super) async fn submit(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    JsonBody(body): JsonBody<SubmitBody>,
) -> Result<Json<AcceptedBody>, Problem> {
    let visitor = caller.visitor();
    let admission = api.people.access(RoomId(room), &visitor).await?;
    admission.require(Role::Editor)?;
    check_name_of_op(&body)?;
    let author: User = match caller.principal {
        Some(principal) => principal.user,
        None => api.people.guest_of(body.client, &visitor),
    };
    let SubmitBody { client, op_id, op } = body;
    let submission = Submission { room: admission.room, author, role: admission.role, client, op_id, op };
    let seq = api.rooms.submit(submission).await?;
    Ok(Json(AcceptedBody { seq }))
}

/// The nil client and op 0 are those of rooms themselves.
fn check_name_of_op(body: &SubmitBody) -> Result<(), Refusal> {
    if body.client == ClientId::ROOM {
        return Err(Refusal::of_field("client", ErrorCode::InvalidRequest, "the nil UUID is no client"));
    }
    if !(1..=LAST_OP_ID).contains(&body.op_id.0) {
        return Err(Refusal::of_field("op_id", ErrorCode::InvalidRequest, "an op id is 1 to 2⁵³ − 1"));
    }
    Ok(())
}

pub(super) fn wanted(headers: &HeaderMap) -> Codec {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut types = accepted.flat_map(|line| line.split(',')).filter_map(|range| range.split(';').next());
    if types.any(|it| it.trim().eq_ignore_ascii_case(MESSAGE_PACK)) {
        Codec::MessagePack
    } else {
        Codec::Json
    }
}

pub(super) fn media_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "application/json",
        Codec::MessagePack => MESSAGE_PACK,
    }
}

fn written(codec: Codec, body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, media_type(codec)), (VARY, "accept")], Bytes::from(body)).into_response()
}

/// Adds a field, whose value was written before, to a written map of 1 to 14 fields.
fn add_field(codec: Codec, mut map: Vec<u8>, name: &str, value: &[u8]) -> Vec<u8> {
    map.reserve(name.len() + value.len() + 8);
    match codec {
        Codec::Json => {
            map.pop();
            map.extend_from_slice(format!(",\"{name}\":").as_bytes());
            map.extend_from_slice(value);
            map.push(b'}');
        }
        Codec::MessagePack => {
            debug_assert!(matches!(map.first(), Some(0x81..=0x8e)), "a map of 1 to 14 fields");
            if let Some(marker) = map.first_mut() {
                *marker += 1;
            }
            map.extend_from_slice(&codec.encode_value(name));
            map.extend_from_slice(value);
        }
    }
    map
}
