//! The last words to a client: why its connection is closed, and the name under which that is in the log.

use bytes::Bytes;
use enfilade_proto::{CloseCode, Closing, Codec, TraceId};

use super::frame;
use crate::named;

/// `error`: the name of the error that it is closed for, if it was told of one.
pub(crate) fn closing(codec: Codec, code: CloseCode, error: Option<TraceId>) -> Bytes {
    let trace_id = error.unwrap_or_else(named::fresh);
    tracing::debug!(%trace_id, code = code.code(), reason = code.reason(), "a connection is closed");
    let closing = Closing { code: code.code(), reason: code.reason().to_owned(), trace_id: Some(trace_id) };
    frame::message(codec == Codec::Json, &codec.encode(None, "closing", &closing))
}
