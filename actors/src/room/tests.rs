mod presence;

use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{Codec, Coord, DisplayName, ElementId, Member, Points, Role, SignalOut};
use enfilade_store::{Checkpoint, LogRow};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::commit::{RETRY_MOST_MS, RETRY_MS};
use super::*;
use crate::bus::{Attached, Notice, Standing, Watching};

const ROOM: RoomId = RoomId(Uuid::from_u128(1));
const EDGE: Incarnation = Incarnation(Uuid::from_u128(2));
const FAR: Incarnation = Incarnation(Uuid::from_u128(5));
const ADA: UserId = UserId(Uuid::from_u128(3));
const PEN: ClientId = ClientId(Uuid::from_u128(4));
const WRITER: Writer = Writer { author: ADA, client: PEN };

/// A room, and a database that does what the test says.
struct Scene {
    room: Room,
    now_ms: u64,
    tokens: u64,
    /// What the room asked to be written and has not been told about.
    asked: Option<(Seq, Vec<Arc<LoggedOp>>)>,
    rows: Vec<LogRow>,
    accepted: Vec<(Token, Seq)>,
    refused: Vec<(Token, Refusal)>,
    attached: Vec<Attached>,
    published: Vec<(Seq, Arc<[Arc<LoggedOp>]>)>,
    /// What edges were told besides ops, and when.
    told: Vec<(u64, Audience, RoomEvent)>,
    checkpoint: Option<Checkpoint>,
    asleep: bool,
}

impl Scene {
    fn new() -> Self {
        Self::load(None, Vec::new())
    }

    fn load(checkpoint: Option<Checkpoint>, rows: Vec<LogRow>) -> Self {
        let settings = RoomSettings { checkpoint_ops: 50, ..RoomSettings::default() };
        let behind = checkpoint.as_ref().map_or(Seq(0), |checkpoint| checkpoint.seq);
        let tail: Vec<LogRow> = rows.iter().filter(|row| row.last > behind).cloned().collect();
        let room =
            Room::load(ROOM, RoomKind::Board, Epoch(1), settings, checkpoint.as_ref(), &tail, 0).unwrap();
        Self {
            room,
            now_ms: 0,
            tokens: 0,
            asked: None,
            rows,
            accepted: Vec::new(),
            refused: Vec::new(),
            attached: Vec::new(),
            published: Vec::new(),
            told: Vec::new(),
            checkpoint,
            asleep: false,
        }
    }

    /// The process dies; another one reads what is on disk.
    fn crash(self) -> Self {
        Self::load(self.checkpoint, self.rows)
    }

    fn feed(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.room.handle(self.now_ms, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Commit { first, ops } => self.asked = Some((first, ops)),
                Effect::Accept { token, seq } => self.accepted.push((token, seq)),
                Effect::Refuse { token, refusal } => self.refused.push((token, refusal)),
                Effect::Attached { attached, .. } => self.attached.push(attached),
                Effect::Publish { event: RoomEvent::Ops { first, ops, .. }, .. } => {
                    self.published.push((first, ops));
                }
                Effect::Publish { to, event } => self.told.push((self.now_ms, to, event)),
                Effect::Checkpoint { seq, parts } => {
                    let body = parts.write();
                    let bytes = body.len() as u64;
                    self.checkpoint = Some(Checkpoint {
                        room: ROOM,
                        seq,
                        epoch: Epoch(1),
                        format: CHECKPOINT_FORM,
                        body,
                        at_ms: 0,
                    });
                    self.feed(Input::CheckpointWritten { seq, bytes });
                }
                Effect::Sleep => self.asleep = true,
            }
        }
    }

    fn submit(&mut self, client: ClientId, op_id: u64, element: &str) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let submission = Submission {
            writer: Writer { author: ADA, client },
            role: Role::Editor,
            op_id: OpId(op_id),
            op: stroke(element),
            weight: 100,
            trace: None,
        };
        self.feed(Input::Submit { token, submission });
        token
    }

    /// The database has written what was asked of it.
    fn commit(&mut self) {
        let (first, ops) = self.asked.take().unwrap();
        if !ops.is_empty() {
            let last = Seq(first.0 + ops.len() as u64 - 1);
            self.rows.push(LogRow { first, last, epoch: Epoch(1), at_ms: 0, ops: write_row(&ops) });
        }
        self.feed(Input::Committed);
    }

    fn settle(&mut self) {
        while self.asked.is_some() {
            self.commit();
        }
    }

    fn attach(&mut self) {
        self.attach_from(EDGE);
    }

    fn attach_from(&mut self, edge: Incarnation) {
        self.tokens += 1;
        self.feed(Input::Attach { token: Token(self.tokens), edge: Some(edge), contents: true });
    }

    fn notice(&mut self, notice: Notice) {
        self.notice_from(EDGE, notice);
    }

    fn notice_from(&mut self, from: Incarnation, notice: Notice) {
        self.feed(Input::Notice { from, notice });
    }

    /// What an edge says that has heard everything, and of which everything was heard.
    fn standing(&self, edge: Incarnation) -> Standing {
        let presence = &self.room.presence;
        Standing {
            position: self.room.position(),
            here: presence.on_edge(edge),
            people: presence.roster(),
            edges: self.room.edges.keys().map(|edge| edge.0).collect(),
            audience: Some(Watching { here: presence.audience_on(edge), everywhere: presence.audience() }),
        }
    }

    /// An edge says that it is still there, and has everything.
    fn stand(&mut self, edge: Incarnation) {
        let standing = self.standing(edge);
        self.notice_from(edge, Notice::Standing(standing));
    }

    fn elements(&self) -> usize {
        let snapshot = self.room.state.snapshot().to_snapshot(Seq(0));
        snapshot.elements.unwrap().0.len()
    }

    /// Lets time pass as the driver does: to each deadline that lies on the way.
    fn wait(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while let Some(at) = self.room.next_deadline().filter(|at| *at <= end) {
            self.now_ms = self.now_ms.max(at);
            self.feed(Input::Tick);
            self.settle();
            if self.asleep {
                break;
            }
        }
        self.now_ms = end;
    }
}

