//! Brings facts out of files: exports of the log, and journals.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use enfilade_proto::RoomId;

use super::{JournalScan, LogScan};
use crate::export::{ExportError, read_export};
use crate::journal::read::read_side_by_side;
use crate::journal::{Entry, JournalError, JournalReader, Journaled};

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot read {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Export(#[from] ExportError),
}

fn open(path: &Path) -> Result<BufReader<File>, FilesError> {
    let opened = File::open(path).map_err(|source| FilesError::Open { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(1 << 16, opened))
}

/// # Errors
/// When a file cannot be read or is no whole export.
pub fn scan_exports(scan: &mut LogScan, paths: &[PathBuf]) -> Result<(), FilesError> {
    for path in paths {
        let file = path.display().to_string();
        read_export(open(path)?, &file, |moment, line| scan.line(moment, &line))?;
    }
    Ok(())
}

/// # Errors
/// When a file cannot be read or is no journal.
pub fn scan_journals(scan: &mut JournalScan, paths: &[PathBuf]) -> Result<(), FilesError> {
    let readers = paths.iter().map(|path| Ok(JournalReader::new(open(path)?, &path.display().to_string())));
    let readers = readers.collect::<Result<_, FilesError>>()?;
    Ok(read_side_by_side(readers, |moment, told| scan.told(moment, told))?)
}

/// The rooms that journals tell of, and the secrets of links into them.
///
/// # Errors
/// When a file cannot be read or is no journal.
pub fn rooms_of(paths: &[PathBuf]) -> Result<BTreeMap<RoomId, Option<String>>, FilesError> {
    let mut rooms = BTreeMap::new();
    for path in paths {
        let mut reader = JournalReader::new(open(path)?, &path.display().to_string());
        while let Some((_, told)) = reader.read()? {
            if let Journaled::Entry(Entry::Room { room, link, .. }) = told {
                rooms.insert(room, link);
            }
        }
    }
    Ok(rooms)
}
