//! The store on SQLite: what every store must do, and what only a file can get wrong.

#![allow(clippy::unwrap_used, reason = "what a test did not expect ends it")]

#[macro_use]
#[allow(dead_code, reason = "some of it is for stores that let in several nodes")]
mod conformance;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use conformance::{
    Owner, a_room, batch, checkpoint, new_link, new_login, new_room, new_room_id, new_user, somebody,
};
use enfilade_proto::{Epoch, Role, RoomId, Seq};
use enfilade_store::{
    Batch, Directory, NewRoom, Outcome, RoomLog, Sqlite, SqliteOptions, StoreError, migrate,
};
use proptest::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

/// A folder with a database, gone after the test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("enfilade.db")
    }

    async fn open(&self) -> Sqlite {
        open(&self.path()).await.unwrap()
    }

    /// A connection behind the back of the store.
    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }

    async fn sql(&self, statement: &str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn count(&self, query: &str) -> i64 {
        let mut connection = self.connection().await;
        let count = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self
            .0
            .path()
            .read_dir()
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        files
    }
}

async fn open(path: &Path) -> Result<Sqlite, StoreError> {
    Sqlite::open(path, SqliteOptions { migrate: true, ..SqliteOptions::default() }).await
}

macro_rules! conforms {
    ($($module:ident: $($test:ident)*;)*) => {$(
        mod $module {
            use super::{Place, conformance};
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let place = Place::new();
                    let store = place.open().await;
                    conformance::$module::$test(&store).await;
                    store.close().await;
                }
            )*
        }
    )*};
}

every_store!(conforms);

#[tokio::test]
async fn a_deleted_room_takes_everything_with_it() {
    let place = Place::new();
    let store = place.open().await;
    conformance::rooms::a_deleted_room_takes_everything_with_it(&store, &store).await;
    store.close().await;
    for table in ["room_log", "checkpoint", "checkpoint_part", "read_marker", "deleted_room"] {
        assert_eq!(place.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_agrees_with_a_model_of_it(actions in conformance::model::actions()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let store = place.open().await;
            conformance::model::the_log_agrees_with_a_model_of_it(&store, &actions).await;
            store.close().await;
        });
    }
}

// ---- durable --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn what_was_written_is_there_without_a_proper_end() {
    let place = Place::new();
    let (room, hash, secret);
    {
        let store = place.open().await;
        let owner = Owner::new(&store).await;
        let user = new_user("durable");
        store.create_user(&user).await.unwrap();
        let link = new_link(Role::Owner);
        let new = NewRoom { link: Some(link.clone()), ..new_room(Some(user.id)) };
        store.create_room(&new).await.unwrap();
        (room, hash) = (new.id, link.hash);
        let epoch = owner.claim(room).await;
        store.append(owner.incarnation, &[batch(room, epoch, 1, 3)]).await.unwrap();
        store.put_checkpoint(&checkpoint(room, 2, "two")).await.unwrap();
        secret = store.secret("key", b"offered").await.unwrap();
        // Dropped, not closed.
    }
    let store = place.open().await;
    assert_eq!(store.read(room, Seq(0), 1_000).await.unwrap().len(), 1);
    assert_eq!(store.checkpoint(room).await.unwrap(), Some(checkpoint(room, 2, "two")));
    assert_eq!(store.access(room, None, Some(hash), 0).await.unwrap().unwrap().role(), Some(Role::Owner));
    assert_eq!(store.secret("key", b"another").await.unwrap(), secret);
    assert_eq!(Owner::new(&store).await.claim(room).await, Epoch(2));
    store.close().await;
}

#[tokio::test]
async fn a_closed_database_leaves_one_file_and_its_lock() {
    let place = Place::new();
    let store = place.open().await;
    somebody(&store).await;
    store.close().await;
    assert_eq!(place.files(), ["enfilade.db", "enfilade.db.lock"]);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let store = place.open().await;
    somebody(&store).await;
    for file in place.files() {
        let mode = place.0.path().join(&file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
    store.close().await;
}

/// The room that a child process writes to.
const CHILDS_ROOM: RoomId = RoomId(Uuid::from_u128(42));
const CHILD_PATH: &str = "ENFILADE_TEST_DATABASE";

/// Not a test but the process that others of these tests start: it appends as fast as it can, and prints what is committed
/// and what stopped it.
#[test]
fn child_process() {
    let Ok(path) = std::env::var(CHILD_PATH) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        match open(Path::new(&path)).await {
            Ok(store) => println!("stopped: {:?}", append_until_it_fails(&store).await),
            Err(error) => println!("refused: {error:?}"),
        }
    });
}

