//! The oracle must believe an honest server whatever the order of things, and convict each kind of dishonest one.

mod streams;

use std::collections::{HashMap, VecDeque};

use enfilade_proto::OpId;
use enfilade_proto::board::AllElements;
use proptest::prelude::*;
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
fn a_lost_op_is_found_when_the_next_one_comes() {
    let mut room = Scene::with(2);
    let (op_id, seq) = room.submit(0, stroke("a"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 1, 1);
    let (op_id, seq) = room.submit(0, stroke("b"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 2, 2);
    assert_eq!(room.show(1, 2, 2), Delivery::Gap);
    assert_eq!(room.show(1, 2, 2), Delivery::Ignored, "it has asked");
    let missed = room.log.clone();
    room.oracle.joined(1, Some(at(0)), &Entrance { position: at(2), snapshot: None, ops: &missed });
    room.convicts(&[Kind::Gap]);
}

#[test]
fn a_lost_last_op_is_found_in_the_end() {
    let mut room = Scene::with(2);
    let (op_id, seq) = room.submit(0, stroke("a"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 1, 1);
    assert!(!room.oracle.is_quiet());
    room.convicts(&[Kind::Behind]);
}

#[test]
fn a_lost_op_is_found_by_the_head_in_a_ping() {
    let mut room = Scene::with(2);
    let (op_id, seq) = room.submit(0, stroke("a"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 1, 1);
    assert!(!room.oracle.head(0, Seq(1)));
    assert!(room.oracle.head(1, Seq(1)));
    assert!(!room.oracle.head(1, Seq(1)), "once is enough");
    assert_eq!(room.kinds(), [Kind::Gap]);
}

#[test]
fn an_accepted_op_that_nobody_ever_saw_is_lost() {
    let mut room = Scene::with(1);
    let op_id = room.submit_only(0, stroke("a"));
    room.oracle.accepted(0, op_id, Seq(1));
    assert_eq!(room.oracle.hole(), Some(Seq(1)));
    room.convicts(&[Kind::LostOp, Kind::Behind, Kind::Unproven]);
}

#[test]
fn a_doubled_op_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    room.log.push(room.log[0].clone());
    room.show(0, 2, 2);
    room.convicts(&[Kind::Doubled, Kind::WrongSeq]);
}

#[test]
fn an_op_shown_twice_at_its_seq_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    assert_eq!(room.show(0, 1, 1), Delivery::From(1));
    room.convicts(&[Kind::Repeated]);
}

#[test]
fn reordered_ops_are_found() {
    let mut room = Scene::with(2);
    room.submit(0, stroke("a"));
    room.submit(0, stroke("b"));
    room.oracle.accepted(0, 1, Seq(1));
    room.oracle.accepted(0, 2, Seq(2));
    room.show(0, 1, 2);
    room.log.swap(0, 1);
    room.show(1, 1, 2);
    room.convicts(&[Kind::Diverged]);
}

#[test]
fn pushes_in_the_wrong_order_are_found() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.submit(0, stroke("b"));
    assert_eq!(room.show(0, 2, 2), Delivery::Gap);
    assert_eq!(room.show(0, 1, 1), Delivery::Ignored);
    assert_eq!(room.kinds(), [Kind::Gap]);
}

#[test]
fn a_phantom_is_found() {
    let mut room = Scene::with(1);
    room.log.push(Seen::new(logged(77, 1, stroke("a"))));
    room.log.push(Seen::new(logged(0, 5, stroke("b"))));
    room.show(0, 1, 2);
    assert_eq!(room.oracle.violations.count(Kind::Phantom), 2);
    room.convicts(&[Kind::Phantom]);
}

#[test]
fn the_rooms_own_ops_are_no_phantoms() {
    let mut room = Scene::with(1);
    let own = LoggedOp { author: user(0), client: ClientId::ROOM, op_id: OpId(0), at: 1, op: stroke("a") };
    room.log.push(Seen::new(own.clone()));
    room.log.push(Seen::new(LoggedOp { at: 2, ..own }));
    room.show(0, 1, 2);
    room.convicts(&[]);
}

#[test]
fn a_room_that_replaces_a_finished_stroke_is_found() {
    let mut room = Scene::with(1);
    let own = LoggedOp { author: user(0), client: ClientId::ROOM, op_id: OpId(0), at: 1, op: stroke("a") };
    room.log.push(Seen::new(own.clone()));
    room.show(0, 1, 1);
    room.play(0, stroke("a"));
    assert_eq!(room.kinds(), [], "what was abandoned and then finished is fine");
    room.log.push(Seen::new(LoggedOp { at: 2, ..own }));
    room.show(0, 3, 3);
    room.convicts(&[Kind::Overwritten]);
}

#[test]
fn a_wrong_seq_is_found_whichever_came_first() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.oracle.accepted(0, 1, Seq(7));
    room.show(0, 1, 1);
    assert_eq!(room.kinds(), [Kind::WrongSeq]);

    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.show(0, 1, 1);
    room.oracle.accepted(0, 1, Seq(7));
    assert_eq!(room.kinds(), [Kind::WrongSeq]);
}

