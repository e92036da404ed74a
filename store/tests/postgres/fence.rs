//! The fence, proven. A former owner's append is under way while another takes over: the store makes the new owner wait for
//! it. A fence that only compares epochs does not, and the same check that passes the store finds what it loses.

use async_trait::async_trait;
use bytes::Bytes;
use enfilade_loadtest::checker::{Invariant, LogScan};
use enfilade_loadtest::export::{Row, Takeover};
use enfilade_loadtest::journal::{Entry, Moment};
use enfilade_proto::{ClientId, Epoch, LoggedOp, Op, OpId, RoomId, Seq, UserId};
use enfilade_store::{Batch, Incarnation, LogRow, Outcome, RoomLog, Shard};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Connection as _, Row as _};

use super::conformance::fight::{Damage, Way, fight, owners_who_fight_for_a_shard_lose_nothing};
use super::conformance::log::everything;
use super::conformance::{Owner, batch, new_incarnation, new_room_id};
use super::{Place, Waiting};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_waits_for_a_commit_that_is_under_way() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = new_room_id();
    let former = Owner::new(&store).await;
    let epoch = former.claim(room).await;
    let obstacle = place.in_the_way_of(room, 1).await;
    let ours = [batch(room, epoch, 1, 3)];
    let append = async { store.append(former.incarnation, &ours).await.unwrap() };
    let take_over = async {
        place.until(Waiting::Append).await;
        let epoch = Owner::new(&store).await.claim(room).await;
        (epoch, everything(&store, room).await)
    };
    let let_go = async {
        place.until(Waiting::Claim).await;
        obstacle.close().await.unwrap();
    };
    let (outcome, (next, found), ()) = tokio::join!(append, take_over, let_go);
    assert_eq!(outcome, [Outcome::Committed]);
    let tail = found.last().map(|row| row.last);
    assert_eq!(tail, Some(Seq(3)), "the new owner sees what was acknowledged");
    assert_eq!(violated(room, &found, next, Seq(3)), []);
    assert_eq!(next, Epoch(epoch.0 + 1));
    let late = store.append(former.incarnation, &[batch(room, epoch, 4, 4)]).await.unwrap();
    assert_eq!(late, [Outcome::Fenced]);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_waits_for_a_takeover_is_fenced() {
    let place = Place::new().await;
    let store = place.open().await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    let mut other = place.connection().await;
    let mut takeover = other.begin().await.unwrap();
    sqlx::query("UPDATE shard_owner SET incarnation = $1, epoch = epoch + 1 WHERE shard = $2")
        .bind(new_incarnation().0)
        .bind(i16::try_from(Shard::of(room).number()).unwrap())
        .execute(&mut *takeover)
        .await
        .unwrap();
    let commit = async {
        place.until(Waiting::Append).await;
        takeover.commit().await.unwrap();
    };
    // It began when the former owner was the owner.
    let ours = [batch(room, epoch, 1, 1)];
    let (outcome, ()) = tokio::join!(store.append(owner.incarnation, &ours), commit);
    assert_eq!(outcome.unwrap(), [Outcome::Fenced]);
    assert_eq!(everything(&store, room).await, []);
    store.close().await;
}

/// A fence that compares, in the same statement that appends, but locks nothing.
struct Naive {
    pool: PgPool,
    store: enfilade_store::Postgres,
}

#[async_trait]
impl Way for Naive {
    async fn take_over(&self, room: RoomId) -> Option<(Owner<'_>, Epoch)> {
        let incarnation = new_incarnation();
        let epoch: i64 = sqlx::query_scalar(
            "UPDATE shard_owner SET incarnation = $1, epoch = epoch + 1 WHERE shard = $2 RETURNING epoch",
        )
        .bind(incarnation.0)
        .bind(i16::try_from(Shard::of(room).number()).unwrap())
        .fetch_one(&self.pool)
        .await
        .unwrap();
        Some((Owner { log: &self.store, incarnation }, Epoch(u64::try_from(epoch).unwrap())))
    }

    async fn append(&self, owner: &Owner<'_>, batches: &[Batch]) -> bool {
        naive_append(&self.pool, owner.incarnation, batches).await == batches.len() as u64
    }

