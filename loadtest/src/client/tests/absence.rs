//! Clones that come late, fall out for a while, or have somebody else come in their place.

use super::*;
use crate::crowd::{Absence, Habits};

const HEIR: u128 = 6;

fn away(from: Micros, until: Micros, for_good: bool) -> Life {
    let absences = vec![Absence { from, until, for_good }];
    let successors = vec![ClientId(Uuid::from_u128(HEIR)); usize::from(for_good)];
    Life { habits: Habits { slow: false, absences }, successors }
}

fn seated(life: Life) -> Table {
    Table::living(EVENTS, 0, life).seat()
}

#[test]
fn whoever_falls_out_comes_back_with_what_was_not_answered() {
    let mut table = seated(away(1_500_000, 4 * SECOND, false));
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.commit(&submit);
    table.tick_at(1_500_000);
    assert_eq!((table.wishes(), table.client.wish(1)), (vec![], Wish::Drop), "without a word");
    assert!(!table.client.status().done);
    assert_eq!(table.client.alarm(), Some(3 * SECOND), "it goes on drawing");
    table.tick_at(3 * SECOND);
    table.tick_at(4 * SECOND);
    table.connect();
    table.welcome_again();
    table.join(Some(0));
    let again: Vec<(u32, OpId)> = table.submits().iter().map(|(id, submit)| (*id, submit.op_id)).collect();
    assert_eq!(again, [(id, OpId(1)), (id + 1, OpId(2))]);
    assert_eq!((table.room.counts.absences, table.room.counts.connections_lost), (1, 0));
    assert_eq!(table.room.times().accepted.count(), 0);
    table.accept(id, 1);
    assert_eq!(table.room.times().accepted.count(), 0, "that was its own doing and is not measured");
    assert_eq!(table.violations(), []);
}

#[test]
fn who_comes_in_somebodys_place_is_somebody_else_and_goes_on() {
    let mut table = seated(away(1_500_000, 2 * SECOND, true));
    table.tick_at(SECOND);
    let (_, submit) = table.submits().remove(0);
    table.commit(&submit);
    table.tick_at(1_500_000);
    assert_eq!((table.room.counts.successions, table.room.counts.ops_abandoned), (1, 1));
    assert!(table.room.oracle.is_quiet(), "nobody waits for the answer");
    table.tick_at(2 * SECOND);
    table.connect();
    let Request::Hello(hello) = table.said().remove(0).1 else { panic!() };
    assert_eq!((hello.client, hello.resume), (ClientId(Uuid::from_u128(HEIR)), None));
    table.welcome_as("mine");
    table.join(None);
    table.tick_at(3 * SECOND);
    let (id, clear) = table.submits().remove(0);
    assert_eq!((clear.op_id, json!(clear.op)["type"].clone()), (OpId(1), json!("clear")));
    table.log.push(LoggedOp {
        author: USER,
        client: ClientId(Uuid::from_u128(HEIR)),
        op_id: OpId(1),
        at: 1,
        op: clear.op,
    });
    table.show_last();
    table.accept(id, 2);
    assert_eq!(table.violations(), [], "the first one's op is in the room all the same");
}

#[test]
fn what_builds_on_an_op_that_died_with_its_client_is_left_out() {
    let mut table = Table::of(EVENTS, 1);
    table.connect();
    table.welcome_again();
    table.join(None);
    table.client.start(0);
    table.room.fated(0, 1, Fate::Never);
    table.tick_at(2 * SECOND);
    assert_eq!((table.submits().len(), table.room.counts.ops_left_out), (0, 1));
}

#[test]
fn a_stroke_is_given_up_by_whoever_comes_after() {
    let events = r##"{"enfilade_session":1,"kind":"board","people":1,"duration":9}
[0,"join",0,{"name":"Ada"}]
[1,"signal",0,{"key":"stroke.0","body":{"element":"a","at":0,"points":[1,2]}}]
[2,"signal",0,{"key":"stroke.1","body":{"element":"a","at":1,"points":[1,2]}}]
[0,"op",0,{"type":"add_stroke","data":{"element":"a","color":"#000000","width":1,"points":[[1,2],[3,4]]}}]
[0,"op",0,{"type":"delete","data":{"elements":["a"]}}]
[0,"signal",0,{"key":"stroke.0","body":{"element":"b","at":0,"points":[1,2]}}]
[0,"op",0,{"type":"add_stroke","data":{"element":"b","color":"#000000","width":1,"points":[[1,2],[3,4]]}}]"##;
    let mut table = Table::living(events, 0, away(1_500_000, 2 * SECOND, true)).seat();
    table.tick_at(SECOND);
    assert_eq!(table.said().len(), 1);
    table.tick_at(1_500_000);
    table.tick_at(2 * SECOND);
    table.connect();
    table.said();
    table.welcome_as("mine");
    table.join(None);
    table.tick_at(3 * SECOND);
    let said = table.said();
    let [(None, Request::Signal(piece)), (Some(_), Request::Submit(submit))] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!((&piece.body["element"], submit.op_id), (&json!("run-0-1"), OpId(1)));
    assert_eq!(
        table.room.counts.ops_left_out, 2,
        "the stroke, which the room may have finished, and its deletion"
    );
}

#[test]
fn what_was_planned_while_nobody_was_there_is_played_late_and_not_measured() {
    let mut table = seated(away(500_000, SECOND, true));
    table.tick_at(500_000);
    table.tick_at(SECOND);
    table.now = 1_200_000;
    table.connect();
    table.said();
    table.welcome_as("mine");
    table.join(None);
    table.tick_at(1_200_000);
    let (id, submit) = table.submits().remove(0);
    assert_eq!(submit.op_id, OpId(1));
    table.accept(id, 1);
    assert_eq!((table.room.times().accepted.count(), table.room.counts.signals_dropped), (0, 1));
}

#[test]
fn a_slow_reader_rests_while_the_recording_is_played_and_reads_in_the_end() {
    let life = Life { habits: Habits { slow: true, absences: vec![] }, successors: vec![] };
    let mut table = seated(life);
    let (mut rested, mut read) = (0, 0);
    for tenth in 0..39 {
        table.tick_at(tenth * SECOND / 10);
        if table.client.reads() {
            read += 1;
        } else {
            rested += 1;
        }
        assert!(table.client.alarm().unwrap() > table.now, "it wakes when it turns");
    }
    assert!(rested > 10 && rested + read == 39, "{rested}");
    table.tick_at(9 * SECOND);
    assert!(table.client.reads());
}