fn stroke(element: &str) -> Op {
    let at = |x: f64| [Coord::from_units(x).unwrap(); 2];
    Op::AddStroke(Stroke {
        element: ElementId::new(element).unwrap(),
        color: Color::parse("#1a1a1a").unwrap(),
        width: Width::new(4.0).unwrap(),
        points: Points::encode(&[at(0.0), at(10.0)]),
        pressure: None,
    })
}

fn member() -> Member {
    Member { id: ADA, name: DisplayName::new("Ada").unwrap(), role: Role::Editor }
}

#[test]
fn nothing_is_answered_or_shown_before_it_is_on_disk() {
    let mut scene = Scene::new();
    scene.attach();
    scene.settle();
    let token = scene.submit(PEN, 1, "a");
    assert!(scene.accepted.is_empty() && scene.published.is_empty());
    scene.commit();
    assert_eq!(scene.accepted, [(token, Seq(1))]);
    assert_eq!(scene.published.len(), 1);
}

#[test]
fn what_comes_during_a_commit_is_the_next_one() {
    let mut scene = Scene::new();
    scene.submit(PEN, 1, "a");
    for n in 2..=10 {
        scene.submit(PEN, n, &format!("e{n}"));
    }
    assert_eq!(scene.asked.as_ref().unwrap().1.len(), 1);
    scene.commit();
    assert_eq!(scene.asked.as_ref().unwrap().1.len(), 9);
    scene.commit();
    assert_eq!(scene.accepted.iter().map(|(_, seq)| seq.0).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert!(scene.asked.is_none());
}

#[test]
fn a_resent_op_gets_its_first_seq_even_while_it_is_being_written() {
    let mut scene = Scene::new();
    let first = scene.submit(PEN, 1, "a");
    let again = scene.submit(PEN, 1, "a");
    assert!(scene.accepted.is_empty());
    scene.commit();
    let once_more = scene.submit(PEN, 1, "a");
    assert_eq!(scene.accepted, [(first, Seq(1)), (again, Seq(1)), (once_more, Seq(1))]);
    assert_eq!(scene.elements(), 1);
}

#[test]
fn whoever_joins_sees_what_was_accepted_before() {
    let mut scene = Scene::new();
    scene.submit(PEN, 1, "a");
    scene.submit(PEN, 2, "b");
    scene.attach();
    scene.commit();
    assert!(scene.attached.is_empty(), "op 2 is in the snapshot and not on disk");
    scene.commit();
    let attached = &scene.attached[0];
    assert_eq!(attached.position.seq, Seq(2));
    assert_eq!(attached.contents.as_ref().unwrap().to_snapshot(Seq(2)).elements.unwrap().0.len(), 2);
}

#[test]
fn a_join_asks_the_fence_even_if_nothing_is_written() {
    let mut scene = Scene::new();
    scene.attach();
    assert!(scene.attached.is_empty());
    assert_eq!(scene.asked.as_ref().map(|(first, ops)| (*first, ops.len())), Some((Seq(1), 0)));
    scene.commit();
    assert_eq!(scene.attached.len(), 1);
}

#[test]
fn who_comes_while_a_commit_is_under_way_waits_for_the_next() {
    let mut scene = Scene::new();
    scene.submit(PEN, 1, "a");
    scene.attach();
    scene.commit();
    assert!(scene.attached.is_empty(), "the fence was asked before they came");
    scene.commit();
    assert_eq!(scene.attached[0].position.seq, Seq(1));
}

#[test]
fn a_refused_op_takes_no_seq() {
    let mut scene = Scene::new();
    scene.tokens += 1;
    let submission = Submission {
        writer: Writer { author: ADA, client: PEN },
        role: Role::Viewer,
        op_id: OpId(1),
        op: stroke("a"),
        weight: 100,
        trace: None,
    };
    scene.feed(Input::Submit { token: Token(1), submission });
    assert!(scene.refused.is_empty(), "another owner may know better: the fence is asked first");
    scene.settle();
    assert_eq!(scene.refused[0].1.code, ErrorCode::Forbidden);
    scene.submit(PEN, 2, "b");
    scene.settle();
    assert_eq!(scene.accepted, [(Token(2), Seq(1))]);
}

#[test]
fn a_failed_commit_is_tried_again_until_it_succeeds() {
    let mut scene = Scene::new();
    let token = scene.submit(PEN, 1, "a");
    scene.asked = None;
    scene.feed(Input::CommitFailed);
    assert!(scene.asked.is_none() && scene.refused.is_empty());
    assert_eq!(scene.room.next_deadline(), Some(RETRY_MS));
    scene.submit(PEN, 2, "b");
    assert!(scene.asked.is_none(), "one at a time");
    scene.now_ms = RETRY_MS;
    scene.feed(Input::Tick);
    scene.asked = None;
    scene.feed(Input::CommitFailed);
    assert_eq!(scene.room.next_deadline(), Some(RETRY_MS * 3), "it waits longer each time");
    scene.now_ms = RETRY_MS * 3;
    scene.feed(Input::Tick);
    scene.settle();
    assert_eq!(scene.accepted, [(token, Seq(1)), (Token(2), Seq(2))]);
}

#[test]
fn a_room_that_is_too_busy_says_so() {
    let mut scene = Scene::new();
    for n in 0..=PENDING_OPS as u64 {
        scene.submit(
            ClientId(Uuid::from_u128(100 + u128::from(n) / OPS_IN_FLIGHT as u128)),
            n + 1,
            &format!("e{n}"),
        );
    }
    assert!(scene.refused.is_empty());
    scene.submit(PEN, 1_000_000, "x");
    let (_, refusal) = &scene.refused[0];
    assert_eq!(refusal.code, ErrorCode::Busy);
    assert!(refusal.retry_after_ms.is_some());
    scene.settle();
    scene.submit(PEN, 1_000_000, "x");
    scene.settle();
    assert_eq!(scene.accepted.len(), PENDING_OPS + 2);
}

#[test]
fn a_lost_writer_leaves_what_arrived_after_a_while() {
    let mut scene = Scene::new();
    let body = json!({"element": "s", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80, 80, 0]});
    let piece = SignalOut { author: ADA, client: PEN, key: "stroke.0".into(), body };
    scene.notice(Notice::Signal(piece.clone()));
    scene.notice(Notice::WriterGone { writer: WRITER, left: false });
    scene.wait(ABANDONED_MS - 1);
    assert_eq!(scene.elements(), 0);
    scene.wait(1);
    assert_eq!(scene.elements(), 1);
    let row = read_row(&scene.rows[0].ops).unwrap();
    assert_eq!((row[0].author, row[0].client, row[0].op_id), (ADA, ClientId::ROOM, OpId(0)));

    // Whoever comes back in time goes on drawing.
    scene.notice(Notice::Signal(SignalOut {
        body: json!({"element": "t", "color": "#1a1a1a", "width": 4, "at": 0, "points": [0, 0]}),
        ..piece
    }));
    scene.notice(Notice::WriterGone { writer: WRITER, left: false });
    scene.wait(ABANDONED_MS - 1);
    scene.notice(Notice::WriterBack(WRITER));
    scene.wait(ABANDONED_MS * 3);
    assert_eq!(scene.elements(), 1);

    // And whoever leaves on purpose has finished.
    scene.notice(Notice::WriterGone { writer: WRITER, left: true });
    assert_eq!(scene.elements(), 2);
}

