//! `/rooms/{id}/links`: sharing a room.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use enfilade_proto::{LinkId, Role, RoomId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::Caller;
use super::extract::{JsonBody, PathOf};
use super::idempotency::IdempotencyHeader;
use super::peer::{peer_of, seen_origin};
use super::problem::Problem;
use super::rooms::LinkHeader;
use super::{Api, schema};

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = LinkRequest)]
pub(super) struct NewLinkBody {
    /// What those who come through the link may do.
    #[schema(value_type = schema::Role)]
    role: Role,
}

/// A new link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewLink)]
pub(super) struct MadeLinkBody {
    #[schema(value_type = Uuid)]
    id: LinkId,
    #[schema(value_type = schema::Role)]
    role: Role,
    /// The secret. It is told this once.
    link: String,
    /// The page of the room with the secret.
    url: String,
}

/// A link that is out there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Link)]
pub(super) struct LinkBody {
    #[schema(value_type = Uuid)]
    id: LinkId,
    #[schema(value_type = schema::Role)]
    role: Role,
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Links)]
pub(super) struct LinksBody {
    links: Vec<LinkBody>,
}

/// Make a link
///
/// For the room's owners.
#[utoipa::path(
    post,
    path = "/rooms/{id}/links",
    operation_id = "createLink",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader, IdempotencyHeader),
    request_body = NewLinkBody,
    responses((status = CREATED, body = MadeLinkBody, headers(("Location" = String))))
)]
pub(super) async fn create_link(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
    parts: Parts,
    JsonBody(body): JsonBody<NewLinkBody>,
) -> Result<Response, Problem> {
    let room = RoomId(room);
    let (id, secret) = api.people.create_link(room, &caller.visitor(), body.role).await?;
    let link = secret.reveal().to_owned();
    let body = MadeLinkBody { id, role: body.role, url: url(&api, &parts, room, &link), link };
    let location = format!("/api/v1/rooms/{room}/links/{id}");
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(body)).into_response())
}

/// List the links to a room, without their secrets
///
/// For the room's owners.
#[utoipa::path(
    get,
    path = "/rooms/{id}/links",
    operation_id = "listLinks",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = OK, body = LinksBody))
)]
pub(super) async fn list_links(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<Json<LinksBody>, Problem> {
    let links = api.people.links(RoomId(room), &caller.visitor()).await?;
    let links = links
        .into_iter()
        .map(|link| LinkBody {
            id: link.id,
            role: link.role,
            created_at: link.created_ms,
            expires_at: link.expires_ms,
        })
        .collect();
    Ok(Json(LinksBody { links }))
}

/// Revoke a link
///
/// For the room's owners. Memberships that came through it end, and sockets that did close.
#[utoipa::path(
    delete,
    path = "/rooms/{id}/links/{link}",
    operation_id = "revokeLink",
    tag = "rooms",
    security((), ("access_token" = [])),
    params(
        ("id" = Uuid, Path, description = "of the room"),
        ("link" = Uuid, Path, description = "the link's id"),
        LinkHeader
    ),
    responses((status = NO_CONTENT))
)]
pub(super) async fn revoke_link(
    State(api): State<Api>,
    caller: Caller,
    PathOf((room, link)): PathOf<(Uuid, Uuid)>,
) -> Result<StatusCode, Problem> {
    api.people.revoke_link(RoomId(room), &caller.visitor(), LinkId(link)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The page of a room. The secret stands behind `#`, so it never reaches a server's log.
pub(super) fn url(api: &Api, parts: &Parts, room: RoomId, secret: &str) -> String {
    let site = &api.site;
    let seen = || {
        let peer = peer_of(&parts.extensions)?;
        seen_origin(peer, &parts.headers, &site.trusted_proxies, site.encrypted)
    };
    let origin = site.public_url.clone().or_else(seen);
    let origin = origin.as_ref().map_or("", |origin| origin.as_str());
    format!("{origin}/b/{room}#{secret}")
}
