//! A cluster's past, made up: a room on two owners, two people who draw, one who loses the connection, comes back and is
//! reset, one who moves to another node without a gap.

use enfilade_proto::{ClientId, ElementId, Epoch, LoggedOp, Op, OpId, Position, RoomId, Seq, UserId};
use serde_json::json;
use uuid::Uuid;

use crate::checker::{LogScan, Report, Trust};
use crate::clock::Micros;
use crate::digest::{RangeDigest, op_digest};
use crate::export::{Checkpoint, End, Export, LogLine, Row, Takeover};
use crate::journal::{Bound, By, Entry, Fault, Journaled, Moment, Phase, Shown, ShownState};
use crate::replica::{Replica, StateHash};

pub(super) const ROOM: RoomId = RoomId(Uuid::from_u128(70));
pub(super) const ADA: ClientId = ClientId(Uuid::from_u128(1));
pub(super) const BOB: ClientId = ClientId(Uuid::from_u128(2));
pub(super) const CY: ClientId = ClientId(Uuid::from_u128(3));

pub(super) fn user(client: ClientId) -> UserId {
    UserId(Uuid::from_u128(client.0.as_u128() + 100))
}

#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) log: Vec<LogLine>,
    pub(super) journal: Vec<(Micros, Journaled)>,
    pub(super) clock_skew: Micros,
    ops: Vec<LoggedOp>,
    now: Micros,
    next_op: u64,
}

/// Rows of one, two, three, one, two … ops.
fn row_sizes() -> impl Iterator<Item = usize> {
    [1, 2, 3].into_iter().cycle()
}

fn op(seq: u64) -> LoggedOp {
    let client = if seq.is_multiple_of(2) { BOB } else { ADA };
    let element = format!("e{}", seq % 9);
    let op = match seq % 5 {
        0 => json!({"type":"delete","data":{"elements":[format!("e{}", (seq - 1) % 9)]}}),
        1 => {
            json!({"type":"add_stroke","data":{"element":element,"color":"#000000","width":1,"points":[[seq,1],[2,3]]}})
        }
        _ => {
            json!({"type":"add_line","data":{"element":element,"color":"#000000","width":1,"from":[0,0],"to":[seq,1]}})
        }
    };
    let op = serde_json::from_value(op).unwrap();
    LoggedOp { author: user(client), client, op_id: OpId(seq), at: seq, op }
}

pub(super) fn element(stroke: &LoggedOp) -> String {
    let Op::AddStroke(stroke) = &stroke.op else { panic!("no stroke") };
    stroke.element.to_string()
}

impl History {
    /// Of so many ops, at least 20.
    pub(super) fn valid(count: u64) -> Self {
        let ops: Vec<LoggedOp> = (1..=count).map(op).collect();
        let mut history = Self {
            log: Vec::new(),
            journal: Vec::new(),
            clock_skew: 0,
            ops,
            now: 1_000_000_000,
            next_op: count,
        };
        history.write_log();
        history.write_journal(count);
        history
    }

    fn write_log(&mut self) {
        self.log.push(LogLine::Export(Export { version: 1, at_ms: 0, rooms: None }));
        let takeover = |epoch, tail| {
            let (incarnation, tails) = (Uuid::from_u128(epoch), [(ROOM, Seq(tail))].into());
            LogLine::Takeover(Takeover {
                shard: 5,
                epoch: Epoch(epoch as u64),
                incarnation,
                at_ms: None,
                tails,
            })
        };
        self.log.push(takeover(1, 0));
        let (mut written, mut rows, half) = (0, 0, self.ops.len() / 2);
        for size in row_sizes() {
            if written == self.ops.len() {
                break;
            }
            let before = written;
            written = (written + size).min(self.ops.len());
            let epoch = if before < half { 1 } else { 3 };
            let row = Row::new(
                ROOM,
                Some(Epoch(epoch)),
                Seq(before as u64 + 1),
                self.ops[before..written].to_vec(),
            );
            self.log.push(LogLine::Row(row));
            rows += 1;
            if before < half && written >= half {
                self.log.push(takeover(3, written as u64));
            }
        }
        let hash = Some(self.state(3));
        self.log.push(LogLine::Checkpoint(Checkpoint {
            room: ROOM,
            seq: Seq(3),
            epoch: Some(Epoch(1)),
            hash,
        }));
        self.log.push(LogLine::End(End { rows }));
    }

