//! The delivery oracle: it hears what every client in a room submitted, was answered and was shown, and convicts a
//! server that lost, doubled, reordered, invented or changed anything.
//!
//! **Why one history is enough.** The first client to see a seq writes it into the shared history; everybody else's
//! op at that seq must be the same, bit for bit (a digest decides), and every client's seqs must follow each other
//! without gap or repeat. So a client's board is a function of its position, and one [`Replica`] per room, hashed
//! after every op, stands for all of them. Whoever gets a snapshot has it compared with that hash. Work and memory
//! per op and client are constant.

mod faithful;
mod history;
mod member;
mod violation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use enfilade_proto::{ClientId, ElementId, Epoch, LoggedOp, Op, Position, Seq, Snapshot, UserId};

use self::history::{History, Sight, Source};
use self::member::{Fate, Member, Phase, Standing, Submitted, already, record};
pub use self::violation::{Kind, Violation, Violations};
use crate::clock::Micros;
use crate::digest::op_digest;
use crate::replica::StateHash;

/// A client's place in the oracle's list.
pub type Who = usize;

/// One connection of a client. Each brings a room's ops in order; two that overlap bring some of them twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub who: Who,
    pub connection: u32,
}

/// Of a client that has but one.
impl From<Who> for Stream {
    fn from(who: Who) -> Self {
        Self { who, connection: 0 }
    }
}

/// An op as it was delivered, with what tells it from any other.
#[derive(Clone, Debug)]
pub struct Seen {
    pub op: Arc<LoggedOp>,
    pub digest: u64,
}

impl Seen {
    #[must_use]
    pub fn new(op: LoggedOp) -> Self {
        let digest = op_digest(&op);
        Self { op: Arc::new(op), digest }
    }
}

/// What a `joined` or a `reset` brought.
#[derive(Debug)]
pub struct Entrance<'a> {
    pub position: Position,
    pub snapshot: Option<&'a Snapshot>,
    pub ops: &'a [Seen],
}

/// What a client does about ops that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Those from this index on were new to it.
    From(usize),
    /// Something is missing; it asks for it.
    Gap,
    /// Nothing; it asked already.
    Ignored,
}

/// Everything the oracle knows of one room.
#[derive(Debug, Default)]
pub struct Oracle {
    members: Vec<Member>,
    by_client: HashMap<ClientId, Who>,
    history: History,
    /// Elements that clients have added, and the room has no business to add again.
    added: HashSet<ElementId>,
    accepted: u64,
    unanswered: u64,
    highest_accepted: Seq,
    pub violations: Violations,
}

/// Where everybody should have arrived in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    pub seq: Seq,
    pub hash: StateHash,
}

impl Oracle {
    pub fn register(&mut self, client: ClientId, name: String) -> Who {
        let who = self.members.len();
        self.by_client.insert(client, who);
        self.members.push(Member {
            name,
            client,
            authors: Vec::new(),
            position: Position::default(),
            streams: BTreeMap::new(),
            ops: Vec::new(),
        });
        who
    }

    #[must_use]
    pub fn who(&self, client: ClientId) -> Option<Who> {
        self.by_client.get(&client).copied()
    }

    /// A guest whose credentials ran out comes back as somebody else.
    pub fn welcomed(&mut self, who: Who, user: UserId) {
        let authors = &mut self.members[who].authors;
        if !authors.contains(&user) {
            authors.push(user);
        }
    }

    // ---- what the client said -----------------------------------------------------------------------------------

    /// The client's op ids count from 1; this is the next.
    pub fn submitted(&mut self, who: Who, planned: Option<Micros>, op: Op) {
        let op = Some(Box::new(op));
        self.unanswered += 1;
        self.members[who].ops.push(Submitted { planned, op, fate: Fate::Unanswered, seen: None });
    }

    /// The client asks to come in. Returns where it stands, if it has been in.
    pub fn asks(&mut self, stream: Stream) -> Option<Position> {
        let member = &mut self.members[stream.who];
        let stands = member.position;
        member.streams.entry(stream.connection).or_default().asked = Some(stands);
        (stands != Position::default()).then_some(stands)
    }

