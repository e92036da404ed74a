//! The store in one SQLite file: the database of a single node.
//!
//! One connection writes ([`writer`]), a few read, one moves the write-ahead log into the file behind their backs ([`wal`]).
//! A lock file keeps other processes out, so what this one knows of the database is true.

mod access;
mod checkpoint;
mod directory;
mod failure;
mod log;
mod ownership;
mod rows;
mod wal;
mod writer;

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::migrate;
pub(crate) use failure::{change_failed, read_failed};
use wal::Wal;
use writer::Writer;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Create the database and apply what is pending, instead of refusing.
    pub migrate: bool,
    /// Connections that read; each is a thread.
    pub readers: u32,
    /// How long to wait for a lock that some other program (a backup, a shell) holds on the file.
    pub busy_timeout: Duration,
    /// The most bytes the database file may grow to; beyond it writes fail as on a full disk.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { migrate: false, readers: 4, busy_timeout: BUSY_TIMEOUT, max_bytes: None }
    }
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// An open database. Dropping it is as safe as a crash; [`Sqlite::close`] also tidies up.
pub struct Sqlite {
    path: PathBuf,
    writer: Arc<Writer>,
    readers: SqlitePool,
    /// Taken by whoever writes a checkpoint.
    checkpoints: Semaphore,
    wal: Wal,
    /// Held as long as this lives.
    lock: File,
}

impl Sqlite {
    /// Opens the database in a file. The folder must exist.
    ///
    /// # Errors
    /// `InUse` when another process (or this one) has it open; `Schema` when migrations are missing and `options.migrate` is
    /// not set, or when it is newer than this program; `Corrupt` when the file is no database, or a migration was altered;
    /// `Unavailable` when the file cannot be opened.
    pub async fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let lock = lock(path)?;
        if options.migrate {
            create(path)?;
        } else if !path.exists() {
            return Err(StoreError::Schema { found: 0, needed: migrate::NEWEST });
        }
        let writer = Arc::new(Writer::new(writing(path, &options)));
        let mut turn = writer.turn().await?;
        if options.migrate {
            migrate::up_to_newest(turn.connection()).await?;
        } else {
            migrate::require_newest(turn.connection()).await?;
        }
        turn.end();
        let readers = SqlitePoolOptions::new()
            .max_connections(options.readers.max(1))
            .acquire_timeout(options.busy_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(reading(path).busy_timeout(options.busy_timeout))
            .await
            .map_err(read_failed)?;
        let wal = Wal::keep_short(writing(path, &options), Arc::clone(&writer)).await?;
        Ok(Self { path: path.to_owned(), writer, readers, checkpoints: Semaphore::new(1), wal, lock })
    }

    /// Waits for what is under way, then closes the file and leaves nothing beside it but the lock file, which it lets go of.
    /// Whoever still holds on to the store finds it unavailable.
    pub async fn close(&self) {
        self.wal.close().await;
        self.readers.close().await;
        self.writer.close().await;
        // Should it fail, the end of the process lets go of it.
        let _ = self.lock.unlock();
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Takes the lock file beside a database; the lock ends with the file.
pub(crate) fn lock(database: &Path) -> Result<File, StoreError> {
    let mut name = OsString::from(database);
    name.push(".lock");
    let file = private().write(true).open(name).map_err(no_file)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse),
        Err(TryLockError::Error(error)) => Err(no_file(error)),
    }
}

/// Makes an empty file if there is none. SQLite would too, but readable for everybody, and secrets will stand in it.
pub(crate) fn create(database: &Path) -> Result<(), StoreError> {
    private().write(true).open(database).map(drop).map_err(no_file)
}

fn private() -> OpenOptions {
    let mut options = File::options();
    options.create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn no_file(error: io::Error) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// A connection that may write, outside of an open [`Sqlite`].
pub(crate) async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    writing(path, &SqliteOptions::default()).connect().await.map_err(change_failed)
}

pub(crate) async fn connect_to_read(path: &Path) -> Result<SqliteConnection, StoreError> {
    reading(path).connect().await.map_err(read_failed)
}

/// Everything is committed already, so there is nobody to tell that closing failed.
pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a database connection did not close");
    }
}

/// Moves the write-ahead log into the database, so that its one file has everything and may get another name. Closing would try that,
/// too, but tells nobody that it failed.
///
/// # Errors
/// `InUse` while somebody else has it open; as changes fail otherwise.
pub(crate) async fn move_log_in(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(connection)
        .await
        .map_err(change_failed)?;
    if busy == 0 { Ok(()) } else { Err(StoreError::InUse) }
}

/// The size of a page of a new database, SQLite's default. `max_bytes` is counted in it.
const PAGE_BYTES: u32 = 4_096;

fn writing(path: &Path, options: &SqliteOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit returns when it is on disk, also on a Mac, where fsync alone does not mean that.
        .synchronous(SqliteSynchronous::Full)
        .pragma("fullfsync", "ON")
        .foreign_keys(true)
        .busy_timeout(options.busy_timeout)
        // The task in `wal` does it; this is the net below it.
        .pragma("wal_autocheckpoint", wal::NET_PAGES.to_string())
        .pragma("temp_store", "MEMORY")
        // 32 MiB: the keys of the rooms in use stay in memory.
        .pragma("cache_size", "-32768")
        .disable_statement_logging();
    match options.max_bytes {
        None => connect,
        Some(bytes) => connect.pragma("max_page_count", (bytes / u64::from(PAGE_BYTES)).max(1).to_string()),
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        // Rows that are read ahead of who takes them; a row may have megabytes.
        .row_buffer_size(8)
        .disable_statement_logging()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_returns_when_it_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        let store = Sqlite::open(folder.path().join("enfilade.db"), options).await.unwrap();
        // The second is a new connection, because the first was not given back.
        for _ in 0..2 {
            let mut turn = store.writer.turn().await.unwrap();
            for (pragma, value) in
                [("synchronous", "2"), ("journal_mode", "wal"), ("foreign_keys", "1"), ("fullfsync", "1")]
            {
                let query =
                    sqlx::AssertSqlSafe(format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"));
                let found: String = sqlx::query_scalar(query).fetch_one(turn.connection()).await.unwrap();
                assert_eq!(found, value, "{pragma}");
            }
        }
        store.close().await;
    }
}
