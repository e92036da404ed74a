//! What a failure of PostgreSQL means to the caller.
//!
//! The question that matters is whether a commit may have happened. If the server answered with an error, it did not: the
//! whole transaction is undone. If the connection ended without an answer, nobody knows; and the last words of a server
//! that ends a connection (`FATAL`, `PANIC`) may come after the commit as well as before.
//!
//! One case cannot be told apart: with a synchronous standby, an operator who cancels the statement of a commit that waits
//! for the standby (`pg_cancel_backend`) makes the server answer with success and a warning. sqlx hands warnings to the
//! log (target `sqlx::postgres::notice`) and not to its caller, so such a commit counts as done: it is on the disk of this
//! server, but perhaps not on the standby's. Nothing here cancels statements, and no timeout of the server's applies.

use std::io;

use sqlx::Error;
use sqlx::error::ErrorKind;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::error::StoreError;

const DATA_CORRUPTED: &str = "XX001";
const INDEX_CORRUPTED: &str = "XX002";
const COMPLETION_UNKNOWN: &str = "40003";

/// Nothing was asked to change.
pub(crate) fn read_failed(error: Error) -> StoreError {
    change_failed(error)
}

/// A statement failed inside a transaction that is not committed, or before anything was sent.
pub(crate) fn change_failed(error: Error) -> StoreError {
    match &error {
        Error::Database(reason) => match (reason.kind(), reason.code().as_deref()) {
            (ErrorKind::UniqueViolation, _) => StoreError::Exists,
            (ErrorKind::ForeignKeyViolation, _) => StoreError::Missing,
            (_, Some(DATA_CORRUPTED | INDEX_CORRUPTED)) => StoreError::Corrupt(reason.to_string()),
            _ => StoreError::Unavailable(Box::new(error)),
        },
        Error::ColumnDecode { .. } | Error::Decode(_) => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

/// A commit failed, or a statement that commits by itself.
pub(super) fn commit_failed(error: Error) -> StoreError {
    if was_refused(&error) { change_failed(error) } else { StoreError::UnknownOutcome(Box::new(error)) }
}

/// Whether the server answered that it did nothing, and goes on with the connection.
pub(super) fn was_refused(error: &Error) -> bool {
    let Error::Database(reason) = error else { return false };
    let reason = reason.downcast_ref::<PgDatabaseError>();
    matches!(reason.severity(), PgSeverity::Error) && reason.code() != COMPLETION_UNKNOWN
}

/// A deadline passed without an answer.
pub(super) fn too_late() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database did not answer in time"))
}
