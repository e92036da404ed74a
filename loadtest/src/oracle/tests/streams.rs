//! Clients that have two connections for a while.

use super::*;

fn stream(who: Who, connection: u32) -> Stream {
    Stream { who, connection }
}

#[test]
fn what_two_overlapping_connections_bring_counts_once() {
    let mut room = Scene::with(2);
    room.play(0, stroke("a"));
    assert_eq!(room.oracle.asks(stream(1, 2)), Some(at(1)));
    // While the second comes in, the first goes on, and further than the second's node knows of.
    room.play(0, stroke("b"));
    room.oracle.joined(stream(1, 2), Some(at(1)), &Entrance { position: at(1), snapshot: None, ops: &[] });
    let second = room.log[1].clone();
    assert_eq!(room.oracle.delivered(stream(1, 2), Epoch(1), Seq(2), &[second]), Delivery::From(1));
    room.oracle.outside(1);
    let (op_id, seq) = room.submit(0, stroke("c"));
    room.oracle.accepted(0, op_id, seq);
    room.show(0, 3, 3);
    let third = room.log[2].clone();
    assert_eq!(room.oracle.delivered(stream(1, 2), Epoch(1), Seq(3), &[third]), Delivery::From(0));
    assert!(room.oracle.is_quiet());
    room.convicts(&[]);
}

#[test]
fn a_second_connection_that_skips_or_repeats_is_found() {
    let mut room = Scene::with(2);
    room.play(0, stroke("a"));
    room.oracle.asks(stream(1, 2));
    room.oracle.joined(stream(1, 2), Some(at(1)), &Entrance { position: at(1), snapshot: None, ops: &[] });
    room.play(0, stroke("b"));
    room.play(0, stroke("c"));
    let third = room.log[2].clone();
    assert_eq!(room.oracle.delivered(stream(1, 2), Epoch(1), Seq(3), &[third]), Delivery::Gap);
    assert_eq!(room.kinds(), [Kind::Gap], "although the first connection brought it");
}

#[test]
fn a_second_connection_that_stays_behind_is_found() {
    let mut room = Scene::with(2);
    room.oracle.joined(stream(1, 2), None, &Entrance { position: at(0), snapshot: None, ops: &[] });
    room.play(0, stroke("a"));
    assert!(!room.oracle.is_quiet());
    room.convicts(&[Kind::Behind]);
}