async fn append_until_it_fails(store: &Sqlite) -> StoreError {
    let owner = Owner::new(store).await;
    let epoch = owner.claim(CHILDS_ROOM).await;
    let head = store.read(CHILDS_ROOM, Seq(0), usize::MAX).await.unwrap().last().map_or(0, |row| row.last.0);
    for seq in head + 1.. {
        match store.append(owner.incarnation, &[batch(CHILDS_ROOM, epoch, seq, seq)]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Committed]),
            Err(error) => return error,
        }
        println!("committed: {seq}");
    }
    unreachable!("the numbers do not end")
}

fn child(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(CHILD_ARGUMENTS).env(CHILD_PATH, path);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

const CHILD_ARGUMENTS: [&str; 3] = ["--exact", "child_process", "--nocapture"];

/// The last op that a child said is committed.
fn told(line: &str) -> Option<u64> {
    line.strip_prefix("committed: ").map(|seq| seq.parse().unwrap())
}

/// All that was told is there, in order and as it was sent.
async fn holds_at_least(store: &Sqlite, told: u64) {
    let rows = store.read(CHILDS_ROOM, Seq(0), usize::MAX).await.unwrap();
    for (row, seq) in rows.iter().zip(1..) {
        assert_eq!((row.first, row.last), (Seq(seq), Seq(seq)));
        assert_eq!(row.ops, batch(CHILDS_ROOM, row.epoch, seq, seq).ops);
    }
    assert!(rows.len() as u64 >= told, "told {told}, found {}", rows.len());
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_told_is_committed() {
    use std::io::{BufRead, BufReader};
    let place = Place::new();
    for round in 1..=3 {
        let mut process = child(&place.path()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let enough = lines.by_ref().filter_map(|line| told(&line)).find(|seq| *seq >= round * 100);
        assert!(enough.is_some(), "the child ended early");
        process.kill().unwrap();
        process.wait().unwrap();
        let last = lines.filter_map(|line| told(&line)).last().or(enough).unwrap();

        let store = place.open().await;
        holds_at_least(&store, last).await;
        store.close().await;
    }
}

/// A file may not grow beyond a limit, so that writing fails in the middle of a commit with an error of its own.
#[cfg(unix)]
#[tokio::test]
async fn a_commit_that_the_disk_breaks_off_has_an_unknown_outcome() {
    let place = Place::new();
    place.open().await.close().await;
    // Blocks of half a kilobyte, or a whole one with some shells; the signal would end the process.
    let script = "trap '' XFSZ; ulimit -f 4000; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).args(CHILD_ARGUMENTS);
    let output = command.env(CHILD_PATH, place.path()).stderr(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("stopped: UnknownOutcome"), "{text}");
    let last = text.lines().filter_map(told).next_back().unwrap();
    assert!(last > 10);

    let store = place.open().await;
    holds_at_least(&store, last).await;
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(CHILDS_ROOM).await;
    let next = store.read(CHILDS_ROOM, Seq(0), usize::MAX).await.unwrap().len() as u64 + 1;
    let outcomes = store.append(owner.incarnation, &[batch(CHILDS_ROOM, epoch, next, next)]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Committed]);
    store.close().await;
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    let output = child(&place.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("refused: InUse"), "{text}");
    assert!(matches!(open(&place.path()).await, Err(StoreError::InUse)), "nor a second time in this one");
    store.close().await;
    place.open().await.close().await;
}

// ---- opening --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_database_without_its_migrations_is_refused() {
    let place = Place::new();
    let refused = Sqlite::open(place.path(), SqliteOptions::default()).await;
    let needed = migrate::NEWEST;
    assert!(matches!(refused, Err(StoreError::Schema { found: 0, needed: n }) if n == needed), "{refused:?}");
    assert!(!place.path().exists(), "asking creates nothing");
    let url = format!("sqlite:{}", place.path().display()).parse().unwrap();
    migrate::up(&url, Some(2)).await.unwrap();
    let refused = Sqlite::open(place.path(), SqliteOptions::default()).await;
    assert!(matches!(refused, Err(StoreError::Schema { found: 2, .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("migrate up"));
    migrate::up(&url, None).await.unwrap();
    Sqlite::open(place.path(), SqliteOptions::default()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::new();
    std::fs::write(place.path(), "Dear diary, today I learned about databases.".repeat(200)).unwrap();
    let refused = open(&place.path()).await;
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    let nowhere = open(&place.0.path().join("missing/enfilade.db")).await;
    assert!(matches!(nowhere, Err(StoreError::Unavailable(_))), "{nowhere:?}");
}

// ---- damage ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_damaged_checkpoint_is_noticed_and_can_be_replaced() {
    let place = Place::new();
    let store = place.open().await;
    let owner = Owner::new(&store).await;
    let room = new_room_id();
    let epoch = owner.claim(room).await;
    store.append(owner.incarnation, &[batch(room, epoch, 1, 5)]).await.unwrap();
    let good = checkpoint(room, 4, vec![7; 600_000]);
    for damage in [
        "UPDATE checkpoint_part SET bytes = CAST(X'08' || substr(bytes, 2) AS BLOB) WHERE part = 1",
        "UPDATE checkpoint_part SET bytes = substr(bytes, 2) WHERE part = 2",
        "DELETE FROM checkpoint_part WHERE part = 2",
        "UPDATE checkpoint SET checksum = checksum + 1",
    ] {
        store.put_checkpoint(&good).await.unwrap();
        assert!(store.checkpoint(room).await.unwrap().as_ref() == Some(&good));
        place.sql(damage).await;
        let read = store.checkpoint(room).await;
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{damage}");
    }
    store.put_checkpoint(&good).await.unwrap();
    assert!(store.checkpoint(room).await.unwrap() == Some(good));
    store.close().await;
}

#[tokio::test]
async fn rows_that_make_no_sense_are_reported_not_served() {
    let place = Place::new();
    let store = place.open().await;
    let user = somebody(&store).await;
    let room = a_room(&store, Some(user)).await;
    place.sql("UPDATE room SET kind = 'kitchen'").await;
    assert!(matches!(store.room(room).await, Err(StoreError::Corrupt(_))));
    assert!(matches!(store.access(room, None, None, 0).await, Err(StoreError::Corrupt(_))));
    place.sql("UPDATE user_account SET username = '?'").await;
    assert!(matches!(store.user(user).await, Err(StoreError::Corrupt(_))));
    let owner = Owner::new(&store).await;
    let epoch = owner.claim(room).await;
    store.append(owner.incarnation, &[batch(room, epoch, 1, 1)]).await.unwrap();
    place.sql("UPDATE room_log SET epoch = -1").await;
    assert!(matches!(store.read(room, Seq(0), 1_000).await, Err(StoreError::Corrupt(_))));
    store.close().await;
}

#[tokio::test]
async fn a_room_that_was_not_wholly_erased_is_erased_later() {
    let place = Place::new();
    let store = place.open().await;
    let owner = Owner::new(&store).await;
    let (room, other) = (new_room_id(), new_room_id());
    for room in [room, other] {
        let epoch = owner.claim(room).await;
        for seq in 1..=10 {
            store.append(owner.incarnation, &[batch(room, epoch, seq, seq)]).await.unwrap();
        }
    }
    // As a crash in the middle of the deletion leaves it.
    place.sql(&format!("INSERT INTO deleted_room VALUES (X'{}')", room.0.simple())).await;
    assert_eq!(store.prune(0, 4).await.unwrap(), 4);
    assert_eq!(store.read(room, Seq(0), usize::MAX).await.unwrap().len(), 6);
    assert_eq!(store.prune(0, 100).await.unwrap(), 6);
    assert_eq!(store.read(room, Seq(0), usize::MAX).await.unwrap(), []);
    assert_eq!(store.read(other, Seq(0), usize::MAX).await.unwrap().len(), 10);
    assert_eq!(store.prune(0, 100).await.unwrap(), 0);
    assert_eq!(place.count("SELECT count(*) FROM deleted_room").await, 0);
    store.close().await;
}

#[tokio::test]
async fn a_checkpoint_that_was_not_finished_is_cleared_by_the_next() {
    let place = Place::new();
    let store = place.open().await;
    let owner = Owner::new(&store).await;
    let room = new_room_id();
    let epoch = owner.claim(room).await;
    store.append(owner.incarnation, &[batch(room, epoch, 1, 5)]).await.unwrap();
    store.put_checkpoint(&checkpoint(room, 1, vec![1; 600_000])).await.unwrap();
    // Parts of the next body, which nothing names yet: as a crash leaves them.
    place
        .sql("INSERT INTO checkpoint_part SELECT room, body + 1, part + 9, bytes FROM checkpoint_part")
        .await;
    place.sql("INSERT INTO checkpoint_part SELECT room, body + 1, part, X'00' FROM checkpoint_part WHERE body = 1").await;
    assert!(store.checkpoint(room).await.unwrap() == Some(checkpoint(room, 1, vec![1; 600_000])));
    for seq in [2, 3] {
        let new = checkpoint(room, seq, vec![seq as u8; 600_000]);
        store.put_checkpoint(&new).await.unwrap();
        assert!(store.checkpoint(room).await.unwrap() == Some(new));
    }
    assert_eq!(place.count("SELECT count(*) FROM checkpoint_part").await, 3);
    store.close().await;
}

// ---- a disk that fails ----------------------------------------------------------------------------------------

#[tokio::test]
async fn a_full_disk_refuses_and_recovers_when_there_is_space_again() {
    let place = Place::new();
    let options = SqliteOptions { migrate: true, max_bytes: Some(400_000), ..SqliteOptions::default() };
    let store = Sqlite::open(place.path(), options).await.unwrap();
    let user = somebody(&store).await;
    let ballast = a_room(&store, Some(user)).await;
    let room = new_room_id();
    let owner = Owner::new(&store).await;
    let (ballast_epoch, epoch) = (owner.claim(ballast).await, owner.claim(room).await);
    let large =
        |room, epoch, seq| Batch { ops: Bytes::from(vec![1; 10_000]), ..batch(room, epoch, seq, seq) };
    for seq in 1..=10 {
        assert_eq!(
            store.append(owner.incarnation, &[large(ballast, ballast_epoch, seq)]).await.unwrap(),
            [Outcome::Committed]
        );
    }
    let mut committed = 0;
    let refusal = loop {
        // Two rooms in a call: both are refused, or none.
        let batches = [large(room, epoch, committed + 1), large(ballast, ballast_epoch, committed + 11)];
        match store.append(owner.incarnation, &batches).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Committed; 2]),
            Err(refusal) => break refusal,
        }
        committed += 1;
        assert!(committed < 100, "400 kB do not end");
    };
    assert!(matches!(refusal, StoreError::Unavailable(_)), "{refusal:?}");
    assert!(committed > 3);
    // Everything is as it was, and whatever else needs space is refused likewise.
    assert_eq!(store.read(room, Seq(0), usize::MAX).await.unwrap().len() as u64, committed);
    assert_eq!(store.read(ballast, Seq(0), usize::MAX).await.unwrap().len() as u64, committed + 10);
    let refused = store.put_checkpoint(&checkpoint(room, 1, vec![1; 500_000])).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.checkpoint(room).await.unwrap(), None);
    let again = [large(room, epoch, committed + 1), large(ballast, ballast_epoch, committed + 11)];
    let refused = store.append(owner.incarnation, &again).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let ask = Batch { last: Seq(0), ..batch(room, epoch, 1, 1) };
    assert_eq!(
        store.append(owner.incarnation, &[ask]).await.unwrap(),
        [Outcome::Committed],
        "asking needs no space"
    );

    assert!(store.delete_room(ballast).await.unwrap());
    for seq in committed + 1..=committed + 5 {
        let outcomes = store.append(owner.incarnation, &[large(room, epoch, seq)]).await.unwrap();
        assert_eq!(outcomes, [Outcome::Committed]);
    }
    store.close().await;
    let store = place.open().await;
    let rows = store.read(room, Seq(0), usize::MAX).await.unwrap();
    assert!(rows.iter().zip(1..).all(|(row, seq)| row.first == Seq(seq)));
    assert_eq!(rows.len() as u64, committed + 5);
    store.close().await;
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_waited_for_and_then_refused() {
    let place = Place::new();
    let options =
        SqliteOptions { migrate: true, busy_timeout: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = Sqlite::open(place.path(), options).await.unwrap();
    let owner = Owner::new(&store).await;
    let room = new_room_id();
    let epoch = owner.claim(room).await;
    let mut other = place.connection().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = store.append(owner.incarnation, &[batch(room, epoch, 1, 1)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = store.create_user(&new_user("waiting")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(
        store.append(owner.incarnation, &[batch(room, epoch, 1, 1)]).await.unwrap(),
        [Outcome::Committed]
    );
    store.create_user(&new_user("waiting")).await.unwrap();
    other.close().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_caller_who_gives_up_leaves_nothing_half_done() {
    let place = Place::new();
    let store = place.open().await;
    let user = somebody(&store).await;
    let mut answered = 0;
    for micros in (0..4_000).step_by(100) {
        // Given up at any point of the way: before its turn, in the middle, after the commit.
        let login = new_login(user, micros);
        let created =
            tokio::time::timeout(Duration::from_micros(micros), store.create_login(&login, 3)).await;
        answered += usize::from(created.is_ok());
        assert!(store.logins(user).await.unwrap().len() <= 3);
    }
    // The next in line waits for nobody, and finds everything that was answered.
    let last = new_login(user, 1_000_000);
    store.create_login(&last, 3).await.unwrap();
    let logins = store.logins(user).await.unwrap();
    assert_eq!(logins[0], last);
    assert!(logins.len() == 3 || logins.len() > answered);
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.logins(user).await.unwrap(), logins);
    store.close().await;
}

// ---- marks and the write-ahead log ----------------------------------------------------------------------------

#[tokio::test]
async fn a_read_mark_only_moves_forward() {
    let place = Place::new();
    let store = place.open().await;
    let user = somebody(&store).await;
    let room = a_room(&store, None).await;
    for (seq, mark) in [(5, 5), (3, 5), (9, 9), (9, 9), (0, 9)] {
        store.mark_read(room, user, Seq(seq)).await.unwrap();
        assert_eq!(place.count("SELECT seq FROM read_marker").await, mark);
    }
    store.mark_read(room, conformance::new_user("guest").id, Seq(1)).await.unwrap();
    assert_eq!(place.count("SELECT count(*) FROM read_marker").await, 1, "a guest has no mark");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_ahead_log_begins_anew_under_load() {
    let place = Place::new();
    let store = place.open().await;
    let owner = Owner::new(&store).await;
    let room = new_room_id();
    let epoch = owner.claim(room).await;
    let mut look = place.connection().await;
    let ops = Bytes::from(vec![7; 1 << 20]);
    let (mut longest, mut seq) = (0, 0);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        seq += 1;
        let batch = Batch { ops: ops.clone(), ..batch(room, epoch, seq, seq) };
        assert_eq!(store.append(owner.incarnation, &[batch]).await.unwrap(), [Outcome::Committed]);
        let (_, pages, _): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(&mut look).await.unwrap();
        // 64 MiB are 16,384 pages; at a quarter of the length it must be another log.
        if longest > 16_384 && pages < longest / 4 {
            break;
        }
        longest = longest.max(pages);
        assert!(tokio::time::Instant::now() < deadline, "{pages} pages after {seq} MiB");
    }
    assert_eq!(store.read(room, Seq(seq - 1), usize::MAX).await.unwrap()[0].ops, ops);
    look.close().await.unwrap();
    store.close().await;
}
