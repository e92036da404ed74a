//! The proof that the checker can fail: a history of a cluster that kept every promise, and for every invariant one that
//! differs from it in just what the invariant forbids.

mod history;
mod mutations;

use enfilade_proto::{Epoch, OpId, Position, Seq};
use uuid::Uuid;

use self::history::{ADA, BOB, CY, History, ROOM, user};
use super::*;
use crate::export::Checkpoint;
use crate::journal::{Entry, Journaled, Phase, Shown, ShownState};
use crate::replica::StateHash;

fn found_in(history: &History) -> Vec<Invariant> {
    history.check().violated()
}

#[test]
fn a_history_without_fault_is_believed_and_everything_was_checked() {
    let report = History::valid(60).check();
    assert_eq!(report.violated(), [], "{report}");
    assert_eq!(report.unchecked(), [], "{report}");
    assert_eq!(report.verdict, Verdict::Held);
    assert!(report.invariants.iter().all(|outcome| outcome.facts > 0 && outcome.skipped == 0), "{report}");
}

#[test]
fn on_nothing_nothing_is_judged() {
    let report = LogScan::default().end_of_log().finish();
    assert_eq!((report.verdict, report.unchecked().len()), (Verdict::Unchecked, Invariant::ALL.len()));
    let text = report.to_string();
    assert!(text.contains("I5   unchecked") && text.contains("needs takeovers with the tails"), "{text}");
    assert!(text.ends_with("UNCHECKED: there was nothing to judge on\n"), "{text}");
}

#[test]
fn without_a_log_what_needs_one_is_not_called_held() {
    let mut history = History::valid(30);
    history.log.clear();
    let report = history.check();
    assert_eq!(report.verdict, Verdict::Held);
    let expected = [
        Invariant::I1,
        Invariant::I2,
        Invariant::I4,
        Invariant::I5,
        Invariant::I6,
        Invariant::I8,
        Invariant::I9,
        Invariant::B1,
    ];
    assert_eq!(report.unchecked(), expected);
    assert!(report.of(Invariant::I2).unwrap().skipped > 0);
}

#[test]
fn i1_a_row_that_is_missing() {
    let mut history = History::valid(30);
    history.journal.clear();
    assert_eq!(found_in(&history), []);
    // After the checkpoint, of which the ops are all there.
    let row = history.rows().nth(3).unwrap();
    history.log.remove(row);
    assert_eq!(found_in(&history), [Invariant::I1]);
}

#[test]
fn i1_a_checkpoint_of_what_is_gone() {
    let mut history = History::valid(30);
    let checkpoint =
        |seq| LogLine::Checkpoint(Checkpoint { room: ROOM, seq: Seq(seq), epoch: None, hash: None });
    history.log.push(checkpoint(30));
    assert_eq!(found_in(&history), []);
    history.log.push(checkpoint(31));
    assert_eq!(found_in(&history), [Invariant::I1]);
}

#[test]
fn i2_an_acknowledged_op_that_is_not_there() {
    let mut history = History::valid(30);
    let again = |op_id, seq| Entry::Accepted {
        client: ADA,
        room: ROOM,
        op_id: OpId(op_id),
        seq: Seq(seq),
        epoch: None,
    };
    let (op_id, seq) = history.last_accepted(ADA);
    history.push(again(op_id, seq));
    assert_eq!(found_in(&history), [], "the same answer to a second try");
    history.push(again(op_id + 1, seq));
    let report = history.check();
    assert_eq!(report.violated(), [Invariant::I2]);
    let violation = &report.of(Invariant::I2).unwrap().first[0];
    assert!(violation.detail.contains("it is not in the log") && violation.line > 0, "{violation:?}");
    assert_eq!((violation.room, violation.client, violation.seq), (Some(ROOM), Some(ADA), Some(Seq(seq))));
}

