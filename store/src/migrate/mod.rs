//! Brings the schema of a database up and down, one numbered step at a time, and says where it stands.
//!
//! The steps are the files in `migrations/`, which are part of the program: the same numbers and names for every database.
//! Each one happens wholly or not at all, together with the note that it happened. Nobody else migrates meanwhile.
//!
//! SQLite's file is one process's: up and down refuse while another works on it. On PostgreSQL `up` may run beside nodes of
//! the version before, because a step adds what is new before a later version's step removes what is old; `down` refuses
//! while nodes are there.
//!
//! A new one takes the next number, two files for each database and a line in [`files`], which says how old a program may be that
//! works with the schema afterwards: at least the version before this one. That is noted in the database with the step's name, so
//! that a node of the version before can start again while an upgrade is under way. A step that was released is never changed.

mod files;
mod target;

use crate::database_url::{DatabaseUrl, PostgresUrl};
use crate::error::StoreError;
use crate::{postgres, sqlite};
pub use files::NEWEST;
use files::exists;
use target::{Note, Target};
pub(crate) use target::{connect_alone, require_no_nodes};

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
    /// It was applied by a newer program, which says that this one can go on working.
    Newer,
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

/// Applies what is pending, through version `to` or all. Creates SQLite's database if there is none. Returns what was
/// applied.
///
/// # Errors
/// `NoSuchVersion` for an unknown `to`; `Unknown`, `Changed` or `Dirty` when the schema is not one of ours; `Failed`;
/// `Store(InUse)` while another process works on the file, or migrates; `Store(Unavailable)` when it cannot be opened.
pub async fn up(database: &DatabaseUrl, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let to = to.map_or(Ok(NEWEST), existing)?;
    match database {
        DatabaseUrl::Sqlite(path) => {
            let _lock = sqlite::lock(path)?;
            sqlite::create(path)?;
            let mut connection = sqlite::connect(path).await?;
            let done = up_on(&mut connection, to).await;
            sqlite::close(connection).await;
            done
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = connect_alone(url).await?;
            let done = up_on(&mut connection, to).await;
            postgres::close(connection).await;
            done
        }
    }
}

/// Undoes what was applied after version `to` (0 leaves no table), or the last step only, together with the data in it.
/// Returns what was undone, the newest first.
///
/// # Errors
/// As [`up`]; `Store(InUse)` also while nodes are there.
pub async fn down(database: &DatabaseUrl, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let to = to.map(|to| if to == 0 { Ok(0) } else { existing(to) }).transpose()?;
    match database {
        DatabaseUrl::Sqlite(path) if !path.exists() => Ok(Vec::new()),
        DatabaseUrl::Sqlite(path) => {
            let _lock = sqlite::lock(path)?;
            let mut connection = sqlite::connect(path).await?;
            let done = down_on(&mut connection, to).await;
            sqlite::close(connection).await;
            done
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = connect_alone(url).await?;
            let done = match require_no_nodes(&mut connection).await {
                Ok(()) => down_on(&mut connection, to).await,
                Err(refusal) => Err(refusal.into()),
            };
            postgres::close(connection).await;
            done
        }
    }
}

/// Every migration that this program has or the database noted, in order. Reads only, also while servers run.
///
/// # Errors
/// `Store` when the database cannot be read.
pub async fn status(database: &DatabaseUrl) -> Result<Vec<Step>, MigrateError> {
    match database {
        DatabaseUrl::Sqlite(path) if !path.exists() => Ok(compare(&[])),
        DatabaseUrl::Sqlite(path) => {
            let mut connection = sqlite::connect_to_read(path).await?;
            let steps = status_on(&mut connection).await;
            sqlite::close(connection).await;
            Ok(steps?)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = postgres::connect(url).await?;
            let steps = status_on(&mut connection).await;
            postgres::close(connection).await;
            Ok(steps?)
        }
    }
}

/// Brings the schema of a PostgreSQL database to the newest version, or only requires that it is.
pub(crate) async fn prepare_postgres(url: &PostgresUrl, apply: bool) -> Result<(), StoreError> {
    let (connection, done) = if apply {
        let mut connection = connect_alone(url).await?;
        let done = up_to_newest(&mut connection).await;
        (connection, done)
    } else {
        let mut connection = postgres::connect(url).await?;
        let done = require_newest(&mut connection).await;
        (connection, done)
    };
    postgres::close(connection).await;
    done
}

