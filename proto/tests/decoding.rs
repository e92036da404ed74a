//! Untrusted bytes: decoding them never panics, and never takes more memory than what arrived warrants.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use enfilade_proto::limits::{FRAME_BYTES, MESSAGES_PER_FRAME};
use enfilade_proto::{Codec, ErrorCode};
use proptest::prelude::*;

/// Counts what the thread has allocated and not freed, and the most it ever was.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "an allocator is unsafe by nature; this one only counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = NOW.try_with(|now| {
            now.set(now.get() + layout.size());
            let _ = MOST.try_with(|most| most.set(most.get().max(now.get())));
        });
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = NOW.try_with(|now| now.set(now.get().saturating_sub(layout.size())));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held at once.
fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.get();
    MOST.set(before);
    let result = work();
    (result, MOST.get() - before)
}

/// A decoded number of one byte takes up to 72 (a JSON value in a list), twice while a list grows; and a little for everybody.
const PER_BYTE: usize = 256;
const FOR_ALL: usize = 16 * 1024;

fn decode(codec: Codec, bytes: &[u8]) {
    let ((), held) = most_held(|| {
        let _ = codec.decode_requests(bytes);
        let _ = codec.decode_server(bytes);
    });
    assert!(held <= PER_BYTE * bytes.len() + FOR_ALL, "{held} bytes held for {} that arrived", bytes.len());
}

fn vectors() -> Vec<(Vec<u8>, Vec<u8>)> {
    let read = |file: &str| -> Vec<serde_json::Value> { serde_json::from_str(file).unwrap() };
    let mut all = read(include_str!("../vectors/client.json"));
    all.extend(read(include_str!("../vectors/server.json")));
    all.into_iter()
        .map(|vector| {
            let hex = vector["msgpack"].as_str().unwrap();
            let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
            (vector["json"].to_string().into_bytes(), bytes.collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_messages_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        decode(Codec::Json, &bytes);
        decode(Codec::MessagePack, &bytes);
    }

    /// Bytes that are almost right go deeper than random ones.
    #[test]
    fn mutated_messages_are_messages_or_an_error(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
    ) {
        let vectors = vectors();
        let (json, msgpack) = &vectors[which.index(vectors.len())];
        for (codec, bytes) in [(Codec::Json, json), (Codec::MessagePack, msgpack)] {
            let mut bytes = bytes.clone();
            for (place, byte, how) in &changes {
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = *byte,
                    1 => bytes.insert(place, *byte),
                    2 => bytes.truncate(place.max(1)),
                    _ => bytes[place] ^= 1 << (byte % 8),
                }
            }
            decode(codec, &bytes);
        }
    }
}

#[test]
fn announced_lengths_allocate_nothing() {
    let bombs: [&[u8]; 8] = [
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0x93, 0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0x93, 0xa4, b'p', b'o', b'n', b'g', 0xc0, 0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0x93, 0xa3, b'o', b'p', b's', 0xc0, 0x81, 0xa3, b'o', b'p', b's', 0xdd, 0xff, 0xff, 0xff, 0xff],
        &[
            0x93, 0xa4, b'p', b'i', b'n', b'g', 0xc0, 0x81, 0xa5, b'h', b'e', b'a', b'd', b's', 0xdd, 0x7f,
            0xff, 0xff, 0xff,
        ],
        &[0xdc, 0xff, 0xff, 0x93],
        &[
            0x93, 0xa6, b's', b'i', b'g', b'n', b'a', b'l', 0xc0, 0x81, 0xa4, b'b', b'o', b'd', b'y', 0xdd,
            0xff, 0xff, 0xff, 0xff,
        ],
    ];
    for bomb in bombs {
        decode(Codec::MessagePack, bomb);
    }
}

