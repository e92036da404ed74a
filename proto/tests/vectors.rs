//! Golden vectors: every message in both codecs, as bytes. Clients in other languages run the same files.
//!
//! `BLESS=1 cargo test -p enfilade-proto --test vectors` writes them anew. A change to an existing vector is a change to the
//! protocol; new ones are welcome.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use enfilade_proto::board::{
    AllElements, Area, Bounds, Change, Clear, Color, Element, Elements, Line, Move, Note, Reorder, Restore,
    Restyle, ShapeType, Some1, Stroke, Text, Width, Writing, Z,
};
use enfilade_proto::limits::Limits;
use enfilade_proto::*;
use serde_json::{Value, json};
use uuid::Uuid;

const ROOM: RoomId = RoomId(Uuid::from_u128(0x7d1e_0a10_5b6f_4c1a_9c3d_2e4f_5a6b_7c8d));
const ADA: UserId = UserId(Uuid::from_u128(0x5f0c_1d2e_3f40_4152_8364_7586_97a8_b9ca));
const BOB: UserId = UserId(Uuid::from_u128(0x1b2c_3d4e_5f60_4718_a9ba_cbdc_edfe_0f10));
const TRACE: TraceId = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
const CLIENT: ClientId = ClientId(Uuid::from_u128(0x0b63_bd0c_8d0f_4c5a_9e1a_0d8f_5c1d_2e3f));

fn name(text: &str) -> DisplayName {
    DisplayName::new(text).unwrap()
}

fn id(text: &str) -> ElementId {
    ElementId::new(text).unwrap()
}

fn ids(texts: &[&str]) -> Some1<ElementId> {
    Some1::new(texts.iter().map(|text| id(text)).collect()).unwrap()
}

fn coord(units: f64) -> Coord {
    Coord::from_units(units).unwrap()
}

fn at(x: f64, y: f64) -> Point {
    [coord(x), coord(y)]
}

fn bounds(x: f64, y: f64, w: f64, h: f64) -> Bounds {
    Bounds::new([x, y, w, h].map(coord)).unwrap()
}

fn color(text: &str) -> Color {
    Color::parse(text).unwrap()
}

fn width(units: f32) -> Width {
    Width::new(units).unwrap()
}

fn stroke() -> Stroke {
    Stroke {
        element: id("a2"),
        color: color("#1a1a1a"),
        width: width(4.0),
        points: Points::encode(&[at(10.0, 10.0), at(11.5, 12.0)]),
        pressure: None,
    }
}

fn every_op() -> Vec<Op> {
    let line = Line {
        element: id("l"),
        color: color("#d9480f80"),
        width: width(2.5),
        from: at(0.0, 0.0),
        to: at(-10.25, 40.0),
    };
    let area = Area {
        element: id("r"),
        color: color("#1864ab"),
        width: width(1.0),
        fill: Some(color("#e7f5ff")),
        bounds: bounds(1.0, 2.0, 30.0, 40.0),
    };
    vec![
        Op::AddStroke(stroke()),
        Op::AddStroke(Stroke {
            element: id("with-pressure"),
            points: Points::encode(&[at(-0.25, 0.0), at(1_000_000.0, -1_000_000.0), at(0.0, 0.0)]),
            pressure: Some(Pressure::encode(&[128, 130, 0])),
            ..stroke()
        }),
        Op::AddLine(line.clone()),
        Op::AddArrow(Line { element: id("arrow"), ..line }),
        Op::AddRectangle(area.clone()),
        Op::AddEllipse(Area { element: id("e"), fill: None, ..area }),
        Op::AddText(Writing {
            element: id("t"),
            color: color("#000000"),
            size: width(20.0),
            from: at(5.0, 5.0),
            text: Text::new("Grüße\n你好 🎨").unwrap(),
        }),
        Op::AddNote(Note {
            element: id("n"),
            color: color("#ffe8a3"),
            bounds: bounds(0.0, 0.0, 180.0, 120.0),
            text: Text::new("").unwrap(),
        }),
        Op::Change(Change {
            element: id("l"),
            points: None,
            pressure: None,
            from: Some(at(1.0, 1.0)),
            to: None,
            bounds: None,
            text: None,
        }),
        Op::Change(Change {
            element: id("a2"),
            points: Some(Points::encode(&[at(1.0, 1.0)])),
            pressure: Some(Pressure::encode(&[255])),
            from: None,
            to: None,
            bounds: None,
            text: None,
        }),
        Op::Move(Move {
            elements: ids(&["a2", "l"]),
            offsets: Some1::new(vec![at(3.0, 4.0), at(0.0, -0.5)]).unwrap(),
        }),
        Op::Restyle(Restyle {
            elements: ids(&["r"]),
            color: Some(color("#2b8a3e")),
            width: Some(width(8.0)),
            size: None,
            fill: Some(color("#00000000")),
        }),
        Op::Reorder(Reorder { elements: ids(&["r"]), z: Some1::new(vec![Z::new(12.5).unwrap()]).unwrap() }),
        Op::Delete(Elements { elements: ids(&["a2", "l"]) }),
        Op::Restore(Restore { deleted_by: Seq(14) }),
        Op::Clear(Clear {}),
        Op::Forget(Elements { elements: ids(&["l"]) }),
    ]
}

