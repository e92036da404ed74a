//! What people draw and signal, as benchmarks use it: always the same, so that two runs measure the same work.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by the benchmarks of several crates; each uses another part, and all of it is well-formed"
)]

use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::{
    ClientId, Codec, Coord, ElementId, LoggedOp, Op, OpId, Points, Request, RoomId, Signal, SignalOut,
    Submit, UserId,
};
use serde_json::json;
use uuid::Uuid;

pub const ROOM: RoomId = RoomId(Uuid::from_u128(0x0192_3c4d_5e6f_7a8b_9cad_becf_d0e1_f203));
/// Points of a stroke: a line that somebody draws within a second.
const POINTS: u32 = 60;

/// The ids of the nth person and of their client, in no order.
pub fn person(n: u64) -> (UserId, ClientId) {
    let mixed = (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (UserId(Uuid::from_u128(mixed)), ClientId(Uuid::from_u128(!mixed)))
}

/// Where the nth person's cursor is.
pub fn cursor(n: u64) -> SignalOut {
    let (author, client) = person(n);
    let body = json!({ "x": 1_024.25 + n as f64, "y": 768.5 });
    SignalOut { author, client, key: "cursor".to_owned(), body }
}

pub fn cursors(count: u64) -> Vec<SignalOut> {
    (0..count).map(cursor).collect()
}

/// The nth stroke on a board.
pub fn stroke(n: u64) -> Op {
    let at = |i: u32, phase: f64| {
        let along = f64::from(i) / f64::from(POINTS);
        Coord::from_units(400.0 + 200.0 * (along * 6.0 + phase + n as f64).sin()).unwrap()
    };
    let points: Vec<_> = (0..POINTS).map(|i| [at(i, 0.0), at(i, 1.5)]).collect();
    Op::AddStroke(Stroke {
        element: ElementId::new(&format!("stroke-{n}")).unwrap(),
        color: Color::parse("#1a1a1a").unwrap(),
        width: Width::new(4.0).unwrap(),
        points: Points::encode(&points),
        pressure: None,
    })
}

/// The nth op of a room's history.
pub fn logged(n: u64) -> LoggedOp {
    let (author, client) = person(n % 7);
    LoggedOp { author, client, op_id: OpId(n + 1), at: 1_760_000_000_000 + n, op: stroke(n) }
}

pub fn signal_request() -> Request {
    let SignalOut { key, body, .. } = cursor(1);
    Request::Signal(Signal { room: ROOM, key, body })
}

pub fn submit_request() -> Request {
    Request::Submit(Submit { room: ROOM, op_id: OpId(1), op: stroke(1) })
}

/// A message as a client sends it over a WebSocket: masked.
pub fn client_frame(codec: Codec, message: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let opcode = if codec == Codec::Json { 0x81 } else { 0x82 };
    let mut frame = vec![opcode];
    match u8::try_from(message.len()) {
        Ok(short @ ..126) => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