#[test]
fn a_room_that_nobody_uses_writes_a_checkpoint_and_sleeps() {
    let mut scene = Scene::new();
    scene.attach();
    scene.submit(PEN, 1, "a");
    scene.settle();
    scene.notice(Notice::Arrived(vec![member()]));
    for _ in 0..60 {
        scene.wait(10_000);
        scene.stand(EDGE);
    }
    assert!(!scene.asleep, "somebody is there");
    scene.notice(Notice::Departed(vec![ADA]));
    scene.notice(Notice::Detached);
    scene.wait(30_000);
    assert!(!scene.asleep, "just now");
    scene.wait(120_000);
    assert!(scene.asleep);
    assert_eq!(scene.checkpoint.as_ref().unwrap().seq, Seq(1));
    assert_eq!(scene.crash().elements(), 1);
}

#[test]
fn a_checkpoint_is_due_after_so_many_ops() {
    let mut scene = Scene::new();
    for n in 1..=120 {
        scene.submit(PEN, n, &format!("e{n}"));
        scene.settle();
    }
    assert_eq!(scene.checkpoint.as_ref().unwrap().seq, Seq(100));
    let after = scene.crash();
    assert_eq!((after.elements(), after.room.committed), (120, Seq(120)));
}

#[test]
fn a_room_that_is_never_quiet_has_checkpoints_too() {
    let mut scene = Scene::new();
    for n in 1..=500 {
        // There is always one op that is not on disk.
        scene.submit(PEN, n, &format!("e{n}"));
        if n > 1 {
            scene.commit();
        }
    }
    let checkpoint = scene.checkpoint.as_ref().unwrap().seq;
    assert!(checkpoint >= Seq(400) && checkpoint <= scene.room.committed, "{checkpoint}");
    assert_eq!(scene.crash().elements(), 499);
}

