//! A room: its history, who is in it, and who must hear of what.
//!
//! [`Room`] decides, the room actor carries. `Room` never waits and reads neither clock nor chance, so that a test plays an hour
//! of a busy room in a millisecond.
//!
//! An op goes through four steps: it is applied to the state and numbered, it waits while the batch before it is committed, it
//! is committed with everything that waited, and only then it is answered and shown. So the state runs ahead of what anybody
//! has seen by at most two batches, and whoever asks for the state gets it when it has become durable.
//! *Invariant*: there is no way to publish an op that was not committed.

mod checkpoint;
mod commit;
mod dedup;
mod edges;
mod exchange;
mod form;
mod gone;
mod inspection;
mod load;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{
    ClientId, Epoch, ErrorCode, LoggedOp, Member, Op, OpId, Position, RoomId, RoomKind, Seq, UserId,
};
use enfilade_store::Incarnation;

use self::checkpoint::CheckpointState;
use self::commit::{Reader, Retry, Waiting};
use self::dedup::{Dedup, Known};
use self::edges::EDGE_SILENT_MS;
use self::gone::Gone;
use crate::bus::{RoomEvent, Submission, Writer};
use crate::kind::Kind;
use crate::presence::Presence;
use crate::refusal::Refusal;

pub use self::exchange::{Audience, Effect, Input, Token};
pub(crate) use self::form::{CHECKPOINT_FORM, write_row};
pub use self::form::{CheckpointParts, read_row};
pub use self::inspection::Inspection;

/// What an operator may change about rooms.
#[derive(Clone, Debug)]
pub struct RoomSettings {
    /// A room that nobody used for this long goes to sleep.
    pub idle_ms: u64,
    /// A checkpoint is due after this many ops,
    pub checkpoint_ops: u64,
    /// or after this many bytes of log, or as many as the last checkpoint had, whichever is more.
    pub checkpoint_bytes: u64,
}

impl Default for RoomSettings {
    fn default() -> Self {
        Self { idle_ms: 60_000, checkpoint_ops: 5_000, checkpoint_bytes: 1 << 20 }
    }
}

/// Ops that may wait for the batch before them; beyond that the room is busy.
const PENDING_OPS: usize = 4_096;
const _: () =
    assert!(PENDING_OPS >= OPS_IN_FLIGHT * 4, "a few clients at their own bound do not make a room busy");

/// Joins that may wait for their snapshot to become durable; an edge has one at a time.
const PENDING_READS: usize = 1_024;

/// How long a client may be away before the stroke it was drawing is closed for it.
const ABANDONED_MS: u64 = 5_000;

/// With more edges than this, one multicast costs less than a message to each.
const EDGES_APART: usize = 8;

#[derive(Debug)]
pub struct Room {
    id: RoomId,
    kind_name: RoomKind,
    epoch: Epoch,
    settings: RoomSettings,
    state: Box<dyn Kind>,
    dedup: Dedup,
    presence: Presence,
    /// The edges that are attached, and when they said so last.
    edges: BTreeMap<Incarnation, u64>,
    /// The last op that was applied; those after `committed` are not durable yet.
    head: Seq,
    committed: Seq,
    /// The batch that is being written. Empty when only the fence is asked.
    in_flight: Option<Vec<Arc<LoggedOp>>>,
    /// What comes after it.
    pending: Vec<Arc<LoggedOp>>,
    /// Who waits for which seq to be durable, in that order.
    submitters: VecDeque<(Seq, Token)>,
    /// Who waits for a commit that is asked for after they came: for the next one, and for the one in flight.
    waiting: Waiting,
    riding: Waiting,
    retry: Option<Retry>,
    gone: Gone,
    checkpoint: CheckpointState,
    woken_ms: u64,
    last_use_ms: u64,
}

