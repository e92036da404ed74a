//! Why something was not done, in the one form that sockets and HTTP both answer with.

use std::error::Error as StdError;
use std::sync::Arc;

use enfilade_proto::{ErrorCode, TraceId};
use enfilade_store::StoreError;

use crate::named;

/// A refusal: a stable code, a sentence for people, and whether waiting helps.
///
/// `source` is for the log of the one who answers; it is never shown.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    pub retry_after_ms: Option<u64>,
    /// What was wrong with which field of the request.
    pub fields: Vec<FieldError>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The name of the field in the request.
    pub field: &'static str,
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None, fields: Vec::new(), source: None }
    }

    #[must_use]
    pub fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// Something broke on our side; `cause` goes to the log.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let refusal = Self::new(ErrorCode::Internal, "something went wrong on our side");
        Self { source: Some(Arc::from(cause.into())), ..refusal }
    }

    /// Puts it into the log under the name by which it is told.
    pub(crate) fn log(&self, trace_id: TraceId) {
        named::log(trace_id, self.code, &self.message, self.source());
    }

    /// Everything that is wrong with a request, the first of it in front. None if nothing is.
    #[must_use]
    pub fn of_fields(fields: Vec<FieldError>) -> Option<Self> {
        let first = fields.first()?;
        let refusal = Self::new(first.code, first.message.clone());
        Some(Self { fields, ..refusal })
    }

    /// The same for one field.
    #[must_use]
    pub fn of_field(field: &'static str, code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        let fields = vec![FieldError { field, code, message: message.clone() }];
        Self { fields, ..Self::new(code, message) }
    }
}

/// How long to wait for a database that does not answer: about as long as a restart takes.
const DATABASE_RETRY_MS: u64 = 1_000;

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                let refusal = Self::new(ErrorCode::Busy, "the database does not answer right now");
                Self { source: Some(Arc::new(error)), ..refusal.after(DATABASE_RETRY_MS) }
            }
            // It went away while it was being worked on: a room was deleted, a person removed.
            StoreError::Missing => Self::new(ErrorCode::NotFound, "it does not exist any more"),
            _ => Self::internal(error),
        }
    }
}

impl From<&Refusal> for enfilade_proto::Error {
    /// It is logged here under its name, because nobody after us knows the cause.
    fn from(refusal: &Refusal) -> Self {
        let trace_id = named::fresh();
        refusal.log(trace_id);
        Self {
            retry_after_ms: refusal.retry_after_ms,
            trace_id: Some(trace_id),
            ..Self::new(refusal.code, refusal.message.clone())
        }
    }
}