fn requests() -> Vec<(&'static str, Option<u32>, Request)> {
    let since = Some(Position { epoch: Epoch(3), seq: Seq(41) });
    let mut all = vec![
        (
            "hello as a guest",
            Some(1),
            Request::Hello(Hello { guest: Some(Guest { name: "Ada".into() }), ..Hello::new(CLIENT) }),
        ),
        (
            "hello again",
            Some(u32::MAX),
            Request::Hello(Hello {
                resume: Some("resume".into()),
                token: Some("token".into()),
                ..Hello::new(CLIENT)
            }),
        ),
        ("join", Some(2), Request::Join(Join { room: ROOM, link: Some("q1w2".into()), since: None })),
        ("rejoin", Some(2), Request::Join(Join { room: ROOM, link: None, since })),
        ("leave", Some(3), Request::Leave(Leave { room: ROOM })),
        (
            "signal",
            None,
            Request::Signal(Signal { room: ROOM, key: "cursor".into(), body: json!({"x": 1, "y": -2.5}) }),
        ),
        (
            "signal of nothing",
            None,
            Request::Signal(Signal { room: ROOM, key: "cursor".into(), body: Value::Null }),
        ),
        (
            "live stroke",
            None,
            Request::Signal(Signal {
                room: ROOM,
                key: "stroke.0".into(),
                body: json!({"element": "a2", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80, 12, 16], "pressure": [128, 130]}),
            }),
        ),
        ("read", Some(4), Request::Read(Read { room: ROOM, seq: Seq(42) })),
        ("refresh", Some(5), Request::Refresh(Refresh { token: "token".into() })),
        ("activity", None, Request::Activity(Activity { active: false })),
        (
            "message",
            Some(6),
            Request::Message(Message { room_id: ROOM, content: "hi".into(), file_url: None }),
        ),
        ("pong", None, Request::Pong(Pong {})),
    ];
    let ops = (1..).map(OpId).zip(every_op());
    let watcher = Hello { audience: true, ..Hello::new(CLIENT) };
    all.extend(ops.map(|(op_id, op)| ("submit", Some(3), Request::Submit(Submit { room: ROOM, op_id, op }))));
    all.push(("hello of an audience", Some(1), Request::Hello(watcher.clone())));
    let reader = Hello { compression: vec![Compression::Deflate], ..Hello::new(CLIENT) };
    all.push(("hello of a client that reads what is compressed", Some(1), Request::Hello(reader)));
    let known = Hello { token: Some("token".into()), ..watcher };
    all.push(("hello of an audience that is somebody", Some(1), Request::Hello(known)));
    let traceparent = Some(format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let guest = Some(Guest { name: "Ada".into() });
    let traced = Hello { guest, traceparent, ..Hello::new(CLIENT) };
    all.push(("hello of a client whose ops are traced", Some(1), Request::Hello(traced)));
    all
}

fn logged(op_id: u64, op: Op) -> LoggedOp {
    LoggedOp { author: ADA, client: CLIENT, op_id: OpId(op_id), at: 1_767_225_600_000, op }
}

fn element() -> Element {
    Element {
        element: id("a2"),
        shape: ShapeType::Stroke,
        author: ADA,
        z: Z::of(Seq(12)),
        offset: Some(at(3.0, 4.0)),
        deleted_by: Some(Seq(14)),
        color: color("#1a1a1a"),
        width: Some(width(4.0)),
        size: None,
        fill: None,
        points: Some(stroke().points),
        pressure: None,
        from: None,
        to: None,
        bounds: None,
        text: None,
    }
}