    fn write_journal(&mut self, count: u64) {
        self.push(Entry::Room { room: ROOM, link: None, alone: true });
        self.fault("kill owner", Phase::Inject, None);
        self.bound(1.0, 8.0);
        self.enter(ADA, 1, None, 0);
        self.enter(BOB, 1, None, 0);
        let (away, back, reset, overlap) = (count / 4, count / 2, count * 3 / 4, count * 2 / 3);
        for seq in 1..=count {
            let author = self.ops[seq as usize - 1].client;
            self.push(Entry::Submit { client: author, room: ROOM, op_id: OpId(seq) });
            if seq == away {
                self.push(Entry::Closed { client: BOB, connection: 1, by: By::Loss, code: None });
            }
            if seq == back {
                self.enter(BOB, 2, Some(away - 1), seq - 1);
            }
            if seq == overlap {
                self.push(Entry::Told { client: ADA, connection: 1, after_ms: 3 });
                self.enter(ADA, 2, Some(seq - 1), seq - 1);
            }
            if seq == overlap + 2 {
                self.push(Entry::Closed { client: ADA, connection: 1, by: By::Client, code: None });
            }
            if seq < overlap + 2 {
                self.show(ADA, 1, seq);
            }
            if seq >= overlap {
                self.show(ADA, 2, seq);
            }
            self.push(Entry::Accepted {
                client: author,
                room: ROOM,
                op_id: OpId(seq),
                seq: Seq(seq),
                epoch: None,
            });
            match seq {
                _ if seq == reset => self.reset(BOB, 2, seq),
                _ if seq < away => self.show(BOB, 1, seq),
                _ if seq >= back => self.show(BOB, 2, seq),
                _ => {}
            }
        }
        self.fault("kill owner", Phase::Heal, None);
        let hash = self.state(count);
        self.push(Entry::State { room: ROOM, state: ShownState { seq: Seq(count), hash } });
        let members = Some(vec![user(ADA), user(BOB)]);
        self.push(Entry::Presence { room: ROOM, viewer: user(CY), count: 2, members });
    }

    fn epoch(&self, seq: u64) -> Epoch {
        Epoch(if seq <= self.tail().0 { 1 } else { 3 })
    }

    fn enter(&mut self, client: ClientId, connection: u32, since: Option<u64>, seq: u64) {
        let (user, room) = (user(client), ROOM);
        let position = |seq| Position { epoch: self.epoch(seq), seq: Seq(seq) };
        let (since, position) = (since.map(position), position(seq));
        let first = since.map_or(0, |since| since.seq.0) + 1;
        let digest = (first <= seq).then(|| self.digest(first, seq));
        let shown = Shown { snapshot: None, ops: seq + 1 - first, digest };
        self.push(Entry::Opened { client, connection });
        self.push(Entry::Welcome { client, connection, user, node: "a".into() });
        self.push(Entry::Join { client, connection, room, since });
        self.push(Entry::Joined { client, connection, room, position, shown });
    }

    fn show(&mut self, client: ClientId, connection: u32, seq: u64) {
        let (digest, epoch) = (Some(self.digest(seq, seq)), self.epoch(seq));
        let (first, last) = (Seq(seq), Seq(seq));
        self.push(Entry::Ops { client, connection, room: ROOM, epoch, first, last, digest });
    }

    fn reset(&mut self, client: ClientId, connection: u32, seq: u64) {
        let snapshot = Some(ShownState { seq: Seq(seq - 1), hash: self.state(seq - 1) });
        let shown = Shown { snapshot, ops: 1, digest: Some(self.digest(seq, seq)) };
        let position = Position { epoch: self.epoch(seq), seq: Seq(seq) };
        self.push(Entry::Reset { client, connection, room: ROOM, position, shown });
    }

    // ---- what happens afterwards --------------------------------------------------------------------------------

    pub(super) fn push(&mut self, entry: Entry) {
        self.now += 1_000;
        self.journal.push((self.now, Journaled::Entry(entry)));
    }

    pub(super) fn wait(&mut self, time: Micros) {
        self.now += time;
    }

    pub(super) fn fault(&mut self, fault: &str, phase: Phase, limit_ms: Option<f64>) {
        self.now += 1_000;
        let fault = Fault { at: self.now as f64 / 1e3, fault: fault.into(), phase, limit_ms };
        self.journal.push((self.now, Journaled::Fault(fault)));
    }

    pub(super) fn bound(&mut self, value: f64, bound: f64) {
        let at = self.now as f64 / 1e3;
        let sample = Bound { at, node: "a".into(), metric: "mailbox_bytes".into(), value, bound };
        self.journal.push((self.now, Journaled::Bound(sample)));
    }

