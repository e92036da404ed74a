//! Columns of PostgreSQL's rows as the types of the design.

use enfilade_proto::{DisplayName, LinkId, LoginId, Role, RoomId, RoomKind, UserId, Username};
use sqlx::postgres::PgRow;
use sqlx::{Error, Result, Row};
use uuid::Uuid;

use crate::columns::{self, damaged};
use crate::directory::{Access, Idempotency, LinkRow, LoginRow, MemberRow, RoomRow, UserRow};
use crate::shard::Shard;

/// PostgreSQL has no unsigned integers.
pub(super) fn count(row: &PgRow, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(damaged)
}

fn count_if_any(row: &PgRow, column: usize) -> Result<Option<u64>> {
    row.try_get::<Option<i64>, _>(column)?.map(|value| u64::try_from(value).map_err(damaged)).transpose()
}

fn role(row: &PgRow, column: usize) -> Result<Role> {
    columns::role(row.try_get(column)?)
}

fn role_if_any(row: &PgRow, column: usize) -> Result<Option<Role>> {
    row.try_get::<Option<i16>, _>(column)?.map(columns::role).transpose()
}

fn kind(row: &PgRow, column: usize) -> Result<RoomKind> {
    columns::kind(row.try_get(column)?)
}

fn name(row: &PgRow, column: usize) -> Result<DisplayName> {
    DisplayName::new(row.try_get(column)?).map_err(damaged)
}

fn username(row: &PgRow, column: usize) -> Result<Username> {
    Username::new(row.try_get(column)?).map_err(damaged)
}

pub(super) fn uuid(row: &PgRow, column: usize) -> Result<Uuid> {
    row.try_get(column)
}

fn bytes<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N]> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(damaged)
}

/// PostgreSQL's smallest integers are signed; there are fewer shards than those can count.
pub(super) fn number(shard: Shard) -> i16 {
    const _: () = assert!(Shard::COUNT as i32 <= i16::MAX as i32);
    shard.number() as i16
}

pub(super) fn numbers(shards: &[Shard]) -> Vec<i16> {
    shards.iter().map(|shard| number(*shard)).collect()
}

pub(super) fn shard(row: &PgRow, column: usize) -> Result<Shard> {
    let number = u16::try_from(row.try_get::<i16, _>(column)?).ok();
    number.and_then(Shard::new).ok_or_else(|| damaged("there is no such shard"))
}

// ---- whole rows ----------------------------------------------------------------------------------------------

pub(super) fn user_row(row: &PgRow) -> Result<UserRow> {
    Ok(UserRow {
        id: UserId(uuid(row, 0)?),
        username: username(row, 1)?,
        name: name(row, 2)?,
        password_hash: row.try_get(3)?,
        created_ms: count(row, 4)?,
    })
}

pub(super) fn login_row(row: &PgRow) -> Result<LoginRow> {
    Ok(LoginRow {
        id: login_id(row)?,
        user: UserId(uuid(row, 1)?),
        key: bytes(row, 2)?,
        counter: count(row, 3)?,
        rotated_ms: count(row, 4)?,
        created_ms: count(row, 5)?,
        expires_ms: count(row, 6)?,
        device: row.try_get(7)?,
    })
}

pub(super) fn login_id(row: &PgRow) -> Result<LoginId> {
    uuid(row, 0).map(LoginId)
}

pub(super) fn room_row(row: &PgRow) -> Result<RoomRow> {
    Ok(RoomRow {
        id: RoomId(uuid(row, 0)?),
        kind: kind(row, 1)?,
        title: name(row, 2)?,
        created_ms: count(row, 3)?,
        role: role_if_any(row, 4)?,
    })
}

pub(super) fn access_row(row: &PgRow) -> Result<Access> {
    let link: Option<Uuid> = row.try_get(3)?;
    let link = link.map(|id| Ok::<_, Error>((LinkId(id), role(row, 4)?)));
    Ok(Access {
        kind: kind(row, 0)?,
        title: name(row, 1)?,
        member: role_if_any(row, 2)?,
        link: link.transpose()?,
    })
}

pub(super) fn link_row(row: &PgRow) -> Result<LinkRow> {
    Ok(LinkRow {
        id: LinkId(uuid(row, 0)?),
        role: role(row, 1)?,
        created_ms: count(row, 2)?,
        expires_ms: count_if_any(row, 3)?,
    })
}

pub(super) fn member_row(row: &PgRow) -> Result<MemberRow> {
    Ok(MemberRow {
        user: UserId(uuid(row, 0)?),
        name: name(row, 1)?,
        role: role(row, 2)?,
        via: row.try_get::<Option<Uuid>, _>(3)?.map(LinkId),
    })
}

pub(super) fn idempotency(row: &PgRow, fingerprint: &[u8; 32]) -> Result<Idempotency> {
    if bytes(row, 0)? != *fingerprint {
        return Ok(Idempotency::Mismatch);
    }
    match row.try_get::<Option<i32>, _>(1)? {
        None => Ok(Idempotency::InProgress),
        Some(status) => {
            let status = u16::try_from(status).map_err(damaged)?;
            Ok(Idempotency::Done { status, body: row.try_get(2)? })
        }
    }
}
