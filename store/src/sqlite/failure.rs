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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::error::Error as StdError;
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Code(u32);

    impl fmt::Display for Code {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "code {}", self.0)
        }
    }

    impl StdError for Code {}

    impl DatabaseError for Code {
        fn message(&self) -> &str {
            "as a disk would say"
        }

        fn code(&self) -> Option<Cow<'_, str>> {
            Some(self.0.to_string().into())
        }

        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            match self.0 {
                1_555 | 2_067 => ErrorKind::UniqueViolation,
                787 => ErrorKind::ForeignKeyViolation,
                _ => ErrorKind::Other,
            }
        }
    }

    fn code(code: u32) -> Error {
        Error::Database(Box::new(Code(code)))
    }

    #[test]
    fn a_commit_that_may_come_back_is_not_called_undone() {
        // Reading, writing and syncing failed; shared memory did not grow; no memory; a bug; the thread is gone.
        for error in [code(266), code(778), code(1_034), code(4_874), code(7), code(2), Error::WorkerCrashed]
        {
            let text = error.to_string();
            assert!(matches!(commit_failed(error), StoreError::UnknownOutcome(_)), "{text}");
        }
    }

    #[test]
    fn a_commit_that_did_not_begin_is_called_undone() {
        // Full; busy and locked in their variants; read-only; cannot open.
        for error in [code(13), code(5), code(517), code(6), code(8), code(14)] {
            let text = error.to_string();
            assert!(matches!(commit_failed(error), StoreError::Unavailable(_)), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_named_after_its_reason() {
        assert!(matches!(change_failed(code(1_555)), StoreError::Exists));
        assert!(matches!(change_failed(code(2_067)), StoreError::Exists));
        assert!(matches!(change_failed(code(787)), StoreError::Missing));
        assert!(matches!(change_failed(code(11)), StoreError::Corrupt(_)));
        assert!(matches!(change_failed(code(26)), StoreError::Corrupt(_)));
        assert!(matches!(change_failed(code(10)), StoreError::Unavailable(_)));
        assert!(matches!(read_failed(Error::Decode("nonsense".into())), StoreError::Corrupt(_)));
        assert!(matches!(read_failed(Error::PoolTimedOut), StoreError::Unavailable(_)));
    }
}