/// Refuses a schema that is not exactly the one this program works with.
pub(crate) async fn require_newest(connection: &mut impl Target) -> Result<(), StoreError> {
    let steps = status_on(connection).await?;
    sound(&steps)?;
    if steps.iter().any(|step| step.state == State::Pending) { Err(behind(&steps)) } else { Ok(()) }
}

/// The last migration that was applied, if nothing makes it unsafe to work with what they made.
pub(crate) async fn sound_version(connection: &mut impl Target) -> Result<i64, MigrateError> {
    let steps = status_on(connection).await?;
    sound(&steps)?;
    Ok(last_applied(&steps))
}

/// Brings the schema to the newest version, or says why that cannot be.
pub(crate) async fn up_to_newest(connection: &mut impl Target) -> Result<(), StoreError> {
    let applied = up_on(connection, NEWEST).await?;
    for step in applied {
        tracing::info!(version = step.version, name = step.name, "migration applied");
    }
    Ok(())
}

fn existing(version: i64) -> Result<i64, MigrateError> {
    exists(version).then_some(version).ok_or(MigrateError::NoSuchVersion(version))
}

async fn up_on(connection: &mut impl Target, to: i64) -> Result<Vec<Step>, MigrateError> {
    let before = status_on(connection).await?;
    sound(&before)?;
    // Where a newer program was, there is nothing left to do for this one.
    if before.iter().any(|step| step.state == State::Pending) {
        connection.apply(to).await?;
    }
    Ok(before
        .into_iter()
        .filter(|step| step.state == State::Pending && step.version <= to)
        .map(applied)
        .collect())
}

async fn down_on(connection: &mut impl Target, to: Option<i64>) -> Result<Vec<Step>, MigrateError> {
    let before = status_on(connection).await?;
    sound(&before)?;
    // Only the program that has a step can undo it.
    if let Some(newer) = before.iter().find(|step| step.state == State::Newer) {
        return Err(MigrateError::Unknown(newer.version));
    }
    let applied: Vec<Step> = before.into_iter().filter(|step| step.state == State::Applied).collect();
    let to = to.unwrap_or_else(|| applied.iter().rev().nth(1).map_or(0, |step| step.version));
    connection.undo(to).await?;
    if to == 0 {
        connection.forget().await?;
    }
    Ok(applied.into_iter().rev().filter(|step| step.version > to).map(pending).collect())
}

fn applied(step: Step) -> Step {
    Step { state: State::Applied, ..step }
}

fn pending(step: Step) -> Step {
    Step { state: State::Pending, ..step }
}

async fn status_on(connection: &mut impl Target) -> Result<Vec<Step>, StoreError> {
    Ok(compare(&connection.notes().await?))
}

fn compare(notes: &[Note]) -> Vec<Step> {
    let noted = notes.iter().map(|note| Step {
        version: note.version,
        name: note.name.clone(),
        state: match (note.success, note.ours) {
            (false, _) => State::Dirty,
            (true, None) if files::is_for_us(&note.name) => State::Newer,
            (true, None) => State::Unknown,
            (true, Some(false)) => State::Changed,
            (true, Some(true)) => State::Applied,
        },
    });
    let pending = files::all()
        .filter(|(version, _)| notes.iter().all(|note| note.version != *version))
        .map(|(version, name)| Step { version, name: name.to_owned(), state: State::Pending });
    let mut steps: Vec<Step> = noted.chain(pending).collect();
    steps.sort_by_key(|step| step.version);
    steps
}

/// Fails at the first step that makes it unsafe to touch the schema.
fn sound(steps: &[Step]) -> Result<(), MigrateError> {
    steps.iter().try_for_each(|step| match step.state {
        State::Applied | State::Pending | State::Newer => Ok(()),
        State::Dirty => Err(MigrateError::Dirty(step.version)),
        State::Changed => Err(MigrateError::Changed(step.version)),
        State::Unknown => Err(MigrateError::Unknown(step.version)),
    })
}

fn behind(steps: &[Step]) -> StoreError {
    StoreError::Schema { found: last_applied(steps), needed: NEWEST }
}

fn last_applied(steps: &[Step]) -> i64 {
    let applied = steps.iter().take_while(|step| matches!(step.state, State::Applied | State::Newer));
    applied.last().map_or(0, |step| step.version)
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
