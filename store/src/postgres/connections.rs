//! Connections, lent to one caller at a time each; every wait for the server has a deadline.
//!
//! A turn that is dropped before its end (an error, a caller that gave up) takes the connection with it: nobody inherits
//! half a transaction or somebody else's answer. So does a deadline that passes; the server notices that nobody is there
//! and ends what it was doing.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres,
};
use sqlx::{ConnectOptions, Connection as _, Either, Error, Execute, Executor, Result as SqlResult, SqlStr};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::failure::{change_failed, commit_failed, read_failed, too_late, was_refused};
use crate::error::StoreError;

/// A connection that was idle for so long is asked whether it is still there before anything is entrusted to it. One that
/// is busy finds out by itself.
const ASK_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Duration,
    /// For a turn, and for the answer to each statement.
    pub(super) answer: Duration,
}

/// As many connections as turns can be taken at once; opened when needed, kept until they fail.
pub(super) struct Connections {
    options: PgConnectOptions,
    patience: Patience,
    count: u32,
    turns: Semaphore,
    /// Callers that wait for a turn.
    waiting: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Since when each has been idle. The one that was used last comes last.
    connections: Vec<(Connection, Instant)>,
    /// When one failed. Those that were idle then may have died of the same: a restart, a cut.
    failed: Option<Instant>,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, count: u32, patience: Patience) -> Self {
        let turns = Semaphore::new(count as usize);
        Self { options, patience, count, turns, waiting: AtomicUsize::new(0), idle: Mutex::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// How many callers wait for a turn.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a connection that is free and alive.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, StoreError> {
        let waiting = Waiting::begin(&self.waiting);
        let permit = timeout(self.patience.answer, self.turns.acquire());
        let permit = permit.await.map_err(|_| read_failed(too_late()))?;
        drop(waiting);
        let permit = permit.map_err(|closed| StoreError::Unavailable(Box::new(closed)))?;
        let connection = match self.living().await {
            Some(connection) => connection,
            None => self.open().await.map_err(read_failed)?,
        };
        Ok(Turn { connection, home: self, _permit: permit })
    }

    /// A turn with a transaction.
    pub(super) async fn change(&self) -> Result<Change<'_>, StoreError> {
        self.begin("BEGIN").await
    }

    /// A turn with a transaction that reads everything as of one moment.
    pub(super) async fn look(&self) -> Result<Change<'_>, StoreError> {
        self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn begin(&self, statement: &'static str) -> Result<Change<'_>, StoreError> {
        let mut turn = self.turn().await?;
        sqlx::raw_sql(statement).execute(&mut *turn).await.map_err(change_failed)?;
        Ok(Change(turn))
    }

    /// Waits for the turns that were asked for; there are none afterwards.
    pub(super) async fn close(&self) {
        let all = self.turns.acquire_many(self.count).await;
        self.turns.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle());
        for (connection, _) in idle.connections {
            // Everything is committed already, so there is nobody to tell that closing failed.
            let _ = timeout(self.patience.connect, connection.inner.close()).await;
        }
    }

    /// The connection that was used last, so that the others may rest.
    async fn living(&self) -> Option<Connection> {
        let (mut connection, since, failed) = {
            let mut idle = self.idle();
            let (connection, since) = idle.connections.pop()?;
            (connection, since, idle.failed)
        };
        if since.elapsed() < ASK_AFTER && failed.is_none_or(|failed| failed < since) {
            return Some(connection);
        }
        let alive = timeout(self.patience.connect, connection.inner.ping()).await;
        if matches!(alive, Ok(Ok(()))) {
            return Some(connection);
        }
        // So are those that were idle for longer; to ask each of them could take as long again.
        self.idle().connections.clear();
        None
    }

    fn note_failure(&self) {
        self.idle().failed = Some(Instant::now());
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> SqlResult<Connection> {
        let inner = timeout(self.patience.connect, self.options.connect());
        let inner = inner.await.map_err(|_| too_late())??;
        Ok(Connection { inner, patience: self.patience.answer })
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One caller's time with a connection.
pub(super) struct Turn<'a> {
    connection: Connection,
    home: &'a Connections,
    /// Behind the connection: the next turn begins when this one's connection is gone.
    _permit: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Lets others have the connection. To be called only when no transaction is open and no answer outstanding.
    pub(super) fn end(self) {
        self.home.idle().connections.push((self.connection, Instant::now()));
    }

    /// Ends the turn of a statement that reads.
    pub(super) fn answer<T>(self, outcome: SqlResult<T>) -> Result<T, StoreError> {
        self.finish(outcome, read_failed)
    }

    /// Ends the turn of a statement that commits by itself.
    pub(super) fn committed<T>(self, outcome: SqlResult<T>) -> Result<T, StoreError> {
        self.finish(outcome, commit_failed)
    }

    fn finish<T>(self, outcome: SqlResult<T>, name: fn(Error) -> StoreError) -> Result<T, StoreError> {
        if outcome.as_ref().err().is_none_or(was_refused) {
            self.end();
        } else {
            self.home.note_failure();
        }
        outcome.map_err(name)
    }
}

impl Deref for Turn<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

/// A turn within a transaction. Nothing of it is written unless it is settled.
pub(super) struct Change<'a>(Turn<'a>);

impl Change<'_> {
    /// Commits if all went well, undoes everything if something did not. Returns when it is on disk.
    pub(super) async fn settle<T>(mut self, outcome: SqlResult<T>) -> Result<T, StoreError> {
        match outcome {
            Ok(value) => {
                let committed = sqlx::raw_sql("COMMIT").execute(&mut *self).await;
                self.0.committed(committed)?;
                Ok(value)
            }
            Err(error) => {
                // After a refusal (a name is taken) the connection is as good as before; after anything else it is not.
                if was_refused(&error) {
                    let undone = sqlx::raw_sql("ROLLBACK").execute(&mut *self).await;
                    // Nothing is written in any case: a transaction ends with its connection.
                    let _ = self.0.answer(undone);
                } else {
                    self.0.home.note_failure();
                }
                Err(change_failed(error))
            }
        }
    }
}

impl Deref for Change<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0.connection
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0.connection
    }
}

/// A connection that does not wait for ever: each answer has a deadline, after which the connection is of no use.
pub(super) struct Connection {
    inner: PgConnection,
    patience: Duration,
}

impl Connection {
    pub(super) fn server_version(&self) -> Option<u32> {
        self.inner.server_version_num()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, SqlResult<Either<PgQueryResult, PgRow>>>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        let patience = self.patience;
        let answers = self.inner.fetch_many(query);
        // The deadline is that of each row: a long answer is fine as long as it goes on.
        Box::pin(stream::try_unfold(answers, move |mut answers| async move {
            let next = timeout(patience, answers.try_next()).await.map_err(|_| too_late())??;
            Ok(next.map(|next| (next, answers)))
        }))
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, SqlResult<Option<PgRow>>>
    where
        'c: 'e,
        E: Execute<'q, Postgres>,
        'q: 'e,
        E: 'q,
    {
        let patience = self.patience;
        let answer = self.inner.fetch_optional(query);
        Box::pin(async move { timeout(patience, pin!(answer)).await.map_err(|_| too_late())? })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, SqlResult<PgStatement>>
    where
        'c: 'e,
    {
        let patience = self.patience;
        let answer = self.inner.prepare_with(sql, parameters);
        Box::pin(async move { timeout(patience, answer).await.map_err(|_| too_late())? })
    }
}
