//! Who may do what in which room: asked for many visits with one statement.

use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Row as _};

use super::directory::blob;
use super::failure::read_failed;
use super::rows::access_row;
use crate::columns::int;
use crate::directory::{Access, VISITS, Visit};
use crate::error::StoreError;

type Found = Result<Option<Access>, StoreError>;

pub(super) async fn accesses(
    readers: &SqlitePool,
    visits: &[Visit],
    now_ms: u64,
) -> Result<Vec<Found>, StoreError> {
    let mut found: Vec<Found> = visits.iter().map(|_| Ok(None)).collect();
    for (part, visits) in visits.chunks(VISITS).enumerate() {
        // Few lengths, so that there are few statements to prepare; the rest asks for no room at all.
        let rows = visits.len().next_power_of_two();
        let mut query = sqlx::query(AssertSqlSafe(statement(rows))).bind(int(now_ms));
        for row in 0..rows {
            let visit = visits.get(row);
            query = query
                .bind(visit.map(|visit| blob(&visit.room.0)))
                .bind(visit.and_then(|visit| visit.user.as_ref()).map(|user| blob(&user.0)))
                .bind(visit.and_then(|visit| visit.link.as_ref()).map(|hash| &hash.0[..]));
        }
        for row in query.fetch_all(readers).await.map_err(read_failed)? {
            let place: u32 = row.try_get(5).map_err(read_failed)?;
            if let Some(found) = found.get_mut(part * VISITS + place as usize) {
                *found = access_row(&row).map(Some).map_err(read_failed);
            }
        }
    }
    Ok(found)
}

fn statement(rows: usize) -> String {
    let values: Vec<String> = (0..rows).map(|row| format!("({row}, ?, ?, ?)")).collect();
    format!(
        "WITH at(ms) AS (VALUES (?)), visit(place, room, user_id, hash) AS (VALUES {})
         SELECT r.kind, r.title, m.role, l.id, l.role, visit.place FROM visit JOIN room AS r ON r.id = visit.room
         LEFT JOIN room_member AS m ON m.room = r.id AND m.user_id = visit.user_id
         LEFT JOIN link AS l ON l.hash = visit.hash AND l.room = r.id
             AND (l.expires_ms IS NULL OR l.expires_ms > (SELECT ms FROM at))",
        values.join(", ")
    )
}
