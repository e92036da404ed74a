//! Keeps the write-ahead log short without making commits wait.
//!
//! SQLite would copy the log's pages into the file within whatever commit happens to reach a thousand of them, and all
//! rooms would wait for it. So a task does that on a connection of its own, beside the commits. While commits never pause it
//! cannot catch up wholly, and only then can SQLite begin the log anew: past a bound the task takes a writer's turn for the
//! little that is left.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::failure::change_failed;
use super::writer::Writer;
use crate::error::StoreError;

/// Copy this many pages at once or more (8 MiB): a page that was changed often is copied once.
const COPY_PAGES: i64 = 2_048;
/// Past this many (64 MiB), a turn is taken to catch up.
const CATCH_UP_PAGES: i64 = 16_384;
/// Past this many (256 MiB) the commits copy for themselves, should the task be held up.
pub(super) const NET_PAGES: i64 = 65_536;
/// The least time between two looks at the length of the log.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Wal {
    stop: Arc<Notify>,
    /// None once it was closed.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Wal {
    pub(super) async fn keep_short(
        options: SqliteConnectOptions,
        writer: Arc<Writer>,
    ) -> Result<Self, StoreError> {
        let connection = options.connect().await.map_err(change_failed)?;
        let stop = Arc::new(Notify::new());
        let task = tokio::spawn(keep_short(options, connection, writer, Arc::clone(&stop)));
        Ok(Self { stop, task: Mutex::new(Some(task)) })
    }

    /// Waits until the connection is closed.
    pub(super) async fn close(&self) {
        let Some(task) = self.take() else { return };
        self.stop.notify_one();
        if let Err(error) = task.await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the write-ahead log was not kept");
        }
    }

    fn take(&self) -> Option<JoinHandle<()>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Some(task) = self.take() {
            task.abort();
        }
    }
}

/// How long the log is and how much of that is in the file already, in pages.
struct Length {
    log: i64,
    copied: i64,
}

async fn keep_short(
    options: SqliteConnectOptions,
    mut connection: SqliteConnection,
    writer: Arc<Writer>,
    stop: Arc<Notify>,
) {
    loop {
        let written = async {
            writer.written.notified().await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            () = written => {}
            () = stop.notified() => break,
        }
        let Err(error) = shorten(&mut connection, &writer).await else { continue };
        tracing::warn!(error = &error as &dyn std::error::Error, "the write-ahead log was not copied");
        // If the connection is what is wrong, another may be better; if not, this one will do.
        if let Ok(fresh) = options.connect().await {
            connection = fresh;
        }
    }
    super::close(connection).await;
}

async fn shorten(connection: &mut SqliteConnection, writer: &Writer) -> Result<(), sqlx::Error> {
    let length = look(connection).await?;
    if length.log - length.copied < COPY_PAGES {
        return Ok(());
    }
    let length = copy(connection).await?;
    if length.log < CATCH_UP_PAGES {
        return Ok(());
    }
    // An unreachable database is the caller's of `turn` to report; here the log just stays long.
    if let Ok(mut turn) = writer.turn().await {
        copy(turn.connection()).await?;
        turn.end();
    }
    Ok(())
}

async fn look(connection: &mut SqliteConnection) -> Result<Length, sqlx::Error> {
    sqlx::query_as("PRAGMA wal_checkpoint(NOOP)").fetch_one(connection).await.map(length)
}

/// Waits for nobody: what a reader still needs stays for the next time.
async fn copy(connection: &mut SqliteConnection) -> Result<Length, sqlx::Error> {
    sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await.map(length)
}

fn length((_busy, log, copied): (i64, i64, i64)) -> Length {
    Length { log, copied }
}