fn server_messages() -> Vec<(&'static str, Option<u32>, &'static str, ServerMessage)> {
    let ada = Member { id: ADA, name: name("Ada"), role: Role::Owner };
    let position = Position { epoch: Epoch(3), seq: Seq(41) };
    let snapshot = Snapshot { seq: Seq(40), elements: Some(AllElements(vec![element()])) };
    let ops: Vec<LoggedOp> = (1..).zip(every_op()).map(|(op_id, op)| logged(op_id, op)).collect();
    vec![
        (
            "welcome",
            Some(1),
            "welcome",
            ServerMessage::Welcome(Welcome {
                user: Some(User { id: ADA, name: name("Ada"), guest: true }),
                node: "a1b2c3d4".into(),
                ping_ms: 25_000,
                resume: Some("resume".into()),
                limits: Limits::default(),
            }),
        ),
        (
            "joined with a snapshot",
            Some(2),
            "joined",
            ServerMessage::Joined(Box::new(Joined {
                room: ROOM,
                kind: RoomKind::Board,
                title: name("Sketches"),
                role: Role::Editor,
                position,
                snapshot: Some(snapshot.clone()),
                snapshot_deflate: None,
                ops: Some(vec![logged(7, Op::Delete(Elements { elements: ids(&["a2"]) }))]),
                presence: Presence { count: 1, members: Some(vec![ada.clone()]), ..Presence::default() },
            })),
        ),
        ("accepted", Some(3), "accepted", ServerMessage::Accepted(Accepted { seq: Seq(42) })),
        ("ok", Some(4), "ok", ServerMessage::Done(Done {})),
        (
            "error",
            Some(5),
            "error",
            ServerMessage::Error(Error {
                retry_after_ms: Some(200),
                ..Error::new(ErrorCode::RateLimited, "too many at a time")
            }),
        ),
        (
            "error with a name",
            Some(5),
            "error",
            ServerMessage::Error(Error {
                trace_id: Some(TRACE),
                ..Error::new(ErrorCode::Internal, "something went wrong on our side")
            }),
        ),
        (
            "ops",
            None,
            "ops",
            ServerMessage::Ops(Ops { room: ROOM, epoch: Epoch(3), first_seq: Seq(42), ops }),
        ),
        (
            "signals",
            None,
            "signals",
            ServerMessage::Signals(Signals {
                room: ROOM,
                signals: vec![SignalOut {
                    author: ADA,
                    client: CLIENT,
                    key: "cursor".into(),
                    body: json!({"x": 1, "y": 2}),
                }],
            }),
        ),
        (
            "somebody came and somebody left",
            None,
            "presence",
            ServerMessage::Presence(Presence {
                room: Some(ROOM),
                count: 1,
                joined: Some(vec![ada]),
                left: Some(vec![BOB]),
                ..Presence::default()
            }),
        ),
        (
            "a large room",
            None,
            "presence",
            ServerMessage::Presence(Presence { room: Some(ROOM), count: 12_345, ..Presence::default() }),
        ),
        (
            "reset",
            None,
            "reset",
            ServerMessage::Reset(Reset {
                room: ROOM,
                position,
                snapshot: Some(snapshot),
                snapshot_deflate: None,
                ops: None,
            }),
        ),
        ("renamed", None, "renamed", ServerMessage::Renamed(Renamed { room: ROOM, title: name("Plans") })),
        ("ping", None, "ping", ServerMessage::Ping(Ping { heads: vec![Head { room: ROOM, seq: Seq(42) }] })),
        (
            "reconnect",
            None,
            "reconnect",
            ServerMessage::Reconnect(Reconnecting { after_ms: 1_500, resume: Some("resume".into()) }),
        ),
        (
            "closing",
            None,
            "closing",
            ServerMessage::Closing(Closing { code: 4000, reason: "going_away".into(), trace_id: None }),
        ),
        (
            "closing with a name",
            None,
            "closing",
            ServerMessage::Closing(Closing { code: 4002, reason: "too_slow".into(), trace_id: Some(TRACE) }),
        ),
        (
            "welcome to an audience",
            Some(1),
            "welcome",
            ServerMessage::Welcome(Welcome {
                user: None,
                node: "a1b2c3d4".into(),
                ping_ms: 25_000,
                resume: None,
                limits: Limits::default(),
            }),
        ),
        (
            "some more watch",
            None,
            "presence",
            ServerMessage::Presence(Presence {
                room: Some(ROOM),
                count: 2,
                audience: 1_204,
                joined: Some(Vec::new()),
                ..Presence::default()
            }),
        ),
        (
            "a reconnect of an audience",
            None,
            "reconnect",
            ServerMessage::Reconnect(Reconnecting { after_ms: 1_500, resume: None }),
        ),
    ]
}

