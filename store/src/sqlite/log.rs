//! The log of rooms in SQLite.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Result as SqlResult, Row};

use super::Sqlite;
use super::failure::{commit_failed, read_failed};
use super::rows::uuid;
use crate::checkpoint::Checkpoint;
use crate::columns::int;
use crate::continuity::{Insert, continuing};
use crate::error::StoreError;
use crate::log::{Batch, Incarnation, LogRow, Outcome, RoomLog};
use crate::shard::Shard;

/// Batches in one statement. Eight parameters each, and one for all, stay far below SQLite's 32,766.
const ROWS: usize = 1_024;
const PARAMETERS: usize = 8;
const _: () = assert!(ROWS.is_power_of_two() && ROWS * PARAMETERS < 32_766);

/// Rows that one turn of the writer deletes, so that commits get in between.
const ROWS_DELETED_AT_ONCE: u64 = 512;

#[async_trait]
impl RoomLog for Sqlite {
    async fn append(&self, writer: Incarnation, batches: &[Batch]) -> Result<Vec<Outcome>, StoreError> {
        if batches.len() <= ROWS {
            let mut turn = self.writer.turn().await?;
            // Without a transaction around it the statement is one by itself: one trip to the connection's thread.
            let outcomes =
                append(turn.connection(), writer, batches, &HashSet::new()).await.map_err(commit_failed)?;
            turn.end();
            return Ok(outcomes);
        }
        let mut change = self.writer.change().await?;
        let outcomes = append_all(&mut change, writer, batches).await;
        change.settle(outcomes).await
    }

    async fn read(&self, room: RoomId, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        read(self, room, after, max_bytes).await.map_err(read_failed)
    }

    async fn rooms(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError> {
        // No blob is less than an empty one.
        let after = after.map(|room| room.0.as_bytes().to_vec()).unwrap_or_default();
        sqlx::query(
            "SELECT room FROM room_log WHERE room > ?1 UNION SELECT room FROM checkpoint WHERE room > ?1
             ORDER BY room LIMIT ?2",
        )
        .bind(after)
        .bind(limit)
        .try_map(|row: SqliteRow| uuid(&row, 0).map(RoomId))
        .fetch_all(&self.readers)
        .await
        .map_err(read_failed)
    }

    async fn checkpoint(&self, room: RoomId) -> Result<Option<Checkpoint>, StoreError> {
        self.read_checkpoint(room).await
    }

    async fn put_checkpoint(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.write_checkpoint(checkpoint).await
    }

    async fn prune(&self, before_ms: u64, max_rows: u32) -> Result<u64, StoreError> {
        let max_rows = u64::from(max_rows);
        let mut pruned = self.erase_deleted(max_rows).await?;
        for (room, end) in old(self, before_ms, max_rows - pruned).await.map_err(read_failed)? {
            pruned += self.delete(room, end, max_rows - pruned).await?;
        }
        Ok(pruned)
    }
}

// ---- append ---------------------------------------------------------------------------------------------------

async fn append_all(
    connection: &mut SqliteConnection,
    writer: Incarnation,
    batches: &[Batch],
) -> SqlResult<Vec<Outcome>> {
    let mut outcomes = Vec::with_capacity(batches.len());
    let mut broken = HashSet::new();
    for some in batches.chunks(ROWS) {
        let done = append(connection, writer, some, &broken).await?;
        let fenced =
            some.iter().zip(&done).filter(|(batch, done)| **done == Outcome::Fenced && !batch.is_empty());
        broken.extend(fenced.map(|(batch, _)| batch.room));
        outcomes.extend(done);
    }
    Ok(outcomes)
}

/// Writes nothing of the rooms that are broken already. The only step that changes anything comes last, so a failure before
/// it changed nothing.
async fn append(
    connection: &mut SqliteConnection,
    writer: Incarnation,
    batches: &[Batch],
    broken: &HashSet<RoomId>,
) -> SqlResult<Vec<Outcome>> {
    let owned = owned(connection, writer, batches).await?;
    let rows = continuing(batches, broken);
    let written = insert(connection, writer, batches, &rows).await?;
    let outcome = |(index, batch): (usize, &Batch)| {
        let held = if batch.is_empty() { owned.contains(&fence(batch)) } else { written.contains(&index) };
        if held { Outcome::Committed } else { Outcome::Fenced }
    };
    Ok(batches.iter().enumerate().map(outcome).collect())
}

fn fence(batch: &Batch) -> (Shard, Epoch) {
    (Shard::of(batch.room), batch.epoch)
}

/// Of the fences that empty batches ask for, those that the writer holds.
async fn owned(
    connection: &mut SqliteConnection,
    writer: Incarnation,
    batches: &[Batch],
) -> SqlResult<HashSet<(Shard, Epoch)>> {
    let asked: BTreeSet<Shard> =
        batches.iter().filter(|batch| batch.is_empty()).map(|b| Shard::of(b.room)).collect();
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(u16, u64)> = sqlx::query_as(
        "SELECT o.shard, o.epoch FROM json_each(?1) AS asked JOIN shard_owner AS o ON o.shard = asked.value
         WHERE o.incarnation = ?2",
    )
    .bind(json(&asked))
    .bind(&writer.0.as_bytes()[..])
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(|(shard, epoch)| Some((Shard::new(shard)?, Epoch(epoch)))).collect())
}

