//! Clients that move to another node, or come back to one, and what they notice of it.

use super::*;

/// In the room with an op unanswered, and told to move.
fn told_to_move() -> (Table, u32, Submit) {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.hear(None, "reconnect", &json!({"after_ms": 500, "resume": "elsewhere"}));
    let moves = table.now + 500 * MILLISECOND;
    assert_eq!((table.client.alarm(), table.is_connected()), (Some(moves), true));
    table.tick_at(moves);
    assert_eq!(table.wishes(), [(1, Wish::Keep), (2, Wish::Connect)], "the old one is kept meanwhile");
    (table, id, submit)
}

fn welcome_elsewhere(table: &mut Table) {
    let Request::Hello(hello) = table.said().remove(0).1 else { panic!() };
    assert_eq!(hello.resume.as_deref(), Some("elsewhere"));
    table.welcome_as("r2");
}

#[test]
fn a_server_that_goes_away_is_left_when_the_client_is_in_the_room_by_another() {
    let (mut table, id, submit) = told_to_move();
    table.connect();
    welcome_elsewhere(&mut table);
    // The old connection goes on, and shows what the new one was asked for, too.
    table.commit(&submit);
    table.wire = 1;
    table.show_last();
    assert_eq!(table.room.oracle.position(0).seq, Seq(1));
    table.wire = 2;
    table.join(Some(0));
    assert_eq!(table.wishes(), [(2, Wish::Keep)]);
    assert_eq!(table.client.wish(1), Wish::HangUp);
    assert_eq!(table.submits(), [(id, submit)], "unanswered ops go out again over the new one");
    table.accept(id, 1);
    assert_eq!((table.violations(), table.room.inside), (vec![], 1));
    assert_eq!((table.room.counts.connections_lost, table.room.counts.moves_told), (0, 1));
    // What still comes over the old one is nobody's business.
    table.wire = 1;
    table.show_last();
    table.lose(Some(4100));
    assert_eq!((table.wishes(), table.violations()), (vec![(2, Wish::Keep)], vec![]));
    table.client.finish(&mut table.room);
    let times = table.room.times();
    assert_eq!(
        (times.outside[Reason::Told as usize].count(), times.outside[Reason::Told as usize].max()),
        (1, 0.0)
    );
    assert_eq!(times.waited[Reason::Told as usize].count(), 1);
}

#[test]
fn who_finds_no_other_server_stays_and_tries_again() {
    let (mut table, ..) = told_to_move();
    table.client.connect_failed(table.now, 2, &mut table.room);
    assert_eq!(table.wishes(), [(1, Wish::Keep)]);
    let again = table.client.alarm().unwrap();
    assert!(again <= table.now + BACKOFF);
    table.tick_at(again);
    assert_eq!(table.wishes(), [(1, Wish::Keep), (3, Wish::Connect)]);
    assert_eq!(table.room.inside, 1);
}

#[test]
fn who_loses_the_old_connection_goes_on_with_the_new_one() {
    let (mut table, id, submit) = told_to_move();
    table.connect();
    table.wire = 1;
    table.lose(Some(4100));
    assert_eq!((table.wishes(), table.room.inside), (vec![(2, Wish::Keep)], 0));
    table.wire = 2;
    welcome_elsewhere(&mut table);
    table.now += 30 * MILLISECOND;
    table.join(Some(0));
    assert_eq!(table.submits(), [(id, submit)]);
    table.client.finish(&mut table.room);
    let gap = table.room.times().outside[Reason::Told as usize].max();
    assert!((30.0..31.0).contains(&gap), "{gap}");
}

#[test]
fn gaps_are_told_apart_by_their_reason() {
    for (code, reason) in [(None, Reason::Lost), (Some(4001), Reason::Closed)] {
        let mut table = Table::seated();
        table.tick_at(SECOND);
        let (id, submit) = table.submits().remove(0);
        table.commit(&submit);
        table.lose(code);
        table.now += 200 * MILLISECOND;
        table.connect();
        table.welcome_again();
        table.join(Some(0));
        table.accept(id, 1);
        table.client.finish(&mut table.room);
        let times = table.room.times();
        let gap = times.outside[reason as usize].max();
        assert!((200.0..800.0).contains(&gap), "{gap}");
        assert_eq!(times.waited[reason as usize].count(), 1);
        assert_eq!(times.waited_undisturbed.count(), 0);
    }
}

#[test]
fn who_cannot_come_back_within_its_patience_gives_up() {
    let mut table = Table::seated();
    table.lose(None);
    let lost = table.now;
    while table.now < lost + 60 * SECOND {
        assert!(!table.client.is_over());
        table.tick_at(table.client.alarm().unwrap());
        if let [(wire, Wish::Connect)] = table.wishes()[..] {
            table.client.connect_failed(table.now, wire, &mut table.room);
        }
    }
    assert_eq!((table.client.is_over(), table.violations()), (true, vec![Kind::Stranded]));
}
