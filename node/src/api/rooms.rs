//! `/rooms`: making, listing, renaming and deleting them. And the seam to what happens inside: [`Rooms`].

use std::fmt;

use async_trait::async_trait;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use enfilade_proto::{
    ClientId, Codec, DisplayName, LoggedOp, Member, Op, OpId, Position, Role, RoomId, RoomKind, Seq, User,
    UserId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::caller::Caller;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::idempotency::IdempotencyHeader;
use super::page::{PageQuery, cut};
use super::problem::Problem;
use super::snapshots::WrittenSnapshot;
use super::{Api, schema, share};
use crate::people::{Admission, NewRoomRequest, Refusal};

/// The rooms themselves, wherever they live. Access was decided before any of these is called.
#[async_trait]
pub trait Rooms: fmt::Debug + Send + Sync + 'static {
    /// The room as it is now: its position and its snapshot, a `Snapshot` written in `codec`.
    async fn snapshot(&self, room: RoomId, codec: Codec) -> Result<(Position, Bytes), Refusal>;

    /// The position of a recent snapshot, by which [`Self::named_snapshot`] has it.
    async fn latest_snapshot(&self, room: RoomId) -> Result<Position, Refusal>;

    /// The snapshot at that position, a `Snapshot` written in `codec`; gzipped if that is wanted and pays. None if it is not (or
    /// no longer) to be had.
    async fn named_snapshot(
        &self,
        room: RoomId,
        position: Position,
        codec: Codec,
        gzip: bool,
    ) -> Result<Option<WrittenSnapshot>, Refusal>;

    /// The ops after `after`: at most `limit`, and fewer if they would be too much to send at once.
    async fn history(&self, room: RoomId, after: Seq, limit: usize) -> Result<History, Refusal>;

    /// Who is there: at most `limit` of them, by id, after the one given.
    async fn people(&self, room: RoomId, after: Option<UserId>, limit: u32) -> Result<Vec<Member>, Refusal>;

    /// Has the room take an op. Returns its seq after the commit; the same op again has the same seq.
    async fn submit(&self, submission: Submission) -> Result<Seq, Refusal>;
}

/// A part of a room's history.
#[derive(Clone, Debug)]
pub struct History {
    /// The seq of the first of these ops; of the next op of the room, if there are none.
    pub first_seq: Seq,
    pub ops: Vec<LoggedOp>,
    /// Whether there are more after these.
    pub more: bool,
}

/// An op on its way to its room.
#[derive(Clone, Debug)]
pub struct Submission {
    pub room: RoomId,
    pub author: User,
    /// At least editor.
    pub role: Role,
    pub client: ClientId,
    pub op_id: OpId,
    pub op: Op,
}

/// For the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only describes the header")]
pub(super) struct LinkHeader {
    /// The secret of a share link, or the whole link. Needed unless you are a member.
    #[param(rename = "Enfilade-Link")]
    link: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewRoom)]
pub(super) struct NewRoomBody {
    #[schema(value_type = schema::RoomKind)]
    kind: RoomKind,
    #[schema(example = "Sketches", max_length = 64)]
    title: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = RoomChange)]
pub(super) struct RenameRoomBody {
    #[schema(example = "Sketches", max_length = 64)]
    title: Option<String>,
}

/// A room, and what you may do in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Room)]
pub(super) struct RoomBody {
    #[schema(value_type = Uuid)]
    id: RoomId,
    #[schema(value_type = schema::RoomKind)]
    kind: RoomKind,
    #[schema(value_type = String)]
    title: DisplayName,
    #[schema(value_type = schema::Role)]
    role: Role,
    /// In milliseconds since 1970; in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<u64>,
    /// The secret of an owner's link, for the guest who made the room. It is told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// The page of the room with that secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rooms)]
pub(super) struct RoomsBody {
    rooms: Vec<RoomBody>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl From<Admission> for RoomBody {
    fn from(admission: Admission) -> Self {
        Self {
            id: admission.room,
            kind: admission.kind,
            title: admission.title,
            role: admission.role,
            created_at: None,
            link: None,
            url: None,
        }
    }
}

/// Make a room
///
/// It is yours. A guest gets an owner's link to it instead: whoever has that is the owner.
#[utoipa::path(
    post,
    path = "/rooms",
    operation_id = "createRoom",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(IdempotencyHeader),
    request_body = NewRoomBody,
    responses((status = CREATED, body = RoomBody, headers(("Location" = String))))
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    parts: Parts,
    JsonBody(body): JsonBody<NewRoomBody>,
) -> Result<Response, Problem> {
    let request =
        NewRoomRequest { kind: body.kind, title: body.title, owner: caller.user(), address: caller.address };
    let room = api.people.create_room(&request).await?;
    let link = room.link.as_ref().map(|secret| secret.reveal().to_owned());
    let body = RoomBody {
        id: room.id,
        kind: room.kind,
        title: room.title,
        role: Role::Owner,
        created_at: None,
        url: link.as_ref().map(|link| share::url(&api, &parts, room.id, link)),
        link,
    };
    Ok((StatusCode::CREATED, [(LOCATION, format!("/api/v1/rooms/{}", room.id))], Json(body)).into_response())
}

/// List the rooms that you are a member of, newest first
#[utoipa::path(
    get,
    path = "/rooms",
    operation_id = "listRooms",
    tag = "rooms",
    security(("access_token" = [])),
    params(PageQuery),
    responses((status = OK, body = RoomsBody))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<RoomsBody>, Problem> {
    let (user, _) = caller.signed_in()?;
    let limit = page.limit()?;
    let mut rooms = api.people.rooms_of(user, page.cursor()?, limit + 1).await?;
    let next = cut(&mut rooms, limit, |room| (room.created_ms, room.id));
    let rooms = rooms
        .into_iter()
        .map(|room| RoomBody {
            id: room.id,
            kind: room.kind,
            title: room.title,
            role: room.role.unwrap_or(Role::Viewer),
            created_at: Some(room.created_ms),
            link: None,
            url: None,
        })
        .collect();
    Ok(Json(RoomsBody { rooms, next }))
}

/// Look at a room
#[utoipa::path(
    get,
    path = "/rooms/{id}",
    operation_id = "getRoom",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = OK, body = RoomBody))
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<Json<RoomBody>, Problem> {
    let admission = api.people.access(RoomId(room), &caller.visitor()).await?;
    Ok(Json(admission.into()))
}

/// Rename a room
///
/// For its owners.
#[utoipa::path(
    patch,
    path = "/rooms/{id}",
    operation_id = "renameRoom",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    request_body = RenameRoomBody,
    responses((status = OK, body = RoomBody))
)]
pub(super) async fn rename(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    JsonBody(body): JsonBody<RenameRoomBody>,
) -> Result<Json<RoomBody>, Problem> {
    let (room, visitor) = (RoomId(room), caller.visitor());
    let admission = match body.title {
        Some(title) => api.people.rename_room(room, &visitor, &title).await?,
        None => api.people.access(room, &visitor).await?,
    };
    Ok(Json(admission.into()))
}

/// Delete a room with all that is in it
///
/// For its owners.
#[utoipa::path(
    delete,
    path = "/rooms/{id}",
    operation_id = "deleteRoom",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = NO_CONTENT))
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<StatusCode, Problem> {
    api.people.delete_room(RoomId(room), &caller.visitor()).await?;
    Ok(StatusCode::NO_CONTENT)
}
