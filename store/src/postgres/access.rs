//! Who may do what in which room: asked for many visits with one statement.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::rows::access_row;
use crate::columns::int;
use crate::directory::{Access, Visit};

/// The rows that [`STATEMENT`] gives, in the places of the visits.
pub(super) fn in_place(visits: &[Visit], rows: &[PgRow]) -> sqlx::Result<Vec<sqlx::Result<Option<Access>>>> {
    let mut found: Vec<sqlx::Result<Option<Access>>> = visits.iter().map(|_| Ok(None)).collect();
    for row in rows {
        let place: i64 = row.try_get(5)?;
        // Counted from one.
        let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
        if let Some(found) = place.and_then(|place| found.get_mut(place)) {
            *found = access_row(row).map(Some);
        }
    }
    Ok(found)
}

const STATEMENT: &str = "
    SELECT r.kind, r.title, m.role, l.id, l.role, visit.place
    FROM UNNEST($1::uuid[], $2::uuid[], $3::bytea[]) WITH ORDINALITY AS visit(room, user_id, hash, place)
    JOIN room AS r ON r.id = visit.room
    LEFT JOIN room_member AS m ON m.room = r.id AND m.user_id = visit.user_id
    LEFT JOIN link AS l ON l.hash = visit.hash AND l.room = r.id AND (l.expires_ms IS NULL OR l.expires_ms > $4)";

pub(super) fn query(
    visits: &[Visit],
    now_ms: u64,
) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(STATEMENT)
        .bind(visits.iter().map(|visit| visit.room.0).collect::<Vec<_>>())
        .bind(visits.iter().map(|visit| visit.user.map(|user| user.0)).collect::<Vec<_>>())
        .bind(visits.iter().map(|visit| visit.link.map(|hash| hash.0.to_vec())).collect::<Vec<_>>())
        .bind(int(now_ms))
}
