//! The log of rooms in PostgreSQL.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use sqlx::postgres::PgRow;
use sqlx::{Executor as _, Result as SqlResult, Row};

use super::Postgres;
use super::connections::Connection;
use super::failure::change_failed;
use super::rows::{count, number, uuid};
use crate::checkpoint::Checkpoint;
use crate::columns::int;
use crate::continuity::{Insert, continuing};
use crate::error::StoreError;
use crate::log::{Batch, Incarnation, LogRow, Outcome, RoomLog};
use crate::shard::Shard;

/// What a committer's connection is told: the plan of its one statement is to look up keys, however many rows the
/// statistics believe in (they are always behind a log that grows), and to be made once.
pub(super) const SETTINGS: [(&str, &str); 8] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_nestloop", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("work_mem", "32MB"),
];

/// Rows that one transaction deletes, so that nobody waits long for it.
const ROWS_DELETED_AT_ONCE: u64 = 512;
/// Makes those who prune take turns; they would get in each other's way.
const PRUNING: i64 = 0x656e_6669_6c61_0001;

#[async_trait]
impl RoomLog for Postgres {
    async fn append(&self, writer: Incarnation, batches: &[Batch]) -> Result<Vec<Outcome>, StoreError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let mut turn = self.committers.turn().await?;
        // What fails until here has certainly written nothing.
        turn.prepare(sqlx::SqlSafeStr::into_sql_str(APPEND)).await.map_err(change_failed)?;
        let outcomes = append(&mut turn, writer, batches).await;
        turn.committed(outcomes)
    }

    async fn read(&self, room: RoomId, after: Seq, max_bytes: usize) -> Result<Vec<LogRow>, StoreError> {
        let mut turn = self.others.turn().await?;
        let rows = sqlx::query(READ)
            .bind(room.0)
            .bind(int(after.0))
            .bind(int(after.0.saturating_add(1)))
            .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
            .try_map(|row| log_row(&row))
            .fetch_all(&mut *turn)
            .await;
        turn.answer(rows)
    }

    async fn rooms(&self, after: Option<RoomId>, limit: u32) -> Result<Vec<RoomId>, StoreError> {
        let mut turn = self.others.turn().await?;
        let rooms = sqlx::query(
            "SELECT room FROM room_log WHERE $1::uuid IS NULL OR room > $1
             UNION SELECT room FROM checkpoint WHERE $1::uuid IS NULL OR room > $1 ORDER BY room LIMIT $2",
        )
        .bind(after.map(|room| room.0))
        .bind(i64::from(limit))
        .try_map(|row| uuid(&row, 0).map(RoomId))
        .fetch_all(&mut *turn)
        .await;
        turn.answer(rooms)
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
        while pruned < max_rows {
            let limit = ROWS_DELETED_AT_ONCE.min(max_rows - pruned);
            let mut change = self.others.change().await?;
            let some = prune_some(&mut change, before_ms, limit).await;
            let some = change.settle(some).await?;
            pruned += some;
            if some < limit {
                break;
            }
        }
        Ok(pruned)
    }
}

// ---- append ---------------------------------------------------------------------------------------------------

