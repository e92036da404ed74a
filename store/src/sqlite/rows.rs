//! Between columns and the types of the design. What does not decode was not written by us.

use enfilade_proto::{DisplayName, Role, RoomKind, Username};
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Result, Row, ValueRef};
use uuid::Uuid;

/// SQLite's integers end at 2^63. No count or time of ours gets there; what a client makes up stops there.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn rank(role: Role) -> i64 {
    match role {
        Role::Viewer => 1,
        Role::Editor => 2,
        Role::Owner => 3,
    }
}

pub(super) fn role(row: &SqliteRow, column: usize) -> Result<Role> {
    match row.try_get::<i64, _>(column)? {
        1 => Ok(Role::Viewer),
        2 => Ok(Role::Editor),
        3 => Ok(Role::Owner),
        rank => Err(damaged(format!("there is no role {rank}"))),
    }
}

pub(super) fn kind(row: &SqliteRow, column: usize) -> Result<RoomKind> {
    let text: &str = row.try_get(column)?;
    let kinds = [RoomKind::Board, RoomKind::Document, RoomKind::Chat, RoomKind::Thread];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == text);
    kind.ok_or_else(|| damaged(format!("there is no room kind {text:?}")))
}

pub(super) fn name(row: &SqliteRow, column: usize) -> Result<DisplayName> {
    DisplayName::new(row.try_get(column)?).map_err(damaged)
}

pub(super) fn username(row: &SqliteRow, column: usize) -> Result<Username> {
    Username::new(row.try_get(column)?).map_err(damaged)
}

pub(super) fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid> {
    Uuid::from_slice(row.try_get(column)?).map_err(damaged)
}

pub(super) fn bytes<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N]> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(damaged)
}

/// None where the column is null.
pub(super) fn if_any<T>(
    row: &SqliteRow,
    column: usize,
    read: fn(&SqliteRow, usize) -> Result<T>,
) -> Result<Option<T>> {
    if row.try_get_raw(column)?.is_null() { Ok(None) } else { read(row, column).map(Some) }
}

fn damaged(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(reason.into())
}
