//! Snapshots by name: what never changes, for a crowd to fetch through caches before it joins.
//!
//! A name is a position, `{epoch}-{seq}`. Whoever came through a share link is sent to a URL with a key for that one snapshot:
//! it holds no secret of the link, so shared caches may keep it. Members read with their own credentials, and only their own cache
//! keeps what they read.

use std::fmt;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, VARY,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use enfilade_proto::{Codec, Epoch, ErrorCode, Position, RoomId, Seq};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::caller::Caller;
use super::content::{media_type, wanted};
use super::extract::{PathOf, QueryOf};
use super::problem::Problem;
use super::rooms::LinkHeader;
use super::{Api, schema};

/// How long caches keep a snapshot. It never changes; but who has lost access should not find it for ever.
const FOR_ALL: &str = "public, max-age=3600, immutable";
const FOR_ONE: &str = "private, max-age=3600, immutable";

/// A snapshot, written.
#[derive(Clone, Debug)]
pub struct WrittenSnapshot {
    pub bytes: Bytes,
    pub gzipped: bool,
}

/// A position, as the name of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Name(Position);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.epoch, self.0.seq)
    }
}

impl FromStr for Name {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let number = |text: &str| text.parse().ok().filter(|number: &u64| number.to_string() == text);
        let parts = text.split_once('-').and_then(|(epoch, seq)| Some((number(epoch)?, number(seq)?)));
        let (epoch, seq) = parts.ok_or_else(|| {
            Problem::new(ErrorCode::InvalidRequest, "a snapshot's name is an epoch and a seq, as in 3-41")
        })?;
        Ok(Self(Position { epoch: Epoch(epoch), seq: Seq(seq) }))
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct KeyQuery {
    /// From the redirect: reads this one snapshot, for whoever has it.
    key: Option<String>,
}

/// Where the newest snapshot of a room is
///
/// A recent snapshot under a name of its own, for many to fetch through caches; then join with its name as `since`. Through a share
/// link the place has a key that opens this one snapshot and nothing else.
#[utoipa::path(
    get,
    path = "/rooms/{id}/snapshots/latest",
    operation_id = "findSnapshot",
    tag = "content",
    security((), ("access_token" = [])),
    params(("id" = Uuid, Path, description = "of the room"), LinkHeader),
    responses((status = TEMPORARY_REDIRECT, description = "The snapshot is at `Location`"))
)]
pub(super) async fn latest(
    State(api): State<Api>,
    caller: Caller,
    PathOf(room): PathOf<Uuid>,
) -> Result<Response, Problem> {
    let room = RoomId(room);
    api.people.reads_snapshot(caller.address)?;
    let admission = api.people.access(room, &caller.visitor()).await?;
    let name = Name(api.rooms.latest_snapshot(room).await?);
    let place = format!("/api/v1/rooms/{room}/snapshots/{name}");
    let location = match admission.link {
        Some(_) => format!("{place}?key={}", api.people.snapshot_key(room, name.0)),
        None => place,
    };
    Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
}

/// A snapshot of a room, by its name
///
/// It never changes. The newest and the one before it can be had; of others the answer is `snapshot_gone`, with the name of
/// the newest as `latest`.
#[utoipa::path(
    get,
    path = "/rooms/{id}/snapshots/{name}",
    operation_id = "getNamedSnapshot",
    tag = "content",
    security((), ("access_token" = [])),
    params(
        ("id" = Uuid, Path, description = "of the room"),
        ("name" = String, Path, description = "`{epoch}-{seq}`"),
        KeyQuery,
        LinkHeader,
    ),
    responses((status = OK, content(
        (schema::Snapshot = "application/json"),
        (schema::Snapshot = "application/msgpack"),
    )))
)]
pub(super) async fn named(
    State(api): State<Api>,
    caller: Caller,
    PathOf((room, name)): PathOf<(Uuid, String)>,
    QueryOf(KeyQuery { key }): QueryOf<KeyQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (room, name) = (RoomId(room), name.parse::<Name>()?);
    api.people.reads_snapshot(caller.address)?;
    let shared = key.is_some_and(|key| api.people.snapshot_key_opens(&key, room, name.0));
    if !shared {
        api.people.access(room, &caller.visitor()).await?;
    }
    let (codec, gzip) = (wanted(&headers), accepts_gzip(&headers));
    match api.rooms.named_snapshot(room, name.0, codec, gzip).await? {
        Some(snapshot) => Ok(written(name, codec, snapshot, shared, &headers)),
        None => {
            let latest = Name(api.rooms.latest_snapshot(room).await?);
            Err(Problem::new(ErrorCode::SnapshotGone, format!("the room's newest snapshot is {latest}"))
                .with_latest(latest.to_string()))
        }
    }
}

fn written(name: Name, codec: Codec, snapshot: WrittenSnapshot, shared: bool, asked: &HeaderMap) -> Response {
    let form = match (codec, snapshot.gzipped) {
        (Codec::Json, false) => "json",
        (Codec::Json, true) => "json.gz",
        (Codec::MessagePack, false) => "msgpack",
        (Codec::MessagePack, true) => "msgpack.gz",
    };
    let etag = format!("\"{name}.{form}\"");
    let (cache, vary) = if shared {
        (FOR_ALL, "accept, accept-encoding")
    } else {
        (FOR_ONE, "accept, accept-encoding, authorization, enfilade-link")
    };
    let has_it = asked
        .get(IF_NONE_MATCH)
        .and_then(|it| it.to_str().ok())
        .is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == etag));
    let common = [(CACHE_CONTROL, cache), (VARY, vary)];
    let etag: [(HeaderName, String); 1] = [(ETAG, etag)];
    if has_it {
        return (StatusCode::NOT_MODIFIED, common, etag).into_response();
    }
    let mut response = (common, etag, [(CONTENT_TYPE, media_type(codec))], snapshot.bytes).into_response();
    if snapshot.gzipped {
        response.headers_mut().insert(CONTENT_ENCODING, axum::http::HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_name_is_a_position_written_in_one_way() {
        let name: Name = "3-41".parse().unwrap();
        assert_eq!(name.0, Position { epoch: Epoch(3), seq: Seq(41) });
        assert_eq!(name.to_string(), "3-41");
        for wrong in ["", "3", "3-", "-41", "3-041", "+3-41", "3-41-5", "latest", "99999999999999999999-1"] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn gzip_is_for_those_who_read_it() {
        let asks = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(asks("gzip") && asks("br, GZIP;q=0.5") && asks("deflate, gzip ; q=1.0"));
        assert!(!asks("br") && !asks("gzip;q=0") && !asks("gzip; q=0.0") && !accepts_gzip(&HeaderMap::new()));
    }
}
