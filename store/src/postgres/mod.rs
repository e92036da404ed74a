//! The store in PostgreSQL: the database of a cluster. Version 14 or later, on Linux, reached directly or through a pooler
//! that leaves sessions whole.
//!
//! Connections are of three kinds ([`connections`]): those of the committers, which nobody else may hold up; those of
//! ownership, so that a lease is renewed however busy the node is; and the others.

mod access;
mod checkpoint;
mod connections;
mod directory;
mod failure;
mod log;
mod ownership;
mod rows;

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection as _};

use crate::database_url::PostgresUrl;
use crate::error::StoreError;
use crate::migrate;
use connections::{Connections, Patience};
pub(crate) use failure::{change_failed, read_failed};

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Apply what is pending, instead of refusing.
    pub migrate: bool,
    /// How many appends can be under way at once; each has a connection.
    pub committers: u32,
    /// Connections for everything else but ownership, which has its own three.
    pub others: u32,
    /// How long a connection may take to come about, or to say that it is still there.
    pub connect_timeout: Duration,
    /// How long to wait for the answer to a statement, for the next row of it, and for a free connection.
    pub answer_timeout: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            migrate: false,
            committers: 4,
            others: 8,
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(10),
        }
    }
}

/// A renewed lease, a look at the cluster, and a claim that waits for commits under way.
const FOR_OWNERSHIP: u32 = 3;

/// The first version that notices on its own that a client is gone while it works for it.
const OLDEST_SERVER: u32 = 14_00_00;

/// An open database. Dropping it is as safe as a crash; [`Postgres::close`] also says goodbye.
pub struct Postgres {
    url: PostgresUrl,
    committers: Connections,
    ownership: Connections,
    others: Connections,
}

impl Postgres {
    /// Opens a database. It must exist; its tables need not if `options.migrate` is set.
    ///
    /// # Errors
    /// `Schema` when migrations are missing and `options.migrate` is not set, or when it is newer than this program;
    /// `Corrupt` when a migration was altered; `Unavailable` when the server is not reached, refuses, or is too old.
    pub async fn open(url: &PostgresUrl, options: PostgresOptions) -> Result<Self, StoreError> {
        let patience = Patience { connect: options.connect_timeout, answer: options.answer_timeout };
        let mut session = session(url);
        let first = Connections::new(session.clone(), 1, patience);
        let mut turn = first.turn().await?;
        if turn.server_version().is_none_or(|version| version < OLDEST_SERVER) {
            return Err(StoreError::Unavailable("the server must be PostgreSQL 14 or later".into()));
        }
        // Acknowledged means durable, whatever the database's own default is.
        let durable: bool = sqlx::query_scalar("SELECT current_setting('synchronous_commit') <> 'off'")
            .fetch_one(&mut *turn)
            .await
            .map_err(read_failed)?;
        turn.end();
        first.close().await;
        if !durable {
            session = session.options([("synchronous_commit", "on")]);
        }
        migrate::prepare_postgres(url, options.migrate).await?;
        Ok(Self {
            url: url.clone(),
            committers: Connections::new(
                session.clone().options(log::SETTINGS),
                options.committers.max(1),
                patience,
            ),
            ownership: Connections::new(session.clone(), FOR_OWNERSHIP, patience),
            others: Connections::new(session, options.others.max(1), patience),
        })
    }

    /// How many appends can be under way at once.
    #[must_use]
    pub fn committers(&self) -> usize {
        self.committers.count()
    }

    /// How many callers wait for a connection of each kind.
    #[must_use]
    pub fn waiting(&self) -> [(&'static str, usize); 3] {
        [
            ("committers", self.committers.waiting()),
            ("ownership", self.ownership.waiting()),
            ("others", self.others.waiting()),
        ]
    }

    /// Waits for what is under way, then closes the connections. Whoever still holds on to the store finds it unavailable.
    pub async fn close(&self) {
        self.committers.close().await;
        self.ownership.close().await;
        self.others.close().await;
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What the server is told of every connection. The settings make it let go, within seconds, of the locks of a client that
/// is not there any more; no timeout of its own may end a commit that waits for a standby.
fn session(url: &PostgresUrl) -> PgConnectOptions {
    url.options()
        .application_name("enfilade")
        .options([
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("idle_in_transaction_session_timeout", "15s"),
            ("client_connection_check_interval", "2s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10s"),
            ("default_transaction_isolation", "read committed"),
        ])
        .disable_statement_logging()
}

/// A connection outside of an open [`Postgres`], for migrations: they may take long.
pub(crate) async fn connect(url: &PostgresUrl) -> Result<PgConnection, StoreError> {
    let patience = PostgresOptions::default().connect_timeout;
    let options = url.options().disable_statement_logging();
    let connection = tokio::time::timeout(patience, options.connect());
    connection.await.map_err(|_| read_failed(failure::too_late()))?.map_err(read_failed)
}

/// Everything is committed already, so there is nobody to tell that closing failed.
pub(crate) async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a database connection did not close");
    }
}
