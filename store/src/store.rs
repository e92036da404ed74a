//! The store whatever it is made of: a node opens one and need not care.

use std::sync::Arc;
use std::time::Duration;

use crate::database_url::DatabaseUrl;
use crate::directory::Directory;
use crate::error::StoreError;
use crate::log::RoomLog;
use crate::ownership::Ownership;
use crate::postgres::{Postgres, PostgresOptions};
use crate::sqlite::{Sqlite, SqliteOptions};

/// How a store is opened. What does not apply to a database is ignored.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Apply migrations that are pending, instead of refusing.
    pub migrate: bool,
    /// How many appends can be under way at once. SQLite has one writer.
    pub committers: usize,
    /// Connections for everything else (PostgreSQL), or that read (SQLite).
    pub connections: u32,
    /// How long to wait for an answer of a database elsewhere.
    pub answer_timeout: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        let postgres = PostgresOptions::default();
        Self {
            migrate: false,
            committers: postgres.committers as usize,
            connections: postgres.others,
            answer_timeout: postgres.answer_timeout,
        }
    }
}

/// An open store: one database behind three traits.
#[derive(Clone, Debug)]
pub struct Store {
    pub log: Arc<dyn RoomLog>,
    pub ownership: Arc<dyn Ownership>,
    pub directory: Arc<dyn Directory>,
    committers: usize,
    database: Database,
}

#[derive(Clone, Debug)]
enum Database {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Store {
    /// Opens the database of a URL.
    ///
    /// # Errors
    /// As [`Sqlite::open`] and [`Postgres::open`].
    pub async fn open(url: &DatabaseUrl, options: &OpenOptions) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                let options = SqliteOptions {
                    migrate: options.migrate,
                    readers: options.connections,
                    ..SqliteOptions::default()
                };
                Ok(Self::from(Sqlite::open(path, options).await?))
            }
            DatabaseUrl::Postgres(url) => {
                let options = PostgresOptions {
                    migrate: options.migrate,
                    committers: u32::try_from(options.committers).unwrap_or(u32::MAX),
                    others: options.connections,
                    answer_timeout: options.answer_timeout,
                    ..PostgresOptions::default()
                };
                Ok(Self::from(Postgres::open(url, options).await?))
            }
        }
    }

    /// How many may append at once, each for shards of its own.
    #[must_use]
    pub fn committers(&self) -> usize {
        self.committers
    }

    /// How many callers wait for a connection of each kind, in PostgreSQL.
    #[must_use]
    pub fn waiting(&self) -> Vec<(&'static str, usize)> {
        match &self.database {
            Database::Sqlite(_) => Vec::new(),
            Database::Postgres(postgres) => postgres.waiting().to_vec(),
        }
    }

    /// Waits for what is under way, then closes the database. Whoever still holds on to the store finds it unavailable.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.close().await,
            Database::Postgres(postgres) => postgres.close().await,
        }
    }
}

impl From<Sqlite> for Store {
    fn from(sqlite: Sqlite) -> Self {
        let sqlite = Arc::new(sqlite);
        Self {
            log: Arc::clone(&sqlite) as _,
            ownership: Arc::clone(&sqlite) as _,
            directory: Arc::clone(&sqlite) as _,
            committers: 1,
            database: Database::Sqlite(sqlite),
        }
    }
}

impl From<Postgres> for Store {
    fn from(postgres: Postgres) -> Self {
        let postgres = Arc::new(postgres);
        Self {
            log: Arc::clone(&postgres) as _,
            ownership: Arc::clone(&postgres) as _,
            directory: Arc::clone(&postgres) as _,
            committers: postgres.committers(),
            database: Database::Postgres(postgres),
        }
    }
}
