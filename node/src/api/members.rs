//! `/rooms/{id}/members`: who belongs to a room for good.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use enfilade_proto::{DisplayName, Role, RoomId, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::Caller;
use super::extract::{PathOf, QueryOf};
use super::page::{PageQuery, cut};
use super::problem::Problem;
use super::rooms::{LinkHeader, RoomBody};
use super::{Api, schema};

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberBody {
    #[schema(value_type = Uuid)]
    id: UserId,
    #[schema(value_type = String)]
    name: DisplayName,
    #[schema(value_type = schema::Role)]
    role: Role,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Members)]
pub(super) struct MembersBody {
    members: Vec<MemberBody>,
    /// `after` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// List the members of a room
#[utoipa::path(
    get,
    path = "/rooms/{id}/members",
    operation_id = "listMembers",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader, PageQuery),
    responses((status = OK, body = MembersBody))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<MembersBody>, Problem> {
    let limit = page.limit()?;
    let mut members = api.people.members(RoomId(room), &caller.visitor(), page.cursor()?, limit + 1).await?;
    let next = cut(&mut members, limit, |member| member.user);
    let members = members
        .into_iter()
        .map(|member| MemberBody { id: member.user, name: member.name, role: member.role })
        .collect();
    Ok(Json(MembersBody { members, next }))
}

/// List who is in a room right now
///
/// By id. In a small room the socket tells this by itself; in a large one it only counts.
#[utoipa::path(
    get,
    path = "/rooms/{id}/people",
    operation_id = "listPeople",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader, PageQuery),
    responses((status = OK, body = MembersBody))
)]
pub(super) async fn people(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    QueryOf(page): QueryOf<PageQuery>,
) -> Result<Json<MembersBody>, Problem> {
    let (room, limit) = (RoomId(room), page.limit()?);
    api.people.access(room, &caller.visitor()).await?;
    let mut people = api.rooms.people(room, page.cursor()?, limit + 1).await?;
    let next = cut(&mut people, limit, |member| member.id);
    let members = people.into_iter().map(|it| MemberBody { id: it.id, name: it.name, role: it.role });
    Ok(Json(MembersBody { members: members.collect(), next }))
}

/// Become a member through the link in the header
#[utoipa::path(
    put,
    path = "/rooms/{id}/members/@me",
    operation_id = "becomeMember",
    tag = "rooms",
    security(("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = OK, body = RoomBody))
)]
pub(super) async fn join(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<Json<RoomBody>, Problem> {
    let (user, _) = caller.signed_in()?;
    let admission = api.people.become_member(RoomId(room), user, &caller.visitor()).await?;
    Ok(Json(admission.into()))
}

/// Leave a room for good
///
/// The last owner stays as long as there are other members.
#[utoipa::path(
    delete,
    path = "/rooms/{id}/members/@me",
    operation_id = "leaveRoom",
    tag = "rooms",
    security(("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room")),
    responses((status = NO_CONTENT))
)]
pub(super) async fn leave(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<StatusCode, Problem> {
    let (user, _) = caller.signed_in()?;
    api.people.remove_member(RoomId(room), &caller.visitor(), user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a member
///
/// For the room's owners.
#[utoipa::path(
    delete,
    path = "/rooms/{id}/members/{user}",
    operation_id = "removeMember",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(
        ("id" = Uuid, Path, description = "of the room"),
        ("user" = Uuid, Path, description = "the member's id"),
        LinkHeader
    ),
    responses((status = NO_CONTENT))
)]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    PathOf((room, user)): PathOf<(Uuid, Uuid)>,
) -> Result<StatusCode, Problem> {
    api.people.remove_member(RoomId(room), &caller.visitor(), UserId(user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
