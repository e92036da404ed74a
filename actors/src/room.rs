//! A room: its history, who is in it, and who must hear of what.
//!
//! [`Room`] decides, the room actor carries. `Room` never waits and reads neither clock nor chance, so that a test plays an hour
//! of a busy room in a millisecond.
//!
//! An op goes through four steps: it is applied to the state and numbered, it waits while the batch before it is committed, it
//! is committed with everything that waited, and only then it is answered and shown. So the state runs ahead of what anybody
//! has seen by at most two batches, and whoever asks for the state gets it when it has become durable.
//! *Invariant*: there is no way to publish an op that was not committed.

mod dedup;
mod edges;
mod form;
mod gone;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{
    ClientId, Epoch, ErrorCode, LoggedOp, Member, Op, OpId, Position, RoomId, RoomKind, Seq, UserId,
};
use enfilade_store::{Checkpoint, Incarnation, LogRow};

use self::dedup::{Dedup, Known};
use self::edges::EDGE_SILENT_MS;
pub(crate) use self::form::{CHECKPOINT_FORM, write_row};
pub use self::form::{CheckpointParts, read_row};
use self::gone::Gone;
use crate::bus::{Attached, Notice, RoomEvent, Submission, Writer};
use crate::kind::{self, Contents, Kind};
use crate::presence::Presence;
use crate::refusal::Refusal;

/// Names a request while its answer is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Everything that can happen to a room; nothing else wakes it.
#[derive(Debug)]
pub enum Input {
    Submit {
        token: Token,
        submission: Submission,
    },
    /// Somebody wants to see the room; an edge also wants to hear of what happens in it from now on.
    Attach {
        token: Token,
        edge: Option<Incarnation>,
        /// Whether the answer shall have the room's contents.
        contents: bool,
    },
    Notice {
        from: Incarnation,
        notice: Notice,
    },
    /// An edge is gone for good.
    EdgeGone(Incarnation),
    /// The batch in flight is on disk.
    Committed,
    /// The batch in flight was certainly not written; the database is not available.
    CommitFailed,
    /// The checkpoint at this seq is on disk, in so many bytes.
    CheckpointWritten {
        seq: Seq,
        bytes: u64,
    },
    CheckpointFailed,
    /// The time that [`Room::next_deadline`] gave has come.
    Tick,
}

/// What the outside has to do, in exactly this order.
#[derive(Debug)]
pub enum Effect {
    /// Write these ops, the first of which has this seq. None: only ask the fence. Answered by `Committed` or `CommitFailed`.
    Commit {
        first: Seq,
        ops: Vec<Arc<LoggedOp>>,
    },
    Accept {
        token: Token,
        seq: Seq,
    },
    Refuse {
        token: Token,
        refusal: Refusal,
    },
    Attached {
        token: Token,
        attached: Attached,
    },
    Publish {
        to: Audience,
        event: RoomEvent,
    },
    Checkpoint {
        seq: Seq,
        parts: CheckpointParts,
    },
    /// Nobody needs the room; all of it is on disk.
    Sleep,
}

/// Who is to hear of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    Edges(Vec<Incarnation>),
    /// All edges that are attached: so many that they listen to the room together.
    Listeners,
    /// Every edge there is.
    Everybody,
}

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

/// Wait before a failed commit is tried again: doubled each time, up to the latter.
const RETRY_MS: u64 = 50;
const RETRY_MOST_MS: u64 = 2_000;

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

/// What is told from the state alone would be wrong if another owner had changed it. So it waits until the fence was asked,
/// and was asked later than the room.
#[derive(Debug, Default)]
struct Waiting {
    readers: Vec<Reader>,
    refusals: Vec<(Token, Refusal)>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.refusals.is_empty()
    }
}

#[derive(Debug)]
struct Reader {
    seq: Seq,
    token: Token,
    contents: Option<Contents>,
    /// Whether the edge was attached before.
    known: bool,
}

#[derive(Debug)]
struct Retry {
    at_ms: u64,
    wait_ms: u64,
}

