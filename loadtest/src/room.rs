//! What the clones in one room share: the oracle, the frames they all get, the times, and what is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use enfilade_proto::{ClientId, Codec, ErrorCode, Op, OpId, RoomId, Seq};

use crate::clock::Micros;
use crate::digest::RangeDigest;
use crate::frames::{Frame, Frames, Sighting};
use crate::journal::{Entry, Journal, Shown, ShownState};
use crate::latency::{Latencies, Marks, Visibility};
use crate::oracle::{Entrance, Oracle, Seen, Who};
use crate::replica::StateHash;
use crate::score::{Fate, OpNumber};
use crate::stall::Stall;

#[derive(Debug)]
pub struct Room {
    pub id: RoomId,
    pub link: Option<String>,
    pub oracle: Oracle,
    pub frames: Frames,
    pub visibility: Visibility,
    pub counts: Counts,
    /// Members whose connection is in the room now.
    pub inside: u32,
    /// Measured members who belong in the room now: inside, or on their way back.
    pub present: u32,
    marks: Vec<Marks>,
    statuses: Vec<Status>,
    /// Whose figures count.
    measured: Vec<bool>,
    /// What became of ops that others wait for, by generation and number.
    fates: HashMap<(u32, OpNumber), Fate>,
    /// Of all rooms together: a histogram is too large for each to have its own.
    times: Arc<Mutex<Latencies>>,
    journal: Option<Arc<Journal>>,
    stall: Stall,
    /// The longest that it let wait.
    stood_still: Micros,
}

/// How far a clone is, for whoever conducts the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// It may begin: it is in the room and the scene is set, or it comes later.
    pub ready: bool,
    /// It has nothing more to do.
    pub done: bool,
    /// It will not come back.
    pub over: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ops_submitted: u64,
    pub ops_accepted: u64,
    /// Ops that others were shown, added up over the members.
    pub ops_seen: u64,
    /// Sent again on another connection.
    pub ops_resent: u64,
    /// Sent again because the server asked to try later.
    pub ops_retried: u64,
    /// Not submitted: what they build on is not there, or they do not fit a frame.
    pub ops_left_out: u64,
    /// Submitted by somebody who vanished before the answer.
    pub ops_abandoned: u64,
    pub ops_refused: BTreeMap<String, u64>,
    pub signals_sent: u64,
    pub signals_seen: u64,
    /// Due while there was no connection.
    pub signals_dropped: u64,
    pub signals_refused: BTreeMap<String, u64>,
    pub connections_opened: u64,
    pub connections_lost: u64,
    pub connections_failed: u64,
    /// How often clones let their connections fall by themselves.
    pub absences: u64,
    /// How often somebody else came in their place.
    pub successions: u64,
    /// How often clients were asked to move.
    pub moves_told: u64,
    pub resets: u64,
    pub snapshots: u64,
    pub frames_sent: u64,
    pub frames_received: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl Counts {
    pub fn merge(&mut self, other: &Self) {
        self.ops_submitted += other.ops_submitted;
        self.ops_accepted += other.ops_accepted;
        self.ops_seen += other.ops_seen;
        self.ops_resent += other.ops_resent;
        self.ops_retried += other.ops_retried;
        self.ops_left_out += other.ops_left_out;
        self.ops_abandoned += other.ops_abandoned;
        merge_codes(&mut self.ops_refused, &other.ops_refused);
        self.signals_sent += other.signals_sent;
        self.signals_seen += other.signals_seen;
        self.signals_dropped += other.signals_dropped;
        merge_codes(&mut self.signals_refused, &other.signals_refused);
        self.connections_opened += other.connections_opened;
        self.connections_lost += other.connections_lost;
        self.connections_failed += other.connections_failed;
        self.absences += other.absences;
        self.successions += other.successions;
        self.moves_told += other.moves_told;
        self.resets += other.resets;
        self.snapshots += other.snapshots;
        self.frames_sent += other.frames_sent;
        self.frames_received += other.frames_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }

    #[must_use]
    pub fn ops_refused_total(&self) -> u64 {
        self.ops_refused.values().sum()
    }

    /// Ops and signals.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.ops_submitted + self.signals_sent
    }

    /// Ops and signals that members were shown.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.ops_seen + self.signals_seen
    }

    /// By the names that they have in results.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<String, u64> {
        let plain = [
            ("sent", self.sent()),
            ("deliveries", self.delivered()),
            ("ops_submitted", self.ops_submitted),
            ("ops_accepted", self.ops_accepted),
            ("ops_seen", self.ops_seen),
            ("ops_resent", self.ops_resent),
            ("ops_retried", self.ops_retried),
            ("ops_left_out", self.ops_left_out),
            ("ops_abandoned", self.ops_abandoned),
            ("ops_refused", self.ops_refused_total()),
            ("signals_sent", self.signals_sent),
            ("signals_seen", self.signals_seen),
            ("signals_dropped", self.signals_dropped),
            ("signals_refused", self.signals_refused.values().sum()),
            ("connections_opened", self.connections_opened),
            ("connections_lost", self.connections_lost),
            ("connections_failed", self.connections_failed),
            ("absences", self.absences),
            ("successions", self.successions),
            ("moves_told", self.moves_told),
            ("resets", self.resets),
            ("snapshots", self.snapshots),
            ("frames_sent", self.frames_sent),
            ("frames_received", self.frames_received),
            ("bytes_sent", self.bytes_sent),
            ("bytes_received", self.bytes_received),
        ];
        let code = |what, codes: &BTreeMap<String, u64>| {
            codes.iter().map(|(code, count)| (format!("{what}_refused.{code}"), *count)).collect::<Vec<_>>()
        };
        let mut all: BTreeMap<String, u64> =
            plain.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        all.extend(code("ops", &self.ops_refused));
        all.extend(code("signals", &self.signals_refused));
        all
    }
}

