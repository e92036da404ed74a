//! The one connection that writes, lent to one caller at a time, in the order they came.
//!
//! SQLite lets one write at a time anyway, but makes the others sleep and try again; a queue is fair and loses no time.
//! A turn that is dropped before its end (an error, a caller that gave up) takes the connection with it, so that nobody
//! inherits half a transaction, nor a driver that has lost count of them; the next turn opens another.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::failure::{change_failed, commit_failed};
use crate::error::StoreError;

pub(super) struct Writer {
    options: SqliteConnectOptions,
    turns: Semaphore,
    idle: Mutex<Option<SqliteConnection>>,
    /// Told at the end of every turn.
    pub(super) written: Notify,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, turns: Semaphore::new(1), idle: Mutex::new(None), written: Notify::new() }
    }

    /// Waits for everybody who asked before.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let permit =
            self.turns.acquire().await.map_err(|closed| StoreError::Unavailable(Box::new(closed)))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match idle {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(change_failed)?,
        };
        Ok(Turn { connection, writer: self, _permit: permit })
    }

    /// A turn with a transaction, begun such that nothing can come between its reads and its writes.
    pub(super) async fn change(&self) -> Result<Change<'_>, StoreError> {
        let mut turn = self.turn().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(turn.connection()).await.map_err(change_failed)?;
        Ok(Change(turn))
    }

    /// Waits for the turns that were asked for; there are none afterwards.
    pub(super) async fn close(&self) {
        let last = self.turn().await;
        self.turns.close();
        if let Ok(turn) = last {
            super::close(turn.connection).await;
        }
    }
}

pub(super) struct Turn<'a> {
    connection: SqliteConnection,
    writer: &'a Writer,
    /// Behind the connection: the next turn begins when this one's connection is gone.
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Gives the connection to the next in line. To be called only when no transaction is open.
    pub(super) fn end(self) {
        *self.writer.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.connection);
        self.writer.written.notify_one();
    }
}

/// A turn within a transaction. Nothing of it is written unless it is settled.
pub(super) struct Change<'a>(Turn<'a>);

impl Change<'_> {
    /// Commits if all went well, undoes everything if something did not.
    ///
    /// Returns when it is on disk.
    pub(super) async fn settle<T>(mut self, outcome: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        match outcome {
            Ok(value) => {
                sqlx::query("COMMIT").execute(&mut *self).await.map_err(commit_failed)?;
                self.0.end();
                Ok(value)
            }
            Err(error) => {
                // After a refusal (a name is taken) there is something to undo; after a failure SQLite has done so itself,
                // this is an error, and a new connection is the safer one.
                if sqlx::query("ROLLBACK").execute(&mut *self).await.is_ok() {
                    self.0.end();
                }
                Err(change_failed(error))
            }
        }
    }
}

impl Deref for Change<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.0.connection
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0.connection
    }
}