#[test]
fn a_log_with_a_hole_is_not_loaded() {
    let mut scene = Scene::new();
    for n in 1..=3 {
        scene.submit(PEN, n, &format!("e{n}"));
        scene.settle();
    }
    scene.rows.remove(1);
    let settings = RoomSettings::default();
    let loaded = Room::load(ROOM, RoomKind::Board, Epoch(1), settings.clone(), None, &scene.rows, 0);
    assert_eq!(loaded.unwrap_err().code, ErrorCode::Internal);
    scene.rows[0].ops = vec![9, 9, 9].into();
    assert!(Room::load(ROOM, RoomKind::Board, Epoch(1), settings, None, &scene.rows[..1], 0).is_err());
}

proptest! {
    /// Whatever is sent, resent, committed, failed and crashed in whatever order: what was accepted is there once, under its seq,
    /// and was shown in order without gap.
    #[test]
    fn accepted_ops_survive_everything(steps in prop::collection::vec((0u8..8, 0u128..3, 1u64..40), 1..250)) {
        let mut scene = Scene::new();
        scene.attach();
        let mut promised: BTreeMap<(ClientId, OpId), Seq> = BTreeMap::new();
        let mut tokens: BTreeMap<Token, (ClientId, OpId)> = BTreeMap::new();
        let mut shown = Seq(0);
        for (what, who, op_id) in steps {
            let client = ClientId(Uuid::from_u128(10 + who));
            match what {
                0..=3 => {
                    let token = scene.submit(client, op_id, &format!("c{who}-{op_id}"));
                    tokens.insert(token, (client, OpId(op_id)));
                }
                4 | 5 => if scene.asked.is_some() { scene.commit() },
                6 => if scene.asked.take().is_some() {
                    scene.feed(Input::CommitFailed);
                    scene.wait(RETRY_MOST_MS);
                },
                _ => {
                    // The commit may have happened although nobody was told.
                    if op_id % 2 == 0 && scene.asked.is_some() { scene.commit() }
                    let tokens_before = scene.tokens;
                    scene = scene.crash();
                    scene.tokens = tokens_before;
                    shown = scene.room.committed;
                    scene.attach();
                }
            }
            for (token, seq) in scene.accepted.drain(..) {
                let op = tokens[&token];
                prop_assert_eq!(*promised.entry(op).or_insert(seq), seq);
            }
            for (first, ops) in scene.published.drain(..) {
                prop_assert_eq!(first, shown.next());
                shown = Seq(shown.0 + ops.len() as u64);
                prop_assert!(shown <= scene.room.committed);
            }
        }
        scene.settle();
        let mut seq = Seq(0);
        let mut in_log = BTreeMap::new();
        for row in &scene.rows {
            prop_assert_eq!(row.first, seq.next());
            for logged in read_row(&row.ops).unwrap() {
                seq = seq.next();
                prop_assert_eq!(in_log.insert((logged.client, logged.op_id), seq), None);
            }
        }
        for (op, seq) in promised {
            prop_assert_eq!(in_log.get(&op), Some(&seq));
        }
        let before = scene.room.state.snapshot().encode(Codec::MessagePack, Seq(0));
        prop_assert_eq!(scene.crash().room.state.snapshot().encode(Codec::MessagePack, Seq(0)), before);
    }
}