#[test]
fn i2_an_acknowledged_op_that_stands_elsewhere() {
    let mut history = History::valid(30);
    let (op_id, seq) = history.last_accepted(ADA);
    let elsewhere =
        Entry::Accepted { client: ADA, room: ROOM, op_id: OpId(op_id), seq: Seq(seq - 1), epoch: None };
    history.push(elsewhere);
    let report = history.check();
    assert_eq!(report.violated(), [Invariant::I2]);
    assert!(report.to_string().contains(&format!("but it stands at {seq}; at {} there is op", seq - 1)));
}

#[test]
fn i3_a_join_that_shows_the_past() {
    for (behind, skew, expected) in [(0, 0, vec![]), (1, 0, vec![Invariant::I3]), (1, 10_000_000, vec![])] {
        let mut history = History::valid(30);
        history.clock_skew = skew;
        let seq = Seq(30 - behind);
        let (client, room, connection) = (CY, ROOM, 1);
        history.push(Entry::Opened { client, connection });
        history.push(Entry::Join { client, connection, room, since: None });
        let shown = Shown { snapshot: None, ops: seq.0, digest: Some(history.digest(1, seq.0)) };
        let position = Position { epoch: Epoch(3), seq };
        history.push(Entry::Joined { client, connection, room, position, shown });
        assert_eq!(found_in(&history), expected, "{behind} behind, clocks {skew} apart");
    }
}

#[test]
fn i4_an_op_that_stands_twice() {
    let mut history = History::valid(30);
    let op = history.op(7).clone();
    history.append(OpId(900), op.clone());
    assert_eq!(found_in(&history), [], "another op of the same content");
    history.append(op.op_id, op);
    let report = history.check();
    assert_eq!(report.violated(), [Invariant::I4]);
    assert!(report.to_string().contains("stands at 7 and again at 32"), "{report}");
}

#[test]
fn i5_an_old_owner_that_writes_after_the_takeover() {
    let mut history = History::valid(30);
    let tail = history.tail();
    let row = history.rows().find(|i| history.row(*i).first == tail.next()).unwrap();
    assert_eq!(history.row(row).epoch, Some(Epoch(3)));
    history.row_mut(row).epoch = Some(Epoch(1));
    let report = history.check();
    assert_eq!(report.violated(), [Invariant::I5]);
    assert!(
        report.to_string().contains(&format!("epoch 3 took over at {tail}, and then epoch 1 wrote")),
        "{report}"
    );
}

#[test]
fn i6_an_epoch_that_falls() {
    let mut history = History::valid(30);
    // Or it would have been a write past the first owner's tail as well.
    let first = history.log.iter().position(|line| matches!(line, LogLine::Takeover(_))).unwrap();
    history.log.remove(first);
    let row = history.rows().nth(1).unwrap();
    history.row_mut(row).epoch = Some(Epoch(0));
    assert_eq!(found_in(&history), [Invariant::I6]);
}

#[test]
fn i6_an_epoch_that_two_owners_hold() {
    let mut history = History::valid(30);
    let takeover = |log: &[LogLine]| {
        log.iter()
            .find_map(|line| if let LogLine::Takeover(t) = line { Some(t.clone()) } else { None })
            .unwrap()
    };
    let takeover = takeover(&history.log);
    history.log.push(LogLine::Takeover(takeover.clone()));
    assert_eq!(found_in(&history), [], "told twice");
    history.log.push(LogLine::Takeover(Takeover { incarnation: Uuid::from_u128(99), ..takeover }));
    assert_eq!(found_in(&history), [Invariant::I6]);
}

#[test]
fn i6_an_owner_that_acknowledges_what_a_later_one_wrote() {
    let mut history = History::valid(30);
    let (op_id, seq) = history.last_accepted(BOB);
    let by = |epoch| Entry::Accepted {
        client: BOB,
        room: ROOM,
        op_id: OpId(op_id),
        seq: Seq(seq),
        epoch: Some(Epoch(epoch)),
    };
    history.push(by(4));
    assert_eq!(found_in(&history), [], "a resent op is answered by the owner of now");
    history.push(by(2));
    assert_eq!(found_in(&history), [Invariant::I6]);
}

