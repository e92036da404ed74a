//! Checkpoints in PostgreSQL: one row each. A large one keeps no commit waiting, because nobody waits for another's row.

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::Postgres;
use super::rows::count;
use crate::checkpoint::Checkpoint;
use crate::columns::{damaged, int};
use crate::error::StoreError;

impl Postgres {
    pub(super) async fn read_checkpoint(&self, room: RoomId) -> Result<Option<Checkpoint>, StoreError> {
        let mut turn = self.others.turn().await?;
        let found =
            sqlx::query("SELECT seq, epoch, format, at_ms, checksum, body FROM checkpoint WHERE room = $1")
                .bind(room.0)
                .try_map(|row| stored(room, &row))
                .fetch_optional(&mut *turn)
                .await;
        match turn.answer(found)? {
            Some((checkpoint, checksum)) if i64::from(checkpoint.checksum()) != checksum => {
                Err(StoreError::Corrupt(format!("the checkpoint of room {room} at seq {}", checkpoint.seq)))
            }
            found => Ok(found.map(|(checkpoint, _)| checkpoint)),
        }
    }

    pub(super) async fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let mut change = self.others.change().await?;
        // Unless the log does not reach so far: then the room was deleted meanwhile.
        let put = sqlx::query(
            "INSERT INTO checkpoint AS c (room, seq, epoch, format, at_ms, checksum, body)
             SELECT $1, $2, $3, $4, $5, $6, $7
             WHERE $2 <= coalesce(
                 (SELECT l.seq_to FROM room_log AS l WHERE l.room = $1 ORDER BY l.seq_from DESC LIMIT 1),
                 (SELECT o.seq FROM checkpoint AS o WHERE o.room = $1),
                 0)
             ON CONFLICT (room) DO UPDATE SET
                 seq = excluded.seq, epoch = excluded.epoch, format = excluded.format, at_ms = excluded.at_ms,
                 checksum = excluded.checksum, body = excluded.body
             WHERE excluded.seq >= c.seq",
        )
        .bind(checkpoint.room.0)
        .bind(int(checkpoint.seq.0))
        .bind(int(checkpoint.epoch.0))
        .bind(i64::from(checkpoint.format))
        .bind(int(checkpoint.at_ms))
        .bind(i64::from(checkpoint.checksum()))
        .bind(&checkpoint.body[..])
        .execute(&mut *change)
        .await;
        change.settle(put).await.map(drop)
    }
}

/// The state of a room as it was stored, and the checksum of it.
fn stored(room: RoomId, row: &PgRow) -> sqlx::Result<(Checkpoint, i64)> {
    let checkpoint = Checkpoint {
        room,
        seq: Seq(count(row, 0)?),
        epoch: Epoch(count(row, 1)?),
        format: u32::try_from(row.try_get::<i64, _>(2)?).map_err(damaged)?,
        at_ms: count(row, 3)?,
        body: Bytes::from(row.try_get::<Vec<u8>, _>(5)?),
    };
    Ok((checkpoint, row.try_get(4)?))
}