fn encode_server(codec: Codec, id: Option<u32>, message_type: &str, message: &ServerMessage) -> Vec<u8> {
    match message {
        ServerMessage::Welcome(data) => codec.encode(id, message_type, data),
        ServerMessage::Joined(data) => codec.encode(id, message_type, data),
        ServerMessage::Accepted(data) => codec.encode(id, message_type, data),
        ServerMessage::Done(data) => codec.encode(id, message_type, data),
        ServerMessage::Error(data) => codec.encode(id, message_type, data),
        ServerMessage::Ops(data) => codec.encode(id, message_type, data),
        ServerMessage::Signals(data) => codec.encode(id, message_type, data),
        ServerMessage::Presence(data) => codec.encode(id, message_type, data),
        ServerMessage::Reset(data) => codec.encode(id, message_type, data),
        ServerMessage::Renamed(data) => codec.encode(id, message_type, data),
        ServerMessage::Ping(data) => codec.encode(id, message_type, data),
        ServerMessage::Reconnect(data) => codec.encode(id, message_type, data),
        ServerMessage::Closing(data) => codec.encode(id, message_type, data),
        ServerMessage::Unknown(_) => unreachable!("never written"),
    }
}

fn vector(name: &str, from: &str, json: &[u8], msgpack: &[u8]) -> Value {
    let hex: String = msgpack.iter().map(|byte| format!("{byte:02x}")).collect();
    let json: Value = serde_json::from_slice(json).unwrap();
    json!({"name": name, "from": from, "json": json, "msgpack": hex})
}

fn compare(file: &str, vectors: &[Value]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let text = serde_json::to_string_pretty(vectors).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let golden: Vec<Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (ours, golden) in vectors.iter().zip(&golden) {
        assert_eq!(ours, golden, "{file}: the protocol has changed");
    }
    assert_eq!(vectors.len(), golden.len(), "{file}: run with BLESS=1 to add vectors");
}

#[test]
fn what_clients_send_is_read_as_it_was_written() {
    let mut vectors = Vec::new();
    for (name, id, request) in requests() {
        let [json, msgpack] = Codec::ALL.map(|codec| codec.encode_request(id, &request));
        for (codec, bytes) in Codec::ALL.into_iter().zip([&json, &msgpack]) {
            let read = codec.decode_requests(bytes).unwrap();
            assert_eq!(read, [Ok(Incoming { id, request: request.clone() })], "{name} in {codec:?}");
        }
        vectors.push(vector(name, "client", &json, &msgpack));
    }
    compare("client.json", &vectors);
}

#[test]
fn what_servers_send_is_read_as_it_was_written() {
    let mut vectors = Vec::new();
    for (name, id, message_type, message) in server_messages() {
        let [json, msgpack] = Codec::ALL.map(|codec| encode_server(codec, id, message_type, &message));
        for (codec, bytes) in Codec::ALL.into_iter().zip([&json, &msgpack]) {
            let read = codec.decode_server(bytes).unwrap();
            assert_eq!(read, [ServerFrame { id, message: message.clone() }], "{name} in {codec:?}");
        }
        vectors.push(vector(name, "server", &json, &msgpack));
    }
    compare("server.json", &vectors);
}

