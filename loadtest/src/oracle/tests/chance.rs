//! Whatever happens in whatever order: an honest room is never convicted, a single crime always is.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

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