#[test]
fn i7_an_op_that_a_client_was_not_shown_or_shown_again() {
    let mut history = History::valid(30);
    let push = history.pushes_to(BOB)[4];
    let kept = history.journal.remove(push);
    assert_eq!(found_in(&history), [Invariant::I7]);
    history.journal.insert(push, kept.clone());
    history.journal.insert(push, kept);
    assert_eq!(found_in(&history), [Invariant::I7]);
}

#[test]
fn i7_a_resume_that_skips_or_goes_back() {
    for (since, ops, expected) in [(0, 0, vec![]), (0, 1, vec![Invariant::I7]), (1, 0, vec![Invariant::I7])] {
        let mut history = History::valid(30);
        let (client, room, connection) = (BOB, ROOM, 7);
        let stood = Position { epoch: Epoch(3), seq: Seq(30 + since) };
        history.push(Entry::Opened { client, connection });
        history.push(Entry::Join { client, connection, room, since: Some(stood) });
        let position = Position { epoch: Epoch(3), seq: Seq(30 + since) };
        // What was shown is in the log; it is just not what was to be shown.
        let digest = (ops > 0).then(|| history.digest(30, 30));
        history.push(Entry::Joined {
            client,
            connection,
            room,
            position,
            shown: Shown { snapshot: None, ops, digest },
        });
        assert_eq!(found_in(&history), expected, "since {since}, {ops} ops");
    }
}

#[test]
fn i8_a_state_that_the_ops_do_not_make() {
    let mut history = History::valid(30);
    let hash = history.state(12);
    history.push(Entry::State { room: ROOM, state: ShownState { seq: Seq(12), hash } });
    assert_eq!(found_in(&history), []);
    history.push(Entry::State { room: ROOM, state: ShownState { seq: Seq(13), hash } });
    assert_eq!(found_in(&history), [Invariant::I8]);
}

#[test]
fn i8_a_checkpoint_that_the_ops_do_not_make() {
    let mut history = History::valid(30);
    let hash = Some("00000000000000000000000000000001".parse::<StateHash>().unwrap());
    history.log.push(LogLine::Checkpoint(Checkpoint { room: ROOM, seq: Seq(3), epoch: None, hash }));
    assert_eq!(found_in(&history), [Invariant::I8]);
}

#[test]
fn i9_an_op_that_was_shown_and_is_not_in_the_log() {
    let mut history = History::valid(30);
    let push = history.pushes_to(ADA)[3];
    let other = history.digest(1, 1);
    let (_, Journaled::Entry(Entry::Ops { digest, .. })) = &mut history.journal[push] else {
        panic!("no push")
    };
    *digest = Some(other);
    assert_eq!(found_in(&history), [Invariant::I9]);
    // Beyond the log's end.
    let mut history = History::valid(30);
    let (client, connection, room, epoch) = (ADA, history.connection_of_ada(), ROOM, Epoch(3));
    history.push(Entry::Ops { client, connection, room, epoch, first: Seq(31), last: Seq(31), digest: None });
    assert_eq!(found_in(&history), [Invariant::I9]);
}

#[test]
fn i10_a_ghost_and_somebody_who_is_overlooked() {
    let presence = |members: &[enfilade_proto::UserId]| Entry::Presence {
        room: ROOM,
        viewer: user(CY),
        count: members.len() as u64,
        members: Some(members.to_vec()),
    };
    let ghost = enfilade_proto::UserId(Uuid::from_u128(666));
    for (members, expected) in [
        (vec![user(ADA), user(BOB)], vec![]),
        (vec![user(ADA), user(BOB), user(CY)], vec![]),
        (vec![user(ADA)], vec![Invariant::I10]),
        (vec![user(ADA), user(BOB), ghost], vec![Invariant::I10]),
    ] {
        let mut history = History::valid(30);
        history.wait(20_000_000);
        history.push(presence(&members));
        assert_eq!(found_in(&history), expected, "{members:?}");
    }
}