pub(super) fn json(shards: &BTreeSet<Shard>) -> String {
    let numbers: Vec<String> = shards.iter().map(ToString::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Returns the indices of the batches that were written.
async fn insert(
    connection: &mut SqliteConnection,
    writer: Incarnation,
    batches: &[Batch],
    rows: &[Insert],
) -> SqlResult<HashSet<usize>> {
    if rows.is_empty() {
        return Ok(HashSet::new());
    }
    let statement = &INSERTS[rows.len().next_power_of_two().ilog2() as usize];
    let mut query = sqlx::query(AssertSqlSafe(Arc::clone(statement))).bind(&writer.0.as_bytes()[..]);
    for Insert { index, after } in rows {
        let batch = &batches[*index];
        query = query
            .bind(&batch.room.0.as_bytes()[..])
            .bind(Shard::of(batch.room).number())
            .bind(int(after.0))
            .bind(int(batch.first.0))
            .bind(int(batch.last.0))
            .bind(int(batch.epoch.0))
            .bind(int(batch.at_ms))
            .bind(&batch.ops[..]);
    }
    // To the last row: a commit that fails says so only there. (`fetch_one` would never hear of it.)
    let written = query.fetch_all(connection).await?;
    let index_of: HashMap<(RoomId, i64), usize> = rows
        .iter()
        .map(|row| ((batches[row.index].room, int(batches[row.index].first.0)), row.index))
        .collect();
    let index = |row: SqliteRow| Ok(index_of.get(&(RoomId(uuid(&row, 0)?), row.try_get(1)?)).copied());
    written.into_iter().filter_map(|row| index(row).transpose()).collect()
}

/// The statement for 1, 2, 4 … [`ROWS`] batches, so that a few prepared ones serve any number of them: the parameters that
/// are left over are null, and so is what becomes of their rows.
static INSERTS: LazyLock<Vec<Arc<str>>> =
    LazyLock::new(|| (0..=ROWS.ilog2()).map(|power| insert_statement(1 << power).into()).collect());

fn insert_statement(rows: usize) -> String {
    let mut values = String::from("(?, ?, ?, ?, ?, ?, ?, ?)");
    for _ in 1..rows {
        // Writing into a string cannot fail.
        let _ = write!(values, ", (?, ?, ?, ?, ?, ?, ?, ?)");
    }
    format!(
        "WITH me (incarnation) AS (VALUES (?)),
              batch (room, shard, after, seq_from, seq_to, epoch, at_ms, ops) AS (VALUES {values})
         INSERT INTO room_log (room, seq_from, seq_to, epoch, at_ms, ops)
         SELECT b.room, b.seq_from, b.seq_to, b.epoch, b.at_ms, b.ops FROM batch AS b
         WHERE EXISTS (
                 SELECT 1 FROM shard_owner AS o
                 WHERE o.shard = b.shard AND o.epoch = b.epoch AND o.incarnation = (SELECT incarnation FROM me))
           AND b.after = coalesce(
                 (SELECT l.seq_to FROM room_log AS l WHERE l.room = b.room ORDER BY l.seq_from DESC LIMIT 1),
                 (SELECT c.seq FROM checkpoint AS c WHERE c.room = b.room),
                 0)
         ON CONFLICT DO NOTHING
         RETURNING room, seq_from"
    )
}

// ---- read -----------------------------------------------------------------------------------------------------

async fn read(store: &Sqlite, room: RoomId, after: Seq, max_bytes: usize) -> SqlResult<Vec<LogRow>> {
    let mut found = sqlx::query(
        "SELECT seq_from, seq_to, epoch, at_ms, ops FROM room_log
         WHERE room = ?1 AND seq_to > ?2
           AND seq_from >= coalesce((SELECT max(seq_from) FROM room_log WHERE room = ?1 AND seq_from <= ?2 + 1), 0)
         ORDER BY seq_from",
    )
    .bind(&room.0.as_bytes()[..])
    .bind(int(after.0))
    .fetch(&store.readers);
    let mut rows: Vec<LogRow> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = found.try_next().await? {
        let row = log_row(&row)?;
        bytes += row.ops.len();
        if bytes > max_bytes && !rows.is_empty() {
            break;
        }
        rows.push(row);
    }
    Ok(rows)
}

fn log_row(row: &SqliteRow) -> SqlResult<LogRow> {
    Ok(LogRow {
        first: Seq(row.try_get(0)?),
        last: Seq(row.try_get(1)?),
        epoch: Epoch(row.try_get(2)?),
        at_ms: row.try_get(3)?,
        ops: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
    })
}

// ---- forgetting -----------------------------------------------------------------------------------------------

/// The rooms with rows to prune, and the last seq of those; at most so many rows.
///
/// Rows are looked at in the order they were written, up to the first that is young. So the rows of a room that are found
/// are the beginning of its log, and what is pruned leaves no hole in it, whatever the clocks said.
async fn old(store: &Sqlite, before_ms: u64, max_rows: u64) -> SqlResult<HashMap<RoomId, Seq>> {
    let mut rows = sqlx::query(
        "SELECT l.room, l.seq_to, l.at_ms, l.seq_to <= coalesce(c.seq, 0)
         FROM room_log AS l LEFT JOIN checkpoint AS c ON c.room = l.room ORDER BY l.rowid",
    )
    .fetch(&store.readers);
    let mut ends = HashMap::new();
    let mut found = 0;
    while found < max_rows {
        let Some(row) = rows.try_next().await? else { break };
        if row.try_get::<u64, _>(2)? >= before_ms {
            break;
        }
        if row.try_get(3)? {
            found += 1;
            ends.insert(RoomId(uuid(&row, 0)?), Seq(row.try_get(1)?));
        }
    }
    Ok(ends)
}

impl Sqlite {
    /// Erases what is left of the logs of deleted rooms; at most so many rows. Returns how many.
    async fn erase_deleted(&self, max_rows: u64) -> Result<u64, StoreError> {
        let mut erased = 0;
        while erased < max_rows {
            let room = sqlx::query("SELECT room FROM deleted_room LIMIT 1")
                .try_map(|row: SqliteRow| uuid(&row, 0).map(RoomId))
                .fetch_optional(&self.readers)
                .await
                .map_err(read_failed)?;
            let Some(room) = room else { break };
            erased += self.erase(room, max_rows - erased).await?;
        }
        Ok(erased)
    }

    /// Erases the log of a deleted room, at most so many rows of it; after the last, what is left of its checkpoint, and the
    /// note that something is left.
    pub(super) async fn erase(&self, room: RoomId, max_rows: u64) -> Result<u64, StoreError> {
        let erased = self.delete(room, Seq(u64::MAX), max_rows).await?;
        if erased < max_rows {
            self.delete_unnamed_parts(room).await?;
            let mut change = self.writer.change().await?;
            let done = sqlx::query("DELETE FROM deleted_room WHERE room = ?")
                .bind(&room.0.as_bytes()[..])
                .execute(&mut *change)
                .await;
            change.settle(done).await?;
        }
        Ok(erased)
    }

    /// Deletes the oldest rows of a room that end at `through` or before; at most so many. Returns how many.
    async fn delete(&self, room: RoomId, through: Seq, max_rows: u64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        while deleted < max_rows {
            let limit = ROWS_DELETED_AT_ONCE.min(max_rows - deleted);
            let mut change = self.writer.change().await?;
            let some = delete_some(&mut change, room, through, limit).await;
            let some = change.settle(some).await?;
            deleted += some;
            if some < limit {
                break;
            }
        }
        Ok(deleted)
    }
}

async fn delete_some(
    connection: &mut SqliteConnection,
    room: RoomId,
    through: Seq,
    limit: u64,
) -> SqlResult<u64> {
    let done = sqlx::query(
        "DELETE FROM room_log WHERE room = ?1 AND seq_from IN (
             SELECT seq_from FROM room_log WHERE room = ?1 AND seq_to <= ?2 ORDER BY seq_from LIMIT ?3)",
    )
    .bind(&room.0.as_bytes()[..])
    .bind(int(through.0))
    .bind(int(limit))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
