//! `/auth`: signing up, in and out, refreshing, devices.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use enfilade_proto::{ErrorCode, LoginId, User};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::caller::{Caller, bearer};
use super::extract::{JsonBody, JsonOrNothing, PathOf};
use super::problem::Problem;
use super::{Api, cookie, same_site, schema};
use crate::people::{ACCESS_LIFE_MS, Refusal, Session, SignUp, Whence};

#[derive(Deserialize, ToSchema)]
#[schema(as = SignUp)]
pub(super) struct SignUpBody {
    /// 3 to 32 of a-z, 0-9, '.', '_' and '-'; upper case is folded.
    #[schema(example = "ada", min_length = 3, max_length = 32)]
    username: String,
    #[schema(min_length = 8, max_length = 128, format = Password)]
    password: String,
    /// What others see; the username, unless given.
    #[schema(example = "Ada", max_length = 64)]
    name: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = SignIn)]
pub(super) struct SignInBody {
    #[schema(example = "ada")]
    username: String,
    #[schema(format = Password)]
    password: String,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = SignOut)]
pub(super) struct SignOutBody {
    /// On all devices, not just on this one.
    #[serde(default)]
    everywhere: bool,
}

/// A signed-in person's access token. The refresh token comes as a cookie.
#[derive(Serialize, ToSchema)]
#[schema(as = SignedIn)]
pub(super) struct SignedInBody {
    access_token: String,
    /// In seconds.
    #[schema(example = 600)]
    expires_in: u64,
    #[schema(value_type = schema::User)]
    user: User,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Logins)]
pub(super) struct LoginsBody {
    logins: Vec<LoginBody>,
}

/// A device on which the person is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Login)]
pub(super) struct LoginBody {
    #[schema(value_type = Uuid)]
    id: LoginId,
    /// What the device said of itself.
    device: String,
    created_at: u64,
    refreshed_at: u64,
    expires_at: u64,
    /// Whether it is the one that asks.
    current: bool,
    /// Where it is connected right now; absent if that cannot be found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<ConnectionBody>>,
}

/// A device's connection to a node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(super) struct ConnectionBody {
    node: String,
    since: u64,
    /// Somebody uses the device.
    active: bool,
}

/// Make an account and sign in
#[utoipa::path(
    post,
    path = "/auth/sign-up",
    operation_id = "signUp",
    tag = "people",
    request_body = SignUpBody,
    responses((status = CREATED, body = SignedInBody, headers(("Location" = String), ("Set-Cookie" = String))))
)]
pub(super) async fn sign_up(
    State(api): State<Api>,
    whence: Whence,
    headers: HeaderMap,
    JsonBody(body): JsonBody<SignUpBody>,
) -> Result<Response, Problem> {
    same_site::require(&headers, api.site.public_url.as_ref())?;
    let person = SignUp { username: body.username, password: body.password, name: body.name };
    let mut response = signed_in(api.people.sign_up(&person, &whence).await?)?;
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/api/v1/users/@me"));
    Ok(response)
}

/// Sign in
#[utoipa::path(
    post,
    path = "/auth/sign-in",
    operation_id = "signIn",
    tag = "people",
    request_body = SignInBody,
    responses((status = OK, body = SignedInBody, headers(("Set-Cookie" = String))))
)]
pub(super) async fn sign_in(
    State(api): State<Api>,
    whence: Whence,
    headers: HeaderMap,
    JsonBody(body): JsonBody<SignInBody>,
) -> Result<Response, Problem> {
    same_site::require(&headers, api.site.public_url.as_ref())?;
    signed_in(api.people.sign_in(&body.username, &body.password, &whence).await?)
}

