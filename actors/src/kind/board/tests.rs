use enfilade_proto::board::{Bounds, Clear, Color, Text, Width};
use enfilade_proto::{Codec, Point, Points};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;

const ADA: UserId = UserId(Uuid::from_u128(1));
const BOB: UserId = UserId(Uuid::from_u128(2));
const PEN: Writer = Writer { author: ADA, client: enfilade_proto::ClientId(Uuid::from_u128(3)) };

fn id(text: &str) -> ElementId {
    ElementId::new(text).unwrap()
}

fn ids(texts: &[&str]) -> Some1<ElementId> {
    Some1::new(texts.iter().map(|text| id(text)).collect()).unwrap()
}

fn at(x: f64, y: f64) -> Point {
    [Coord::from_units(x).unwrap(), Coord::from_units(y).unwrap()]
}

fn color(text: &str) -> Color {
    Color::parse(text).unwrap()
}

fn stroke(element: &str) -> Op {
    Op::AddStroke(Stroke {
        element: id(element),
        color: color("#1a1a1a"),
        width: Width::new(4.0).unwrap(),
        points: Points::encode(&[at(0.0, 0.0), at(10.0, 50.0), at(20.0, 0.0)]),
        pressure: None,
    })
}

fn rectangle(element: &str) -> Op {
    let [x, y] = at(0.0, 0.0);
    let [w, h] = at(10.0, 10.0);
    Op::AddRectangle(Area {
        element: id(element),
        color: color("#1a1a1a"),
        width: Width::new(1.0).unwrap(),
        fill: None,
        bounds: Bounds::new([x, y, w, h]).unwrap(),
    })
}

fn note(element: &str, text: &str) -> Op {
    let [x, y] = at(0.0, 0.0);
    Op::AddNote(Note {
        element: id(element),
        color: color("#ffe8a3"),
        bounds: Bounds::new([x, y, x, y]).unwrap(),
        text: Text::new(text).unwrap(),
    })
}

fn delete(elements: &[&str]) -> Op {
    Op::Delete(Elements { elements: ids(elements) })
}

fn change(element: &str) -> Change {
    Change {
        element: id(element),
        points: None,
        pressure: None,
        from: None,
        to: None,
        bounds: None,
        text: None,
    }
}

/// A board and the seq of its last op.
#[derive(Default)]
struct Scene {
    board: Board,
    seq: Seq,
    log: Vec<(UserId, Op)>,
}

impl Scene {
    fn draw(&mut self, author: UserId, op: Op) -> Result<Seq, ErrorCode> {
        let seq = self.seq.next();
        let op = self.board.apply(seq, author, op).map_err(|refusal| refusal.code)?;
        self.seq = seq;
        self.log.push((author, op));
        while let Some(op) = self.board.tidy() {
            self.draw(UserId::ROOM, op)?;
        }
        Ok(seq)
    }

    fn is_there(&self, element: &str) -> bool {
        self.board.element(&id(element)).is_some_and(|element| element.deleted_by.is_none())
    }
}

fn contents(board: &Board) -> Vec<u8> {
    board.snapshot().to_checkpoint()
}

#[test]
fn the_last_writer_of_a_property_wins_and_the_others_stay() {
    let mut scene = Scene::default();
    scene.draw(ADA, rectangle("r")).unwrap();
    let restyle = |color_text: Option<&str>, fill: Option<&str>| {
        Op::Restyle(Restyle {
            elements: ids(&["r", "not-there"]),
            color: color_text.map(color),
            width: None,
            size: None,
            fill: fill.map(color),
        })
    };
    scene.draw(ADA, restyle(Some("#ff0000"), Some("#00ff00"))).unwrap();
    scene.draw(BOB, restyle(Some("#0000ff"), None)).unwrap();
    let element = scene.board.element(&id("r")).unwrap();
    assert_eq!((element.color, element.fill), (color("#0000ff"), Some(color("#00ff00"))));
    scene.draw(BOB, restyle(None, Some("#00000000"))).unwrap();
    assert_eq!(scene.board.element(&id("r")).unwrap().fill, None);
}

#[test]
fn an_element_belongs_to_whoever_added_it() {
    let mut scene = Scene::default();
    scene.draw(ADA, stroke("a")).unwrap();
    assert_eq!(scene.draw(BOB, stroke("a")), Err(ErrorCode::ElementExists));
    assert_eq!(scene.seq, Seq(1));
    // Her own she replaces: a stroke that was closed for her and then came whole.
    scene.draw(ADA, rectangle("a")).unwrap();
    assert_eq!(scene.board.element(&id("a")).unwrap().shape, ShapeType::Rectangle);
    assert_eq!(scene.board.len(), 1);
}