fn merge_codes(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (code, count) in theirs {
        *mine.entry(code.clone()).or_default() += count;
    }
}

pub(crate) fn count_code(codes: &mut BTreeMap<String, u64>, code: ErrorCode) {
    *codes.entry(code.as_str().to_owned()).or_default() += 1;
}

impl Room {
    #[must_use]
    pub fn new(
        id: RoomId,
        link: Option<String>,
        times: Arc<Mutex<Latencies>>,
        journal: Option<Arc<Journal>>,
    ) -> Self {
        Self {
            id,
            link,
            oracle: Oracle::default(),
            frames: Frames::default(),
            visibility: Visibility::default(),
            counts: Counts::default(),
            inside: 0,
            present: 0,
            marks: Vec::new(),
            statuses: Vec::new(),
            measured: Vec::new(),
            fates: HashMap::new(),
            times,
            journal,
            stall: Stall::default(),
            stood_still: 0,
        }
    }

    pub fn register(&mut self, client: ClientId, name: String) -> Who {
        self.marks.push(Marks::default());
        self.statuses.push(Status::default());
        self.measured.push(true);
        self.oracle.register(client, name)
    }

    /// Whether what the member notices says something of the server: not if it reads slowly, or drops out by itself.
    pub fn measure(&mut self, who: Who, measured: bool) {
        self.measured[who] = measured;
    }

    #[must_use]
    pub fn measures(&self, who: Who) -> bool {
        self.measured[who]
    }

    /// The member belongs in the room from now on, or does not.
    pub fn belongs(&mut self, who: Who, there: bool) {
        let one = u32::from(self.measured[who]);
        if there {
            self.present += one;
        } else {
            self.present -= one;
        }
    }

    pub fn set_status(&mut self, who: Who, status: Status) {
        self.statuses[who] = status;
    }

    /// Whether all clones are what the test says.
    pub fn all(&self, test: impl Fn(&Status) -> bool) -> bool {
        self.statuses.iter().all(test)
    }

    pub fn times(&self) -> MutexGuard<'_, Latencies> {
        // Whoever panicked recorded one time less.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// When the frame is none of the protocol's.
    pub fn read(&mut self, codec: Codec, bytes: &[u8]) -> Result<Arc<Frame>, String> {
        self.counts.frames_received += 1;
        self.counts.bytes_received += bytes.len() as u64;
        let (oracle, marks) = (&self.oracle, &self.marks);
        self.frames.read(codec, bytes, |client, mark| {
            let sender = oracle.who(client);
            let planned = sender.zip(mark).and_then(|(who, mark)| marks.get(who)?.planned(mark));
            Sighting { sender, planned }
        })
    }

