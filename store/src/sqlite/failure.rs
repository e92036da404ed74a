//! What a failure of SQLite means to the caller.
//!
//! The question that matters is whether a commit that failed may come back. SQLite forgets it in this process; but when its
//! frames are in the write-ahead log and only what follows failed (an fsync, shared memory), the next process to open the
//! file finds them there and takes them for committed. Only codes that cannot arise so late mean "certainly nothing".

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use crate::error::StoreError;

const SQLITE_IOERR: u32 = 10;
const SQLITE_NOMEM: u32 = 7;
const SQLITE_INTERNAL: u32 = 2;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_NOTADB: u32 = 26;

/// Nothing was asked to change.
pub(crate) fn read_failed(error: Error) -> StoreError {
    change_failed(error)
}

/// A statement failed inside a transaction, which is hence undone.
pub(crate) fn change_failed(error: Error) -> StoreError {
    match &error {
        Error::Database(reason) => {
            refused(&**reason).unwrap_or_else(|| StoreError::Unavailable(Box::new(error)))
        }
        Error::ColumnDecode { .. } | Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

/// A commit failed, or a statement that commits by itself.
pub(super) fn commit_failed(error: Error) -> StoreError {
    let certain = match &error {
        Error::Database(reason) => primary(&**reason)
            .is_some_and(|code| !matches!(code, SQLITE_IOERR | SQLITE_NOMEM | SQLITE_INTERNAL)),
        _ => false,
    };
    if certain { change_failed(error) } else { StoreError::UnknownOutcome(Box::new(error)) }
}

/// Whether a connection is as good after this as before: the statement was refused, nothing else happened.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Database(reason) if !matches!(reason.kind(), ErrorKind::Other))
}

fn refused(reason: &dyn DatabaseError) -> Option<StoreError> {
    match (reason.kind(), primary(reason)) {
        (ErrorKind::UniqueViolation, _) => Some(StoreError::Exists),
        (ErrorKind::ForeignKeyViolation, _) => Some(StoreError::Missing),
        (_, Some(SQLITE_CORRUPT | SQLITE_NOTADB)) => Some(StoreError::Corrupt(reason.to_string())),
        _ => None,
    }
}

/// The low byte of the extended code tells the class of the error.
fn primary(reason: &dyn DatabaseError) -> Option<u32> {
    Some(reason.code()?.parse::<u32>().ok()? & 0xff)
}
