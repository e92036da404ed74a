//! Every error that somebody is told has a name, under which it is in the log: the id of the trace that it belongs to, or else one of its
//! own.

use enfilade_proto::{Error, ErrorCode, TraceId};

/// A name that nothing else has.
pub(crate) fn fresh() -> TraceId {
    TraceId::new(rand::random())
}

/// Gives an error a name and puts it into the log, unless that was done where it broke.
pub(crate) fn name(error: &mut Error, trace: Option<TraceId>) {
    if error.trace_id.is_some() {
        return;
    }
    let trace_id = trace.unwrap_or_else(fresh);
    error.trace_id = Some(trace_id);
    let Error { code, message, .. } = error;
    if *code == ErrorCode::Internal {
        tracing::error!(%trace_id, %code, message, "a request failed");
    } else {
        tracing::debug!(%trace_id, %code, message, "a request was refused");
    }
}