#[test]
fn what_was_deleted_comes_back_by_the_op_that_deleted_it() {
    let mut scene = Scene::default();
    for element in ["a", "b", "c"] {
        scene.draw(ADA, stroke(element)).unwrap();
    }
    let first = scene.draw(BOB, delete(&["a", "b"])).unwrap();
    let cleared = scene.draw(ADA, Op::Clear(Clear {})).unwrap();
    assert!(scene.board.is_empty());
    scene.draw(ADA, Op::Restore(Restore { deleted_by: cleared })).unwrap();
    assert_eq!([scene.is_there("a"), scene.is_there("b"), scene.is_there("c")], [false, false, true]);
    scene.draw(BOB, Op::Restore(Restore { deleted_by: first })).unwrap();
    assert!(scene.is_there("a") && scene.is_there("b"));
    assert_eq!(scene.draw(BOB, Op::Restore(Restore { deleted_by: first })), Err(ErrorCode::InvalidOp));
}

#[test]
fn a_deleted_element_keeps_what_happened_to_it() {
    let mut scene = Scene::default();
    scene.draw(ADA, stroke("a")).unwrap();
    let gone = scene.draw(ADA, delete(&["a"])).unwrap();
    let moved = Op::Move(Move { elements: ids(&["a"]), offsets: Some1::new(vec![at(5.0, 6.0)]).unwrap() });
    scene.draw(BOB, moved).unwrap();
    scene.draw(ADA, delete(&["a"])).unwrap();
    scene.draw(ADA, Op::Restore(Restore { deleted_by: gone })).unwrap();
    assert_eq!(scene.board.element(&id("a")).unwrap().offset, Some(at(5.0, 6.0)));
}

#[test]
fn ops_that_make_no_sense_are_refused_and_change_nothing() {
    let mut scene = Scene::default();
    scene.draw(ADA, stroke("s")).unwrap();
    scene.draw(ADA, rectangle("r")).unwrap();
    let before = contents(&scene.board);
    let elsewhere = Move { elements: ids(&["x"]), offsets: Some1::new(vec![at(0.0, 0.0)]).unwrap() };
    let uneven = Move { elements: ids(&["s", "r"]), offsets: Some1::new(vec![at(0.0, 0.0)]).unwrap() };
    let uneven_z = Reorder { elements: ids(&["s"]), z: Some1::new(vec![Z::new(1.0).unwrap(); 2]).unwrap() };
    let pressure = Some(enfilade_proto::Pressure::encode(&[1, 2]));
    let points = Some(Points::encode(&[at(0.0, 0.0)]));
    let cases = [
        (Op::Move(elsewhere), ErrorCode::UnknownElement),
        (Op::Move(uneven), ErrorCode::InvalidOp),
        (Op::Reorder(uneven_z), ErrorCode::InvalidOp),
        (delete(&["x", "y"]), ErrorCode::UnknownElement),
        (Op::Restore(Restore { deleted_by: Seq(1) }), ErrorCode::InvalidOp),
        (Op::Change(Change { text: Some(Text::new("x").unwrap()), ..change("s") }), ErrorCode::InvalidOp),
        (Op::Change(Change { points: points.clone(), ..change("r") }), ErrorCode::InvalidOp),
        (Op::Change(Change { pressure: pressure.clone(), ..change("s") }), ErrorCode::InvalidOp),
        (Op::Change(Change { points, pressure, ..change("s") }), ErrorCode::InvalidOp),
        (Op::Change(change("x")), ErrorCode::UnknownElement),
    ];
    for (op, code) in cases {
        assert_eq!(scene.draw(BOB, op.clone()), Err(code), "{op:?}");
    }
    assert_eq!(contents(&scene.board), before);
}

#[test]
fn viewers_submit_nothing_and_nobody_forgets_but_the_room() {
    let board = Board::default();
    assert!(board.permits(Role::Viewer, &stroke("a")).is_err());
    assert!(board.permits(Role::Editor, &stroke("a")).is_ok());
    assert!(board.permits(Role::Owner, &Op::Forget(Elements { elements: ids(&["a"]) })).is_err());
}

