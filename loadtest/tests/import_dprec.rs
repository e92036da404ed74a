//! Recordings of Drawpile, written here as `FORMAT.md` describes them, become sessions.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use enfilade_loadtest::clock::{MILLISECOND, Micros, SECOND};
use enfilade_loadtest::import::Imported;
use enfilade_loadtest::import::dprec::{DprecError, read};
use enfilade_loadtest::session::{Event, Title, What, read_session};
use enfilade_proto::Op;
use proptest::prelude::*;
use serde_json::{Value, json};

const JOIN: u8 = 32;
const LEAVE: u8 = 33;
const CHAT: u8 = 35;
const INTERVAL: u8 = 64;
const POINTER: u8 = 66;
const UNDO_POINT: u8 = 128;
const RESIZE: u8 = 129;
const FILL: u8 = 137;
const PEN_UP: u8 = 140;
const CLASSIC: u8 = 148;
const PIXEL: u8 = 149;
const UNDO: u8 = 255;

const NORMAL: u8 = 1;
const ERASE: u8 = 0;

/// A recording being written.
struct Recording(Vec<u8>);

impl Recording {
    fn new(version: &str) -> Self {
        Self::with_metadata(&json!({ "version": version, "writer": "a test" }).to_string())
    }

    fn with_metadata(metadata: &str) -> Self {
        let length = u16::try_from(metadata.len()).unwrap().to_be_bytes();
        Self([b"DPREC\0".as_slice(), &length, metadata.as_bytes()].concat())
    }

    fn message(mut self, user: u8, kind: u8, payload: &[u8]) -> Self {
        self.0.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        self.0.extend([kind, user]);
        self.0.extend(payload);
        self
    }

    fn join(self, user: u8, name: &str) -> Self {
        let payload = [&[0, name.len() as u8], name.as_bytes(), b"\x89PNG"].concat();
        self.message(user, JOIN, &payload)
    }

    fn wait(self, ms: u16) -> Self {
        self.message(0, INTERVAL, &ms.to_be_bytes())
    }

    /// Dabs of a round brush of protocol 4.24, from (x, y) on, in quarters; sizes in pixels.
    fn dabs(self, user: u8, from: [i32; 2], mode: u8, dabs: &[(i8, i8, u8)]) -> Self {
        let mut payload = [&[0, 1][..], &from[0].to_be_bytes(), &from[1].to_be_bytes()].concat();
        payload.extend([0, 0x10, 0x20, 0x30, mode]);
        for (x, y, size) in dabs {
            payload.extend([x.cast_unsigned(), y.cast_unsigned(), *size, 0, 255, 255]);
        }
        self.message(user, CLASSIC, &payload)
    }

    fn read(&self) -> Result<Imported, DprecError> {
        read(&self.0[..], None)
    }

    fn imported(&self) -> Imported {
        self.read().unwrap()
    }
}

fn ops(imported: &Imported) -> Vec<(Micros, u32, Value)> {
    let op = |event: &Event| match &event.what {
        What::Op { person, op } => Some((event.at, *person, json!(op))),
        _ => None,
    };
    imported.events.iter().filter_map(op).collect()
}

fn signals<'a>(imported: &'a Imported, of: &'a str) -> impl Iterator<Item = (Micros, u32, &'a Value)> {
    imported.events.iter().filter_map(move |event| match &event.what {
        What::Signal { person, key, body } if key.starts_with(of) => Some((event.at, *person, body)),
        _ => None,
    })
}

#[test]
fn what_two_people_draw_is_told_live_and_submitted_when_their_pens_lift() {
    let recording = Recording::new("dp:4.24.0")
        .join(1, "Ada")
        .join(2, "Bob")
        .message(1, UNDO_POINT, &[])
        .dabs(1, [40, 80], NORMAL, &[(0, 0, 4), (4, 0, 6)])
        .wait(50)
        .dabs(2, [-400, 0], NORMAL, &[(0, 0, 10)])
        .dabs(1, [48, 80], NORMAL, &[(0, 4, 8)])
        .wait(30)
        .message(1, PEN_UP, &[])
        .wait(1000)
        .message(2, PEN_UP, &[])
        .message(2, LEAVE, &[]);
    let imported = recording.imported();
    assert!(imported.left_out.is_empty(), "{}", imported.left_out);
    let add = |element: &str, width: u8, points: Value| {
        let data = json!({"element": element, "color": "#102030", "width": width, "points": points});
        json!({"type": "add_stroke", "data": data})
    };
    assert_eq!(
        ops(&imported),
        [
            (50 * MILLISECOND, 0, add("p0s0", 6, json!([[10, 20], [11, 20], [12, 21]]))),
            (50 * MILLISECOND, 1, add("p1s0", 10, json!([[-100, 0]]))),
        ]
    );
    let (at, person, piece) = signals(&imported, "stroke.").next().unwrap();
    assert_eq!((at, person, &piece["element"], &piece["at"]), (0, 0, &json!("p0s0"), &json!(0)));
    let last = imported.events.last().unwrap();
    assert_eq!((last.at, &last.what), (SECOND + 80 * MILLISECOND, &What::Leave { person: 1 }));
}

