//! How fast ops become durable: commits and ops a second of [`Sqlite`] for few and many rooms at once, and what one room's
//! commits feel of another room's large checkpoints.
//!
//! `cargo run --release -p enfilade-store --example commit_rate [SECONDS [FOLDER]]` measures each case for so long, on the
//! disk of that folder (by default that for temporary files).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{
    Batch, Checkpoint, Incarnation, Outcome, RoomLog, Shard, Sqlite, SqliteOptions, StoreError,
};
use tempfile::TempDir;
use uuid::Uuid;

const OP_BYTES: usize = 200;
/// (rooms that commit together, ops of each)
const CASES: [(usize, u64); 6] = [(1, 1), (1, 32), (64, 1), (64, 16), (1_000, 1), (1_000, 8)];
const CHECKPOINT_BYTES: usize = 15_000_000;
const BETWEEN_CHECKPOINTS: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let time = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |text| text.parse())?);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    println!("rooms  ops/room  commits/s    ops/s   p50 ms   p99 ms  p99.9 ms   max ms");
    for (rooms, ops) in CASES {
        let (_place, store) = open(&folder).await?;
        let took = commit(&store, rooms, ops, time).await?;
        store.close().await;
        print(rooms, ops, took);
    }
    let (_place, store) = open(&folder).await?;
    println!("beside checkpoints of {} MB:", CHECKPOINT_BYTES / 1_000_000);
    tokio::select! {
        error = write_checkpoints(&store) => return Err(error.into()),
        took = commit(&store, 1, 1, time) => print(1, 1, took?),
    }
    store.close().await;
    Ok(())
}

async fn open(folder: &Path) -> Result<(TempDir, Sqlite), Box<dyn Error>> {
    let place = tempfile::tempdir_in(folder)?;
    let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
    let store = Sqlite::open(place.path().join("rate.db"), options).await?;
    Ok((place, store))
}

/// Commits a batch of every room, again and again, and says how long each commit took.
async fn commit(
    store: &Sqlite,
    rooms: usize,
    ops: u64,
    time: Duration,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let writer = Incarnation(Uuid::new_v4());
    let epoch = store.claim(writer, &Shard::all().collect::<Vec<_>>()).await?[0].1;
    let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId(Uuid::new_v4())).collect();
    let bytes = Bytes::from(vec![7; OP_BYTES * usize::try_from(ops)?]);
    let mut took = Vec::new();
    let end = Instant::now() + time;
    let mut first = Seq(1);
    while Instant::now() < end {
        let last = Seq(first.0 + ops - 1);
        let batch =
            |room: &RoomId| Batch { room: *room, epoch, first, last, at_ms: first.0, ops: bytes.clone() };
        let batches: Vec<Batch> = rooms.iter().map(batch).collect();
        let start = Instant::now();
        let outcomes = store.append(writer, &batches).await?;
        took.push(start.elapsed());
        if outcomes.contains(&Outcome::Fenced) {
            return Err("a batch was fenced".into());
        }
        first = last.next();
    }
    Ok(took)
}

/// Writes one checkpoint after the other until it fails.
async fn write_checkpoints(store: &Sqlite) -> StoreError {
    let body = Bytes::from(vec![7; CHECKPOINT_BYTES]);
    let room = RoomId(Uuid::new_v4());
    loop {
        tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
        let checkpoint =
            Checkpoint { room, seq: Seq(0), epoch: Epoch(1), format: 1, body: body.clone(), at_ms: 0 };
        if let Err(error) = store.put_checkpoint(&checkpoint).await {
            return error;
        }
    }
}

fn print(rooms: usize, ops: u64, mut took: Vec<Duration>) {
    took.sort_unstable();
    let total: Duration = took.iter().sum();
    let commits = took.len() as f64 / total.as_secs_f64();
    let ops_per_second = commits * rooms as f64 * ops as f64;
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1_000].as_secs_f64() * 1e3;
    let (p50, p99, p999, max) = (at(500), at(990), at(999), at(1_000));
    println!(
        "{rooms:5}  {ops:8} {commits:10.0} {ops_per_second:8.0} {p50:8.2} {p99:8.2} {p999:9.2} {max:8.2}"
    );
}