    /// The client went out by itself, or its connection was lost; where it stood it remembers.
    pub fn outside(&mut self, stream: impl Into<Stream>) {
        let Stream { who, connection } = stream.into();
        self.members[who].streams.remove(&connection);
    }

    /// The client was told to forget what it knows.
    pub fn forget(&mut self, who: Who) {
        self.members[who].position = Position::default();
    }

    #[must_use]
    pub fn position(&self, who: Who) -> Position {
        self.members[who].position
    }

    // ---- what the server answered -------------------------------------------------------------------------------

    pub fn accepted(&mut self, who: Who, op_id: u64, seq: Seq) {
        self.accepted += 1;
        self.highest_accepted = self.highest_accepted.max(seq);
        self.history.known(seq);
        let source = Source::Member { who, op_id };
        let holder = self.history.source(seq).filter(|holder| *holder != source);
        let Some(record) = record(&mut self.members, who, op_id) else { return };
        let before = (record.fate, record.seen);
        record.fate = Fate::Accepted(seq);
        self.unanswered -= u64::from(before.0 == Fate::Unanswered);
        let wrong = match before {
            (Fate::Accepted(first), _) if first != seq => {
                Some(format!("first accepted at {first}, now at {seq}"))
            }
            (Fate::Refused, _) => Some(format!("refused first, then accepted at {seq}")),
            (_, Some(seen)) if seen != seq => Some(format!("seen at {seen}, accepted at {seq}")),
            _ if holder.is_some() => Some(format!("accepted at {seq}, where another op was seen")),
            _ if self.history.is_older_than_the_run(seq) => {
                Some(format!("accepted at {seq}, before the run"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.convict(Kind::WrongSeq, who, || format!("op {op_id}: {wrong}"));
        }
    }

    pub fn refused(&mut self, who: Who, op_id: u64) {
        let Some(record) = record(&mut self.members, who, op_id) else { return };
        let before = std::mem::replace(&mut record.fate, Fate::Refused);
        self.unanswered -= u64::from(before == Fate::Unanswered);
        if let Some(seq) = record.seen {
            self.convict(Kind::RefusedSeen, who, || format!("op {op_id} was refused and stands at {seq}"));
        }
    }

    /// The client is gone for good and will not hear what became of the op. The room may have it, once, or not.
    pub fn abandoned(&mut self, who: Who, op_id: u64) {
        let Some(record) = record(&mut self.members, who, op_id) else { return };
        if record.fate == Fate::Unanswered {
            record.fate = Fate::Abandoned;
            self.unanswered -= 1;
        }
    }

    pub fn extra_reply(&mut self, who: Who, id: u32) {
        self.convict(Kind::ExtraReply, who, || format!("a reply to request {id}, which is not open"));
    }

    pub fn malformed(&mut self, who: Who, problem: &str) {
        self.convict(Kind::Malformed, who, || problem.to_owned());
    }

    /// The server told the client never to come back.
    pub fn dismissed(&mut self, who: Who, why: &str) {
        self.convict(Kind::Dismissed, who, || why.to_owned());
    }

    /// The client could not come back for so long that it gave up.
    pub fn stranded(&mut self, who: Who, why: &str) {
        self.convict(Kind::Stranded, who, || why.to_owned());
    }

    // ---- what the server showed ---------------------------------------------------------------------------------

    /// The client is in the room now and stands at `entry.position`. `since` is where it asked to be brought on from.
    /// Returns the state that it was shown, if it was shown a whole one.
    pub fn joined(
        &mut self,
        stream: impl Into<Stream>,
        since: Option<Position>,
        entry: &Entrance<'_>,
    ) -> Option<StateHash> {
        let stream = stream.into();
        let asked = self.standing(stream).asked.take();
        let stood = asked.unwrap_or(self.members[stream.who].position);
        let shown = self.enter(stream, stood, since, entry, "joined");
        self.history.run_begins_after(entry.position.seq);
        shown
    }

    /// The client fell behind and was given the room anew. Returns the state that it was shown.
    pub fn reset(&mut self, stream: impl Into<Stream>, entry: &Entrance<'_>) -> Option<StateHash> {
        let stream = stream.into();
        let Standing { phase, position, .. } = *self.standing(stream);
        if phase == Phase::Outside {
            self.convict(Kind::OutOfTurn, stream.who, || "a reset before it joined".into());
            return None;
        }
        self.enter(stream, position, None, entry, "reset")
    }

    fn standing(&mut self, stream: Stream) -> &mut Standing {
        self.members[stream.who].streams.entry(stream.connection).or_default()
    }

    fn enter(
        &mut self,
        stream: Stream,
        stood: Position,
        since: Option<Position>,
        entry: &Entrance<'_>,
        how: &str,
    ) -> Option<StateHash> {
        let who = stream.who;
        let (position, count) = (entry.position, entry.ops.len() as u64);
        if position.seq < stood.seq || position.epoch < stood.epoch {
            self.convict(Kind::Rewound, who, || format!("{how} at {position:?} after it stood at {stood:?}"));
        }
        let from = match entry.snapshot {
            Some(snapshot) => snapshot.seq,
            None => since.unwrap_or_default().seq,
        };
        let first = Seq((position.seq.0 + 1).saturating_sub(count));
        if first < from.next() && !entry.ops.is_empty() {
            self.convict(Kind::Repeated, who, || format!("{how} since {from}, but got ops from {first} on"));
        } else if first != from.next() {
            self.convict(Kind::Gap, who, || {
                format!("{how} from {from} to {}, but got {count} ops", position.seq)
            });
        }
        let shown = entry.snapshot.map(|snapshot| self.compare(who, snapshot));
        if shown.is_none() && since.is_none() {
            self.history.begin_empty();
        }
        self.sight_all(Some(who), first, entry.ops);
        self.history.known(position.seq);
        let standing = self.standing(stream);
        (standing.phase, standing.position) = (Phase::Inside, position);
        self.members[who].advance(position);
        shown
    }

    /// The client came only to look: it must have found everything, and goes again.
    pub fn visited(&mut self, who: Who) {
        let (stands, head) = (self.members[who].position.seq, self.head_seq());
        if stands < head {
            self.convict(Kind::Behind, who, || format!("came to {stands} when the room was at {head}"));
        }
        self.outside(who);
    }

    /// Ops were pushed to the client.
    pub fn delivered(
        &mut self,
        stream: impl Into<Stream>,
        epoch: Epoch,
        first: Seq,
        ops: &[Seen],
    ) -> Delivery {
        let stream = stream.into();
        let who = stream.who;
        let standing = self.standing(stream);
        let stood = standing.position;
        match standing.phase {
            Phase::Inside => {}
            Phase::Healing => return Delivery::Ignored,
            Phase::Outside => {
                self.convict(Kind::OutOfTurn, who, || format!("ops from {first} on before it joined"));
                return Delivery::Ignored;
            }
        }
        if first > stood.seq.next() {
            standing.phase = Phase::Healing;
            self.convict(Kind::Gap, who, || format!("stood at {}, then came {first}", stood.seq));
            return Delivery::Gap;
        }
        let repeats = already(stood.seq, first, ops.len());
        let last = Seq(stood.seq.0 + (ops.len() - repeats) as u64);
        standing.position = Position { epoch: epoch.max(stood.epoch), seq: last };
        let position = standing.position;
        if epoch < stood.epoch {
            self.convict(Kind::Rewound, who, || format!("epoch {epoch} after epoch {}", stood.epoch));
        }
        if repeats > 0 {
            self.convict(Kind::Repeated, who, || format!("{repeats} ops from {first} on once more"));
        }
        self.sight_all(Some(who), first, ops);
        // What another connection of the client brought before is nothing new to it.
        let known = already(self.members[who].position.seq, first, ops.len());
        self.members[who].advance(position);
        Delivery::From(known)
    }

    /// A ping said how far the room has come. It never overtakes ops. True if the client has to ask for what it
    /// missed.
    pub fn head(&mut self, stream: impl Into<Stream>, head: Seq) -> bool {
        let stream = stream.into();
        let standing = self.standing(stream);
        let stood = standing.position.seq;
        if standing.phase != Phase::Inside || head <= stood {
            return false;
        }
        standing.phase = Phase::Healing;
        self.convict(Kind::Gap, stream.who, || {
            format!("stood at {stood}, and a ping says that the room is at {head}")
        });
        true
    }

    // ---- what the record of the room says -----------------------------------------------------------------------

    /// A stretch that exists but that nobody was shown (all got it by snapshot): somebody has to look it up.
    #[must_use]
    pub fn hole(&self) -> Option<Seq> {
        self.history.hole()
    }

    /// Ops read from the room's history.
    pub fn fill(&mut self, first: Seq, ops: &[Seen]) {
        self.sight_all(None, first, ops);
    }

    // ---- the end ------------------------------------------------------------------------------------------------

    /// Nothing is open and everybody who is in the room has seen all that was accepted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let head = self.head_seq();
        let caught_up = |member: &Member| member.inside().all(|standing| standing.position.seq >= head);
        self.unanswered == 0 && self.hole().is_none() && self.members.iter().all(caught_up)
    }

    #[must_use]
    pub fn accepted_count(&self) -> u64 {
        self.accepted
    }

    /// The highest seq that anybody knows of.
    #[must_use]
    pub fn head_seq(&self) -> Seq {
        self.history.head().max(self.highest_accepted)
    }

    /// The last judgement: what never came. Everybody who is in the room should stand at the result.
    pub fn finish(&mut self) -> Final {
        let head = self.head_seq();
        for who in 0..self.members.len() {
            let behind = self.members[who].inside().map(|standing| standing.position.seq).min();
            if let Some(stands) = behind.filter(|stands| *stands < head) {
                self.convict(Kind::Behind, who, || format!("stands at {stands}, the room at {head}"));
            }
            self.finish_ops(who);
        }
        for (seq, who) in self.history.unproven() {
            let to = self.history.applied();
            self.convict_any(Kind::Unproven, who, || {
                format!("what happened up to {seq} is known only up to {to}; nothing to compare with")
            });
        }
        Final { seq: self.history.applied(), hash: self.history.hash() }
    }

    fn finish_ops(&mut self, who: Who) {
        for i in 0..self.members[who].ops.len() {
            let Submitted { fate, seen, .. } = self.members[who].ops[i];
            let op_id = i as u64 + 1;
            match (fate, seen) {
                (Fate::Unanswered, _) => {
                    self.convict(Kind::LostReply, who, || format!("op {op_id} got no answer"));
                }
                (Fate::Accepted(seq), None) => {
                    self.convict(Kind::LostOp, who, || {
                        format!("op {op_id} was accepted at {seq} and never seen")
                    });
                }
                _ => {}
            }
        }
    }

    // ---- what stands in the history -----------------------------------------------------------------------------

    /// Who submitted the op at this seq, and when that was planned.
    #[must_use]
    pub fn origin(&self, seq: Seq) -> Option<(Who, Micros)> {
        let Source::Member { who, op_id } = self.history.source(seq)? else { return None };
        Some((who, self.members[who].ops.get(usize::try_from(op_id).ok()?.checked_sub(1)?)?.planned?))
    }

    fn sight_all(&mut self, who: Option<Who>, first: Seq, ops: &[Seen]) {
        for (i, seen) in ops.iter().enumerate() {
            self.sight(who, Seq(first.0 + i as u64), seen);
        }
    }

    fn sight(&mut self, who: Option<Who>, seq: Seq, seen: &Seen) {
        match self.history.sight(seq, seen.digest) {
            Sight::Same => {}
            Sight::Different => {
                let client = seen.op.client;
                self.convict_any(Kind::Diverged, who, || {
                    format!("at {seq} others saw another op than this one of {client}")
                });
            }
            Sight::OutOfProportion => {
                self.convict_any(Kind::Malformed, who, || format!("seq {seq} is out of all proportion"));
            }
            Sight::New { older_than_the_run } => {
                let source = if older_than_the_run { Source::Room } else { self.judge(who, seq, &seen.op) };
                let proven = self.history.write(seq, seen, source);
                self.convict_snapshots(&proven);
            }
        }
    }

    /// Whose op it is, seen for the first time by anybody.
    fn judge(&mut self, by: Option<Who>, seq: Seq, op: &LoggedOp) -> Source {
        let op_id = op.op_id.0;
        if op.client == ClientId::ROOM {
            if op_id != 0 {
                self.convict_any(Kind::Phantom, by, || {
                    format!("the room's own op at {seq} has the op id {op_id}")
                });
            }
            self.judge_own(by, seq, op);
            return Source::Room;
        }
        let Some(who) = self.who(op.client) else {
            let client = op.client;
            self.convict_any(Kind::Phantom, by, || {
                format!("op {op_id} of {client} at {seq}: nobody here is that")
            });
            return Source::Room;
        };
        let known_author = self.members[who].authors.contains(&op.author);
        let Some(record) = record(&mut self.members, who, op_id) else {
            self.convict(Kind::Phantom, who, || format!("op {op_id} at {seq} was never submitted"));
            return Source::Room;
        };
        let (fate, before) = (record.fate, record.seen.replace(seq));
        let submitted = record.op.take();
        if let Some(before) = before {
            self.convict(Kind::Doubled, who, || format!("op {op_id} stands at {before} and again at {seq}"));
        }
        match fate {
            Fate::Accepted(accepted) if accepted != seq => {
                self.convict(Kind::WrongSeq, who, || {
                    format!("op {op_id}: accepted at {accepted}, seen at {seq}")
                });
            }
            Fate::Refused => {
                self.convict(Kind::RefusedSeen, who, || {
                    format!("op {op_id} was refused and stands at {seq}")
                });
            }
            _ => {}
        }
        let faithful = submitted.is_none_or(|submitted| faithful::is_faithful(&submitted, &op.op));
        if !known_author || !faithful {
            let what = if known_author { "content" } else { "author" };
            self.convict(Kind::Altered, who, || format!("op {op_id} at {seq} came back with another {what}"));
        }
        if let Op::AddStroke(stroke) = &op.op {
            self.added.insert(stroke.element.clone());
        }
        Source::Member { who, op_id }
    }

    /// The room adds what is left of an abandoned stroke, never what its author had finished.
    fn judge_own(&mut self, by: Option<Who>, seq: Seq, op: &LoggedOp) {
        if let Op::AddStroke(stroke) = &op.op
            && self.added.contains(&stroke.element)
        {
            let element = &stroke.element;
            self.convict_any(Kind::Overwritten, by, || {
                format!("at {seq} the room replaced the finished {element}")
            });
        }
    }

    fn compare(&mut self, who: Who, snapshot: &Snapshot) -> StateHash {
        let elements = snapshot.elements.as_ref().map_or(&[][..], |elements| &elements.0);
        let shown = StateHash::of(elements);
        let verdict = self.history.snapshot(snapshot.seq, elements, shown, who);
        self.convict_snapshots(&verdict);
        shown
    }

    fn convict_snapshots(&mut self, wrong: &[history::WrongSnapshot]) {
        for wrong in wrong {
            self.convict(Kind::Snapshot, wrong.who, || {
                format!("the snapshot at {} is {}, but the ops make {}", wrong.seq, wrong.shown, wrong.made)
            });
        }
    }

    fn convict(&mut self, kind: Kind, who: Who, detail: impl FnOnce() -> String) {
        self.convict_any(kind, Some(who), detail);
    }

    fn convict_any(&mut self, kind: Kind, who: Option<Who>, detail: impl FnOnce() -> String) {
        let members = &self.members;
        self.violations.add(kind, || {
            let who = who.map(|who| &members[who]);
            let name = who.map_or("the history".into(), |who| format!("{} ({})", who.name, who.client));
            format!("{name}: {}", detail())
        });
    }
}

#[cfg(test)]
mod tests;
