//! What whoever comes in is told: the room as it is, with all of its past.

use super::*;

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