#[test]
fn longer_fields_of_newer_recordings_are_read() {
    let payload = [
        &[0, 0, 1, 2][..],
        &7i32.to_be_bytes(),
        &8i32.to_be_bytes(),
        &[0, 0xff, 0, 0, NORMAL],
        &[0, 0, 0, 12, 255],
        &[1, 1, 0, 12, 255],
    ]
    .concat();
    let imported = Recording::new("dp:4.25.1")
        .join(9, "Cy")
        .message(9, PIXEL, &payload)
        .message(9, PEN_UP, &[0, 0, 0])
        .imported();
    let data = json!({"element":"p0s0","color":"#ff0000","width":12,"points":[[7,8],[8,9]]});
    assert_eq!(ops(&imported), [(0, 0, json!({"type":"add_stroke","data":data}))]);
}

#[test]
fn undo_deletes_what_was_drawn_since_its_point_and_redo_restores_it() {
    let stroke =
        |recording: Recording, x| recording.dabs(1, [x, 0], NORMAL, &[(0, 0, 4)]).message(1, PEN_UP, &[]);
    let mut recording = Recording::new("dp:4.24.0").join(1, "Ada").message(1, UNDO_POINT, &[]);
    recording = stroke(recording, 4).message(1, UNDO_POINT, &[]);
    recording = stroke(stroke(recording, 8), 12)
        .message(1, UNDO, &[0, 0])
        .message(2, UNDO, &[1, 0])
        .message(1, UNDO, &[0, 1])
        .message(1, UNDO, &[0, 1])
        .message(1, UNDO, &[0, 1]);
    let imported = recording.imported();
    let done: Vec<Value> = ops(&imported).into_iter().skip(3).map(|(_, _, op)| op).collect();
    assert_eq!(
        done,
        [
            json!({"type":"delete","data":{"elements":["p0s1","p0s2"]}}),
            json!({"type":"delete","data":{"elements":["p0s0"]}}),
            json!({"type":"restore","data":{"deleted_by":5}}),
            json!({"type":"restore","data":{"deleted_by":4}}),
        ]
    );
}

#[test]
fn what_a_board_cannot_do_is_counted() {
    let imported = Recording::new("dp:4.22.2")
        .message(1, CHAT, b"\0\0hello")
        .message(1, FILL, &[])
        .message(1, FILL, &[])
        .message(1, UNDO_POINT, &[])
        .dabs(1, [0, 0], ERASE, &[(0, 0, 4)])
        .message(1, PEN_UP, &[])
        .message(1, UNDO, &[0, 0])
        .dabs(1, [i32::MAX, 0], NORMAL, &[(0, 0, 4)])
        .message(1, PEN_UP, &[])
        .dabs(1, [0, 0], 5, &[(0, 0, 4)])
        .imported();
    assert_eq!(
        imported.left_out.to_string(),
        "1 blend modes of strokes, 1 chat messages, 1 dabs off the board, 2 filled areas, 1 strokes of an eraser, \
         1 undos of what was left out"
    );
    assert_eq!(ops(&imported).len(), 1, "a pen that is never lifted is lifted in the end");
}

#[test]
fn the_board_does_not_move_when_the_canvas_grows_on_its_left() {
    let size = |numbers: [i32; 4]| numbers.map(i32::to_be_bytes).concat();
    let imported = Recording::new("dp:4.24.0")
        .message(1, RESIZE, &size([0, 800, 600, 0]))
        .dabs(1, [400, 400], NORMAL, &[(0, 0, 4)])
        .message(1, PEN_UP, &[])
        .message(1, RESIZE, &size([20, 0, 0, 100]))
        .message(1, POINTER, &[800i32.to_be_bytes(), 480i32.to_be_bytes()].concat())
        .imported();
    assert_eq!(signals(&imported, "cursor").next().unwrap().2, &json!({"x": 100, "y": 100}));
}

#[test]
fn a_number_that_is_given_to_somebody_else_is_somebody_else() {
    let draw = |recording: Recording| recording.dabs(1, [0, 0], NORMAL, &[(0, 0, 4)]).message(1, PEN_UP, &[]);
    let mut recording = draw(Recording::new("dp:4.24.0").join(1, "Ada")).message(1, LEAVE, &[]);
    recording = draw(recording.join(1, "Ada")).message(1, LEAVE, &[]);
    let imported = draw(recording.join(1, "Bob")).imported();
    let people: Vec<u32> = ops(&imported).into_iter().map(|(_, person, _)| person).collect();
    assert_eq!(people, [0, 0, 1]);
}

