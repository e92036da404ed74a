//! HAR files become sessions: one that a browser wrote, and some that say exactly what a test is about.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::File;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Node, assert_held, node_binary, options};
use enfilade_loadtest::import::Imported;
use enfilade_loadtest::import::har::{Har, HarError, compose};
use enfilade_loadtest::replay::{Options, replay};
use enfilade_loadtest::session::{Event, Title, What, read_session};
use enfilade_proto::{Codec, RoomId};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

const ADA: u128 = 1;
const BOB: u128 = 2;
const CY: u128 = 3;

fn id(of: u128) -> String {
    Uuid::from_u128(of).to_string()
}

fn room() -> String {
    id(77)
}

/// A WebSocket being recorded; times in milliseconds since the test's beginning.
#[derive(Default)]
struct Socket(Vec<Value>);

impl Socket {
    /// A page of `who` that says hello and joins: the room has these elements, and has come to `seq`.
    fn page(who: u128, at: u64, seq: u64, elements: &[&str]) -> Self {
        let user = json!({"id": id(who + 10), "name": format!("N{who}"), "guest": true});
        let limits: Value = serde_json::to_value(enfilade_proto::limits::Limits::default()).unwrap();
        let elements: Vec<Value> = elements
            .iter()
            .map(|element| {
                json!({"element": element, "type": "line", "author": id(CY + 10), "z": 1, "color": "#000000",
                       "width": 1, "from": [0, 0], "to": [1, 1]})
            })
            .collect();
        let joined = json!({"room": room(), "kind": "board", "title": "T", "role": "editor",
            "position": {"epoch": 1, "seq": seq}, "snapshot": {"seq": seq, "elements": elements},
            "presence": {"count": 1}});
        Self::default()
            .send(at, json!({"id": 1, "type": "hello", "data": {"client": id(who), "guest": {"name": "x"}}}))
            .hear(
                at,
                json!({"id": 1, "type": "welcome", "data": {"user": user, "node": "n", "ping_ms": 25000,
                "resume": "r", "limits": limits}}),
            )
            .send(at, json!({"id": 2, "type": "join", "data": {"room": room()}}))
            .hear(at, json!({"id": 2, "type": "joined", "data": joined}))
    }

    fn frame(mut self, direction: &str, at: u64, message: &Value) -> Self {
        let time = 1_767_225_600.0 + at as f64 / 1e3;
        self.0.push(json!({"type": direction, "time": time, "opcode": 1, "data": message.to_string()}));
        self
    }

    fn send(self, at: u64, message: Value) -> Self {
        self.frame("send", at, &message)
    }

    fn hear(self, at: u64, message: Value) -> Self {
        self.frame("receive", at, &message)
    }

    fn submit(self, at: u64, request: u32, op_id: u64, op: Value) -> Self {
        self.send(
            at,
            json!({"id": request, "type": "submit", "data": {"room": room(), "op_id": op_id, "op": op}}),
        )
    }

    fn accepted(self, at: u64, request: u32, seq: u64) -> Self {
        self.hear(at, json!({"id": request, "type": "accepted", "data": {"seq": seq}}))
    }

    fn refused(self, at: u64, request: u32, code: &str) -> Self {
        self.hear(at, json!({"id": request, "type": "error", "data": {"code": code, "message": ""}}))
    }

    /// Ops of somebody else's history.
    fn shown(self, at: u64, first: u64, ops: &[(u128, u64, Value)]) -> Self {
        let ops: Vec<Value> = ops
            .iter()
            .map(|(who, op_id, op)| {
                json!({"author": id(who + 10), "client": id(*who), "op_id": op_id, "at": 0, "op": op})
            })
            .collect();
        self.hear(
            at,
            json!({"type": "ops", "data": {"room": room(), "epoch": 1, "first_seq": first, "ops": ops}}),
        )
    }

    fn leave(self, at: u64) -> Self {
        self.send(at, json!({"type": "leave", "data": {"room": room()}}))
    }
}