    /// A signal of this member is about to be sent; the mark is to go with it.
    pub fn mark(&mut self, who: Who, planned: Micros) -> u64 {
        self.marks[who].mark(planned)
    }

    pub fn signals_seen(&mut self, by: Who, now: Micros, signals: &[Sighting]) {
        let others = || signals.iter().filter(|signal| signal.sender != Some(by));
        self.counts.signals_seen += others().count() as u64;
        if !self.measured[by] {
            return;
        }
        let mut times = self.times();
        for planned in others().filter_map(|signal| signal.planned) {
            times.signal.record(now.saturating_sub(planned));
        }
    }

    /// Ops `first` to `last` were new to the member.
    pub fn ops_seen(&mut self, by: Who, now: Micros, first: Seq, last: Seq) {
        self.counts.ops_seen += (last.0 + 1).saturating_sub(first.0);
        if !self.measured[by] {
            return;
        }
        let others = self.present.saturating_sub(1);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for seq in (first.0..=last.0).map(Seq) {
            let origin = || self.oracle.origin(seq);
            self.visibility.seen(seq, by, now, origin, others, &mut times);
        }
    }

    /// Counts the ops that did not reach everybody.
    pub fn finish_times(&mut self) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        self.visibility.finish(&mut times);
        times.standstill.record(self.stood_still);
    }

    pub fn submitted(
        &mut self,
        now: Micros,
        who: Who,
        client: ClientId,
        op_id: u64,
        planned: Option<Micros>,
        op: Op,
    ) {
        self.counts.ops_submitted += 1;
        self.oracle.submitted(who, planned, op);
        if self.measured[who] {
            self.stall.submitted(now);
        }
        let room = self.id;
        self.note(now, || Entry::Submit { client, room, op_id: OpId(op_id) });
    }

    /// For good.
    pub fn refused(&mut self, now: Micros, who: Who, op_id: u64, code: ErrorCode) {
        count_code(&mut self.counts.ops_refused, code);
        self.oracle.refused(who, op_id);
        self.answered(now, who);
    }

    /// Whoever submitted it is gone and will not ask again.
    pub fn abandoned(&mut self, who: Who, op_id: u64) {
        self.counts.ops_abandoned += 1;
        self.oracle.abandoned(who, op_id);
        if self.measured[who] {
            self.stall.forgone();
        }
    }

    fn answered(&mut self, now: Micros, who: Who) {
        if !self.measured[who] {
            return;
        }
        if let Some(since) = self.stall.answered(now) {
            self.stood_still = self.stood_still.max(now.saturating_sub(since));
        }
    }

    pub fn accepted(&mut self, now: Micros, who: Who, client: ClientId, op_id: u64, seq: Seq) {
        self.counts.ops_accepted += 1;
        self.oracle.accepted(who, op_id, seq);
        self.answered(now, who);
        let room = self.id;
        self.note(now, || Entry::Accepted { client, room, op_id: OpId(op_id), seq, epoch: None });
    }

    /// Writes it down, if anything is written down at all.
    pub fn note(&self, now: Micros, entry: impl FnOnce() -> Entry) {
        if let Some(journal) = &self.journal {
            journal.note(now, entry());
        }
    }

    pub fn fated(&mut self, generation: u32, number: OpNumber, fate: Fate) {
        self.fates.insert((generation, number), fate);
    }

    #[must_use]
    pub fn fate(&self, generation: u32, number: OpNumber) -> Fate {
        self.fates.get(&(generation, number)).copied().unwrap_or(Fate::Open)
    }
}

/// As a journal has it.
pub(crate) fn what_was_shown(entrance: &Entrance<'_>, hash: Option<StateHash>) -> Shown {
    let snapshot = entrance.snapshot.zip(hash).map(|(snapshot, hash)| ShownState { seq: snapshot.seq, hash });
    let ops = entrance.ops.len() as u64;
    let first = Seq((entrance.position.seq.0 + 1).saturating_sub(ops));
    Shown { snapshot, ops, digest: (ops > 0).then(|| digest(first, entrance.ops)) }
}

pub(crate) fn digest(first: Seq, ops: &[Seen]) -> RangeDigest {
    RangeDigest::sum(first, ops.iter().map(|seen| seen.digest))
}
