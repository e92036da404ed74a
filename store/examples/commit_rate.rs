//! How fast ops become durable: acknowledged ops a second and how long each waited, for 1, 64 and 1,000 busy rooms, through
//! [`RoomLog::append`] and, in the same run, through a bare loop of multi-row inserts on the same database; and what one
//! room feels of another's large checkpoints.
//!
//! A busy room sends its next op when the last was acknowledged. So whatever a committer wrote comes back at once, and each
//! of its commits has one op of each of its rooms.
//!
//! `cargo run --release -p enfilade-store --example commit_rate [SECONDS [POSTGRES_URL]]` measures each case for so long, on
//! the disk for temporary files; without a URL on a PostgreSQL server of its own.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use enfilade_proto::{Epoch, RoomId, Seq};
use enfilade_store::{
    Batch, Checkpoint, DatabaseUrl, Incarnation, NewNode, OpenOptions, Outcome, RoomLog, Shard, Store,
    StoreError,
};
use enfilade_testbed as testbed;
use futures_util::future::try_join_all;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const OP_BYTES: usize = 200;
const ROOMS: [usize; 3] = [1, 64, 1_000];
const CHECKPOINT_BYTES: usize = 15_000_000;
const BETWEEN_CHECKPOINTS: Duration = Duration::from_millis(200);
const BARE: &str =
    "CREATE TABLE IF NOT EXISTS bare (room BLOB, seq INTEGER, ops BLOB, PRIMARY KEY (room, seq))";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let time = Duration::from_secs_f64(arguments.next().map_or(Ok(3.0), |text| text.parse())?);
    let folder = tempfile::tempdir()?;
    let sqlite = format!("sqlite:{}", folder.path().join("rate.db").display());
    let server = if arguments.len() == 0 {
        Some(testbed::Postgres::start(testbed::PostgresOptions::default())?)
    } else {
        None
    };
    let postgres = arguments.next().or_else(|| server.as_ref().map(testbed::Postgres::url));
    println!("Each op has {OP_BYTES} bytes. `beside`: while another room writes checkpoints of 15 MB.");
    println!("database    way      rooms  committers   commits/s     ops/s   p50 ms   p99 ms");
    for url in [sqlite].into_iter().chain(postgres) {
        measure(&url, time).await?;
    }
    Ok(())
}

async fn measure(text: &str, time: Duration) -> Result<()> {
    let url: DatabaseUrl = text.parse()?;
    let name = if matches!(url, DatabaseUrl::Sqlite(_)) { "sqlite" } else { "postgres" };
    let store = Store::open(&url, &OpenOptions { migrate: true, ..OpenOptions::default() }).await?;
    let writer = Writer::enter(&store).await?;
    for rooms in ROOMS {
        // More committers than rooms have nothing to do.
        let committers = store.committers().min(rooms);
        let rows = try_join_all((0..committers).map(|index| append(&writer, index, rooms, time))).await?;
        print(name, "append", rooms, committers, rows.concat(), time);
        let loops = (0..committers).map(|index| bare(&url, text, share(rooms, committers, index), time));
        print(name, "bare", rooms, committers, try_join_all(loops).await?.concat(), time);
    }
    tokio::select! {
        error = write_checkpoints(&*store.log) => return Err(error.into()),
        took = append(&writer, 0, 1, time) => print(name, "beside", 1, 1, took?, time),
    }
    store.close().await;
    Ok(())
}

/// A node that owns everything.
struct Writer<'a> {
    store: &'a Store,
    incarnation: Incarnation,
    epochs: Vec<Epoch>,
}

impl<'a> Writer<'a> {
    async fn enter(store: &'a Store) -> Result<Self> {
        let incarnation = Incarnation(Uuid::new_v4());
        let node = NewNode {
            incarnation,
            name: "commit_rate".into(),
            address: "nowhere".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            host: true,
            edge: false,
        };
        store.ownership.enter(&node, Duration::from_secs(3_600)).await?;
        let shards: Vec<Shard> = Shard::all().collect();
        let claimed = store.ownership.claim(incarnation, &shards).await?;
        if claimed.len() < shards.len() {
            return Err("other nodes own shards of this database".into());
        }
        Ok(Self { store, incarnation, epochs: claimed.into_iter().map(|(_, epoch)| epoch).collect() })
    }
}

/// How many of the rooms are this committer's.
fn share(rooms: usize, committers: usize, index: usize) -> usize {
    (rooms + committers - 1 - index) / committers
}

/// How long a commit took, and how many ops it had.
type Commit = (Duration, usize);