#[test]
fn a_stroke_is_stored_simplified_and_small() {
    let mut scene = Scene::default();
    // A pen at 120 Hz along a gentle curve: the samples that a person makes.
    let points: Vec<Point> =
        (0..600).map(|i| f64::from(i) / 120.0).map(|t| at(80.0 * t, 40.0 * (t * 1.7).sin())).collect();
    let coded = Points::encode(&points);
    assert!(coded.coded().len() <= points.len() * 21 / 10, "about two bytes a live point");
    let op = Op::AddStroke(Stroke {
        element: id("s"),
        color: color("#1a1a1a"),
        width: Width::new(4.0).unwrap(),
        points: coded,
        pressure: None,
    });
    scene.draw(ADA, op).unwrap();
    let stored = scene.board.element(&id("s")).unwrap().points.as_ref().unwrap().coded().len();
    assert!(stored * 2 < points.len(), "{stored} bytes for {} points", points.len());
}

#[test]
fn a_full_board_forgets_the_oldest_deletions_first() {
    let mut scene = Scene::default();
    // Texts of 16 KB fill 64 MiB after some four thousand.
    let text = "€".repeat(4_000);
    let full = loop {
        match scene.draw(ADA, note(&format!("n{}", scene.seq.0), &text)) {
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!(full, ErrorCode::BoardFull);
    let larger = Op::Change(Change { text: Some(Text::new(&text).unwrap()), ..change("n0") });
    assert_eq!(scene.draw(ADA, larger), Err(ErrorCode::BoardFull));
    scene.draw(ADA, delete(&["n0"])).unwrap();
    scene.draw(ADA, delete(&["n1"])).unwrap();
    scene.draw(ADA, note("more", &text)).unwrap();
    assert!(scene.is_there("more"));
    assert!(scene.board.element(&id("n0")).is_none(), "forgotten");
    assert!(matches!(scene.log.last(), Some((author, Op::Forget(_))) if *author == UserId::ROOM));
    assert!(scene.board.bytes <= BOARD_BYTES + 20_000);
}

#[test]
fn a_writer_who_vanishes_leaves_the_stroke_that_arrived() {
    let mut scene = Scene::default();
    let piece = |at: u32, points: &[i32]| json!({"element": "s", "color": "#1a1a1a", "width": 4, "at": at, "points": points, "pressure": vec![128; points.len() / 2]});
    scene.board.notice(PEN, "stroke.0", &piece(0, &[80, 80, 80, 0]));
    scene.board.notice(PEN, "stroke.1", &piece(2, &[320, 400]));
    scene.board.notice(PEN, "cursor", &json!({"x": 1, "y": 2}));
    let op = scene.board.abandon(PEN).unwrap();
    let Op::AddStroke(stroke) = &op else { panic!("{op:?}") };
    assert_eq!(stroke.points.decode(), [at(10.0, 10.0), at(20.0, 10.0), at(40.0, 50.0)]);
    assert_eq!(stroke.pressure.as_ref().unwrap().decode(), [128; 3]);
    scene.draw(ADA, op).unwrap();
    assert!(scene.board.abandon(PEN).is_none());
}

#[test]
fn a_finished_or_cancelled_stroke_leaves_nothing_to_close() {
    let mut scene = Scene::default();
    let piece = json!({"element": "s", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80]});
    scene.board.notice(PEN, "stroke.0", &piece);
    scene.draw(ADA, stroke("s")).unwrap();
    assert!(scene.board.abandon(PEN).is_none());
    scene.board.notice(PEN, "stroke.1", &piece);
    scene.board.notice(PEN, "stroke.2", &json!({"element": "s", "cancel": true}));
    assert!(scene.board.abandon(PEN).is_none());
}

#[test]
fn a_piece_that_comes_after_the_finished_stroke_does_not_undo_it() {
    let mut scene = Scene::default();
    scene.draw(ADA, stroke("s")).unwrap();
    let late = json!({"element": "s", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80]});
    scene.board.notice(PEN, "stroke.7", &late);
    assert!(scene.board.abandon(PEN).is_none());
    // Deleted since, it is still no stroke that was left unfinished.
    scene.draw(ADA, delete(&["s"])).unwrap();
    scene.board.notice(PEN, "stroke.8", &late);
    assert!(scene.board.abandon(PEN).is_none());
}

