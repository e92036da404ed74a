//! Whether a backup is whole: its manifest, its sum, and the database in it from the first page to the last.

use std::path::Path;

use sqlx::{ConnectOptions as _, SqliteConnection};

use super::BackupError;
use super::file;
use super::manifest::{Contents, LONGEST, Manifest};
use crate::{migrate, sqlite};

/// Reads a backup from beginning to end and says what is in it. Changes nothing.
///
/// # Errors
/// `Broken` when anything in it is not as it was written; `Format` or `Schema` when a newer program made it; `File` when it cannot
/// be read.
pub async fn check(backup: &Path) -> Result<Manifest, BackupError> {
    let (len, end) = file::end(backup, LONGEST)?;
    let manifest = Manifest::read(&end, len)?;
    let (_, sha256) = file::digest(backup, manifest.bytes)?;
    if sha256 != manifest.sha256 {
        return Err(BackupError::Broken(
            "its sum is not that of the manifest: some of it was changed".into(),
        ));
    }
    let contents = database(backup).await?;
    if contents != manifest.contents {
        return Err(BackupError::Broken(format!(
            "its manifest says {:?}, and in it are {contents:?}",
            manifest.contents
        )));
    }
    Ok(manifest)
}

/// Looks at every page of a database that nobody works on, and counts what is in it.
pub(super) async fn database(path: &Path) -> Result<Contents, BackupError> {
    // Immutable: neither locks nor a write-ahead log, so that nothing is written beside it.
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(sqlite::read_failed)?;
    let contents = look(&mut connection).await;
    sqlite::close(connection).await;
    contents
}

async fn look(connection: &mut SqliteConnection) -> Result<Contents, BackupError> {
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut *connection)
        .await
        .map_err(sqlite::read_failed)?;
    if found != "ok" {
        return Err(BackupError::Broken(format!("its database is damaged: {found}")));
    }
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut *connection).await;
    if dangling.map_err(sqlite::read_failed)?.is_some() {
        return Err(BackupError::Broken("its database is damaged: something belongs to nothing".into()));
    }
    let schema = migrate::sound_version(connection).await?;
    let (people, rooms, ops) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM user_account), (SELECT count(*) FROM room),
                (SELECT coalesce(sum(seq_to - seq_from + 1), 0) FROM room_log)",
    )
    .fetch_one(connection)
    .await
    .map_err(sqlite::read_failed)?;
    Ok(Contents { schema, people, rooms, ops })
}