fn har(sockets: Vec<Socket>) -> Har {
    let entries: Vec<Value> =
        sockets.into_iter().map(|socket| json!({"_webSocketMessages": socket.0})).collect();
    Har::read(json!({"log": {"entries": entries}}).to_string().as_bytes()).unwrap()
}

fn add(element: &str) -> Value {
    let data = json!({"element": element, "color": "#000000", "width": 1, "from": [0, 0], "to": [1, 1]});
    json!({"type": "add_line", "data": data})
}

fn delete(element: &str) -> Value {
    json!({"type": "delete", "data": {"elements": [element]}})
}

fn restore(seq: u64) -> Value {
    json!({"type": "restore", "data": {"deleted_by": seq}})
}

/// What happens when, in milliseconds, in short.
fn told(imported: &Imported) -> Vec<String> {
    let op = |op: &enfilade_proto::Op| {
        let op = json!(op);
        let what = op["data"].get("element").or(op["data"].get("elements")).or(op["data"].get("deleted_by"));
        format!("{} {}", op["type"].as_str().unwrap(), what.unwrap())
    };
    let line = |Event { at, what }: &Event| match what {
        What::Scene(scene) => format!("scene {}", op(scene)),
        What::Join { person, name } => format!("{} {person} join {name}", at / 1000),
        What::Leave { person } => format!("{} {person} leave", at / 1000),
        What::Op { person, op: done } => format!("{} {person} {}", at / 1000, op(done)),
        What::Signal { person, key, body } => format!("{} {person} {key} {body}", at / 1000),
    };
    imported.events.iter().map(line).collect()
}

#[test]
fn what_pages_send_is_what_people_do_and_what_was_there_is_the_scene() {
    let ada = Socket::page(ADA, 100, 40, &["old"])
        .submit(150, 5, 1, delete("old"))
        .accepted(160, 5, 41)
        .submit(300, 6, 2, restore(42));
    let signal =
        json!({"type": "signal", "data": {"room": room(), "key": "stroke.0", "body": {"element": "b9"}}});
    let bob = Socket::page(BOB, 200, 41, &[])
        .send(210, signal)
        .submit(250, 5, 1, delete("old"))
        .accepted(260, 5, 42);
    // One file for each, and both in one.
    for hars in [vec![har(vec![ada.copy()]), har(vec![bob.copy()])], vec![har(vec![ada.copy(), bob.copy()])]]
    {
        let imported = compose(&hars, None).unwrap();
        assert_eq!(
            told(&imported),
            [
                r#"scene add_line "e1""#,
                "0 0 join N1",
                r#"50 0 delete ["e1"]"#,
                "100 1 join N2",
                r#"110 1 stroke.0 {"element":"e2"}"#,
                r#"150 1 delete ["e1"]"#,
                "200 0 restore 3",
            ]
        );
        assert!(imported.left_out.is_empty(), "{}", imported.left_out);
    }
}

impl Socket {
    fn copy(&self) -> Self {
        Self(self.0.clone())
    }
}

