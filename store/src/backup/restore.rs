//! A backup becomes the database again.
//!
//! Everything that may fail happens to a copy beside the database: it is checked, brought to the newest schema and moved to a new
//! era. Then one rename puts it in place. What was there is set aside first, under a second name.

use std::fs;
use std::path::{Path, PathBuf};

use enfilade_proto::Epoch;

use super::BackupError;
use super::check::check;
use super::file::{self, PARTS, beside, failed};
use super::manifest::Manifest;
use crate::error::StoreError;
use crate::{era, migrate, sqlite};

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    pub manifest: Manifest,
    /// Where all shards go on from.
    pub epoch: Epoch,
    /// Where the database is now that was there.
    pub aside: Option<PathBuf>,
}

/// Puts a backup in a database's place, which no node may be working on.
///
/// # Errors
/// As [`check`]; `Occupied` when there is a database and it is not to be replaced; `Store(InUse)` while a node runs. Nothing was
/// touched then.
pub async fn restore(backup: &Path, database: &Path, replace: bool) -> Result<Restored, BackupError> {
    let manifest = check(backup).await?;
    let _alone = sqlite::lock(database)?;
    let occupied = database.exists() || PARTS.iter().any(|part| beside(database, part).exists());
    if occupied && !replace {
        return Err(BackupError::Occupied(database.to_owned()));
    }
    let former = if database.exists() { finish(database).await? } else { Epoch(0) };
    let fresh = beside(database, ".restoring");
    let prepared = prepare(backup, &manifest, &fresh, former).await;
    let placed = prepared.and_then(|epoch| {
        let aside = occupied.then(|| set_aside(database, epoch)).transpose()?;
        file::put_in_place(&fresh, database)?;
        Ok(Restored { manifest, epoch, aside })
    });
    if placed.is_err() {
        // It would only be in the way; that it cannot be removed is not what went wrong.
        let _ = fs::remove_file(&fresh);
        for part in PARTS {
            let _ = fs::remove_file(beside(&fresh, part));
        }
    }
    placed
}

/// Moves the write-ahead log of a database into it, so that one file has everything, and returns the highest epoch in it. What is
/// damaged stays as it is: it will be set aside. The time alone then makes the next era a later one.
async fn finish(database: &Path) -> Result<Epoch, BackupError> {
    let mut connection = match sqlite::connect(database).await {
        Err(StoreError::Corrupt(_)) => return Ok(Epoch(0)),
        connected => connected?,
    };
    let highest = era::highest(&mut connection).await.unwrap_or(Epoch(0));
    let moved = sqlite::move_log_in(&mut connection).await;
    sqlite::close(connection).await;
    match moved {
        Ok(()) | Err(StoreError::Corrupt(_)) => Ok(highest),
        Err(error) => Err(error.into()),
    }
}

/// The database of a backup, ready to be used.
async fn prepare(
    backup: &Path,
    manifest: &Manifest,
    fresh: &Path,
    former: Epoch,
) -> Result<Epoch, BackupError> {
    let mut copy = file::create_anew(fresh)?;
    let (bytes, sha256) = file::copy(backup, manifest.bytes, &mut copy)?;
    if (bytes, &sha256) != (manifest.bytes, &manifest.sha256) {
        return Err(BackupError::Broken("it changed while it was being read".into()));
    }
    let mut connection = sqlite::connect(fresh).await?;
    let prepared = async {
        migrate::up_to_newest(&mut connection).await?;
        let epoch = era::begin(&mut connection, former).await?;
        // Only the file itself is put in place. Without the new era clients would be told that they missed nothing.
        sqlite::move_log_in(&mut connection).await?;
        Ok::<_, BackupError>(epoch)
    };
    let epoch = prepared.await;
    sqlite::close(connection).await;
    epoch
}

/// Gives a database another name beside its own, in which the time is that of the restore. Its write-ahead log, if it could not be
/// moved into it, goes there, too: SQLite would take it for the next database's.
fn set_aside(database: &Path, epoch: Epoch) -> Result<PathBuf, BackupError> {
    let aside = beside(database, &format!(".before-{}", epoch.era()));
    if database.exists() {
        fs::hard_link(database, &aside).map_err(failed("setting it aside", database))?;
    }
    for part in PARTS {
        let (from, to) = (beside(database, part), beside(&aside, part));
        if from.exists() {
            fs::rename(&from, to).map_err(failed("setting it aside", &from))?;
        }
    }
    file::sync_folder_of(database)?;
    Ok(aside)
}
