//! A room's owner: an op applied by the board, and an op's whole way through the room, with few and with many in it.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../../proto/benches/processor/mod.rs"]
mod processor;
#[path = "../../proto/benches/sample/mod.rs"]
mod sample;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use enfilade_actors::bus::{Notice, Submission, Writer};
use enfilade_actors::kind::{self, Kind};
use enfilade_actors::room::{Effect, Input, Room, RoomSettings, Token};
use enfilade_proto::{DisplayName, Epoch, Member, OpId, Role, RoomKind, Seq};
use enfilade_store::Incarnation;
use uuid::Uuid;

/// Strokes on the board before the first that is measured, and ops until it is put back to that: it must neither be empty nor fill up.
const DRAWN: u64 = 1_000;
const ROUND: u64 = 500;
const EDGE: Incarnation = Incarnation(Uuid::from_u128(1));

/// The time that so many ops take. Each round has a fresh `state`, whose making does not count.
fn in_rounds<S>(
    ops: u64,
    fresh: impl Fn() -> S,
    mut measured: impl FnMut(&mut S, u64) -> Duration,
) -> Duration {
    let rounds = (0..ops).step_by(ROUND as usize).map(|from| ROUND.min(ops - from));
    rounds.map(|count| measured(&mut fresh(), count)).sum()
}

fn apply(criterion: &mut Criterion) {
    let (author, _) = sample::person(0);
    let mut board = kind::create(RoomKind::Board).unwrap();
    for n in 0..DRAWN {
        board.apply(Seq(n + 1), author, sample::stroke(n)).unwrap();
    }
    let checkpoint = board.snapshot().to_checkpoint();
    let fresh = || kind::restore(RoomKind::Board, &checkpoint).unwrap();
    let draw = |board: &mut Box<dyn Kind>, count: u64| {
        let strokes: Vec<_> = (DRAWN..DRAWN + count).map(|n| (Seq(n + 1), sample::stroke(n))).collect();
        processor::time(|| {
            for (seq, stroke) in strokes {
                board.apply(seq, author, stroke).unwrap();
            }
        })
    };
    criterion.bench_function("apply/stroke", |bencher| {
        bencher.iter_custom(|ops| in_rounds(ops, fresh, draw));
    });
}

/// A room with people in it, all on one edge, and a database that always succeeds at once.
struct Owner {
    room: Room,
    effects: Vec<Effect>,
}

impl Owner {
    fn of(people: u64) -> Self {
        let room = Room::load(sample::ROOM, RoomKind::Board, Epoch(1), RoomSettings::default(), None, &[], 0)
            .unwrap();
        let mut owner = Self { room, effects: Vec::new() };
        owner.feed(Input::Attach { token: Token(0), edge: Some(EDGE), contents: true });
        owner.feed(Input::Committed);
        let name = DisplayName::new("Ada").unwrap();
        let member = |n| Member { id: sample::person(n).0, name: name.clone(), role: Role::Editor };
        let arrived = Notice::Arrived((0..people).map(member).collect());
        owner.feed(Input::Notice { from: EDGE, notice: arrived });
        assert_eq!(owner.room.inspect().people as u64, people);
        owner
    }

    fn feed(&mut self, input: Input) {
        self.room.handle(0, input, &mut self.effects);
    }

    /// From the edge to the database, and from there to the edge.
    fn submit(&mut self, submission: Submission) {
        self.effects.clear();
        self.feed(Input::Submit { token: Token(1), submission });
        self.feed(Input::Committed);
        assert!(self.effects.iter().any(|effect| matches!(effect, Effect::Accept { .. })));
    }
}

fn submission(n: u64) -> Submission {
    let (author, client) = sample::person(0);
    let writer = Writer { author, client };
    Submission {
        writer,
        role: Role::Editor,
        op_id: OpId(n + 1),
        op: sample::stroke(n),
        weight: 200,
        trace: None,
    }
}

fn submit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("room/submit");
    for people in [10, 10_000] {
        let submit_all = |owner: &mut Owner, count: u64| {
            let submissions: Vec<_> = (0..count).map(submission).collect();
            processor::time(|| submissions.into_iter().for_each(|it| owner.submit(it)))
        };
        group.bench_function(BenchmarkId::from_parameter(people), |bencher| {
            bencher.iter_custom(|ops| in_rounds(ops, || Owner::of(people), submit_all));
        });
    }
}

criterion_group!(benches, apply, submit);
criterion_main!(benches);
