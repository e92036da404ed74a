//! The ops in a room whose way is traced: where on it they are, from when the room takes them in until they are answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use enfilade_proto::{LoggedOp, OpId, RoomId, Seq, TraceParent};

use crate::bus::{Refused, Submission, Writer};
use crate::refusal::Refusal;
use crate::room::Token;
use crate::trace::{Side, Span, TRACES, Tracer};

/// Bounded as those are who wait for answers.
#[derive(Debug, Default)]
pub(super) struct TracedOps(BTreeMap<Token, TracedOp>);

#[derive(Debug)]
struct TracedOp {
    writer: Writer,
    op_id: OpId,
    /// The last step of its way,
    at: TraceParent,
    /// and that which has not ended.
    span: Option<Span>,
}

impl TracedOp {
    fn is_among(&self, ops: &[Arc<LoggedOp>]) -> bool {
        let Writer { author, client } = self.writer;
        ops.iter().any(|op| (op.author, op.client, op.op_id) == (author, client, self.op_id))
    }
}

/// The room ends before it has done anything with it.
impl Drop for TracedOp {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            drop(span.failed(Refused::Gone.as_str()));
        }
    }
}

impl TracedOps {
    /// The room has the op. This step ends with the commit that the op waits for.
    pub(super) fn begin(
        &mut self,
        tracer: &Tracer,
        room: RoomId,
        token: Token,
        submission: &Submission,
        parent: TraceParent,
    ) {
        let Some(span) = tracer.child(parent, "room", Side::Internal) else { return };
        let span = span.with("room.id", room.to_string());
        let Submission { writer, op_id, .. } = *submission;
        self.0.insert(token, TracedOp { writer, op_id, at: span.context(), span: Some(span) });
    }

    /// These ops are handed to a committer.
    pub(super) fn commit(&mut self, tracer: &Tracer, ops: &[Arc<LoggedOp>]) -> Vec<Span> {
        let mut spans = Vec::new();
        for traced in self.0.values_mut().filter(|traced| traced.is_among(ops)).take(TRACES) {
            traced.span = None;
            if let Some(span) = tracer.child(traced.at, "commit", Side::Internal) {
                traced.at = span.context();
                spans.push(span);
            }
        }
        spans
    }

    /// The last steps of those among these ops, which go on to the edges.
    pub(super) fn of(&self, ops: &[Arc<LoggedOp>]) -> Vec<TraceParent> {
        let told = self.0.values().filter(|traced| traced.is_among(ops));
        told.take(TRACES).map(|traced| traced.at).collect()
    }

    pub(super) fn answered(&mut self, token: Token, result: &Result<Seq, Refusal>) {
        let Some(span) = self.0.remove(&token).and_then(|mut traced| traced.span.take()) else { return };
        match result {
            Ok(seq) => drop(span.with("op.seq", seq.0)),
            Err(refusal) => drop(span.failed(refusal.code.as_str())),
        }
    }
}
