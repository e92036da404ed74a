//! A refusal: why something was not done, in the words of the protocol.

use enfilade_proto::{Error, ErrorCode};
use serde::{Deserialize, Serialize};

/// The answer to a request that was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }

    /// Too much to do right now: the same request may be sent again after a while.
    #[must_use]
    pub fn busy(message: impl Into<String>, retry_after_ms: u64) -> Self {
        Self { code: ErrorCode::Busy, message: message.into(), retry_after_ms: Some(retry_after_ms) }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self { retry_after_ms: refusal.retry_after_ms, ..Self::new(refusal.code, refusal.message) }
    }
}