/// The fence and the commit in one statement, which is a transaction by itself: a writer that stops in the middle leaves no
/// lock behind.
///
/// `mine` locks the rows of the shards (always in the same order) in which the writer is the owner, so that no other can
/// become it before this is committed. To compare without locking is no fence: the statement sees the owners as they were
/// when it began.
///
/// It sees the logs as they were then, too. Who else could have written meanwhile is the same writer alone, in a statement
/// whose answer it did not wait for. Then the first row of the room is there already, is not inserted (`head`), and nor
/// is what would have followed it (`rest`).
///
/// Returns, of the shards that are asked for, those that are the writer's, and the rows that were written.
const APPEND: &str = "
    WITH mine AS MATERIALIZED (
        SELECT o.shard, o.epoch FROM shard_owner AS o
        WHERE o.shard = ANY ($2::int2[]) AND o.incarnation = $1::uuid
        ORDER BY o.shard FOR SHARE
    ), batch AS MATERIALIZED (
        SELECT b.room, b.after, b.seq_from, b.seq_to, b.epoch, b.at_ms, b.ops
        FROM unnest($3::uuid[], $4::int2[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::bytea[])
            AS b (room, shard, after, seq_from, seq_to, epoch, at_ms, ops)
        JOIN mine AS m ON m.shard = b.shard AND m.epoch = b.epoch
    ), head AS (
        INSERT INTO room_log (room, seq_from, seq_to, epoch, at_ms, ops)
        SELECT b.room, b.seq_from, b.seq_to, b.epoch, b.at_ms, b.ops FROM batch AS b
        WHERE b.seq_from - 1 = b.after AND b.after = coalesce(
            (SELECT l.seq_to FROM room_log AS l WHERE l.room = b.room ORDER BY l.seq_from DESC LIMIT 1),
            (SELECT c.seq FROM checkpoint AS c WHERE c.room = b.room),
            0)
        ON CONFLICT DO NOTHING
        RETURNING room, seq_from
    ), rest AS (
        INSERT INTO room_log (room, seq_from, seq_to, epoch, at_ms, ops)
        SELECT b.room, b.seq_from, b.seq_to, b.epoch, b.at_ms, b.ops
        FROM batch AS b JOIN head AS h ON h.room = b.room
        WHERE b.seq_from - 1 > b.after
        RETURNING room, seq_from
    )
    SELECT NULL::uuid, NULL::int8, shard, epoch FROM mine WHERE shard = ANY ($11::int2[])
    UNION ALL SELECT room, seq_from, NULL, NULL FROM head
    UNION ALL SELECT room, seq_from, NULL, NULL FROM rest";

/// What the database answered.
#[derive(Default)]
struct Held {
    /// Shards that are the writer's, and its epochs in them.
    shards: HashSet<(i16, i64)>,
    written: HashSet<(RoomId, i64)>,
}

async fn append(
    connection: &mut Connection,
    writer: Incarnation,
    batches: &[Batch],
) -> SqlResult<Vec<Outcome>> {
    let shards: BTreeSet<Shard> = batches.iter().map(|batch| Shard::of(batch.room)).collect();
    let asked: BTreeSet<Shard> =
        batches.iter().filter(|batch| batch.is_empty()).map(|batch| Shard::of(batch.room)).collect();
    let inserts = continuing(batches, &HashSet::new());
    let rows = || inserts.iter().map(|Insert { index, after }| (&batches[*index], *after));
    let answer = sqlx::query(APPEND)
        .bind(writer.0)
        .bind(shards.into_iter().map(number).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| batch.room.0).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| number(Shard::of(batch.room))).collect::<Vec<_>>())
        .bind(rows().map(|(_, after)| int(after.0)).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| int(batch.first.0)).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| int(batch.last.0)).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| int(batch.epoch.0)).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| int(batch.at_ms)).collect::<Vec<_>>())
        .bind(rows().map(|(batch, _)| &batch.ops[..]).collect::<Vec<_>>())
        .bind(asked.into_iter().map(number).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let held = held(&answer)?;
    let sent: HashSet<usize> = inserts.iter().map(|insert| insert.index).collect();
    let outcome = |(index, batch): (usize, &Batch)| {
        let is_held = if batch.is_empty() {
            held.shards.contains(&(number(Shard::of(batch.room)), int(batch.epoch.0)))
        } else {
            sent.contains(&index) && held.written.contains(&(batch.room, int(batch.first.0)))
        };
        if is_held { Outcome::Committed } else { Outcome::Fenced }
    };
    Ok(batches.iter().enumerate().map(outcome).collect())
}

fn held(answer: &[PgRow]) -> SqlResult<Held> {
    let mut held = Held::default();
    for row in answer {
        if let Some(first) = row.try_get(1)? {
            held.written.insert((RoomId(uuid(row, 0)?), first));
        } else {
            held.shards.insert((row.try_get(2)?, row.try_get(3)?));
        }
    }
    Ok(held)
}

// ---- read -----------------------------------------------------------------------------------------------------

/// Walks from row to row, counting bytes, to find where to stop; a sum over all that follows would read all of it.
const READ: &str = "
    WITH RECURSIVE walk AS (
        (SELECT l.seq_from, octet_length(l.ops)::int8 AS bytes FROM room_log AS l
         WHERE l.room = $1 AND l.seq_to > $2 AND l.seq_from >= coalesce(
             (SELECT max(b.seq_from) FROM room_log AS b WHERE b.room = $1 AND b.seq_from <= $3), 0)
         ORDER BY l.seq_from LIMIT 1)
        UNION ALL
        SELECT n.seq_from, w.bytes + n.bytes
        FROM walk AS w CROSS JOIN LATERAL (
            SELECT l.seq_from, octet_length(l.ops) AS bytes FROM room_log AS l
            WHERE l.room = $1 AND l.seq_from > w.seq_from ORDER BY l.seq_from LIMIT 1) AS n
        WHERE w.bytes + n.bytes <= $4
    )
    SELECT l.seq_from, l.seq_to, l.epoch, l.at_ms, l.ops FROM room_log AS l
    WHERE l.room = $1 AND l.seq_from BETWEEN (SELECT min(seq_from) FROM walk) AND (SELECT max(seq_from) FROM walk)
    ORDER BY l.seq_from";

