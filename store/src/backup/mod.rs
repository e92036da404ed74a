//! Backups of SQLite: one file, made while a node works or not, checked whole before anything is touched, and restored so that a
//! crash at any moment leaves either what was there or what was restored.
//!
//! PostgreSQL has tools of its own for that. What both need once they are back in the past is in [`crate::era`].

mod check;
mod file;
mod manifest;
mod restore;

use std::io;
use std::path::{Path, PathBuf};

pub use self::check::check;
pub use self::manifest::{Contents, Manifest};
pub use self::restore::{Restored, restore};
use crate::error::StoreError;
use crate::migrate::MigrateError;
use crate::sqlite;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Schema(#[from] MigrateError),
    #[error("{path}: {what} failed")]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("there is no database at {0}")]
    NoDatabase(PathBuf),
    /// Somewhere a file is in the way.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A database is where one should be restored.
    #[error(
        "there is a database at {0} already: to replace it, say --force; it is then set aside, not deleted"
    )]
    Occupied(PathBuf),
    /// What was to be restored is not what was backed up.
    #[error("not a whole backup: {0}")]
    Broken(String),
    #[error("a backup of form {0}, made by a newer program: use that one")]
    Format(u32),
}

/// Writes a database as it is at one moment into a file that was not there, and checks what it wrote. Whoever works on the database
/// goes on meanwhile. `version` is that of the program.
///
/// # Errors
/// `NoDatabase`, `Exists`; `Store(InUse)` while another backup of the database is made; `Schema` when the database is not one of ours; `Broken` when it is damaged; `File` and `Store` when
/// reading or writing fails. There is no file then.
pub async fn make(database: &Path, to: &Path, version: &str) -> Result<Manifest, BackupError> {
    if !database.exists() {
        return Err(BackupError::NoDatabase(database.to_owned()));
    }
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let _alone = sqlite::lock(&file::beside(database, ".backup"))?;
    let partial = file::beside(to, ".partial");
    let made = fill(database, &partial, version).await;
    let made = made.and_then(|manifest| file::put_in_place(&partial, to).map(|()| manifest));
    if made.is_err() {
        // What is left of it would only be in the way; that it cannot be removed is not what went wrong.
        let _ = std::fs::remove_file(&partial);
    }
    made
}

async fn fill(database: &Path, partial: &Path, version: &str) -> Result<Manifest, BackupError> {
    file::create_anew(partial)?;
    let mut connection = sqlite::connect_to_read(database).await?;
    let copied = copy(&mut connection, partial).await;
    sqlite::close(connection).await;
    let made_at = copied?;
    let contents = check::database(partial).await?;
    let (bytes, sha256) = file::digest(partial, u64::MAX)?;
    let manifest = Manifest::new(version, made_at, contents, bytes, sha256);
    file::append(partial, manifest.line()?.as_bytes())?;
    Ok(manifest)
}

/// Returns when it began: nothing that was committed before is missing.
async fn copy(connection: &mut sqlx::SqliteConnection, to: &Path) -> Result<String, BackupError> {
    let made_at = sqlx::query_scalar("SELECT strftime('%Y-%m-%dT%H:%M:%SZ')").fetch_one(&mut *connection);
    let made_at = made_at.await.map_err(sqlite::read_failed)?;
    let path = to.to_str().ok_or_else(|| BackupError::File {
        what: "naming it in UTF-8",
        path: to.to_owned(),
        source: io::ErrorKind::InvalidFilename.into(),
    })?;
    // One transaction that reads, so as of one moment; and without what was deleted.
    sqlx::query("VACUUM INTO ?").bind(path).execute(connection).await.map_err(sqlite::change_failed)?;
    Ok(made_at)
}
