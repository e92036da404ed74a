//! A mirror: an edge's copy of the recent past of a room that has members there.
//!
//! What happened lies in three short logs (ops, signals, presence), already written in the codecs that somebody needs. Nobody has
//! a queue: whoever delivers holds a [`Cursor`], and taking what came since is a look at the logs. Whoever fell off the ring of ops
//! gets a reset; whoever fell off the others gets the present state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use bytes::Bytes;
use enfilade_actors::bus::{Standing, Watching, roster};
use enfilade_actors::fingerprint::Fingerprint;
use enfilade_actors::kind::Contents;
use enfilade_actors::presence::Here;
use enfilade_proto::limits::ROSTER;
use enfilade_proto::{
    Codec, Epoch, LoggedOp, Member, Position, Presence, RoomId, RoomKind, Seq, SignalOut, Signals,
    TraceParent, UserId,
};

use super::frame;
use super::snapshot::SharedSnapshot;

/// The ring of ops: how far a reader may fall behind before it gets a snapshot instead.
const RING_OPS: usize = 4_096;
const RING_BYTES: usize = 4 << 20;
/// Ops after a snapshot: with more of them, a new one costs less than what every joiner is sent besides.
const FRESH_OPS: u64 = 1_024;
const _: () = assert!((FRESH_OPS as usize) < RING_OPS);
/// Batches of signals and of presence kept for a hub that is late by a few ticks, for some seconds.
const RECENT: usize = 64;

/// A message as it goes out, WebSocket header included, written once per codec that is in use.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    value: T,
    frames: [OnceLock<Bytes>; 2],
}

impl<T> Shared<T> {
    fn new(value: T) -> Self {
        Self { value, frames: Default::default() }
    }

    fn frame(&self, codec: Codec, write: impl FnOnce(&T) -> Vec<u8>) -> Bytes {
        let slot = usize::from(codec == Codec::MessagePack);
        self.frames[slot].get_or_init(|| frame::message(codec == Codec::Json, &write(&self.value))).clone()
    }
}

/// Consecutive ops.
#[derive(Debug)]
pub(crate) struct OpsBatch {
    epoch: Epoch,
    first: Seq,
    ops: Arc<[Arc<LoggedOp>]>,
    shared: Shared<RoomId>,
    /// Those of the ops that are traced.
    traced: Option<Box<Traced>>,
}

/// The last steps of traced ops, and when these came here.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) steps: Vec<TraceParent>,
    pub(crate) came: SystemTime,
}

impl OpsBatch {
    fn last(&self) -> Seq {
        Seq(self.first.0 + self.ops.len() as u64 - 1)
    }

    fn frame(&self, codec: Codec) -> Bytes {
        // The fields of `Ops`, but with the ops shared instead of owned.
        #[derive(serde::Serialize)]
        struct Fields<'a> {
            room: RoomId,
            epoch: Epoch,
            first_seq: Seq,
            ops: &'a [Arc<LoggedOp>],
        }
        self.shared.frame(codec, |room| {
            let fields = Fields { room: *room, epoch: self.epoch, first_seq: self.first, ops: &self.ops };
            codec.encode(None, "ops", &fields)
        })
    }

    /// About what the batch takes in memory.
    fn weight(&self) -> usize {
        self.ops.iter().map(|op| 200 + op_weight(op)).sum()
    }
}

fn op_weight(logged: &LoggedOp) -> usize {
    match &logged.op {
        enfilade_proto::Op::AddStroke(stroke) => stroke.points.coded().len(),
        enfilade_proto::Op::AddText(text) => text.text.as_str().len(),
        enfilade_proto::Op::AddNote(note) => note.text.as_str().len(),
        enfilade_proto::Op::Delete(named) | enfilade_proto::Op::Forget(named) => {
            named.elements.as_slice().len() * 24
        }
        _ => 100,
    }
}

/// How far somebody has been told of a room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: Seq,
    pub(crate) signals: u64,
    pub(crate) presence: u64,
}

impl Cursor {
    /// Whether this one was told more. Cursors of one mirror are all moments of its past, so one of two is the later one.
    pub(crate) fn is_ahead_of(self, other: Self) -> bool {
        self.seq > other.seq || self.signals > other.signals || self.presence > other.presence
    }
}

/// What came since a cursor.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) ops: Vec<Arc<OpsBatch>>,
    /// The reader fell off the ring of ops: only a reset helps.
    pub(crate) behind: bool,
    signals: Vec<Arc<Shared<Signals>>>,
    presence: Vec<Arc<Shared<Presence>>>,
}

