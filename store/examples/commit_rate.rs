//! How fast ops become durable: commits and ops a second of [`Sqlite`], for few and many rooms at once.
//!
//! `cargo run --release -p enfilade-store --example commit_rate [SECONDS [FOLDER]]` measures each case for so long, on the
//! disk of that folder (by default that for temporary files).

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{Batch, Checkpoint, Incarnation, Outcome, RoomLog, Shard, Sqlite, SqliteOptions};
use uuid::Uuid;

const OP_BYTES: usize = 200;
/// (rooms that commit together, ops of each)
const CASES: [(usize, u64); 6] = [(1, 1), (1, 32), (64, 1), (64, 16), (1_000, 1), (1_000, 8)];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3.0), |text| text.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    println!("rooms  ops/room   commits/s      ops/s   p50 ms   p99 ms   max ms   log MiB");
    for (rooms, ops) in CASES {
        let folder = tempfile::tempdir_in(&folder)?;
        let path = folder.path().join("rate.db");
        let store = Sqlite::open(&path, SqliteOptions { migrate: true, ..SqliteOptions::default() }).await?;
        let mut took = measure(&store, rooms, ops, Duration::from_secs_f64(seconds)).await?;
        let log_bytes = std::fs::metadata(path.with_extension("db-wal"))?.len();
        took.sort_unstable();
        let total: Duration = took.iter().sum();
        let commits = took.len() as f64 / total.as_secs_f64();
        println!(
            "{rooms:5}  {ops:8}  {commits:10.0} {:10.0} {:8.2} {:8.2} {:8.2} {:9.1}",
            commits * rooms as f64 * ops as f64,
            millis(took[took.len() / 2]),
            millis(took[took.len() * 99 / 100]),
            millis(took[took.len() - 1]),
            log_bytes as f64 / f64::from(1 << 20),
        );
        store.close().await;
    }
    beside_a_checkpoint(&folder, seconds).await
}

/// Commits one batch of each room after the other, and says how long each commit took.
async fn measure(
    store: &Sqlite,
    rooms: usize,
    ops: u64,
    time: Duration,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let writer = Incarnation(Uuid::new_v4());
    let epoch = store.claim(writer, &Shard::all().collect::<Vec<_>>()).await?[0].1;
    let rooms: Vec<RoomId> = (0..rooms).map(|_| RoomId(Uuid::new_v4())).collect();
    let bytes = Bytes::from(vec![7; OP_BYTES * ops as usize]);
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
        if outcomes.iter().any(|outcome| *outcome != Outcome::Committed) {
            return Err("a batch was fenced".into());
        }
        first = last.next();
    }
    Ok(took)
}

/// What one room's commits feel of another room's checkpoints of 15 MB.
async fn beside_a_checkpoint(folder: &std::path::Path, seconds: f64) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir_in(folder)?;
    let store = Sqlite::open(
        folder.path().join("rate.db"),
        SqliteOptions { migrate: true, ..SqliteOptions::default() },
    )
    .await?;
    let body = Bytes::from(vec![7; 15_000_000]);
    let checkpoints = async {
        let room = RoomId(Uuid::new_v4());
        let mut took = Vec::new();
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let checkpoint =
                Checkpoint { room, seq: Seq(0), epoch: Epoch(1), format: 1, body: body.clone(), at_ms: 0 };
            let start = Instant::now();
            if let Err(error) = store.put_checkpoint(&checkpoint).await {
                return (took, Some(error));
            }
            took.push(start.elapsed());
            println!("a checkpoint of 15 MB took {:.1} ms", millis(start.elapsed()));
        }
    };
    let appends = measure(&store, 1, 1, Duration::from_secs_f64(seconds));
    tokio::select! {
        (_, error) = checkpoints => return error.map_or(Ok(()), |error| Err(error.into())),
        took = appends => {
            let mut took = took?;
            took.sort_unstable();
            println!("beside checkpoints: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
                millis(took[took.len() / 2]), millis(took[took.len() * 99 / 100]), millis(took[took.len() * 999 / 1000]), millis(took[took.len() - 1]));
        }
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
