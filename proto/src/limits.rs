//! Every bound of the protocol, in one place, with the reason for its size.
//!
//! Those a client must keep are sent to it in `welcome`.

use serde::{Deserialize, Serialize};

/// Bytes of one WebSocket message from a client. Files travel over HTTP, so 64 KiB is a lot of ops.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Messages in one frame. A client that batches for longer than this sends two frames.
pub const MESSAGES_PER_FRAME: usize = 256;
/// Rooms that one connection may have joined at once.
pub const ROOMS_PER_CONNECTION: usize = 128;
/// Ops a client may have sent in one room without an answer. A room remembers as many op ids of a client, so a
/// resent one always finds its seq.
pub const OPS_IN_FLIGHT: usize = 256;
/// Sustained ops a second of one connection, and the burst on top of it.
pub const OPS_PER_SECOND: u32 = 100;
pub const OPS_BURST: u32 = 400;
/// Sustained signals a second of one connection: pen and cursor at 30 Hz, with room to spare; and the burst.
pub const SIGNALS_PER_SECOND: u32 = 100;
pub const SIGNALS_BURST: u32 = 200;
/// Bytes of the body of one signal (as MessagePack): 2,000 live points.
pub const SIGNAL_BYTES: usize = 4 * 1024;
pub const SIGNAL_KEY_BYTES: usize = 32;
/// How deep the body of a signal may nest.
pub const SIGNAL_DEPTH: usize = 8;
/// Points of one stroke as submitted. A pen sampled at 240 Hz for over a minute.
pub const STROKE_POINTS: usize = 20_000;
/// Coordinates lie within ± this many units (a unit is a CSS pixel at 100 %).
pub const COORDINATE: f64 = 1_000_000.0;
/// Elements that one op may name.
pub const ELEMENTS_PER_OP: usize = 2_000;
/// Elements of one board, deleted ones that can still be restored included.
pub const BOARD_ELEMENTS: usize = 200_000;
/// Bytes of the content of one board (coded points and texts), deleted elements included.
pub const BOARD_BYTES: usize = 64 * 1024 * 1024;
/// Characters in a text or a sticky note.
pub const TEXT_CHARS: usize = 4_000;
/// A line's width and a text's size, in units.
pub const WIDTH: std::ops::RangeInclusive<f32> = 0.25..=400.0;
/// Members that presence lists by name; in a larger room they are counted.
pub const ROSTER: usize = 200;
/// How long a connection may take to say `hello`.
pub const HELLO_MS: u64 = 5_000;
/// How often the server pings. A connection that sent nothing for `SILENCE_MS` is closed.
pub const PING_MS: u64 = 25_000;
pub const SILENCE_MS: u64 = 2 * PING_MS + 10_000;

// A point costs two bytes at the least, so a full stroke of still points must be refused by count, not by frame.
const _: () = assert!(STROKE_POINTS * 2 < FRAME_BYTES);
// A frame's ops are admitted as a whole or not at all.
const _: () = assert!(MESSAGES_PER_FRAME <= OPS_IN_FLIGHT);
const _: () = assert!(SIGNAL_BYTES < FRAME_BYTES);

/// The bounds a client must keep, as sent in `welcome`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub frame_bytes: usize,
    pub messages_per_frame: usize,
    pub rooms: usize,
    pub ops_in_flight: usize,
    pub ops_per_second: u32,
    pub signals_per_second: u32,
    pub signal_bytes: usize,
    pub stroke_points: usize,
    pub elements_per_op: usize,
    pub text_chars: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: FRAME_BYTES,
            messages_per_frame: MESSAGES_PER_FRAME,
            rooms: ROOMS_PER_CONNECTION,
            ops_in_flight: OPS_IN_FLIGHT,
            ops_per_second: OPS_PER_SECOND,
            signals_per_second: SIGNALS_PER_SECOND,
            signal_bytes: SIGNAL_BYTES,
            stroke_points: STROKE_POINTS,
            elements_per_op: ELEMENTS_PER_OP,
            text_chars: TEXT_CHARS,
        }
    }
}
