//! Checkpoints in SQLite.
//!
//! A large board's takes longer to write than anybody else's commit should wait. So a body is written in parts, a turn of
//! the writer each, and counts from the moment the room's row in `checkpoint` names it.

use bytes::{Bytes, BytesMut};
use enfilade_proto::{Epoch, RoomId, Seq};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Result as SqlResult, Row};

use super::Sqlite;
use super::failure::read_failed;
use crate::checkpoint::Checkpoint;
use crate::columns::int;
use crate::error::StoreError;

/// The size of a part: about a millisecond of the writer.
const PART_BYTES: usize = 256 * 1024;
/// Parts that one turn deletes.
const PARTS_DELETED_AT_ONCE: u64 = 4;

/// The state of a room as it was stored, damaged or not.
struct Stored {
    checkpoint: Checkpoint,
    checksum: u32,
    whole: bool,
}

impl Sqlite {
    pub(super) async fn read_checkpoint(&self, room: RoomId) -> Result<Option<Checkpoint>, StoreError> {
        let Some(Stored { checkpoint, checksum, whole }) = read(self, room).await.map_err(read_failed)?
        else {
            return Ok(None);
        };
        if whole && checkpoint.checksum() == checksum {
            Ok(Some(checkpoint))
        } else {
            Err(StoreError::Corrupt(format!("the checkpoint of room {room} at seq {}", checkpoint.seq)))
        }
    }

    pub(super) async fn write_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        // One at a time: the parts of two must not mix.
        let turn = self.checkpoints.acquire().await;
        let _turn = turn.map_err(|closed| StoreError::Unavailable(Box::new(closed)))?;
        let latest = latest(self, checkpoint.room).await.map_err(read_failed)?;
        let body = match latest {
            Some((seq, _)) if checkpoint.seq < seq => return Ok(()),
            Some((_, body)) => body + 1,
            None => 1,
        };
        let mut parts: Vec<&[u8]> = checkpoint.body.chunks(PART_BYTES).collect();
        let count = parts.len();
        let last = parts.pop();
        for (part, bytes) in parts.into_iter().enumerate() {
            let mut change = self.writer.change().await?;
            let put = put_part(&mut change, checkpoint.room, body, part, bytes).await;
            change.settle(put).await?;
        }
        let mut change = self.writer.change().await?;
        let deleted = async {
            if let Some(bytes) = last {
                put_part(&mut change, checkpoint.room, body, count - 1, bytes).await?;
            }
            name(&mut change, checkpoint, body, count).await?;
            delete_unnamed(&mut change, checkpoint.room).await
        };
        let deleted = deleted.await;
        if change.settle(deleted).await? == PARTS_DELETED_AT_ONCE {
            self.delete_unnamed_parts(checkpoint.room).await?;
        }
        Ok(())
    }

    /// Deletes what is left of earlier bodies of a room; if it has no checkpoint, of all.
    pub(super) async fn delete_unnamed_parts(&self, room: RoomId) -> Result<(), StoreError> {
        loop {
            let mut change = self.writer.change().await?;
            let deleted = delete_unnamed(&mut change, room).await;
            if change.settle(deleted).await? < PARTS_DELETED_AT_ONCE {
                return Ok(());
            }
        }
    }
}

/// One statement, so that all it reads is of one moment.
async fn read(store: &Sqlite, room: RoomId) -> SqlResult<Option<Stored>> {
    let mut rows = sqlx::query(
        "SELECT c.seq, c.epoch, c.format, c.at_ms, c.checksum, c.parts, p.bytes FROM checkpoint AS c
         LEFT JOIN checkpoint_part AS p ON p.room = c.room AND p.body = c.body AND p.part < c.parts
         WHERE c.room = ? ORDER BY p.part",
    )
    .bind(&room.0.as_bytes()[..])
    .fetch(&store.readers);
    let mut stored = None;
    let mut body = BytesMut::new();
    let mut parts: u64 = 0;
    while let Some(row) = rows.try_next().await? {
        if let Some(bytes) = row.try_get::<Option<&[u8]>, _>(6)? {
            body.extend_from_slice(bytes);
            parts += 1;
        }
        stored = Some(row);
    }
    let Some(row) = stored else { return Ok(None) };
    let checkpoint = Checkpoint {
        room,
        seq: Seq(row.try_get(0)?),
        epoch: Epoch(row.try_get(1)?),
        format: row.try_get(2)?,
        at_ms: row.try_get(3)?,
        body: Bytes::from(body),
    };
    Ok(Some(Stored { checkpoint, checksum: row.try_get(4)?, whole: parts == row.try_get::<u64, _>(5)? }))
}

/// The seq and the body of a room's checkpoint.
async fn latest(store: &Sqlite, room: RoomId) -> SqlResult<Option<(Seq, i64)>> {
    let row: Option<(u64, i64)> = sqlx::query_as("SELECT seq, body FROM checkpoint WHERE room = ?")
        .bind(&room.0.as_bytes()[..])
        .fetch_optional(&store.readers)
        .await?;
    Ok(row.map(|(seq, body)| (Seq(seq), body)))
}

/// Replaces what an attempt that did not finish left under the same number.
async fn put_part(
    connection: &mut SqliteConnection,
    room: RoomId,
    body: i64,
    part: usize,
    bytes: &[u8],
) -> SqlResult<()> {
    sqlx::query("INSERT OR REPLACE INTO checkpoint_part (room, body, part, bytes) VALUES (?, ?, ?, ?)")
        .bind(&room.0.as_bytes()[..])
        .bind(body)
        .bind(int(part as u64))
        .bind(bytes)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes a body the room's checkpoint, unless the log does not reach so far: then the room was deleted meanwhile.
async fn name(
    connection: &mut SqliteConnection,
    checkpoint: &Checkpoint,
    body: i64,
    parts: usize,
) -> SqlResult<()> {
    sqlx::query(
        "INSERT INTO checkpoint (room, seq, epoch, format, at_ms, checksum, body, parts)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE ?2 <= coalesce(
             (SELECT l.seq_to FROM room_log AS l WHERE l.room = ?1 ORDER BY l.seq_from DESC LIMIT 1),
             (SELECT c.seq FROM checkpoint AS c WHERE c.room = ?1),
             0)
         ON CONFLICT (room) DO UPDATE SET
             seq = excluded.seq, epoch = excluded.epoch, format = excluded.format, at_ms = excluded.at_ms,
             checksum = excluded.checksum, body = excluded.body, parts = excluded.parts
         WHERE excluded.seq >= checkpoint.seq",
    )
    .bind(&checkpoint.room.0.as_bytes()[..])
    .bind(int(checkpoint.seq.0))
    .bind(int(checkpoint.epoch.0))
    .bind(checkpoint.format)
    .bind(int(checkpoint.at_ms))
    .bind(checkpoint.checksum())
    .bind(body)
    .bind(int(parts as u64))
    .execute(connection)
    .await?;
    Ok(())
}

async fn delete_unnamed(connection: &mut SqliteConnection, room: RoomId) -> SqlResult<u64> {
    let done = sqlx::query(
        "DELETE FROM checkpoint_part WHERE rowid IN (
             SELECT p.rowid FROM checkpoint_part AS p
             WHERE p.room = ?1 AND p.body <> coalesce((SELECT c.body FROM checkpoint AS c WHERE c.room = ?1), 0)
             LIMIT ?2)",
    )
    .bind(&room.0.as_bytes()[..])
    .bind(int(PARTS_DELETED_AT_ONCE))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
