//! Columns of SQLite's rows as the types of the design.

use enfilade_proto::{DisplayName, LinkId, LoginId, Role, RoomId, RoomKind, UserId, Username};
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Result, Row, ValueRef};
use uuid::Uuid;

use crate::columns::{self, damaged};
use crate::directory::{Access, Idempotency, LinkRow, LoginRow, MemberRow, RoomRow, UserRow};

fn role(row: &SqliteRow, column: usize) -> Result<Role> {
    columns::role(row.try_get(column)?)
}

fn kind(row: &SqliteRow, column: usize) -> Result<RoomKind> {
    columns::kind(row.try_get(column)?)
}

fn name(row: &SqliteRow, column: usize) -> Result<DisplayName> {
    DisplayName::new(row.try_get(column)?).map_err(damaged)
}

fn username(row: &SqliteRow, column: usize) -> Result<Username> {
    Username::new(row.try_get(column)?).map_err(damaged)
}

pub(super) fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid> {
    Uuid::from_slice(row.try_get(column)?).map_err(damaged)
}

fn bytes<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N]> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(damaged)
}

/// None where the column is null.
fn if_any<T>(row: &SqliteRow, column: usize, read: fn(&SqliteRow, usize) -> Result<T>) -> Result<Option<T>> {
    if row.try_get_raw(column)?.is_null() { Ok(None) } else { read(row, column).map(Some) }
}

// ---- whole rows ----------------------------------------------------------------------------------------------

pub(super) fn user_row(row: &SqliteRow) -> Result<UserRow> {
    Ok(UserRow {
        id: UserId(uuid(row, 0)?),
        username: username(row, 1)?,
        name: name(row, 2)?,
        password_hash: row.try_get(3)?,
        created_ms: row.try_get(4)?,
    })
}

pub(super) fn login_row(row: &SqliteRow) -> Result<LoginRow> {
    Ok(LoginRow {
        id: login_id(row)?,
        user: UserId(uuid(row, 1)?),
        key: bytes(row, 2)?,
        counter: row.try_get(3)?,
        rotated_ms: row.try_get(4)?,
        created_ms: row.try_get(5)?,
        expires_ms: row.try_get(6)?,
        device: row.try_get(7)?,
    })
}

pub(super) fn login_id(row: &SqliteRow) -> Result<LoginId> {
    uuid(row, 0).map(LoginId)
}

pub(super) fn room_row(row: &SqliteRow) -> Result<RoomRow> {
    Ok(RoomRow {
        id: RoomId(uuid(row, 0)?),
        kind: kind(row, 1)?,
        title: name(row, 2)?,
        created_ms: row.try_get(3)?,
        role: if_any(row, 4, role)?,
    })
}

pub(super) fn access_row(row: &SqliteRow) -> Result<Access> {
    let link = if_any(row, 3, uuid)?.map(|id| Ok::<_, Error>((LinkId(id), role(row, 4)?)));
    Ok(Access {
        kind: kind(row, 0)?,
        title: name(row, 1)?,
        member: if_any(row, 2, role)?,
        link: link.transpose()?,
    })
}

pub(super) fn link_row(row: &SqliteRow) -> Result<LinkRow> {
    Ok(LinkRow {
        id: LinkId(uuid(row, 0)?),
        role: role(row, 1)?,
        created_ms: row.try_get(2)?,
        expires_ms: row.try_get(3)?,
    })
}

pub(super) fn member_row(row: &SqliteRow) -> Result<MemberRow> {
    Ok(MemberRow {
        user: UserId(uuid(row, 0)?),
        name: name(row, 1)?,
        role: role(row, 2)?,
        via: if_any(row, 3, uuid)?.map(LinkId),
    })
}

pub(super) fn idempotency(row: &SqliteRow, fingerprint: &[u8; 32]) -> Result<Idempotency> {
    if bytes(row, 0)? != *fingerprint {
        return Ok(Idempotency::Mismatch);
    }
    match row.try_get(1)? {
        None => Ok(Idempotency::InProgress),
        Some(status) => Ok(Idempotency::Done { status, body: row.try_get(2)? }),
    }
}