/// Get a new access token
///
/// For the cookie of an earlier sign-in, which is replaced.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    tag = "people",
    security(("refresh_cookie" = [])),
    responses((status = OK, body = SignedInBody, headers(("Set-Cookie" = String))))
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    whence: Whence,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    same_site::require(&headers, api.site.public_url.as_ref())?;
    let Some(token) = cookie::read(&headers) else {
        return Err(Problem::new(ErrorCode::Unauthenticated, "nobody is signed in here"));
    };
    match api.people.refresh(token, &whence).await {
        Ok(session) => signed_in(session),
        Err(refusal) if refusal.code == ErrorCode::Unauthenticated => {
            // The cookie will never work again.
            Ok(without_cookie(Problem::from(refusal)))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Sign out
///
/// On this device or on all of them: their tokens stop working and their sockets close.
#[utoipa::path(
    post,
    path = "/auth/sign-out",
    operation_id = "signOut",
    tag = "people",
    request_body = Option<SignOutBody>,
    security(("refresh_cookie" = []), ("access_token" = [])),
    responses((status = NO_CONTENT, headers(("Set-Cookie" = String))))
)]
pub(super) async fn sign_out(
    State(api): State<Api>,
    headers: HeaderMap,
    JsonOrNothing(body): JsonOrNothing<SignOutBody>,
) -> Result<Response, Problem> {
    same_site::require(&headers, api.site.public_url.as_ref())?;
    api.people.sign_out(bearer(&headers)?, cookie::read(&headers), body.everywhere).await?;
    Ok(without_cookie(StatusCode::NO_CONTENT))
}

/// List the devices on which you are signed in
#[utoipa::path(
    get,
    path = "/auth/logins",
    operation_id = "listLogins",
    tag = "people",
    security(("access_token" = [])),
    responses((status = OK, body = LoginsBody))
)]
pub(super) async fn list_logins(State(api): State<Api>, caller: Caller) -> Result<Json<LoginsBody>, Problem> {
    let (user, signed_in) = caller.signed_in()?;
    let logins = api.people.logins(user).await?;
    // The list is there to sign out by; it must not depend on more than the database.
    let session = api.sessions.session(user).await.ok();
    let connections = |login| session.as_ref().map(|session| connections(session, login));
    let logins = logins
        .into_iter()
        .map(|login| LoginBody {
            id: login.id,
            device: login.device,
            created_at: login.created_ms,
            refreshed_at: login.rotated_ms,
            expires_at: login.expires_ms,
            current: login.id == signed_in.login,
            connections: connections(login.id),
        })
        .collect();
    Ok(Json(LoginsBody { logins }))
}

fn connections(online: &super::Session, login: LoginId) -> Vec<ConnectionBody> {
    let of_login = online.connections.iter().filter(|connection| connection.login == login);
    of_login
        .map(|it| ConnectionBody { node: it.node.clone(), since: it.since_ms, active: it.active })
        .collect()
}

/// Sign out on another device
#[utoipa::path(
    delete,
    path = "/auth/logins/{id}",
    operation_id = "endLogin",
    tag = "people",
    security(("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the login")),
    responses((status = NO_CONTENT))
)]
pub(super) async fn end_login(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<Uuid>,
) -> Result<StatusCode, Problem> {
    let (user, _) = caller.signed_in()?;
    api.people.end_login_of(user, LoginId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The keys that verify access tokens (RFC 7517)
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "publicKeys",
    tag = "people",
    responses((status = OK, body = schema::PublicKeys))
)]
pub(super) async fn public_keys(State(api): State<Api>) -> Response {
    ([(CACHE_CONTROL, "public, max-age=600")], Json(api.people.public_keys())).into_response()
}

fn signed_in(session: Session) -> Result<Response, Problem> {
    let cookie = cookie::keep(&session.refresh_token, session.refresh_life_ms)
        .ok_or_else(|| Refusal::internal("a refresh token that does not fit a cookie"))?;
    let expires_in = ACCESS_LIFE_MS / 1_000;
    let body = SignedInBody { access_token: session.access_token, expires_in, user: session.user };
    Ok(([(SET_COOKIE, cookie)], Json(body)).into_response())
}

fn without_cookie(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    if let Some(cookie) = cookie::forget() {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}