#[test]
fn a_second_answer_must_be_that_of_the_first() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    room.oracle.accepted(0, 1, Seq(1));
    assert_eq!(room.kinds(), []);
    room.oracle.accepted(0, 1, Seq(2));
    assert_eq!(room.kinds(), [Kind::WrongSeq]);
}

#[test]
fn a_seq_given_to_two_ops_is_found() {
    let mut room = Scene::with(2);
    room.play(0, stroke("a"));
    room.submit_only(1, stroke("b"));
    room.oracle.accepted(1, 1, Seq(1));
    room.convicts(&[Kind::WrongSeq, Kind::LostOp]);
}

#[test]
fn a_refused_op_in_the_history_is_found_whichever_came_first() {
    for refused_first in [true, false] {
        let mut room = Scene::with(1);
        room.submit(0, stroke("a"));
        if refused_first {
            room.oracle.refused(0, 1);
        }
        room.show(0, 1, 1);
        if !refused_first {
            room.oracle.refused(0, 1);
        }
        room.convicts(&[Kind::RefusedSeen]);
    }
}

#[test]
fn a_lost_reply_is_found() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.show(0, 1, 1);
    assert!(!room.oracle.is_quiet());
    room.convicts(&[Kind::LostReply]);
}

#[test]
fn what_somebody_abandoned_may_stand_once_or_not_at_all_but_not_twice_and_not_altered() {
    let abandoned = |times: usize, op: Op| {
        let mut room = Scene::with(2);
        let op_id = room.submit_only(0, stroke("a"));
        room.oracle.abandoned(0, op_id);
        room.oracle.outside(0);
        assert!(room.oracle.is_quiet());
        for seq in 1..=times as u64 {
            room.log.push(Seen::new(logged(0, op_id, op.clone())));
            room.show(1, seq, seq);
        }
        room
    };
    abandoned(0, stroke("a")).convicts(&[]);
    abandoned(1, stroke("a")).convicts(&[]);
    abandoned(2, stroke("a")).convicts(&[Kind::Doubled]);
    abandoned(1, stroke("b")).convicts(&[Kind::Altered]);
}

#[test]
fn an_altered_op_is_found() {
    let mut room = Scene::with(1);
    let op_id = room.submit_only(0, stroke("a"));
    room.log.push(Seen::new(logged(0, op_id, stroke("b"))));
    room.show(0, 1, 1);
    assert_eq!(room.kinds(), [Kind::Altered]);

    let mut room = Scene::with(2);
    let op_id = room.submit_only(0, stroke("a"));
    room.log.push(Seen::new(LoggedOp { author: user(1), ..logged(0, op_id, stroke("a")) }));
    room.show(0, 1, 1);
    assert_eq!(room.kinds(), [Kind::Altered]);
}

#[test]
fn clients_that_see_different_things_are_found() {
    let mut room = Scene::with(2);
    let (op_id, seq) = room.submit(0, stroke("a"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 1, 1);
    room.log[0] = Seen::new(LoggedOp { at: 6, ..(*room.log[0].op).clone() });
    room.show(1, 1, 1);
    room.convicts(&[Kind::Diverged]);
}

#[test]
fn a_rewound_room_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    room.play(0, stroke("b"));
    room.oracle.outside(0);
    room.oracle.joined(0, Some(at(2)), &Entrance { position: at(1), snapshot: None, ops: &[] });
    assert!(room.kinds().contains(&Kind::Rewound));
}

#[test]
fn an_epoch_that_falls_is_found() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.oracle.accepted(0, 1, Seq(1));
    let ops = room.log.clone();
    room.oracle.delivered(0, Epoch(0), Seq(1), &ops);
    room.convicts(&[Kind::Rewound]);
}

#[test]
fn ops_before_the_answer_to_join_are_found() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    room.oracle.outside(0);
    assert_eq!(room.show(0, 1, 1), Delivery::Ignored);
    assert_eq!(room.kinds(), [Kind::OutOfTurn]);
}

#[test]
fn an_answer_to_join_that_leaves_ops_out_is_found() {
    let mut room = Scene::with(2);
    room.play(0, stroke("a"));
    room.play(0, stroke("b"));
    room.oracle.outside(1);
    let newer = room.log[1..].to_vec();
    room.oracle.joined(1, Some(at(0)), &Entrance { position: at(2), snapshot: None, ops: &newer });
    assert!(room.kinds().contains(&Kind::Gap));
}

