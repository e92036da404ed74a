//! What is answered: every op at the seq at which it is seen, or not at all.

use super::*;

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
