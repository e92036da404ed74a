//! `/users`: the person who asks.

use axum::Json;
use axum::extract::State;
use enfilade_proto::{DisplayName, UserId, Username};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::caller::Caller;
use super::extract::JsonBody;
use super::problem::Problem;

/// A person, as told to themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Profile)]
pub(super) struct ProfileBody {
    #[schema(value_type = Uuid)]
    id: UserId,
    #[schema(value_type = String, example = "ada")]
    username: Username,
    #[schema(value_type = String, example = "Ada")]
    name: DisplayName,
    created_at: u64,
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ProfileChange)]
pub(super) struct RenameUserBody {
    #[schema(example = "Ada L.", max_length = 64)]
    name: Option<String>,
}

/// Who you are
#[utoipa::path(
    get,
    path = "/users/@me",
    operation_id = "whoAmI",
    tag = "people",
    security(("access_token" = [])),
    responses((status = OK, body = ProfileBody))
)]
pub(super) async fn me(State(api): State<Api>, caller: Caller) -> Result<Json<ProfileBody>, Problem> {
    let (user, _) = caller.signed_in()?;
    profile(&api, user).await
}

/// Change your name
#[utoipa::path(
    patch,
    path = "/users/@me",
    operation_id = "renameMe",
    tag = "people",
    security(("access_token" = [])),
    request_body = RenameUserBody,
    responses((status = OK, body = ProfileBody))
)]
pub(super) async fn rename(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(body): JsonBody<RenameUserBody>,
) -> Result<Json<ProfileBody>, Problem> {
    let (user, _) = caller.signed_in()?;
    if let Some(name) = body.name {
        api.people.rename(user, &name).await?;
    }
    profile(&api, user).await
}

async fn profile(api: &Api, user: UserId) -> Result<Json<ProfileBody>, Problem> {
    let profile = api.people.profile(user).await?;
    Ok(Json(ProfileBody {
        id: profile.id,
        username: profile.username,
        name: profile.name,
        created_at: profile.created_ms,
    }))
}