#[test]
fn an_answer_to_join_that_repeats_ops_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    room.play(0, stroke("b"));
    room.oracle.outside(0);
    let all = room.log.clone();
    room.oracle.joined(0, Some(at(1)), &Entrance { position: at(2), snapshot: None, ops: &all });
    room.convicts(&[Kind::Repeated]);
}

#[test]
fn a_newcomer_with_a_true_snapshot_is_content() {
    let mut room = Scene::with(1);
    for id in ["a", "b", "c"] {
        room.play(0, stroke(id));
    }
    let snapshot = room.snapshot(2);
    let tail = room.log[2..].to_vec();
    let newcomer = room.oracle.register(client(9), "newcomer".into());
    room.oracle.joined(newcomer, None, &Entrance { position: at(3), snapshot: Some(&snapshot), ops: &tail });
    assert!(room.oracle.is_quiet());
    room.convicts(&[]);
}

#[test]
fn a_newcomer_with_a_false_snapshot_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    room.play(0, stroke("b"));
    let mut snapshot = room.snapshot(2);
    snapshot.elements.as_mut().unwrap().0.pop();
    let newcomer = room.oracle.register(client(9), "newcomer".into());
    room.oracle.joined(newcomer, None, &Entrance { position: at(2), snapshot: Some(&snapshot), ops: &[] });
    room.convicts(&[Kind::Snapshot]);
}

#[test]
fn a_newcomer_behind_the_others_is_found() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    let newcomer = room.oracle.register(client(9), "newcomer".into());
    room.oracle.joined(newcomer, None, &Entrance { position: at(0), snapshot: None, ops: &[] });
    room.oracle.visited(newcomer);
    room.convicts(&[Kind::Behind]);
}

#[test]
fn a_run_in_a_room_with_a_past_begins_at_its_snapshot() {
    let mut past = Scene::with(1);
    past.play(0, stroke("a"));
    past.play(0, stroke("b"));
    let (snapshot, tail) = (past.snapshot(1), past.log[1..].to_vec());
    let mut oracle = Oracle::default();
    let who = oracle.register(client(5), "clone".into());
    oracle.joined(who, None, &Entrance { position: at(2), snapshot: Some(&snapshot), ops: &tail });
    assert_eq!(oracle.violations.total(), 0);
    assert_eq!(
        oracle.finish(),
        Final { seq: Seq(2), hash: StateHash::of(&past.snapshot(2).elements.unwrap().0) }
    );
    let stranger = Seen::new(logged(0, 3, stroke("c")));
    oracle.delivered(who, Epoch(1), Seq(3), &[stranger]);
    assert_eq!(oracle.violations.count(Kind::Phantom), 1, "what happens during the run is ours");
}

#[test]
fn a_hole_that_snapshots_leave_is_filled_from_the_record() {
    let mut room = Scene::with(1);
    room.play(0, stroke("a"));
    // The answer and the op are lost with the connection; the client comes back and gets a snapshot.
    let (op_id, seq) = room.submit(0, stroke("b"));
    room.oracle.outside(0);
    let snapshot = room.snapshot(2);
    room.oracle.joined(0, Some(at(1)), &Entrance { position: at(2), snapshot: Some(&snapshot), ops: &[] });
    room.oracle.accepted(0, op_id, seq);
    assert_eq!(room.oracle.hole(), Some(Seq(2)));
    assert!(!room.oracle.is_quiet());
    let missing = room.log[1..].to_vec();
    room.oracle.fill(Seq(2), &missing);
    assert_eq!(room.oracle.hole(), None);
    room.convicts(&[]);
}

#[test]
fn a_false_snapshot_beyond_a_hole_is_found_when_the_hole_is_filled() {
    let mut room = Scene::with(1);
    room.submit(0, stroke("a"));
    let mut snapshot = room.snapshot(1);
    snapshot.elements = None;
    room.oracle.reset(0, &Entrance { position: at(1), snapshot: Some(&snapshot), ops: &[] });
    room.oracle.accepted(0, 1, Seq(1));
    let missing = room.log.clone();
    room.oracle.fill(Seq(1), &missing);
    room.convicts(&[Kind::Snapshot]);
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

/// What may happen in an honest room.
#[derive(Clone, Debug)]
enum Step {
    Submit(usize),
    Answer,
    Deliver(usize, usize),
    Reconnect(usize, bool),
    Reset(usize),
}

fn step(clients: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..clients).prop_map(Step::Submit),
        4 => Just(Step::Answer),
        6 => (0..clients, 1..5usize).prop_map(|(who, most)| Step::Deliver(who, most)),
        1 => (0..clients, any::<bool>()).prop_map(|(who, snapshot)| Step::Reconnect(who, snapshot)),
        1 => (0..clients).prop_map(Step::Reset),
    ]
}