#[derive(Debug, Default)]
struct CheckpointState {
    /// The last one on disk, and about how large it is.
    seq: Seq,
    bytes: u64,
    /// Bytes of log since then.
    log_bytes: u64,
    /// Taken, and waiting for the ops in it to be committed.
    taken: Option<(Seq, CheckpointParts)>,
    being_written: bool,
    /// After a failure: when it may be tried again.
    not_before_ms: u64,
}

impl CheckpointState {
    fn under_way(&self) -> bool {
        self.being_written || self.taken.is_some()
    }
}

/// Wait before a failed checkpoint is tried again. Nothing is lost without it, but the log grows.
const CHECKPOINT_RETRY_MS: u64 = 10_000;

impl Room {
    /// A room as the database has it: its last checkpoint, and the rows of the log after that.
    ///
    /// # Errors
    /// When stored data cannot be read, or there is a gap in it.
    pub fn load(
        id: RoomId,
        kind_name: RoomKind,
        epoch: Epoch,
        settings: RoomSettings,
        checkpoint: Option<&Checkpoint>,
        rows: &[LogRow],
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let (state, dedup) = match checkpoint {
            Some(checkpoint) => form::read_checkpoint(checkpoint.format, &checkpoint.body, kind_name)?,
            None => (kind::create(kind_name)?, Dedup::default()),
        };
        let seq = checkpoint.map_or(Seq(0), |checkpoint| checkpoint.seq);
        let bytes = checkpoint.map_or(0, |checkpoint| checkpoint.body.len() as u64);
        let mut room = Self {
            id,
            kind_name,
            epoch,
            settings,
            state,
            dedup,
            presence: Presence::default(),
            edges: BTreeMap::new(),
            head: seq,
            committed: seq,
            in_flight: None,
            pending: Vec::new(),
            submitters: VecDeque::new(),
            waiting: Waiting::default(),
            riding: Waiting::default(),
            retry: None,
            gone: Gone::default(),
            checkpoint: CheckpointState { seq, bytes, ..CheckpointState::default() },
            woken_ms: now_ms,
            last_use_ms: now_ms,
        };
        rows.iter().try_for_each(|row| room.replay(row))?;
        Ok(room)
    }

    fn replay(&mut self, row: &LogRow) -> Result<(), Refusal> {
        if row.first > self.head.next() {
            let message = format!("the log lacks ops {} to {}", self.head.next(), Seq(row.first.0 - 1));
            return Err(Refusal::new(ErrorCode::Internal, message));
        }
        let mut seq = row.first;
        for logged in read_row(&row.ops)? {
            if seq > self.head {
                self.state.replay(seq, logged.author, &logged.op);
                let writer = Writer { author: logged.author, client: logged.client };
                self.dedup.applied(writer, logged.op_id, seq);
                self.head = seq;
            }
            seq = seq.next();
        }
        self.committed = self.head;
        self.checkpoint.log_bytes += row.ops.len() as u64;
        Ok(())
    }

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
            Input::CheckpointFailed => {
                self.checkpoint.being_written = false;
                self.checkpoint.not_before_ms = now_ms + CHECKPOINT_RETRY_MS;
            }
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