#[test]
fn nesting_has_an_end() {
    let deep = [vec![b'['; FRAME_BYTES / 2], vec![b']'; FRAME_BYTES / 2]].concat();
    decode(Codec::Json, &deep);
    let in_signal = format!(
        r#"{{"id":1,"type":"signal","data":{{"room":"7d1e0a10-5b6f-4c1a-9c3d-2e4f5a6b7c8d","key":"k","body":{}{}}}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let read = Codec::Json.decode_requests(in_signal.as_bytes()).unwrap();
    let rejected = read[0].as_ref().unwrap_err();
    assert_eq!((rejected.id, rejected.code), (Some(1), ErrorCode::InvalidRequest));
    decode(Codec::MessagePack, &vec![0x91; FRAME_BYTES]);
    decode(Codec::MessagePack, &vec![0x81; FRAME_BYTES]);
}

#[test]
fn a_bad_message_does_not_spoil_its_neighbours() {
    let frame = br#"[{"id":1,"type":"pong"},{"id":2,"type":"join","data":{"room":5}},{"id":3,"type":"dance"},{"id":4,"type":"pong","data":{}}]"#;
    let read = Codec::Json.decode_requests(frame).unwrap();
    let codes: Vec<_> =
        read.iter().map(|it| it.as_ref().map(|it| it.id).map_err(|it| (it.id, it.code))).collect();
    assert_eq!(
        codes,
        [
            Ok(Some(1)),
            Err((Some(2), ErrorCode::InvalidRequest)),
            Err((Some(3), ErrorCode::UnknownType)),
            Ok(Some(4))
        ]
    );
}

#[test]
fn what_is_out_of_range_is_an_invalid_request() {
    let room = "7d1e0a10-5b6f-4c1a-9c3d-2e4f5a6b7c8d";
    let submit =
        |op: &str| format!(r#"{{"id":9,"type":"submit","data":{{"room":"{room}","op_id":1,"op":{op}}}}}"#);
    let stroke = |points: &str| {
        submit(&format!(
            r##"{{"type":"add_stroke","data":{{"element":"e","color":"#1a1a1a","width":4,"points":{points}}}}}"##
        ))
    };
    let million = format!("[{}]", vec!["[0,0]"; 1_000_000].join(","));
    let cases = [
        stroke("[[1e999,0]]"),
        stroke("[[1000001,0]]"),
        stroke("[]"),
        stroke("[[1,2,3]]"),
        stroke(r#"[["1",2]]"#),
        stroke("null"),
        stroke(&million),
        submit(
            r##"{"type":"add_stroke","data":{"element":"has space","color":"#1a1a1a","width":4,"points":[[0,0]]}}"##,
        ),
        submit(r##"{"type":"add_stroke","data":{"element":"e","color":"red","width":4,"points":[[0,0]]}}"##),
        submit(
            r##"{"type":"add_stroke","data":{"element":"e","color":"#1a1a1a","width":1e9,"points":[[0,0]]}}"##,
        ),
        submit(r#"{"type":"delete","data":{"elements":[]}}"#),
        submit(r#"{"type":"fly","data":{}}"#),
        submit(r#"{"type":"reorder","data":{"elements":["e"],"z":[1e999]}}"#),
        format!(r#"{{"id":9,"type":"signal","data":{{"room":"{room}","key":"","body":1}}}}"#),
    ];
    for case in cases {
        let read = Codec::Json.decode_requests(case.as_bytes()).unwrap();
        let rejected = read[0].as_ref().unwrap_err();
        assert_eq!((rejected.id, rejected.code), (Some(9), ErrorCode::InvalidRequest), "{case:.200}");
        assert!(rejected.message.chars().count() <= 200);
    }
}

#[test]
fn infinite_numbers_in_messagepack_are_invalid_too() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let op = [
            ("type", rmp_serde::to_vec("reorder").unwrap()),
            ("data", {
                let mut data = vec![0x82];
                data.extend(rmp_serde::to_vec("elements").unwrap());
                data.extend(rmp_serde::to_vec(&["e"]).unwrap());
                data.extend(rmp_serde::to_vec("z").unwrap());
                data.extend(rmp_serde::to_vec(&[number]).unwrap());
                data
            }),
        ];
        let mut written = vec![0x82];
        for (name, value) in op {
            written.extend(rmp_serde::to_vec(name).unwrap());
            written.extend(value);
        }
        let room = Codec::MessagePack.encode_value(&uuid::Uuid::nil());
        let op_id = Codec::MessagePack.encode_value(&1);
        let frame = enfilade_proto::encode_fields(
            Codec::MessagePack,
            Some(1),
            "submit",
            &[("room", &room), ("op_id", &op_id), ("op", &written)],
        );
        let read = Codec::MessagePack.decode_requests(&frame).unwrap();
        assert_eq!(read[0].as_ref().unwrap_err().code, ErrorCode::InvalidRequest, "{number}");
    }
}

#[test]
fn a_frame_has_so_many_messages_and_no_more() {
    let batch = |n: usize| format!("[{}]", vec![r#"{"type":"pong"}"#; n].join(","));
    assert_eq!(
        Codec::Json.decode_requests(batch(MESSAGES_PER_FRAME).as_bytes()).unwrap().len(),
        MESSAGES_PER_FRAME
    );
    assert!(Codec::Json.decode_requests(batch(MESSAGES_PER_FRAME + 1).as_bytes()).is_err());
    assert!(Codec::Json.decode_requests(b"[]").unwrap().is_empty());
    assert!(Codec::MessagePack.decode_requests(&[0x90]).unwrap().is_empty());
    for nonsense in [&b""[..], b"x", b"1", b"\"x\"", b"{}", b"[1]", b"null"] {
        assert!(Codec::Json.decode_requests(nonsense).is_err(), "{nonsense:?}");
    }
}