/// What a dishonest room does once, and what it is convicted of at the least.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Crime {
    None,
    SkipOne,
    ShowTwice,
    Swap,
    Invent,
    WrongAnswer,
    NoAnswer,
    FalseSnapshot,
}

fn run(clients: usize, steps: &[Step], crime: Crime, mut when: usize) -> (Scene, bool) {
    let mut room = Scene::with(clients);
    let mut answers: VecDeque<(usize, u64, Seq)> = VecDeque::new();
    let mut committed = false;
    let mut commit = |possible: bool| {
        let now = possible && !committed && when == 0;
        when = if possible { when.saturating_sub(1) } else { when };
        committed |= now;
        now
    };
    for (n, step) in steps.iter().enumerate() {
        let head = room.log.len() as u64;
        match *step {
            Step::Submit(who) => {
                let (op_id, seq) = room.submit(who, stroke(&format!("e{n}")));
                answers.push_back((who, op_id, seq));
                if crime == Crime::Invent && commit(true) {
                    room.log.push(Seen::new(logged(clients + 3, 1, stroke("phantom"))));
                }
            }
            Step::Answer => {
                let Some((who, op_id, seq)) = answers.pop_front() else { continue };
                if crime == Crime::NoAnswer && commit(true) {
                    continue;
                }
                let wrong = u64::from(crime == Crime::WrongAnswer && commit(true));
                room.oracle.accepted(who, op_id, Seq(seq.0 + wrong));
            }
            Step::Deliver(who, most) => {
                let stands = room.oracle.position(who).seq.0;
                let last = head.min(stands + most as u64);
                if stands == last {
                    continue;
                }
                if crime == Crime::SkipOne && commit(last > stands + 1) {
                    room.show(who, stands + 2, last);
                } else if crime == Crime::ShowTwice && commit(stands > 0) {
                    room.show(who, stands, last);
                } else if crime == Crime::Swap && commit(last > stands + 1) {
                    let mut ops = room.log[stands as usize..last as usize].to_vec();
                    ops.swap(0, 1);
                    room.oracle.delivered(who, Epoch(1), Seq(stands + 1), &ops);
                } else {
                    room.show(who, stands + 1, last);
                }
            }
            Step::Reconnect(who, false) => {
                let position = room.oracle.position(who);
                room.oracle.outside(who);
                let missed = room.log[position.seq.0 as usize..].to_vec();
                room.oracle.joined(
                    who,
                    Some(position),
                    &Entrance { position: at(head), snapshot: None, ops: &missed },
                );
            }
            Step::Reconnect(who, true) | Step::Reset(who) => {
                let mut snapshot = room.snapshot(head);
                if crime == Crime::FalseSnapshot && commit(head > 0) {
                    snapshot.elements.as_mut().unwrap().0.pop();
                }
                let entry = Entrance { position: at(head), snapshot: Some(&snapshot), ops: &[] };
                if matches!(step, Step::Reset(_)) {
                    room.oracle.reset(who, &entry);
                } else {
                    room.oracle.outside(who);
                    room.oracle.joined(who, None, &entry);
                }
            }
        }
    }
    for (who, op_id, seq) in answers {
        room.oracle.accepted(who, op_id, seq);
    }
    let head = room.log.len() as u64;
    for who in 0..clients {
        let stands = room.oracle.position(who).seq.0;
        if stands < head {
            room.show(who, stands + 1, head);
        }
    }
    if let Some(from) = room.oracle.hole() {
        let missing = room.log.get(from.0 as usize - 1..).unwrap_or_default().to_vec();
        room.oracle.fill(from, &missing);
    }
    room.oracle.finish();
    (room, committed)
}

proptest! {
    #[test]
    fn an_honest_server_is_never_convicted(steps in prop::collection::vec(step(3), 0..80)) {
        let (room, _) = run(3, &steps, Crime::None, 0);
        prop_assert_eq!(room.kinds(), [], "{:#?}", room.oracle.violations.first);
        prop_assert!(room.oracle.is_quiet());
    }

    #[test]
    fn a_single_crime_is_always_found(
        steps in prop::collection::vec(step(3), 20..80),
        crime in prop::sample::select(vec![
            Crime::SkipOne, Crime::ShowTwice, Crime::Swap, Crime::Invent, Crime::WrongAnswer, Crime::NoAnswer,
            Crime::FalseSnapshot,
        ]),
        when in 0..6usize,
    ) {
        let (room, committed) = run(3, &steps, crime, when);
        prop_assert_eq!(committed, room.oracle.violations.total() > 0, "{:?}: {:#?}", crime, room.oracle.violations);
    }
}