#[test]
fn i10_who_left_is_forgotten_after_the_grace() {
    for (seconds, expected) in [(10, vec![]), (25, vec![Invariant::I10])] {
        let mut history = History::valid(30);
        history.wait(20_000_000);
        history.push(Entry::Closed {
            client: BOB,
            connection: 2,
            by: crate::journal::By::Client,
            code: None,
        });
        history.wait(seconds * 1_000_000);
        let presence = |members| Entry::Presence { room: ROOM, viewer: user(CY), count: 2, members };
        history.push(presence(Some(vec![user(ADA), user(BOB)])));
        history.push(presence(None));
        assert_eq!(found_in(&history), expected, "{seconds} s later");
    }
}

#[test]
fn i11_a_room_that_stands_still_for_too_long() {
    for (limit, expected) in [(Some(4_100.0), vec![]), (Some(3_900.0), vec![Invariant::I11]), (None, vec![])]
    {
        let mut history = History::valid(30);
        history.fault("kill owner", Phase::Inject, limit);
        let submitted = history.submit(ADA);
        history.wait(4_000_000);
        history.fault("kill owner", Phase::Heal, None);
        history.accept(ADA, submitted);
        let report = history.check();
        assert_eq!(report.violated(), expected, "{report}");
        let recovery = report.of(Invariant::I11).unwrap().recoveries.last().unwrap().clone();
        assert!((4_000.0..4_050.0).contains(&recovery.max_ms), "{recovery:?}");
    }
}

#[test]
fn i11_a_room_that_never_answers_again() {
    let mut history = History::valid(30);
    history.fault("kill owner", Phase::Inject, None);
    history.submit(ADA);
    history.wait(9_000_000);
    history.push(Entry::Opened { client: CY, connection: 1 });
    assert_eq!(found_in(&history), [Invariant::I11]);
}

#[test]
fn i11_a_drain_that_somebody_notices() {
    let closed = |by, code| Entry::Closed { client: BOB, connection: 2, by, code };
    use crate::journal::By;
    for (by, code, expected) in [
        (By::Server, Some(4100), vec![]),
        (By::Client, None, vec![]),
        (By::Server, Some(4000), vec![Invariant::I11]),
        (By::Loss, None, vec![Invariant::I11]),
    ] {
        let mut history = History::valid(30);
        history.fault("drain a", Phase::Inject, None);
        history.push(closed(by, code));
        history.fault("drain a", Phase::Heal, None);
        assert_eq!(found_in(&history), expected, "{by:?} {code:?}");
    }
}

#[test]
fn i12_a_buffer_beyond_its_bound() {
    for (value, expected) in [(8.0, vec![]), (8.5, vec![Invariant::I12]), (f64::NAN, vec![Invariant::I12])] {
        let mut history = History::valid(30);
        history.bound(value, 8.0);
        assert_eq!(found_in(&history), expected);
    }
}

#[test]
fn b1_a_finished_stroke_that_the_room_replaced() {
    let mut history = History::valid(30);
    let finished = history.stroke();
    history.append_own(&finished, "other");
    assert_eq!(found_in(&history), []);
    let element = history::element(&finished);
    history.append_own(&finished, &element);
    assert_eq!(found_in(&history), [Invariant::B1]);
}

#[test]
fn a_check_can_be_run_alone_on_events_in_memory() {
    let history = History::valid(30);
    let mut scan = LogScan::default().only(&[Invariant::I2, Invariant::I5]);
    for line in &history.log {
        scan.line(&Moment::default(), line);
    }
    let mut scan = scan.end_of_log();
    let lost = Entry::Accepted { client: ADA, room: ROOM, op_id: OpId(999), seq: Seq(3), epoch: None };
    scan.entry(&Moment::at(1), &lost);
    let report = scan.finish();
    assert_eq!((report.violated(), report.invariants.len()), (vec![Invariant::I2], 2));
}