    /// Returns its op id.
    pub(super) fn submit(&mut self, client: ClientId) -> u64 {
        self.next_op += 1;
        self.push(Entry::Submit { client, room: ROOM, op_id: OpId(self.next_op) });
        self.next_op
    }

    pub(super) fn accept(&mut self, client: ClientId, op_id: u64) {
        let op = LoggedOp { author: user(client), client, ..self.ops[1].clone() };
        let seq = self.append(OpId(op_id), op);
        self.push(Entry::Accepted { client, room: ROOM, op_id: OpId(op_id), seq, epoch: None });
    }

    /// At the end of the log.
    pub(super) fn append(&mut self, op_id: OpId, op: LoggedOp) -> Seq {
        let seq = Seq(self.ops.len() as u64 + 1);
        let op = LoggedOp { op_id, ..op };
        self.ops.push(op.clone());
        self.log.push(LogLine::Row(Row::new(ROOM, Some(Epoch(3)), seq, vec![op])));
        seq
    }

    /// The room adds a stroke by itself.
    pub(super) fn append_own(&mut self, stroke: &LoggedOp, element: &str) {
        let mut op = LoggedOp { author: UserId::ROOM, client: ClientId::ROOM, ..stroke.clone() };
        if let Op::AddStroke(stroke) = &mut op.op {
            stroke.element = ElementId::new(element).unwrap();
        }
        self.append(OpId(0), op);
    }

    // ---- what is known of it ------------------------------------------------------------------------------------

    pub(super) fn check(&self) -> Report {
        let mut scan = LogScan::new(Trust { clock_skew: self.clock_skew });
        let moment = |at, line: usize| Moment { at, file: Some("made up".into()), line: line as u64 + 1 };
        for (i, line) in self.log.iter().enumerate() {
            scan.line(&moment(None, i), line);
        }
        let mut scan = scan.end_of_log();
        for (i, (at, told)) in self.journal.iter().enumerate() {
            scan.told(&moment(Some(*at), i), told);
        }
        scan.finish()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.log.len()).filter(|i| matches!(self.log[*i], LogLine::Row(_)))
    }

    pub(super) fn row(&self, i: usize) -> &Row {
        let LogLine::Row(row) = &self.log[i] else { panic!("no row") };
        row
    }

    pub(super) fn row_mut(&mut self, i: usize) -> &mut Row {
        let LogLine::Row(row) = &mut self.log[i] else { panic!("no row") };
        row
    }

    /// Where the second owner took over.
    pub(super) fn tail(&self) -> Seq {
        let tail = |line: &LogLine| match line {
            LogLine::Takeover(takeover) if takeover.epoch == Epoch(3) => Some(takeover.tails[&ROOM]),
            _ => None,
        };
        self.log.iter().find_map(tail).unwrap()
    }

    pub(super) fn op(&self, seq: u64) -> &LoggedOp {
        &self.ops[seq as usize - 1]
    }

    pub(super) fn stroke(&self) -> LoggedOp {
        self.ops.iter().find(|op| matches!(op.op, Op::AddStroke(_))).unwrap().clone()
    }

    pub(super) fn digest(&self, first: u64, last: u64) -> RangeDigest {
        RangeDigest::sum(Seq(first), (first..=last).map(|seq| op_digest(self.op(seq))))
    }

    pub(super) fn state(&self, seq: u64) -> StateHash {
        let mut replica = Replica::default();
        for (op, seq) in self.ops.iter().zip(1..=seq) {
            replica.apply(Seq(seq), op.author, &op.op);
        }
        replica.hash()
    }

    pub(super) fn last_accepted(&self, by: ClientId) -> (u64, u64) {
        let accepted = |(_, told): &(Micros, Journaled)| match told {
            Journaled::Entry(Entry::Accepted { client, op_id, seq, .. }) if *client == by => {
                Some((op_id.0, seq.0))
            }
            _ => None,
        };
        self.journal.iter().rev().find_map(accepted).unwrap()
    }

    pub(super) fn pushes_to(&self, to: ClientId) -> Vec<usize> {
        let push = |i: &usize| matches!(&self.journal[*i].1, Journaled::Entry(Entry::Ops { client, .. }) if *client == to);
        (0..self.journal.len()).filter(push).collect()
    }

    #[expect(clippy::unused_self, reason = "it is a fact about this history")]
    pub(super) fn connection_of_ada(&self) -> u32 {
        2
    }
}