    async fn rows(&self, room: RoomId) -> Vec<LogRow> {
        sqlx::query(
            "SELECT seq_from, seq_to, epoch, at_ms, ops FROM room_log WHERE room = $1 ORDER BY seq_from",
        )
        .bind(room.0)
        .try_map(|row: sqlx::postgres::PgRow| {
            let count = |column| row.try_get::<i64, _>(column).map(|value| u64::try_from(value).unwrap());
            Ok(LogRow {
                first: Seq(count(0)?),
                last: Seq(count(1)?),
                epoch: Epoch(count(2)?),
                at_ms: count(3)?,
                ops: Bytes::from(row.try_get::<Vec<u8>, _>(4)?),
            })
        })
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn pause(&self) {
        sqlx::query("SELECT version FROM cluster").execute(&self.pool).await.unwrap();
    }
}

async fn naive_append(pool: &PgPool, writer: Incarnation, batches: &[Batch]) -> u64 {
    let mut rows = 0;
    let mut change = pool.begin().await.unwrap();
    for batch in batches {
        let done = sqlx::query(
            "INSERT INTO room_log (room, seq_from, seq_to, epoch, at_ms, ops)
             SELECT $1, $2, $3, $4, $5, $6 WHERE EXISTS (
                 SELECT 1 FROM shard_owner WHERE shard = $7 AND incarnation = $8 AND epoch = $4)
             ON CONFLICT DO NOTHING",
        )
        .bind(batch.room.0)
        .bind(batch.first.0 as i64)
        .bind(batch.last.0 as i64)
        .bind(batch.epoch.0 as i64)
        .bind(batch.at_ms as i64)
        .bind(&batch.ops[..])
        .bind(i16::try_from(Shard::of(batch.room).number()).unwrap())
        .bind(writer.0)
        .execute(&mut *change)
        .await
        .unwrap();
        rows += done.rows_affected();
    }
    if rows == batches.len() as u64 {
        change.commit().await.unwrap();
    } else {
        change.rollback().await.unwrap();
    }
    rows
}

async fn naive(place: &Place) -> Naive {
    let store = place.open().await;
    let pool = PgPoolOptions::new().max_connections(8).connect(&place.0).await.unwrap();
    Naive { pool, store }
}

/// The same order of events as above, but nobody waits: whoever took over never hears of what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_only_compares_does_not_make_anybody_wait() {
    let place = Place::new().await;
    let way = naive(&place).await;
    let room = new_room_id();
    let (former, epoch) = way.take_over(room).await.unwrap();
    let obstacle = place.in_the_way_of(room, 1).await;
    let ours = [batch(room, epoch, 1, 3)];
    let take_over = async {
        place.until(Waiting::Insert).await;
        let (_, next) = way.take_over(room).await.unwrap();
        let tail = way.rows(room).await;
        obstacle.close().await.unwrap();
        (next, tail)
    };
    let (acknowledged, (next, tail)) = tokio::join!(way.append(&former, &ours), take_over);
    assert!(acknowledged && tail.is_empty() && next > epoch);
    let rows = way.rows(room).await;
    assert!(
        rows[0].epoch < next && rows[0].last == Seq(3),
        "acknowledged by the former owner, unknown to the new"
    );
    assert_eq!(violated(room, &rows, next, Seq(0)), [Invariant::I5]);
    way.store.close().await;
}

/// What the checker says of a log that one owner wrote, acknowledging everything, until another took over in the epoch `next` and
/// found it to end at `tail`.
fn violated(room: RoomId, rows: &[LogRow], next: Epoch, tail: Seq) -> Vec<Invariant> {
    let client = ClientId(new_incarnation().0);
    let logged = |seq: u64| LoggedOp {
        author: UserId(client.0),
        client,
        op_id: OpId(seq),
        at: 0,
        op: Op::Clear(enfilade_proto::board::Clear {}),
    };
    let mut scan = LogScan::default().only(&[Invariant::I1, Invariant::I2, Invariant::I5]);
    scan.has_all_of(None);
    for row in rows {
        let ops = (row.first.0..=row.last.0).map(logged).collect();
        scan.row(&Moment::default(), &Row::new(room, Some(row.epoch), row.first, ops));
    }
    let incarnation = new_incarnation().0;
    let shard = Shard::of(room).number();
    let tails = [(room, tail)].into();
    scan.takeover(&Moment::default(), &Takeover { shard, epoch: next, incarnation, at_ms: None, tails });
    let mut scan = scan.end_of_log();
    for row in rows {
        for seq in row.first.0..=row.last.0 {
            let (op_id, seq, epoch) = (OpId(seq), Seq(seq), Some(row.epoch));
            scan.entry(&Moment::at(seq.0), &Entry::Accepted { client, room, op_id, seq, epoch });
        }
    }
    scan.finish().violated()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_who_fight_for_long_lose_nothing() {
    let place = Place::new().await;
    let store = place.open().await;
    for _ in 0..3 {
        owners_who_fight_for_a_shard_lose_nothing(&store).await;
    }
    store.close().await;
}

/// The check of the fight finds what a naive fence loses. Chance decides when, so it may try a few times; once is enough
/// almost always.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_of_a_fight_notices_a_fence_that_only_compares() {
    const ATTEMPTS: u32 = 20;
    let place = Place::new().await;
    let way = naive(&place).await;
    let mut damage = Damage::default();
    for _ in 0..ATTEMPTS {
        (damage, _) = fight(&way, 4, 100, 5).await;
        if damage.behind_the_back > 0 {
            break;
        }
    }
    assert!(damage.behind_the_back > 0, "nothing was lost in {ATTEMPTS} fights");
    way.store.close().await;
}
