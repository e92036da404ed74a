//! Reads the clients' journal: a look while it is being written, and the whole afterwards.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use enfilade_loadtest::journal::{Entry, JournalError, JournalReader, Journaled, Moment};
use enfilade_proto::RoomId;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Open(#[from] io::Error),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// How far a crowd is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The rooms it draws in.
    pub rooms: Vec<RoomId>,
    pub accepted: u64,
}

/// # Errors
/// When the journal is not there or not one.
pub fn progress(path: &Path) -> Result<Progress, ReadError> {
    let mut progress = Progress::default();
    each(path, |_, entry| match entry {
        Entry::Room { room, .. } => progress.rooms.push(*room),
        Entry::Accepted { .. } => progress.accepted += 1,
        _ => {}
    })?;
    Ok(progress)
}

/// Hands over what clients wrote, line by line.
///
/// # Errors
/// When the journal is not there or not one.
pub fn each(path: &Path, mut take: impl FnMut(&Moment, &Entry)) -> Result<(), ReadError> {
    let file = BufReader::new(File::open(path)?);
    let mut reader = JournalReader::new(file, &path.display().to_string());
    while let Some((moment, told)) = reader.read()? {
        if let Journaled::Entry(entry) = told {
            take(&moment, &entry);
        }
    }
    Ok(())
}
