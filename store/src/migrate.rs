//! Brings the schema of a database up and down, one numbered step at a time, and says where it stands.
//!
//! The steps are the files in `migrations/`, which are part of the program. Each one happens wholly or not at all, together
//! with the note that it happened. Up and down refuse while another process works on the database.
//!
//! A new one takes the next number, two files and a line below. One that was released is never changed.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnection;

use crate::database_url::DatabaseUrl;
use crate::error::StoreError;
use crate::sqlite;

macro_rules! migrations {
    ($($version:literal $name:literal $file:literal,)*) => {
        &[$((
            $version,
            $name,
            include_str!(concat!("../../migrations/sqlite/", $file, ".up.sql")),
            include_str!(concat!("../../migrations/sqlite/", $file, ".down.sql")),
        )),*]
    };
}

/// (version, name, up, down)
const MIGRATIONS: &[(i64, &str, &str, &str)] = migrations! {
    1 "log" "0001_log",
    2 "people" "0002_people",
    3 "rooms" "0003_rooms",
    4 "secrets" "0004_secrets",
    5 "idempotency" "0005_idempotency",
};

/// The version of the schema that this program works with; 0 is a database without tables.
pub const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Where `sqlx` notes what was applied.
const NOTES: &str = "_sqlx_migrations";

/// One migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub version: i64,
    pub name: String,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Applied,
    Pending,
    /// It began and did not end. Nothing works on such a schema until somebody has looked at it.
    Dirty,
    /// Its text is not the one that was applied.
    Changed,
    /// It was applied by a newer program; this one does not have it.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database was not reached, or another process works on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no migration {0}")]
    NoSuchVersion(i64),
    #[error("migration {0} was applied by a newer program: use that one")]
    Unknown(i64),
    #[error("migration {0} is not the one that was applied under its number")]
    Changed(i64),
    #[error("migration {0} began and did not end: the database needs repair")]
    Dirty(i64),
    /// The migration was undone as a whole; those before it stand.
    #[error("migration {version} failed")]
    Failed { version: i64, source: Box<dyn std::error::Error + Send + Sync> },
}

/// Applies what is pending, through version `to` or all. Creates the database if there is none. Returns what was applied.
///
/// # Errors
/// `NoSuchVersion` for an unknown `to`; `Unknown`, `Changed` or `Dirty` when the schema is not one of ours; `Failed`;
/// `Store(InUse)` while another process works on the database, `Store(Unavailable)` when it cannot be opened.
pub async fn up(database: &DatabaseUrl, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let DatabaseUrl::Sqlite(path) = database;
    let to = to.map_or(Ok(NEWEST), existing)?;
    let _lock = sqlite::lock(path)?;
    sqlite::create(path)?;
    let mut connection = sqlite::connect(path).await?;
    let done = up_on(&mut connection, to).await;
    sqlite::close(connection).await;
    done
}

/// Undoes what was applied after version `to` (0 leaves no table), or the last step only, together with the data in it.
/// Returns what was undone, the newest first.
///
/// # Errors
/// As [`up`].
pub async fn down(database: &DatabaseUrl, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let DatabaseUrl::Sqlite(path) = database;
    let to = to.map(|to| if to == 0 { Ok(0) } else { existing(to) }).transpose()?;
    if !path.exists() {
        return Ok(Vec::new());
    }
    let _lock = sqlite::lock(path)?;
    let mut connection = sqlite::connect(path).await?;
    let done = down_on(&mut connection, to).await;
    sqlite::close(connection).await;
    done
}

/// Every migration that this program has or the database noted, in order. Reads only, also while a server runs.
///
/// # Errors
/// `Store` when the database cannot be read.
pub async fn status(database: &DatabaseUrl) -> Result<Vec<Step>, MigrateError> {
    let DatabaseUrl::Sqlite(path) = database;
    if !path.exists() {
        return Ok(compare(&[]));
    }
    let mut connection = sqlite::connect_to_read(path).await?;
    let steps = status_on(&mut connection).await;
    sqlite::close(connection).await;
    Ok(steps?)
}

/// Refuses a schema that is not exactly the one this program works with.
pub(crate) async fn require_newest(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let steps = status_on(connection).await?;
    sound(&steps)?;
    if steps.iter().all(|step| step.state == State::Applied) { Ok(()) } else { Err(behind(&steps)) }
}

/// Brings the schema to the newest version, or says why that cannot be.
pub(crate) async fn up_to_newest(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let applied = up_on(connection, NEWEST).await?;
    for step in applied {
        tracing::info!(version = step.version, name = step.name, "migration applied");
    }
    Ok(())
}

fn existing(version: i64) -> Result<i64, MigrateError> {
    let known = MIGRATIONS.iter().any(|(known, ..)| *known == version);
    known.then_some(version).ok_or(MigrateError::NoSuchVersion(version))
}

async fn up_on(connection: &mut SqliteConnection, to: i64) -> Result<Vec<Step>, MigrateError> {
    let before = status_on(connection).await?;
    sound(&before)?;
    MIGRATOR.run_to(to, &mut *connection).await?;
    Ok(before
        .into_iter()
        .filter(|step| step.state == State::Pending && step.version <= to)
        .map(applied)
        .collect())
}