#[test]
fn who_moves_stays_and_what_is_sent_again_counts_once() {
    let old = Socket::page(ADA, 0, 0, &[]).submit(10, 5, 1, add("a")).leave(50);
    let new = Socket::page(ADA, 40, 0, &[]).submit(45, 3, 1, add("a")).accepted(60, 3, 1).submit(
        70,
        4,
        2,
        delete("a"),
    );
    let imported = compose(&[har(vec![old, new.leave(80)])], None).unwrap();
    assert_eq!(
        told(&imported),
        ["0 0 join N1", r#"10 0 add_line "e1""#, r#"70 0 delete ["e1"]"#, "80 0 leave"]
    );
}

#[test]
fn what_was_refused_is_left_out_but_for_what_was_to_be_tried_again() {
    let ada = Socket::page(ADA, 0, 0, &[])
        .submit(10, 5, 1, add("a"))
        .refused(11, 5, "busy")
        .submit(12, 6, 2, delete("x"))
        .refused(13, 6, "unknown_element")
        .submit(14, 7, 1, add("a"))
        .accepted(15, 7, 1);
    let imported = compose(&[har(vec![ada])], None).unwrap();
    assert_eq!(told(&imported), ["0 0 join N1", r#"10 0 add_line "e1""#]);
    assert_eq!(imported.left_out.of("ops that were refused"), 1);
}

#[test]
fn whoever_has_no_page_is_there_as_the_pages_saw_them() {
    let other = |op| (CY, 1, op);
    let signals = |who: u128| {
        let signal = json!({"author": id(who + 10), "client": id(who), "key": "cursor", "body": null});
        json!({"type": "signals", "data": {"room": room(), "signals": [signal]}})
    };
    let left = json!({"type": "presence", "data": {"room": room(), "count": 2, "left": [id(CY + 10)]}});
    let ada = Socket::page(ADA, 0, 0, &[])
        .shown(20, 1, &[other(add("c"))])
        .hear(25, signals(CY))
        .submit(30, 5, 1, delete("c"))
        .shown(40, 1, &[other(add("c")), (ADA, 1, delete("c"))])
        .submit(50, 6, 2, restore(2))
        .hear(60, left);
    let bob = Socket::page(BOB, 0, 0, &[])
        .shown(21, 1, &[other(add("c"))])
        .hear(26, signals(CY))
        .hear(27, signals(ADA));
    let imported = compose(&[har(vec![ada, bob])], None).unwrap();
    assert_eq!(
        told(&imported),
        [
            "0 0 join N1",
            "0 1 join N2",
            "20 2 join Person 3",
            r#"20 2 add_line "e1""#,
            "25 2 cursor null",
            r#"30 0 delete ["e1"]"#,
            "50 0 restore 2",
            "60 2 leave",
        ]
    );
}

#[test]
fn the_busiest_room_is_taken_unless_another_is_named() {
    let elsewhere = json!({"type": "signal", "data": {"room": id(78), "key": "cursor", "body": null}});
    let ada = Socket::page(ADA, 0, 0, &[])
        .submit(10, 5, 1, add("a"))
        .submit(20, 6, 2, add("b"))
        .send(30, elsewhere);
    let hars = [har(vec![ada])];
    let imported = compose(&hars, None).unwrap();
    assert_eq!((told(&imported).len(), imported.left_out.of("signals in other rooms")), (3, 1));
    let nobody = compose(&hars, Some(RoomId(Uuid::from_u128(78))));
    assert!(matches!(nobody, Err(HarError::NotThere(_))), "{nobody:?}");
}

#[test]
fn messages_that_nobody_saw_are_counted_and_nonsense_is_too() {
    let mut ada = Socket::page(ADA, 0, 5, &[]).shown(10, 9, &[(CY, 4, add("c"))]);
    ada.0.push(json!({"type": "receive", "time": 1_767_225_600_020_u64, "opcode": 2, "data": STANDARD.encode([0xc1])}));
    let imported = compose(&[har(vec![ada])], None).unwrap();
    assert_eq!(imported.left_out.to_string(), "1 frames that make no sense, 3 ops that no page was shown");
}

#[test]
fn hars_without_us_say_what_is_missing() {
    let error = |text: &str| compose(&[Har::read(text.as_bytes()).unwrap()], None).unwrap_err().to_string();
    let bare = r#"{"log":{"entries":[{"_resourceType":"websocket"},{"_resourceType":"fetch"}]}}"#;
    assert!(error(bare).starts_with("the HAR has 1 WebSockets, but none of their messages; Playwright"));
    let others =
        r#"{"log":{"entries":[{"_webSocketMessages":[{"type":"send","time":1,"opcode":1,"data":"40"}]}]}}"#;
    assert!(error(others).contains("1 WebSockets with messages, but none that begins with a hello"));
    let hello = json!({"type": "hello", "data": {"client": id(ADA), "guest": {"name": "x"}}});
    let nowhere = compose(&[har(vec![Socket::default().send(0, hello)])], None);
    assert!(matches!(nowhere, Err(HarError::Nowhere)), "{nowhere:?}");
}

fn sample() -> Imported {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let read = |name| Har::read(File::open(folder.join(name)).unwrap()).unwrap();
    compose(&[read("two-pages.har"), read("another.har")], None).unwrap()
}

#[test]
fn what_a_browser_wrote_is_read_whole() {
    let imported = sample();
    assert!(imported.left_out.is_empty(), "{}", imported.left_out);
    let told = told(&imported);
    let done: Vec<&str> = told
        .iter()
        .filter(|line| !line.contains("cursor") && !line.contains("stroke."))
        .map(|line| line.split_once(' ').unwrap().1)
        .collect();
    let [ada, bob, cy] = [done[0], done[2], done[6]].map(|join| join.split_once(" join ").unwrap().1);
    assert_eq!(
        done,
        [
            &format!("0 join {ada}"),
            r#"0 add_stroke "e1""#,
            &format!("1 join {bob}"),
            r#"1 add_stroke "e2""#,
            r#"1 delete ["e2"]"#,
            "1 restore 3",
            &format!("2 join {cy}"),
            r#"2 add_stroke "e3""#,
            r#"0 add_stroke "e4""#,
        ]
    );
    assert!(told.iter().filter(|line| line.contains("stroke.")).count() > 4);
}

#[tokio::test]
async fn what_a_browser_wrote_can_be_replayed() {
    let Some(binary) = node_binary() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    sample().write(&path, Title::default()).unwrap();
    let session = read_session(std::io::BufReader::new(File::open(path).unwrap())).unwrap();
    let node = Node::start(&binary).await;
    let options = Options { speed: 20.0, codec: Codec::Json, ..options(&node.url(), 6) };
    let report = replay(session, &options, std::future::pending(), |_| {}).await.unwrap();
    assert_held(&report);
    assert_eq!((report.counts.ops_accepted, report.counts.ops_left_out), (12, 0));
}

/// What a page does or hears: which, when, with which seq and op id, and about whom.
type Step = (u8, u64, u64, u64, u128);

fn any_seq() -> impl Strategy<Value = u64> {
    prop_oneof![0..6u64, Just(u64::MAX), Just(1 << 53)]
}

proptest! {
    #[test]
    fn whatever_the_messages_say_it_is_a_session_or_refused(
        pages in prop::collection::vec(
            (1..4u128, 0..50u64, any_seq(),
             prop::collection::vec((0..7u8, 0..90u64, any_seq(), 0..3u64, 1..4u128), 0..12)), 1..4),
    ) {
        let page = |(who, at, seq, steps): (u128, u64, u64, Vec<Step>)| {
            let mut page = Socket::page(who, at, seq, &["old"]);
            for (kind, at, seq, op_id, other) in steps {
                let element = format!("e{op_id}");
                page = match kind {
                    0 => page.submit(at, op_id as u32, op_id, add(&element)),
                    1 => page.submit(at, op_id as u32, op_id, delete(&element)),
                    2 => page.submit(at, op_id as u32, op_id, restore(seq)),
                    3 => page.accepted(at, op_id as u32, seq),
                    4 => page.refused(at, op_id as u32, "unknown_element"),
                    5 => page.shown(at, seq, &[(other, op_id, add(&element)), (CY, op_id, restore(seq))]),
                    _ => page.leave(at),
                };
            }
            page
        };
        let imported = compose(&[har(pages.into_iter().map(page).collect())], None);
        let Ok(imported) = imported else { return Ok(()) };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        imported.write(&path, Title::default()).unwrap();
        let session = read_session(std::io::BufReader::new(File::open(path).unwrap()));
        prop_assert_eq!(session.unwrap().events, imported.events);
    }
}
