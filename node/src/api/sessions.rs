//! `/users/{id}/presence`: whether somebody is there. And the seam to where people are connected: [`Sessions`].

use std::fmt;

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use enfilade_actors::bus::UserPresence;
use enfilade_proto::{LoginId, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::Caller;
use super::extract::PathOf;
use super::problem::Problem;
use super::{Api, schema};
use crate::people::Refusal;

/// Sessions, wherever they live.
#[async_trait]
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    async fn session(&self, user: UserId) -> Result<Session, Refusal>;
}

/// Where a person is connected, and whether they are there.
#[derive(Clone, Debug)]
pub struct Session {
    pub presence: UserPresence,
    pub connections: Vec<Connection>,
}

/// A device that is connected to a node.
#[derive(Clone, Debug)]
pub struct Connection {
    pub login: LoginId,
    pub node: String,
    pub since_ms: u64,
    /// Somebody uses it right now, as far as it knows.
    pub active: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserPresence)]
pub(super) struct PresenceBody {
    #[schema(value_type = schema::Presence)]
    presence: UserPresence,
}

/// Whether somebody is there
///
/// For themselves, and for people who are members of a room together.
#[utoipa::path(
    get,
    path = "/users/{id}/presence",
    operation_id = "presenceOf",
    tag = "people",
    security(("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the person")),
    responses((status = OK, body = PresenceBody))
)]
pub(super) async fn presence(
    State(api): State<Api>,
    caller: Caller,
    PathOf(user): PathOf<Uuid>,
) -> Result<Json<PresenceBody>, Problem> {
    let (asking, _) = caller.signed_in()?;
    api.people.require_acquaintance(asking, UserId(user)).await?;
    let presence = api.sessions.session(UserId(user)).await?.presence;
    Ok(Json(PresenceBody { presence }))
}