fn log_row(row: &PgRow) -> SqlResult<LogRow> {
    Ok(LogRow {
        first: Seq(count(row, 0)?),
        last: Seq(count(row, 1)?),
        epoch: Epoch(count(row, 2)?),
        at_ms: count(row, 3)?,
        ops: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
    })
}

// ---- forgetting -----------------------------------------------------------------------------------------------

/// Deletes the oldest rows of all that may go.
///
/// `old` finds them by their age, passing over those that wait for a younger one before them. Of each room as many go as
/// were found of it, from the beginning of its log, so what is left has no hole, whatever the clocks said.
async fn prune_some(connection: &mut Connection, before_ms: u64, limit: u64) -> SqlResult<u64> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(PRUNING).execute(&mut *connection).await?;
    let done = sqlx::query(
        "WITH old AS (
             SELECT l.room, l.seq_to FROM room_log AS l JOIN checkpoint AS c ON c.room = l.room
             WHERE l.at_ms < $1 AND l.seq_to <= c.seq AND NOT EXISTS (
                 SELECT 1 FROM room_log AS y
                 WHERE y.room = l.room AND y.seq_from < l.seq_from AND y.at_ms >= $1)
             ORDER BY l.at_ms, l.room, l.seq_from LIMIT $2
         ), beginning AS (
             SELECT o.room, max(o.seq_to) AS through, count(*) AS rows FROM old AS o GROUP BY o.room
         )
         DELETE FROM room_log AS d USING beginning AS b CROSS JOIN LATERAL (
             SELECT l.seq_from FROM room_log AS l
             WHERE l.room = b.room AND l.seq_to <= b.through ORDER BY l.seq_from LIMIT b.rows) AS gone
         WHERE d.room = b.room AND d.seq_from = gone.seq_from",
    )
    .bind(int(before_ms))
    .bind(int(limit))
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

impl Postgres {
    /// Erases what is left of deleted rooms; at most so many rows of their logs. Returns how many.
    async fn erase_deleted(&self, max_rows: u64) -> Result<u64, StoreError> {
        let mut turn = self.others.turn().await?;
        let rooms = sqlx::query("SELECT room FROM deleted_room ORDER BY at, room LIMIT $1")
            .bind(int(max_rows))
            .try_map(|row| uuid(&row, 0).map(RoomId))
            .fetch_all(&mut *turn)
            .await;
        let mut erased = 0;
        for room in turn.answer(rooms)? {
            erased += self.erase(room, max_rows - erased).await?;
        }
        Ok(erased)
    }

    /// Erases the log of a deleted room, at most so many rows of it, and its checkpoint. The note that it was deleted stays
    /// for a while, for an append that began before and is not done yet.
    pub(super) async fn erase(&self, room: RoomId, max_rows: u64) -> Result<u64, StoreError> {
        let mut erased = 0;
        while erased < max_rows {
            let limit = ROWS_DELETED_AT_ONCE.min(max_rows - erased);
            let mut change = self.others.change().await?;
            let some = erase_some(&mut change, room, limit).await;
            let some = change.settle(some).await?;
            erased += some;
            if some < limit {
                break;
            }
        }
        Ok(erased)
    }
}

async fn erase_some(connection: &mut Connection, room: RoomId, limit: u64) -> SqlResult<u64> {
    let erased = sqlx::query(
        "DELETE FROM room_log WHERE room = $1 AND seq_from IN (
             SELECT seq_from FROM room_log WHERE room = $1 ORDER BY seq_from LIMIT $2)",
    )
    .bind(room.0)
    .bind(int(limit))
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if erased < limit {
        sqlx::query("DELETE FROM checkpoint WHERE room = $1").bind(room.0).execute(&mut *connection).await?;
        sqlx::query(
            "DELETE FROM deleted_room WHERE room = $1 AND at < clock_timestamp() - interval '5 minutes'",
        )
        .bind(room.0)
        .execute(connection)
        .await?;
    }
    Ok(erased)
}