async fn append(writer: &Writer<'_>, index: usize, rooms: usize, time: Duration) -> Result<Vec<Commit>> {
    let store = writer.store;
    let committers = store.committers().min(rooms);
    let mine = std::iter::repeat_with(|| RoomId(Uuid::new_v4()))
        .filter(|room| committers == 1 || usize::from(Shard::of(*room).number()) % committers == index);
    let rooms: Vec<RoomId> = mine.take(share(rooms, committers, index)).collect();
    let ops = Bytes::from(vec![7; OP_BYTES]);
    let mut took = Vec::new();
    let end = Instant::now() + time;
    let mut seq = Seq(1);
    while Instant::now() < end {
        let batch = |room: &RoomId| {
            let epoch = writer.epochs[usize::from(Shard::of(*room).number())];
            Batch { room: *room, epoch, first: seq, last: seq, at_ms: seq.0, ops: ops.clone() }
        };
        let batches: Vec<Batch> = rooms.iter().map(batch).collect();
        let start = Instant::now();
        let outcomes = store.log.append(writer.incarnation, &batches).await?;
        took.push((start.elapsed(), rooms.len()));
        if outcomes.contains(&Outcome::Fenced) {
            return Err("a batch was fenced".into());
        }
        seq = seq.next();
    }
    Ok(took)
}

/// The least that could be done for the same ops: one multi-row insert a commit, nothing asked, nothing answered.
async fn bare(url: &DatabaseUrl, text: &str, rooms: usize, time: Duration) -> Result<Vec<Commit>> {
    let rooms: Vec<Uuid> = (0..rooms).map(|_| Uuid::new_v4()).collect();
    let mut loop_ = match url {
        DatabaseUrl::Sqlite(path) => {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("fullfsync", "ON");
            let mut connection = options.connect().await?;
            sqlx::query(BARE).execute(&mut connection).await?;
            Bare::Sqlite(connection, insert_statement(rooms.len()))
        }
        DatabaseUrl::Postgres(_) => {
            let mut connection = text.parse::<PgConnectOptions>()?.connect().await?;
            // Several at once would create it at once.
            let bare =
                BARE.replace("BLOB", "BYTEA").replace("room BYTEA", "room UUID").replace("INTEGER", "BIGINT");
            let alone = format!("BEGIN; SELECT pg_advisory_xact_lock(1); {bare}; COMMIT");
            sqlx::raw_sql(AssertSqlSafe(alone)).execute(&mut connection).await?;
            Bare::Postgres(connection)
        }
    };
    let mut took = Vec::new();
    let end = Instant::now() + time;
    let mut seq = 1;
    while Instant::now() < end {
        let start = Instant::now();
        loop_.insert(&rooms, seq).await?;
        took.push((start.elapsed(), rooms.len()));
        seq += 1;
    }
    Ok(took)
}

enum Bare {
    Sqlite(SqliteConnection, Arc<str>),
    Postgres(PgConnection),
}

impl Bare {
    async fn insert(&mut self, rooms: &[Uuid], seq: i64) -> Result<()> {
        let ops = [7; OP_BYTES];
        match self {
            Self::Sqlite(connection, statement) => {
                let mut query = sqlx::query(AssertSqlSafe(Arc::clone(statement)));
                for room in rooms {
                    query = query.bind(&room.as_bytes()[..]).bind(seq).bind(&ops[..]);
                }
                query.execute(connection).await?;
            }
            Self::Postgres(connection) => {
                sqlx::query("INSERT INTO bare SELECT * FROM unnest($1::uuid[], $2::int8[], $3::bytea[])")
                    .bind(rooms)
                    .bind(vec![seq; rooms.len()])
                    .bind(vec![&ops[..]; rooms.len()])
                    .execute(connection)
                    .await?;
            }
        }
        Ok(())
    }
}

fn insert_statement(rows: usize) -> Arc<str> {
    format!("INSERT INTO bare VALUES {}", vec!["(?, ?, ?)"; rows].join(", ")).into()
}

/// Writes one checkpoint after the other until it fails.
async fn write_checkpoints(log: &dyn RoomLog) -> StoreError {
    let body = Bytes::from(vec![7; CHECKPOINT_BYTES]);
    let room = RoomId(Uuid::new_v4());
    loop {
        tokio::time::sleep(BETWEEN_CHECKPOINTS).await;
        let checkpoint =
            Checkpoint { room, seq: Seq(0), epoch: Epoch(1), format: 1, body: body.clone(), at_ms: 0 };
        if let Err(error) = log.put_checkpoint(&checkpoint).await {
            return error;
        }
    }
}

fn print(
    database: &str,
    way: &str,
    rooms: usize,
    committers: usize,
    mut commits: Vec<Commit>,
    time: Duration,
) {
    commits.sort_unstable();
    let ops: usize = commits.iter().map(|(_, ops)| ops).sum();
    // How long the op waited that waited longer than so many per cent of all.
    let at = |percent: usize| {
        let mut left = ops * percent / 100;
        let found = commits.iter().find(|(_, ops)| {
            let is_it = left < *ops;
            left = left.saturating_sub(*ops);
            is_it
        });
        found.map_or(f64::NAN, |(took, _)| took.as_secs_f64() * 1e3)
    };
    let per_second = |count: usize| count as f64 / time.as_secs_f64();
    let (commit_rate, op_rate) = (per_second(commits.len()), per_second(ops));
    let (p50, p99) = (at(50), at(99));
    println!(
        "{database:10}  {way:7} {rooms:6}  {committers:10}  {commit_rate:10.0}  {op_rate:8.0}  {p50:7.2}  {p99:7.2}"
    );
}
