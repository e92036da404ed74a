//! The oracle must believe an honest server whatever the order of things, and convict each kind of dishonest one.

mod answered;
mod chance;
mod joining;
mod shown;
mod streams;

use std::collections::HashMap;

use enfilade_proto::OpId;
use enfilade_proto::board::AllElements;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::replica::Replica;

fn client(n: usize) -> ClientId {
    ClientId(Uuid::from_u128(n as u128 + 1000))
}

fn user(n: usize) -> UserId {
    UserId(Uuid::from_u128(n as u128 + 1))
}

fn stroke(id: &str) -> Op {
    let points = json!([[1, 1], [2, 5], [9, 9]]);
    let data = json!({"element":id,"color":"#000000","width":1,"points":points});
    serde_json::from_value(json!({"type":"add_stroke","data":data})).unwrap()
}

fn delete(id: &str) -> Op {
    serde_json::from_value(json!({"type":"delete","data":{"elements":[id]}})).unwrap()
}

fn logged(who: usize, op_id: u64, op: Op) -> LoggedOp {
    LoggedOp { author: user(who), client: client(who), op_id: OpId(op_id), at: 5, op }
}

fn at(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq: Seq(seq) }
}

/// A room with an honest history, and an oracle that is told what the test likes.
struct Scene {
    oracle: Oracle,
    log: Vec<Seen>,
    submitted: HashMap<usize, u64>,
}

impl Scene {
    fn with(clients: usize) -> Self {
        let mut oracle = Oracle::default();
        for n in 0..clients {
            oracle.register(client(n), format!("clone {n}"));
            oracle.welcomed(n, user(n));
            oracle.joined(n, None, &Entrance { position: at(0), snapshot: None, ops: &[] });
        }
        Self { oracle, log: Vec::new(), submitted: HashMap::new() }
    }

    /// The client submits, the room commits. Returns the op id and the seq.
    fn submit(&mut self, who: usize, op: Op) -> (u64, Seq) {
        let op_id = self.submit_only(who, op.clone());
        self.log.push(Seen::new(logged(who, op_id, op)));
        (op_id, Seq(self.log.len() as u64))
    }

    fn submit_only(&mut self, who: usize, op: Op) -> u64 {
        let op_id = self.submitted.entry(who).or_default();
        *op_id += 1;
        self.oracle.submitted(who, Some(0), op);
        *op_id
    }

    /// Submitted, accepted, and shown to everybody.
    fn play(&mut self, who: usize, op: Op) -> Seq {
        let (op_id, seq) = self.submit(who, op);
        self.oracle.accepted(who, op_id, seq);
        for other in 0..self.oracle.members.len() {
            assert_eq!(self.show(other, seq.0, seq.0), Delivery::From(0));
        }
        seq
    }

    fn show(&mut self, who: usize, first: u64, last: u64) -> Delivery {
        let ops: Vec<Seen> = self.log[first as usize - 1..last as usize].to_vec();
        self.oracle.delivered(who, Epoch(1), Seq(first), &ops)
    }

    fn snapshot(&self, seq: u64) -> Snapshot {
        let mut replica = Replica::default();
        for (i, seen) in self.log[..seq as usize].iter().enumerate() {
            replica.apply(Seq(i as u64 + 1), seen.op.author, &seen.op.op);
        }
        let elements = replica.pile().into_iter().cloned().collect();
        Snapshot { seq: Seq(seq), elements: Some(AllElements(elements)) }
    }

    fn kinds(&self) -> Vec<Kind> {
        self.oracle.violations.counts.keys().copied().collect()
    }

    #[track_caller]
    fn convicts(mut self, kinds: &[Kind]) {
        self.oracle.finish();
        assert_eq!(self.kinds(), kinds, "{:#?}", self.oracle.violations.first);
        assert!(self.oracle.violations.first.iter().all(|violation| !violation.detail.is_empty()));
    }
}

#[test]
fn an_honest_room_is_believed() {
    let mut room = Scene::with(3);
    room.play(0, stroke("a"));
    room.play(1, delete("a"));
    assert!(room.oracle.is_quiet());
    let result = room.oracle.finish();
    assert_eq!(result.seq, Seq(2));
    assert_eq!(result.hash, StateHash::of(&room.snapshot(2).elements.unwrap().0));
    room.convicts(&[]);
}

#[test]
fn a_seq_out_of_all_proportion_costs_no_memory() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    let op = room.log.clone();
    room.oracle.fill(Seq(u64::MAX / 2), &op);
    room.oracle.accepted(0, 1, Seq(u64::MAX / 2));
    assert_eq!(room.kinds(), [Kind::Malformed]);
}

#[test]
fn extra_replies_bad_frames_and_dismissals_count() {
    let mut room = Scene::with(1);
    room.oracle.extra_reply(0, 3);
    room.oracle.malformed(0, "no");
    room.oracle.dismissed(0, "4603");
    room.convicts(&[Kind::ExtraReply, Kind::Malformed, Kind::Dismissed]);
}

#[test]
fn many_violations_are_counted_and_few_are_told() {
    let mut room = Scene::with(1);
    for _ in 0..1000 {
        room.oracle.malformed(0, "no");
    }
    assert_eq!((room.oracle.violations.total(), room.oracle.violations.first.len()), (1000, 4));
}

#[test]
fn the_origin_of_an_op_is_known_by_its_seq() {
    let mut room = Scene::with(2);
    room.play(1, stroke("a"));
    assert_eq!(room.oracle.origin(Seq(1)), Some((1, 0)));
    assert_eq!(room.oracle.origin(Seq(2)), None);
}