/// How much there is to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) ops: u64,
    pub(crate) signals: u64,
    /// When the room took the first of the ops, by its owner's clock.
    pub(crate) taken_ms: Option<u64>,
}

#[cfg(test)]
impl News {
    pub(crate) fn ops(&self) -> impl Iterator<Item = (Epoch, Seq, &[Arc<LoggedOp>])> {
        self.ops.iter().map(|batch| (batch.epoch, batch.first, &*batch.ops))
    }

    pub(crate) fn presence(&self) -> impl Iterator<Item = &Presence> {
        self.presence.iter().map(|presence| &presence.value)
    }
}

/// Which parts of the news somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    Everything,
    /// Somebody who is catching up has no use for the signals of the past.
    NoSignals,
}

impl News {
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.signals.is_empty() && self.presence.is_empty() && !self.behind
    }

    pub(crate) fn amount(&self) -> Amount {
        Amount {
            ops: self.ops.iter().map(|batch| batch.ops.len() as u64).sum(),
            signals: self.signals.iter().map(|signals| signals.value.signals.len() as u64).sum(),
            taken_ms: self.ops.first().and_then(|batch| batch.ops.first()).map(|op| op.at),
        }
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.ops.iter().any(|batch| batch.traced.is_some())
    }

    /// The last steps of the ops that are traced, and when they came here.
    pub(crate) fn traces(&self) -> impl Iterator<Item = (TraceParent, SystemTime)> {
        let traced = self.ops.iter().filter_map(|batch| batch.traced.as_deref());
        traced.flat_map(|traced| traced.steps.iter().map(|step| (*step, traced.came)))
    }

    pub(crate) fn has_signals(&self) -> bool {
        !self.signals.is_empty()
    }

    /// All of it as bytes, in one piece: shared as it is if there is one message, else copied together once for everybody.
    pub(crate) fn frames(&self, codec: Codec, want: Want) -> Option<Bytes> {
        let ops = self.ops.iter().map(|batch| batch.frame(codec));
        let presence = self
            .presence
            .iter()
            .map(|presence| presence.frame(codec, |presence| codec.encode(None, "presence", presence)));
        let signals = if want == Want::Everything { &self.signals[..] } else { &[] };
        let signals = signals
            .iter()
            .map(|signals| signals.frame(codec, |signals| codec.encode(None, "signals", signals)));
        let mut frames = ops.chain(presence).chain(signals);
        let first = frames.next()?;
        let Some(second) = frames.next() else { return Some(first) };
        let mut all = Vec::with_capacity((first.len() + second.len()) * 2);
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        frames.for_each(|frame| all.extend_from_slice(&frame));
        Some(all.into())
    }
}

/// What the owner's messages mean to a mirror.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There is something to deliver.
    News,
    Nothing,
    /// Ops are missing before these: they have to be read from the log.
    Gap,
}

#[derive(Debug)]
pub(crate) struct MirrorState {
    room: RoomId,
    pub(crate) kind: RoomKind,
    epoch: Epoch,
    head: Seq,
    ring: VecDeque<Arc<OpsBatch>>,
    ring_ops: usize,
    ring_bytes: usize,
    snapshot: Option<Arc<SharedSnapshot>>,
    /// The one before it, for whoever was told its name.
    former: Option<Arc<SharedSnapshot>>,
    signals: VecDeque<Arc<Shared<Signals>>>,
    signals_told: u64,
    /// Everybody in the room, while they are listed.
    members: Option<BTreeMap<UserId, Member>>,
    count: u64,
    presence: VecDeque<Arc<Shared<Presence>>>,
    presence_told: u64,
    /// How much of signals and of presence had been told at the last look.
    past: [u64; 2],
    /// How many watch, as the owner told.
    audience: u64,
    pub(crate) here: Here,
}

impl MirrorState {
    pub(crate) fn new(
        room: RoomId,
        kind: RoomKind,
        position: Position,
        contents: Contents,
        presence: Presence,
    ) -> Self {
        let mut mirror = Self {
            room,
            kind,
            epoch: position.epoch,
            head: position.seq,
            ring: VecDeque::new(),
            ring_ops: 0,
            ring_bytes: 0,
            snapshot: None,
            former: None,
            signals: VecDeque::new(),
            signals_told: 0,
            members: None,
            count: 0,
            presence: VecDeque::new(),
            presence_told: 0,
            past: [0; 2],
            audience: 0,
            here: Here::default(),
        };
        mirror.set_snapshot(position, contents);
        mirror.fold(&presence);
        mirror
    }