#[test]
fn long_pauses_are_made_short() {
    let recording = Recording::new("dp:4.24.0").wait(60_000).dabs(1, [0, 0], NORMAL, &[(0, 0, 4)]);
    let events = read(&recording.0[..], Some(SECOND)).unwrap().events;
    assert_eq!(events.last().unwrap().at, SECOND);
}

#[test]
fn an_import_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.enfilade.ndjson");
    let recording =
        Recording::new("dp:4.24.0").join(3, "Ada\u{200b}").dabs(3, [1, 2], NORMAL, &[(100, 100, 255); 5000]);
    let imported = recording.message(3, UNDO, &[0, 0]).imported();
    let header = imported.write(&path, Title::default()).unwrap();
    let session = read_session(std::io::BufReader::new(std::fs::File::open(&path).unwrap())).unwrap();
    assert_eq!((session.events, header.people), (imported.events, 1));
}

#[test]
fn what_is_no_recording_is_refused_with_the_reason() {
    let error = |bytes: &[u8]| read(bytes, None).unwrap_err().to_string();
    for none in [&b""[..], b"DPREC", b"PK\x03\x04........"] {
        assert_eq!(error(none), "not a recording of Drawpile: it does not begin with DPREC");
    }
    assert!(error(b"DPREC\0\0").contains("cut off: it ends in the middle of the header at byte 6"));
    assert!(error(b"DPREC\0\0\x20{}").contains("middle of the header at byte 8"));
    let header = |metadata| error(&Recording::with_metadata(metadata).0);
    assert!(header("{").starts_with("the recording's header is broken: EOF"));
    assert!(header("{}").contains("missing field `version`"));
    assert_eq!(
        header(r#"{"version":"dp:4.20.1"}"#),
        r#"the recording has protocol "dp:4.20.1"; dp:4.21 to dp:4.25 can be read"#
    );
    let empty = Recording::new("dp:4.24.0").join(1, "Ada").message(1, FILL, &[]);
    assert_eq!(error(&empty.0), "nobody draws anything in this recording; it has 1 filled areas");
    let broken = Recording::with_metadata(r#"{"version":"dp:4.24.0"}"#).message(1, CLASSIC, &[1, 2, 3]);
    assert_eq!(error(&broken.0), "at byte 31: a broken brush message");
}

#[test]
fn a_recording_that_was_cut_off_is_refused_wherever_the_cut_is() {
    let whole = Recording::new("dp:4.24.0").dabs(1, [0, 0], NORMAL, &[(0, 0, 4)]).message(1, PEN_UP, &[]);
    let last = whole.0.len() - 4;
    for cut in 0..whole.0.len() {
        let read = read(&whole.0[..cut], None);
        assert_eq!(read.is_ok(), cut == last, "cut at {cut}: {read:?}");
    }
}

fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![
        Just(JOIN),
        Just(LEAVE),
        Just(POINTER),
        Just(UNDO_POINT),
        Just(PEN_UP),
        Just(UNDO),
        any::<u8>()
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes[..], None);
        let mut after_a_header = Recording::new("dp:4.24.0").0;
        after_a_header.extend(&bytes);
        let _ = read(&after_a_header[..], None);
    }

    #[test]
    fn whatever_people_do_makes_a_session_in_order(
        steps in prop::collection::vec((1..5u8, kinds(), any::<[i8; 8]>(), 0..200u16), 1..80),
    ) {
        let mut recording = Recording::new("dp:4.23.0");
        for (user, kind, bytes, ms) in steps {
            let [a, b, c, d, ..] = bytes;
            recording = match kind {
                JOIN => recording.join(user, &format!("N{}", a.unsigned_abs() % 3)),
                POINTER => recording.message(user, kind, &bytes.map(i8::cast_unsigned)),
                UNDO => recording.message(user, kind, &[b.unsigned_abs() % 5, u8::from(c > 0)]),
                LEAVE | UNDO_POINT | PEN_UP => recording.message(user, kind, &[]),
                _ => recording.dabs(user, [a.into(), b.into()], (d & 1).cast_unsigned(), &[(c, d, 5), (d, c, 6)]),
            }
            .wait(ms);
        }
        let Ok(imported) = recording.read() else { return Ok(()) };
        prop_assert!(imported.events.windows(2).all(|pair| pair[0].at <= pair[1].at));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        imported.write(&path, Title::default()).unwrap();
        let session = read_session(std::io::BufReader::new(std::fs::File::open(path).unwrap())).unwrap();
        prop_assert_eq!(&session.events, &imported.events);
        // Every restore names a deletion.
        let ops: Vec<&Op> = session.events.iter().filter_map(|event| event.what.op()).map(|(_, op)| op).collect();
        for op in &ops {
            if let Op::Restore(restore) = op {
                prop_assert!(matches!(ops[restore.deleted_by.0 as usize - 1], Op::Delete(_)));
            }
        }
    }
}
