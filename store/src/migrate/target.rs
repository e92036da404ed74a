//! What is migrated: a connection to either database.

use sqlx::migrate::{MigrateError as Failure, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

use super::MigrateError;
use super::files::{self, is_ours};
use crate::database_url::PostgresUrl;
use crate::error::StoreError;
use crate::{postgres, sqlite};

/// Where `sqlx` notes what was applied.
const NOTES: &str = "_sqlx_migrations";
const READ_NOTES: &str =
    "SELECT version, description, checksum, success FROM _sqlx_migrations ORDER BY version";
const DROP_NOTES: &str = "DROP TABLE _sqlx_migrations";

/// Who holds it migrates.
const MIGRATING: i64 = 0x656e_6669_6c61_0000;
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What the database noted of a migration.
pub(crate) struct Note {
    pub(super) version: i64,
    pub(super) name: String,
    pub(super) success: bool,
    /// Whether its text is that of ours; None if we have none of that version.
    pub(super) ours: Option<bool>,
}

pub(crate) trait Target: Send {
    async fn notes(&mut self) -> Result<Vec<Note>, StoreError>;
    /// Applies what is pending through a version.
    async fn apply(&mut self, to: i64) -> Result<(), MigrateError>;
    /// Undoes what was applied after a version.
    async fn undo(&mut self, to: i64) -> Result<(), MigrateError>;
    /// Removes the notes.
    async fn forget(&mut self) -> Result<(), StoreError>;
}

type NoteRow = (i64, String, Vec<u8>, bool);

fn note(migrator: &Migrator, (version, name, checksum, success): NoteRow) -> Note {
    Note { version, name, success, ours: is_ours(migrator, version, &checksum) }
}

impl Target for SqliteConnection {
    async fn notes(&mut self) -> Result<Vec<Note>, StoreError> {
        let noted = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema WHERE name = ?");
        let noted = noted.bind(NOTES).fetch_one(&mut *self).await.map_err(sqlite::read_failed)?;
        if noted == 0 {
            return Ok(Vec::new());
        }
        let rows: Vec<NoteRow> =
            sqlx::query_as(READ_NOTES).fetch_all(self).await.map_err(sqlite::read_failed)?;
        Ok(rows.into_iter().map(|row| note(&files::SQLITE, row)).collect())
    }

    async fn apply(&mut self, to: i64) -> Result<(), MigrateError> {
        files::SQLITE.run_to(to, self).await.map_err(|error| named(error, sqlite::change_failed))
    }

    async fn undo(&mut self, to: i64) -> Result<(), MigrateError> {
        files::SQLITE.undo(self, to).await.map_err(|error| named(error, sqlite::change_failed))
    }

    async fn forget(&mut self) -> Result<(), StoreError> {
        sqlx::query(DROP_NOTES).execute(self).await.map_err(sqlite::change_failed).map(drop)
    }
}

impl Target for PgConnection {
    async fn notes(&mut self) -> Result<Vec<Note>, StoreError> {
        let noted = sqlx::query_scalar::<_, bool>("SELECT to_regclass($1) IS NOT NULL");
        let noted = noted.bind(NOTES).fetch_one(&mut *self).await.map_err(postgres::read_failed)?;
        if !noted {
            return Ok(Vec::new());
        }
        let rows: Vec<NoteRow> =
            sqlx::query_as(READ_NOTES).fetch_all(self).await.map_err(postgres::read_failed)?;
        Ok(rows.into_iter().map(|row| note(&files::POSTGRES, row)).collect())
    }

    async fn apply(&mut self, to: i64) -> Result<(), MigrateError> {
        files::POSTGRES.run_to(to, self).await.map_err(|error| named(error, postgres::change_failed))
    }

    async fn undo(&mut self, to: i64) -> Result<(), MigrateError> {
        files::POSTGRES.undo(self, to).await.map_err(|error| named(error, postgres::change_failed))
    }

    async fn forget(&mut self) -> Result<(), StoreError> {
        sqlx::query(DROP_NOTES).execute(self).await.map_err(postgres::change_failed).map(drop)
    }
}

fn named(error: Failure, store: fn(sqlx::Error) -> StoreError) -> MigrateError {
    match error {
        Failure::ExecuteMigration(source, version) => {
            MigrateError::Failed { version, source: Box::new(source) }
        }
        Failure::Execute(source) => MigrateError::Store(store(source)),
        Failure::VersionMissing(version) => MigrateError::Unknown(version),
        Failure::VersionMismatch(version) => MigrateError::Changed(version),
        Failure::Dirty(version) => MigrateError::Dirty(version),
        other => MigrateError::Store(StoreError::Unavailable(Box::new(other))),
    }
}

/// A connection to PostgreSQL on which to migrate: nobody else does as long as it lives. It waits a minute for somebody who
/// does (several nodes that start at once). A migration itself may take as long as it takes.
pub(crate) async fn connect_alone(url: &PostgresUrl) -> Result<PgConnection, StoreError> {
    let mut connection = postgres::connect(url).await?;
    sqlx::query("SET lock_timeout = '1min'")
        .execute(&mut connection)
        .await
        .map_err(postgres::change_failed)?;
    let locked = sqlx::query("SELECT pg_advisory_lock($1)").bind(MIGRATING).execute(&mut connection).await;
    match locked {
        Ok(_) => Ok(connection),
        Err(sqlx::Error::Database(reason)) if reason.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
            Err(StoreError::InUse)
        }
        Err(error) => Err(postgres::change_failed(error)),
    }
}

/// Refuses while nodes are there: not dead, and their lease not over.
pub(crate) async fn require_no_nodes(connection: &mut PgConnection) -> Result<(), StoreError> {
    let known: bool = sqlx::query_scalar("SELECT to_regclass('node') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(postgres::read_failed)?;
    if !known {
        return Ok(());
    }
    let nodes: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM node WHERE state <> 'dead' AND lease_until >= clock_timestamp())",
    )
    .fetch_one(connection)
    .await
    .map_err(postgres::read_failed)?;
    if nodes { Err(StoreError::InUse) } else { Ok(()) }
}