async fn down_on(connection: &mut SqliteConnection, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let before = status_on(connection).await?;
    sound(&before)?;
    let applied: Vec<Step> = before.into_iter().filter(|step| step.state == State::Applied).collect();
    let to = to.unwrap_or_else(|| applied.iter().rev().nth(1).map_or(0, |step| step.version));
    MIGRATOR.undo(&mut *connection, to).await?;
    if to == 0 {
        sqlx::query("DROP TABLE _sqlx_migrations")
            .execute(connection)
            .await
            .map_err(sqlite::change_failed)?;
    }
    Ok(applied.into_iter().rev().filter(|step| step.version > to).map(pending).collect())
}

fn applied(step: Step) -> Step {
    Step { state: State::Applied, ..step }
}

fn pending(step: Step) -> Step {
    Step { state: State::Pending, ..step }
}

/// What the database noted of a migration.
struct Note {
    version: i64,
    name: String,
    checksum: Vec<u8>,
    success: bool,
}

async fn status_on(connection: &mut SqliteConnection) -> Result<Vec<Step>, StoreError> {
    Ok(compare(&notes(connection).await.map_err(sqlite::read_failed)?))
}

async fn notes(connection: &mut SqliteConnection) -> Result<Vec<Note>, sqlx::Error> {
    let noted = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sqlite_schema WHERE name = ?")
        .bind(NOTES)
        .fetch_one(&mut *connection)
        .await?;
    if noted == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, String, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT version, description, checksum, success FROM _sqlx_migrations ORDER BY version",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(version, name, checksum, success)| Note { version, name, checksum, success })
        .collect())
}

fn compare(notes: &[Note]) -> Vec<Step> {
    let ours =
        MIGRATOR.iter().filter(|migration| migration.migration_type.is_up_migration()).map(|migration| {
            let note = notes.iter().find(|note| note.version == migration.version);
            let state = match note {
                None => State::Pending,
                Some(note) if !note.success => State::Dirty,
                Some(note) if note.checksum != *migration.checksum => State::Changed,
                Some(_) => State::Applied,
            };
            Step { version: migration.version, name: migration.description.to_string(), state }
        });
    let mut steps: Vec<Step> = ours.collect();
    let unknown = notes.iter().filter(|note| !MIGRATOR.version_exists(note.version));
    steps.extend(unknown.map(|note| Step {
        version: note.version,
        name: note.name.clone(),
        state: State::Unknown,
    }));
    steps.sort_by_key(|step| step.version);
    steps
}

/// Fails at the first step that makes it unsafe to touch the schema.
fn sound(steps: &[Step]) -> Result<(), MigrateError> {
    steps.iter().try_for_each(|step| match step.state {
        State::Applied | State::Pending => Ok(()),
        State::Dirty => Err(MigrateError::Dirty(step.version)),
        State::Changed => Err(MigrateError::Changed(step.version)),
        State::Unknown => Err(MigrateError::Unknown(step.version)),
    })
}

fn behind(steps: &[Step]) -> StoreError {
    let applied = steps.iter().take_while(|step| step.state == State::Applied);
    StoreError::Schema { found: applied.last().map_or(0, |step| step.version), needed: NEWEST }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Store(error) => error,
            MigrateError::Unknown(found) => Self::Schema { found, needed: NEWEST },
            MigrateError::Changed(_) | MigrateError::Dirty(_) => Self::Corrupt(error.to_string()),
            MigrateError::NoSuchVersion(_) | MigrateError::Failed { .. } => {
                Self::Unavailable(Box::new(error))
            }
        }
    }
}

impl From<sqlx::migrate::MigrateError> for MigrateError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError as Sqlx;
        match error {
            Sqlx::ExecuteMigration(source, version) => Self::Failed { version, source: Box::new(source) },
            Sqlx::Execute(source) => Self::Store(sqlite::change_failed(source)),
            Sqlx::VersionMissing(version) => Self::Unknown(version),
            Sqlx::VersionMismatch(version) => Self::Changed(version),
            Sqlx::Dirty(version) => Self::Dirty(version),
            other => Self::Store(StoreError::Unavailable(Box::new(other))),
        }
    }
}

static MIGRATOR: LazyLock<Migrator> = LazyLock::new(|| {
    let step = |version, name: &'static str, direction, sql: &'static str| {
        Migration::new(version, name.into(), direction, sql.into_sql_str(), false)
    };
    let both = MIGRATIONS.iter().flat_map(|&(version, name, up, down)| {
        [
            step(version, name, MigrationType::ReversibleUp, up),
            step(version, name, MigrationType::ReversibleDown, down),
        ]
    });
    Migrator::with_migrations(both.collect())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_step_of_the_program() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/sqlite");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let expected: Vec<String> = MIGRATIONS
            .iter()
            .flat_map(|(version, name, ..)| {
                ["down", "up"].map(|way| format!("{version:04}_{name}.{way}.sql"))
            })
            .collect();
        assert_eq!(files, expected);
    }
}
