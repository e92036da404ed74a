use enfilade_proto::{ClientId, Op, OpId, Role, UserId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::bus::Writer;

fn submission(op_id: u64) -> Submission {
    let writer = Writer { author: UserId(Uuid::from_u128(1)), client: ClientId(Uuid::from_u128(2)) };
    let op = Op::Clear(enfilade_proto::board::Clear {});
    Submission { writer, role: Role::Editor, op_id: OpId(op_id), op, weight: 100, trace: None }
}

fn courier(ops: u64) -> Courier<u64> {
    let mut courier = Courier::default();
    for op in 1..=ops {
        courier.take(0, Ticket(op), submission(op), op).unwrap();
    }
    courier
}

fn tickets(outgoing: &[Outgoing]) -> Vec<(u64, Option<u64>)> {
    outgoing.iter().map(|it| (it.ticket.0, it.after.map(|after| after.0))).collect()
}

#[test]
fn ops_go_at_once_and_each_names_the_one_before() {
    let mut courier = courier(2);
    assert_eq!(tickets(&courier.send(0)), [(1, None), (2, Some(1))]);
    assert!(courier.send(0).is_empty(), "once");
    courier.take(5, Ticket(3), submission(3), 3).unwrap();
    assert_eq!(tickets(&courier.send(5)), [(3, Some(2))]);
    assert_eq!(courier.answered(6, Ticket(2), Ok(Seq(8))), Some(Answered { reply: 2, result: Ok(Seq(8)) }));
    assert_eq!(courier.answered(6, Ticket(1), Ok(Seq(7))), Some(Answered { reply: 1, result: Ok(Seq(7)) }));
    assert_eq!(courier.answered(6, Ticket(1), Ok(Seq(7))), None, "answered before");
    courier.answered(6, Ticket(3), Ok(Seq(9)));
    assert!(courier.is_idle());
    assert_eq!((courier.bytes, courier.next_deadline()), (0, None));
}

#[test]
fn what_is_turned_away_goes_again_with_all_that_came_after() {
    let mut courier = courier(3);
    courier.send(0);
    courier.answered(1, Ticket(1), Ok(Seq(1)));
    assert_eq!(courier.answered(1, Ticket(2), Err(Refused::NotOwner)), None);
    assert!(courier.send(1 + WAIT_MS - 1).is_empty());
    assert_eq!(courier.next_deadline(), Some(1 + WAIT_MS));
    assert_eq!(tickets(&courier.send(1 + WAIT_MS)), [(2, None), (3, Some(2))]);
    assert_eq!(courier.answered(20, Ticket(2), Err(Refused::Gone)), None);
    assert!(courier.send(20 + WAIT_MS).is_empty(), "the wait is doubled");
    courier.resume();
    assert_eq!(tickets(&courier.send(21)), [(2, None), (3, Some(2))]);
}

#[test]
fn a_refusal_is_an_answer() {
    let mut courier = courier(1);
    courier.send(0);
    let refusal = Refusal::new(ErrorCode::Forbidden, "a viewer");
    let answered = courier.answered(1, Ticket(1), Err(Refused::No(refusal.clone())));
    assert_eq!(answered, Some(Answered { reply: 1, result: Err(refusal) }));
}

#[test]
fn an_owner_that_is_busy_is_asked_again_so_that_nothing_overtakes() {
    let mut courier = courier(2);
    courier.send(0);
    let busy = || Err(Refused::No(Refusal::busy("no database", 500)));
    assert_eq!(courier.answered(1, Ticket(1), busy()), None);
    assert_eq!(tickets(&courier.send(1 + WAIT_MS)), [(1, None), (2, Some(1))]);
}

#[test]
fn what_a_writer_sent_after_an_op_that_was_given_up_is_given_up_as_well() {
    let mut courier = courier(1);
    let other = Writer { author: UserId(Uuid::from_u128(9)), client: ClientId(Uuid::from_u128(9)) };
    courier.take(5_000, Ticket(2), Submission { writer: other, ..submission(1) }, 2).unwrap();
    courier.take(5_000, Ticket(3), submission(3), 3).unwrap();
    courier.send(5_000);
    assert_eq!(courier.tick(EXPIRED_MS), [1, 3]);
    assert_eq!(tickets(&courier.send(EXPIRED_MS)), [(2, None)]);
}

#[test]
fn what_is_not_answered_goes_again_and_is_given_up_after_a_while() {
    let mut courier = courier(2);
    courier.send(0);
    assert_eq!(courier.next_deadline(), Some(OVERDUE_MS));
    assert!(courier.tick(OVERDUE_MS - 1).is_empty());
    assert!(courier.tick(OVERDUE_MS).is_empty());
    assert_eq!(courier.send(OVERDUE_MS + WAIT_MS).len(), 2);
    assert_eq!(courier.tick(EXPIRED_MS), [1, 2]);
    assert!(courier.is_idle());
}

#[test]
fn not_everything_may_wait() {
    let mut courier = Courier::default();
    let large = |op| Submission { weight: 1 << 20, ..submission(op) };
    for op in 1..=3 {
        courier.take(0, Ticket(op), large(op), op).unwrap();
    }
    assert_eq!(courier.take(0, Ticket(4), large(4), 4), Err(4));
}

/// What can happen to an op on its way.
#[derive(Clone, Debug)]
enum Fate {
    Arrives,
    IsLost,
    IsTurnedAway,
    OwnerChanges,
}

proptest! {
    /// The owner's side of the bargain: it takes an op only after the one that it names.
    #[test]
    fn every_op_is_taken_in_order_whatever_happens_on_the_way(fates in prop::collection::vec(
        prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::IsLost), 1 => Just(Fate::IsTurnedAway), 1 => Just(Fate::OwnerChanges)],
        0..200,
    )) {
        let mut courier = courier(20);
        let (mut last, mut taken, mut now_ms) = (None, Vec::new(), 0);
        let mut fates = fates.into_iter();
        for _ in 0..2_000 {
            if courier.is_idle() {
                break;
            }
            for outgoing in courier.send(now_ms) {
                match fates.next().unwrap_or(Fate::Arrives) {
                    Fate::IsLost => {}
                    Fate::IsTurnedAway => {
                        courier.answered(now_ms, outgoing.ticket, Err(Refused::NotOwner));
                    }
                    fate => {
                        if matches!(fate, Fate::OwnerChanges) {
                            last = None;
                        }
                        if outgoing.after.is_none() || outgoing.after == last {
                            last = Some(outgoing.ticket);
                            if !taken.contains(&outgoing.ticket) {
                                taken.push(outgoing.ticket);
                            }
                            courier.answered(now_ms, outgoing.ticket, Ok(Seq(outgoing.ticket.0)));
                        } else {
                            courier.answered(now_ms, outgoing.ticket, Err(Refused::Gone));
                        }
                    }
                }
            }
            now_ms += 10;
            let given_up = courier.tick(now_ms);
            prop_assert!(given_up.is_empty() || now_ms >= EXPIRED_MS);
            prop_assume!(given_up.is_empty());
        }
        prop_assert!(taken.is_sorted());
        prop_assert_eq!(taken.len(), 20);
    }
}
