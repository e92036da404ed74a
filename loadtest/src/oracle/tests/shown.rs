//! What is shown: each op to everybody, once, in order, and nothing else.

use super::*;

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