    pub(crate) fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.head }
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { seq: self.head, signals: self.signals_told, presence: self.presence_told }
    }

    /// The room has an owner in this epoch.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Goes on from here: what lies between cannot be had any more. Whoever was told less falls off the ring.
    pub(crate) fn start_over(&mut self, position: Position, contents: Contents) {
        self.ring.clear();
        (self.ring_ops, self.ring_bytes) = (0, 0);
        self.head = position.seq;
        self.set_snapshot(position, contents);
    }

    /// A snapshot of where the room is now, or of where the ring goes on from.
    pub(crate) fn set_snapshot(&mut self, position: Position, contents: Contents) {
        self.epoch = position.epoch;
        let fresh = Arc::new(SharedSnapshot::new(position, contents));
        self.former = self.snapshot.replace(fresh);
    }

    /// The snapshot, if the ring has all that came after it.
    pub(crate) fn snapshot(&self) -> Option<Arc<SharedSnapshot>> {
        self.snapshot.clone().filter(|snapshot| self.covers(snapshot.position.seq))
    }

    /// The snapshot, if not too much has come after it.
    pub(crate) fn fresh_snapshot(&self) -> Option<Arc<SharedSnapshot>> {
        self.snapshot().filter(|snapshot| self.head.0 - snapshot.position.seq.0 <= FRESH_OPS)
    }

    /// The snapshot at exactly this position.
    pub(crate) fn snapshot_at(&self, position: Position) -> Option<Arc<SharedSnapshot>> {
        let mut snapshots = self.snapshot.iter().chain(&self.former);
        snapshots.find(|snapshot| snapshot.position == position).cloned()
    }

    /// Whether the ring has everything after `seq`.
    pub(crate) fn covers(&self, seq: Seq) -> bool {
        let oldest = self.ring.front().map_or(self.head.next(), |batch| batch.first);
        seq <= self.head && seq.next() >= oldest
    }

    pub(crate) fn take_ops(&mut self, epoch: Epoch, first: Seq, ops: &Arc<[Arc<LoggedOp>]>) -> Taken {
        self.take_traced_ops(epoch, first, ops, None)
    }

    pub(crate) fn take_traced_ops(
        &mut self,
        epoch: Epoch,
        first: Seq,
        ops: &Arc<[Arc<LoggedOp>]>,
        traced: Option<Box<Traced>>,
    ) -> Taken {
        let known = (self.head.0 + 1).saturating_sub(first.0) as usize;
        if first > self.head.next() {
            return Taken::Gap;
        }
        if known >= ops.len() {
            return Taken::Nothing;
        }
        let ops = if known == 0 { ops.clone() } else { ops[known..].into() };
        let shared = Shared::new(self.room);
        let batch = OpsBatch { epoch, first: self.head.next(), ops, shared, traced };
        self.epoch = self.epoch.max(epoch);
        self.head = batch.last();
        self.ring_ops += batch.ops.len();
        self.ring_bytes += batch.weight();
        self.ring.push_back(Arc::new(batch));
        while (self.ring_ops > RING_OPS || self.ring_bytes > RING_BYTES) && self.ring.len() > 1 {
            if let Some(old) = self.ring.pop_front() {
                self.ring_ops -= old.ops.len();
                self.ring_bytes -= old.weight();
            }
        }
        Taken::News
    }

    pub(crate) fn take_signals(&mut self, signals: Vec<SignalOut>) {
        push_recent(&mut self.signals, Signals { room: self.room, signals });
        self.signals_told += 1;
    }

    pub(crate) fn take_presence(&mut self, mut presence: Presence) {
        self.fold(&presence);
        presence.room = Some(self.room);
        push_recent(&mut self.presence, presence);
        self.presence_told += 1;
    }

    /// Forgets the signals and the presence that had been told when this was called before. A quiet room needs no memory for them.
    pub(crate) fn forget_past(&mut self) {
        let told = [self.signals_told, self.presence_told];
        let [signals, presence] = std::mem::replace(&mut self.past, told);
        forget(&mut self.signals, self.signals_told, signals);
        forget(&mut self.presence, self.presence_told, presence);
    }

    fn fold(&mut self, presence: &Presence) {
        (self.count, self.audience) = (presence.count, presence.audience);
        if let Some(members) = &presence.members {
            self.members = Some(members.iter().map(|member| (member.id, member.clone())).collect());
        } else if presence.joined.is_none() && presence.left.is_none() {
            self.members = None;
        } else if let Some(members) = &mut self.members {
            members.extend(presence.joined.iter().flatten().map(|member| (member.id, member.clone())));
            presence.left.iter().flatten().for_each(|id| {
                members.remove(id);
            });
        }
    }

    /// Who is in the room, as told to somebody who has just come and is among those who are here. Whoever is here is there, also
    /// if the owner has not told of them yet.
    pub(crate) fn presence(&self) -> Presence {
        let audience = self.audience.max(self.here.audience());
        let listed = self.members.as_ref().filter(|_| self.here.count() <= ROSTER);
        let Some(listed) = listed else {
            let count = self.count.max(self.here.count() as u64);
            return Presence { count, audience, ..Presence::default() };
        };
        let mut all = listed.clone();
        for member in self.here.members() {
            all.entry(member.id).or_insert(member);
        }
        let members: Vec<Member> = all.into_values().collect();
        Presence { count: members.len() as u64, audience, members: Some(members), ..Presence::default() }
    }

    /// Who is in the room, as the owner told.
    fn told_presence(&self) -> Presence {
        let members = self.members.as_ref().map(|members| members.values().cloned().collect());
        let (room, count, audience) = (Some(self.room), self.count, self.audience);
        Presence { room, count, audience, members, ..Presence::default() }
    }

    /// What this edge knows of who is where.
    pub(crate) fn standing(&self, edges: Fingerprint) -> Standing {
        let listed = self.members.as_ref().map(|members| members.keys().map(|id| id.0).collect());
        Standing {
            position: self.position(),
            here: self.here.everybody(),
            people: roster(self.count, listed),
            edges,
            audience: Some(Watching { here: self.here.audience(), everywhere: self.audience }),
        }
    }

    /// The ops after `seq`, which the ring covers.
    pub(crate) fn ops_after(&self, seq: Seq) -> Vec<Arc<LoggedOp>> {
        let batches = self.ring.iter().skip(self.ring.partition_point(|batch| batch.last() <= seq));
        batches
            .flat_map(|batch| {
                let known = (seq.0 + 1).saturating_sub(batch.first.0) as usize;
                batch.ops[known..].iter().cloned()
            })
            .collect()
    }

    /// What came since the cursor, which is moved to the present.
    pub(crate) fn news(&self, cursor: &mut Cursor) -> News {
        let news = self.news_until(*cursor, self.cursor());
        *cursor = self.cursor();
        news
    }

    /// What came after one cursor and not after the other.
    pub(crate) fn news_until(&self, after: Cursor, until: Cursor) -> News {
        let mut news = News { behind: !self.covers(after.seq), ..News::default() };
        if !news.behind {
            let known = self.ring.partition_point(|batch| batch.last() <= after.seq);
            let wanted = self.ring.iter().skip(known).take_while(|batch| batch.last() <= until.seq);
            news.ops = wanted.cloned().collect();
        }
        news.signals =
            between(&self.signals, self.signals_told, after.signals, until.signals).unwrap_or_default();
        news.presence = between(&self.presence, self.presence_told, after.presence, until.presence)
            .unwrap_or_else(|| vec![Arc::new(Shared::new(self.told_presence()))]);
        news
    }
}

fn push_recent<T>(log: &mut VecDeque<Arc<Shared<T>>>, value: T) {
    log.push_back(Arc::new(Shared::new(value)));
    if log.len() > RECENT {
        log.pop_front();
    }
}

/// Forgets what was told through `until`.
fn forget<T>(log: &mut VecDeque<Arc<T>>, told: u64, until: u64) {
    let keep = usize::try_from(told - until).unwrap_or(usize::MAX).min(log.len());
    log.drain(..log.len() - keep);
    if log.is_empty() {
        log.shrink_to_fit();
    }
}

/// What was told after `after` and through `until`; None if some of that is no longer there.
fn between<T>(log: &VecDeque<Arc<T>>, told: u64, after: u64, until: u64) -> Option<Vec<Arc<T>>> {
    let gone = told - log.len() as u64;
    let skip = usize::try_from(after.checked_sub(gone)?).ok()?;
    let take = usize::try_from(until.saturating_sub(after)).ok()?;
    Some(log.iter().skip(skip).take(take).cloned().collect())
}

#[cfg(test)]
mod tests;