#[test]
fn pieces_that_cannot_be_read_are_skipped() {
    let mut board = Board::default();
    let bodies = [
        json!(null),
        json!([]),
        json!({"element": "s"}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": [1]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": [-1, 0]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": [1e300, 0]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": [u64::MAX, 0]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 1e300, "points": [0, 0]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": [0, 0], "pressure": [256]}),
        json!({"element": "s", "color": "#1a1a1a", "width": 4, "points": []}),
    ];
    for body in bodies {
        board.notice(PEN, "stroke.0", &body);
        assert!(board.abandon(PEN).is_none(), "{body}");
    }
}

#[test]
fn a_hundred_thousand_strokes_stay_small() {
    let mut scene = Scene::default();
    for n in 0..100_000u32 {
        let (x, y) = (f64::from(n % 400) * 25.0, f64::from(n / 400) * 25.0);
        let points: Vec<Point> = (0..22)
            .map(|i| f64::from(i) * 0.3)
            .map(|t| at(x + 8.0 * t.cos() + t, y + 8.0 * (t * 1.3).sin()))
            .collect();
        let op = Op::AddStroke(Stroke {
            element: id(&format!("element-{n:08}")),
            color: color("#1a1a1a"),
            width: Width::new(4.0).unwrap(),
            points: Points::encode(&points),
            pressure: None,
        });
        scene.draw(ADA, op).unwrap();
    }
    let snapshot = scene.board.snapshot().encode(Codec::MessagePack, scene.seq);
    assert!(snapshot.len() < 15_000_000, "a snapshot of {} bytes", snapshot.len());
    let restored = Board::restore(&contents(&scene.board)).unwrap();
    assert_eq!(restored.len(), 100_000);
}

fn any_op() -> impl Strategy<Value = Op> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let some = move || prop::collection::vec(name(), 1..4);
    prop_oneof![
        name().prop_map(stroke),
        name().prop_map(rectangle),
        name().prop_map(|element| note(element, "text")),
        some().prop_map(|elements| delete(&elements)),
        (1u64..30).prop_map(|seq| Op::Restore(Restore { deleted_by: Seq(seq) })),
        Just(Op::Clear(Clear {})),
        (some(), -50i32..50).prop_map(|(elements, x)| {
            let offsets = Some1::new(vec![at(f64::from(x), 1.0); elements.len()]).unwrap();
            Op::Move(Move { elements: ids(&elements), offsets })
        }),
        (some(), -5i32..5).prop_map(|(elements, z)| {
            let z = Some1::new(vec![Z::new(f64::from(z)).unwrap(); elements.len()]).unwrap();
            Op::Reorder(Reorder { elements: ids(&elements), z })
        }),
        (some(), any::<bool>()).prop_map(|(elements, fill)| Op::Restyle(Restyle {
            elements: ids(&elements),
            color: Some(color("#00ff00")),
            width: Width::new(9.0),
            size: None,
            fill: fill.then(|| color("#00000000")),
        })),
        (name(), any::<bool>()).prop_map(|(element, text)| Op::Change(Change {
            text: text.then(|| Text::new("new").unwrap()),
            points: (!text).then(|| Points::encode(&[at(1.0, 2.0), at(30.0, 4.0)])),
            ..change(element)
        })),
    ]
}

proptest! {
    /// Playing the log gives the same board as living through it; so does any checkpoint and the log after it.
    #[test]
    fn the_log_is_the_board(ops in prop::collection::vec((any_op(), any::<bool>()), 1..60), cut in any::<prop::sample::Index>()) {
        let mut scene = Scene::default();
        for (op, ada) in ops {
            let before = contents(&scene.board);
            if scene.draw(if ada { ADA } else { BOB }, op).is_err() {
                prop_assert_eq!(contents(&scene.board), before, "a refused op changed something");
            }
        }
        let cut = cut.index(scene.log.len() + 1);
        let mut replayed = Board::default();
        for (seq, (author, op)) in (1..).map(Seq).zip(&scene.log) {
            if seq.0 as usize == cut + 1 {
                replayed = Board::restore(&contents(&replayed)).unwrap();
            }
            replayed.replay(seq, *author, op);
        }
        prop_assert_eq!(contents(&replayed), contents(&scene.board));
        prop_assert_eq!(replayed.bytes, scene.board.bytes);
        prop_assert_eq!(&replayed.deleted, &scene.board.deleted);
        prop_assert_eq!(replayed.bytes, replayed.elements.values().map(|element| weight(element)).sum::<usize>());
    }
}