/// A message with its snapshot compressed, and the same without. How well it is compressed is the writer's own business, so these
/// vectors are only read.
#[test]
fn a_compressed_snapshot_is_the_snapshot() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/deflate.json");
    if std::env::var_os("BLESS").is_some() && !path.exists() {
        let vectors: Vec<Value> = server_messages().into_iter().filter_map(compressed).collect();
        fs::write(&path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
    let golden: Vec<Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(golden.len(), 2);
    for vector in golden {
        let hex = vector["msgpack"].as_str().unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
        let mut read = Codec::MessagePack.decode_server(&bytes).unwrap();
        let (plain, deflated) = snapshots(&mut read[0].message).unwrap();
        *plain = Some(inflated(&deflated.take().unwrap()));
        assert_eq!(read, Codec::Json.decode_server(vector["json"].to_string().as_bytes()).unwrap());
    }
}

fn compressed(written: (&str, Option<u32>, &str, ServerMessage)) -> Option<Value> {
    let (name, id, message_type, mut message) = written;
    let json = encode_server(Codec::Json, id, message_type, &message);
    let (plain, deflated) = snapshots(&mut message)?;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&Codec::MessagePack.encode_value(&plain.take()?)).unwrap();
    *deflated = Some(Deflated(encoder.finish().unwrap().into()));
    let msgpack = encode_server(Codec::MessagePack, id, message_type, &message);
    Some(vector(&format!("{name}, compressed"), "server", &json, &msgpack))
}

/// Where a message has its snapshot, in either form.
fn snapshots(message: &mut ServerMessage) -> Option<(&mut Option<Snapshot>, &mut Option<Deflated>)> {
    match message {
        ServerMessage::Joined(joined) => Some((&mut joined.snapshot, &mut joined.snapshot_deflate)),
        ServerMessage::Reset(reset) => Some((&mut reset.snapshot, &mut reset.snapshot_deflate)),
        _ => None,
    }
}

fn inflated(deflated: &Deflated) -> Snapshot {
    let mut plain = Vec::new();
    flate2::read::DeflateDecoder::new(&deflated.0[..]).read_to_end(&mut plain).unwrap();
    rmp_serde::from_slice(&plain).unwrap()
}

/// What a later version may add is skipped: names, items of the envelope, types of messages.
#[test]
fn what_is_not_known_is_skipped() {
    let json = br#"{"type":"ping","later":1,"data":{"heads":[{"room":"7d1e0a10-5b6f-4c1a-9c3d-2e4f5a6b7c8d","seq":1,"new":[]}],"more":{}}}"#;
    let read = Codec::Json.decode_server(json).unwrap();
    assert!(matches!(&read[0].message, ServerMessage::Ping(ping) if ping.heads[0].seq == Seq(1)));

    let mut msgpack = vec![0x95];
    msgpack.extend(Codec::MessagePack.encode_value("ping"));
    msgpack.extend(Codec::MessagePack.encode_value(&()));
    msgpack.extend(Codec::MessagePack.encode_value(&json!({"heads": [], "more": {"x": [1, 2]}})));
    msgpack.extend(Codec::MessagePack.encode_value(&json!(["an item", 5])));
    msgpack.extend(Codec::MessagePack.encode_value(&7));
    let read = Codec::MessagePack.decode_server(&msgpack).unwrap();
    assert!(matches!(&read[0].message, ServerMessage::Ping(ping) if ping.heads.is_empty()));

    let read =
        Codec::Json.decode_server(br#"[{"type":"thunder","data":{"loud":true}},{"type":"ok"}]"#).unwrap();
    assert_eq!(read[0].message, ServerMessage::Unknown("thunder".into()));
    assert_eq!(read[1].message, ServerMessage::Done(Done {}));
}

#[test]
fn spliced_messages_are_the_same_as_whole_ones() {
    for codec in Codec::ALL {
        let big = codec.encode_value(&json!([1, 2, 3]));
        let fields = [("a", codec.encode_value(&1)), ("b", codec.encode_value("x"))];
        let fields: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let (mut spliced, after) = encode_around(codec, Some(7), "t", &fields, "big");
        spliced.extend_from_slice(&big);
        spliced.extend_from_slice(after);
        let whole = encode_fields(codec, Some(7), "t", &[fields[0], fields[1], ("big", &big)]);
        assert_eq!(spliced, whole);
        let value: Value = match codec {
            Codec::Json => serde_json::from_slice(&whole).unwrap(),
            Codec::MessagePack => rmp_serde::from_slice(&whole).unwrap(),
        };
        let expected = match codec {
            Codec::Json => json!({"id": 7, "type": "t", "data": {"a": 1, "b": "x", "big": [1, 2, 3]}}),
            Codec::MessagePack => json!(["t", 7, {"a": 1, "b": "x", "big": [1, 2, 3]}]),
        };
        assert_eq!(value, expected);
    }
}