impl Room {
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.committed }
    }

    /// The one way in. What has to be done is added to `effects`.
    pub fn handle(&mut self, now_ms: u64, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Submit { token, submission } => self.submit(now_ms, token, submission, effects),
            Input::Attach { token, edge, contents } => self.attach(now_ms, token, edge, contents, effects),
            Input::Notice { from, notice } => self.notice(now_ms, from, notice, effects),
            Input::EdgeGone(edge) => self.detach(now_ms, edge, effects),
            Input::Committed => self.committed(effects),
            Input::CommitFailed => self.commit_failed(now_ms),
            Input::CheckpointWritten { seq, bytes } => self.checkpoint_written(seq, bytes),
            Input::CheckpointFailed => self.checkpoint_failed(now_ms),
            Input::Tick => self.tick(now_ms, effects),
        }
        self.presence.expire(now_ms);
        if !self.edges.is_empty() || self.presence.count() > 0 {
            self.last_use_ms = now_ms;
        }
        if let Some(digest) = self.presence.take_digest(now_ms) {
            self.publish(RoomEvent::Presence(digest), effects);
        }
        self.commit_next(effects);
        self.checkpoint_if_due(now_ms, effects);
    }

    fn submit(&mut self, now_ms: u64, token: Token, submission: Submission, effects: &mut Vec<Effect>) {
        self.last_use_ms = now_ms;
        let refusal = match self.dedup.look_up(submission.writer, submission.op_id) {
            Known::Applied(seq) if seq <= self.committed => {
                return effects.push(Effect::Accept { token, seq });
            }
            Known::Applied(seq) => return self.await_seq(seq, token),
            Known::Expired => {
                Refusal::new(ErrorCode::OpExpired, "too many ops of this client came after this one")
            }
            Known::New => match self.accept(now_ms, submission) {
                Ok(seq) => return self.await_seq(seq, token),
                Err(refusal) => refusal,
            },
        };
        if refusal.code == ErrorCode::Busy {
            effects.push(Effect::Refuse { token, refusal });
        } else {
            self.waiting.refusals.push((token, refusal));
        }
    }

    fn accept(&mut self, now_ms: u64, submission: Submission) -> Result<Seq, Refusal> {
        if self.pending.len() >= PENDING_OPS {
            return Err(Refusal::busy("too many ops are waiting in this room", 200));
        }
        let Submission { writer, role, op_id, op, weight, .. } = submission;
        // Its ops are not remembered by id, so whoever used it would have them applied twice.
        if writer.client == ClientId::ROOM {
            return Err(Refusal::new(ErrorCode::InvalidRequest, "the nil client is the room's own"));
        }
        self.state.permits(role, &op)?;
        let seq = self.apply(now_ms, writer, op_id, op)?;
        self.checkpoint.log_bytes += u64::from(weight);
        self.tidy(now_ms);
        Ok(seq)
    }

    fn apply(&mut self, at: u64, writer: Writer, op_id: OpId, op: Op) -> Result<Seq, Refusal> {
        let Writer { author, client } = writer;
        let seq = self.head.next();
        let op = self.state.apply(seq, author, op)?;
        self.head = seq;
        self.dedup.applied(writer, op_id, seq);
        self.pending.push(Arc::new(LoggedOp { author, client, op_id, at, op }));
        Ok(seq)
    }

    /// Lets the room do to itself what keeps it within its bounds.
    fn tidy(&mut self, now_ms: u64) {
        while let Some(op) = self.state.tidy() {
            if self.apply_own(now_ms, UserId::ROOM, op).is_err() {
                return;
            }
        }
    }

    fn apply_own(&mut self, now_ms: u64, author: UserId, op: Op) -> Result<Seq, Refusal> {
        self.apply(now_ms, Writer { author, client: ClientId::ROOM }, OpId(0), op)
    }

    fn attach(
        &mut self,
        now_ms: u64,
        token: Token,
        edge: Option<Incarnation>,
        contents: bool,
        effects: &mut Vec<Effect>,
    ) {
        if self.waiting.readers.len() + self.riding.readers.len() >= PENDING_READS {
            let refusal = Refusal::busy("too many joins are waiting in this room", 200);
            effects.push(Effect::Refuse { token, refusal });
            return;
        }
        self.last_use_ms = now_ms;
        let known = edge.is_none_or(|edge| self.edges.insert(edge, now_ms).is_some());
        if !known {
            self.tell_edges(effects);
            if !contents {
                // It has a mirror: it was with the owner before us, and is about to say who is there.
                self.settle(now_ms);
            }
        }
        let contents = contents.then(|| {
            let latest = self.riding.readers.iter().chain(&self.waiting.readers).rev();
            latest
                .take_while(|reader| reader.seq == self.head)
                .find_map(|reader| reader.contents.clone())
                .unwrap_or_else(|| self.state.snapshot())
        });
        self.waiting.readers.push(Reader { seq: self.head, token, contents, known });
    }

    fn close_abandoned(&mut self, now_ms: u64) {
        while let Some(writer) = self.gone.take_over(now_ms) {
            if let Some(op) = self.state.abandon(writer)
                && self.apply_own(now_ms, writer.author, op).is_ok()
            {
                self.tidy(now_ms);
            }
        }
    }

    fn tick(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        self.drop_silent_edges(now_ms, effects);
        self.close_abandoned(now_ms);
        self.retry_commit(now_ms, effects);
        if self.is_idle() && now_ms >= self.last_use_ms + self.settings.idle_ms {
            if self.checkpoint.seq == self.committed {
                effects.push(Effect::Sleep);
            } else {
                self.take_checkpoint(now_ms);
            }
        }
    }

    /// Whether nobody is here, and nothing is under way.
    fn is_idle(&self) -> bool {
        self.edges.is_empty()
            && self.presence.count() == 0
            && self.gone.is_empty()
            && self.in_flight.is_none()
            && self.pending.is_empty()
            && self.waiting.is_empty()
            && !self.checkpoint.under_way()
    }

    /// When [`Input::Tick`] is wanted, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let abandoned = self.gone.next_deadline();
        let retry = self.retry.as_ref().map(|retry| retry.at_ms).filter(|at| *at != u64::MAX);
        let idle_ms = self.last_use_ms + self.settings.idle_ms;
        let sleep = self.is_idle().then_some(idle_ms.max(self.checkpoint.not_before_ms));
        let silent = self.edges.values().min().map(|heard_ms| heard_ms + EDGE_SILENT_MS);
        [abandoned, retry, sleep, silent, self.presence.next_deadline()].into_iter().flatten().min()
    }

    fn publish(&self, event: RoomEvent, effects: &mut Vec<Effect>) {
        if !self.edges.is_empty() {
            let apart = self.edges.len() <= EDGES_APART;
            let to = if apart {
                Audience::Edges(self.edges.keys().copied().collect())
            } else {
                Audience::Listeners
            };
            effects.push(Effect::Publish { to, event });
        }
    }

    /// Some of those who are here, by id, after the one given.
    #[must_use]
    pub fn people(&self, after: Option<UserId>, limit: usize) -> Vec<Member> {
        self.presence.page(after, limit)
    }
}

#[cfg(test)]
mod tests;