    /// Keeps the queue in the order of seqs: a resent op may wait for one that is further ahead than the newest.
    fn await_seq(&mut self, seq: Seq, token: Token) {
        let place = self.submitters.partition_point(|(waiting, _)| *waiting <= seq);
        self.submitters.insert(place, (seq, token));
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

    fn committed(&mut self, effects: &mut Vec<Effect>) {
        self.retry = None;
        let Some(ops) = self.in_flight.take() else { return };
        let first = self.committed.next();
        self.committed = Seq(self.committed.0 + ops.len() as u64);
        if !ops.is_empty() {
            self.publish(RoomEvent::Ops { first, ops: ops.into(), traces: Vec::new() }, effects);
        }
        while let Some((seq, token)) = self.submitters.pop_front_if(|(seq, _)| *seq <= self.committed) {
            effects.push(Effect::Accept { token, seq });
        }
        let Waiting { readers, refusals } = std::mem::take(&mut self.riding);
        for reader in readers {
            let attached = Attached {
                kind: self.kind_name,
                position: Position { epoch: self.epoch, seq: reader.seq },
                contents: reader.contents,
                presence: self.presence.full(),
                edges: self.edges.keys().copied().collect(),
                multicast: self.edges.len() > EDGES_APART,
                known: reader.known,
            };
            effects.push(Effect::Attached { token: reader.token, attached });
        }
        effects.extend(refusals.into_iter().map(|(token, refusal)| Effect::Refuse { token, refusal }));
    }

    fn commit_failed(&mut self, now_ms: u64) {
        let wait_ms = self.retry.as_ref().map_or(RETRY_MS, |retry| (retry.wait_ms * 2).min(RETRY_MOST_MS));
        self.retry = Some(Retry { at_ms: now_ms + wait_ms, wait_ms });
    }

    /// Commits what is waiting as soon as nothing is being committed. No timer: the batch is what came meanwhile.
    fn commit_next(&mut self, effects: &mut Vec<Effect>) {
        let wanted = !self.pending.is_empty() || !self.waiting.is_empty();
        if self.in_flight.is_none() && wanted {
            let ops = std::mem::take(&mut self.pending);
            effects.push(Effect::Commit { first: self.committed.next(), ops: ops.clone() });
            self.in_flight = Some(ops);
            self.riding = std::mem::take(&mut self.waiting);
        }
    }

    fn retry_commit(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if let (Some(retry), Some(ops)) = (&mut self.retry, &self.in_flight)
            && retry.at_ms <= now_ms
        {
            // Not again before this try has been answered.
            retry.at_ms = u64::MAX;
            effects.push(Effect::Commit { first: self.committed.next(), ops: ops.clone() });
        }
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

    fn checkpoint_if_due(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        let ops = self.head.0 - self.checkpoint.seq.0;
        let bytes = self.settings.checkpoint_bytes.max(self.checkpoint.bytes);
        if ops >= self.settings.checkpoint_ops || (ops > 0 && self.checkpoint.log_bytes >= bytes) {
            self.take_checkpoint(now_ms);
        }
        // What it holds must be durable before it is: it waits for the commit of its last op.
        if let Some((seq, parts)) = self.checkpoint.taken.take_if(|(seq, _)| *seq <= self.committed) {
            self.checkpoint.being_written = true;
            effects.push(Effect::Checkpoint { seq, parts });
        }
    }

    fn take_checkpoint(&mut self, now_ms: u64) {
        if self.checkpoint.under_way() || now_ms < self.checkpoint.not_before_ms {
            return;
        }
        self.checkpoint.log_bytes = 0;
        let parts = CheckpointParts {
            kind: self.kind_name,
            contents: self.state.snapshot(),
            dedup: self.dedup.to_form(),
        };
        self.checkpoint.taken = Some((self.head, parts));
    }

    fn checkpoint_written(&mut self, seq: Seq, bytes: u64) {
        self.checkpoint.bytes = bytes;
        self.checkpoint.being_written = false;
        self.checkpoint.seq = seq;
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

    /// For operators and tests.
    #[must_use]
    pub fn inspect(&self) -> Inspection {
        Inspection {
            room: self.id,
            kind: self.kind_name,
            epoch: self.epoch,
            head: self.head,
            committed: self.committed,
            checkpoint: self.checkpoint.seq,
            pending_ops: self.pending.len() + self.in_flight.as_ref().map_or(0, Vec::len),
            edges: self.edges.len(),
            people: self.presence.count(),
            audience: self.presence.audience(),
        }
    }
}

/// What a room looks like from outside.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Inspection {
    pub room: RoomId,
    pub kind: RoomKind,
    pub epoch: Epoch,
    pub head: Seq,
    pub committed: Seq,
    pub checkpoint: Seq,
    pub pending_ops: usize,
    pub edges: usize,
    pub people: usize,
    pub audience: u64,
}

#[cfg(test)]
mod tests;
