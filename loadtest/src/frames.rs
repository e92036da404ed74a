//! Frames from the server, read once however many clients get them.
//!
//! A server sends a room's members the same bytes, so the last few frames of a room are [`known`](crate::known), and not
//! read again. Signals are most of what arrives, and all that is needed
//! of one is whose it is and its mark, so a frame of signals is skimmed.

use std::sync::Arc;

use enfilade_proto::{ClientId, Codec, Epoch, RoomId, Seq, ServerMessage, SignalOut};
use serde_json::Value;

use self::skim::skim_signals;
use crate::clock::Micros;
use crate::known::{Bounds, Known, NONE};
use crate::oracle::{Seen, Who};

mod skim;

/// The field that a replay adds to the body of each signal it sends, to know it again. The server does not look.
pub const MARK: &str = "replay";

/// What a frame says.
#[derive(Debug)]
pub struct Frame {
    pub messages: Vec<(Option<u32>, Said)>,
}

#[derive(Debug)]
pub enum Said {
    Ops { room: RoomId, epoch: Epoch, first: Seq, ops: Vec<Seen> },
    Signals { room: RoomId, signals: Vec<Sighting> },
    Other(ServerMessage),
}

/// A signal that was seen: whose it is, and when it should have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub sender: Option<Who>,
    pub planned: Option<Micros>,
}

/// The last frames of a room.
#[derive(Debug)]
pub struct Frames {
    known: Known<Arc<Frame>>,
    pub hits: u64,
    pub misses: u64,
}

/// Clients of one process that are further apart than this read for themselves.
const KEPT: Bounds = Bounds { frames: 512, bytes: 4 * 1024 * 1024 };
/// Larger frames are few.
const KEPT_FRAME_BYTES: usize = 256 * 1024;

impl Default for Frames {
    fn default() -> Self {
        Self { known: Known::new(KEPT), hits: 0, misses: 0 }
    }
}

impl Frames {
    /// # Errors
    /// When the frame is none of the protocol's; the text says why.
    pub fn read(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        recognise: impl Fn(ClientId, Option<u64>) -> Sighting,
    ) -> Result<Arc<Frame>, String> {
        // What was read before it on a connection is not looked at: a room keeps few frames, and finding one is enough.
        if let Some(frame) = self.known.find(NONE, bytes).and_then(|id| self.known.said(id)) {
            self.hits += 1;
            return Ok(frame.clone());
        }
        self.misses += 1;
        let frame = Arc::new(Frame::read(codec, bytes, &recognise)?);
        if frame.is_for_all() && bytes.len() <= KEPT_FRAME_BYTES {
            self.known.keep(NONE, bytes, frame.clone());
        }
        Ok(frame)
    }
}

impl Frame {
    fn read(
        codec: Codec,
        bytes: &[u8],
        recognise: &impl Fn(ClientId, Option<u64>) -> Sighting,
    ) -> Result<Self, String> {
        if let Some((room, signals)) = skim_signals(codec, bytes) {
            let signals = signals.into_iter().map(|(client, mark)| recognise(client, mark)).collect();
            return Ok(Self { messages: vec![(None, Said::Signals { room, signals })] });
        }
        let messages = codec.decode_server(bytes).map_err(|e| e.to_string())?;
        Ok(Self { messages: messages.into_iter().map(|m| (m.id, Said::new(m.message, recognise))).collect() })
    }

    fn is_for_all(&self) -> bool {
        self.messages.iter().all(|(id, said)| {
            let for_all = match said {
                Said::Ops { .. } | Said::Signals { .. } => true,
                Said::Other(message) => matches!(message, ServerMessage::Presence(_)),
            };
            id.is_none() && for_all
        })
    }
}

impl Said {
    fn new(message: ServerMessage, recognise: &impl Fn(ClientId, Option<u64>) -> Sighting) -> Self {
        match message {
            ServerMessage::Ops(ops) => {
                let seen = ops.ops.into_iter().map(Seen::new).collect();
                Self::Ops { room: ops.room, epoch: ops.epoch, first: ops.first_seq, ops: seen }
            }
            ServerMessage::Signals(signals) => {
                let sighting = |signal: &SignalOut| {
                    recognise(signal.client, signal.body.get(MARK).and_then(Value::as_u64))
                };
                Self::Signals { room: signals.room, signals: signals.signals.iter().map(sighting).collect() }
            }
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use enfilade_proto::{Ping, Signals, UserId};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn signals(mark: u64) -> Vec<u8> {
        let id = Uuid::from_u128(1);
        let body = json!({ "x": 1, MARK: mark });
        let signal = SignalOut { author: UserId(id), client: ClientId(id), key: "cursor".into(), body };
        Codec::MessagePack.encode(None, "signals", &Signals { room: RoomId(id), signals: vec![signal] })
    }

    #[test]
    fn equal_frames_are_read_once() {
        let (mut frames, reads) = (Frames::default(), Cell::new(0));
        let recognise = |_, mark| {
            reads.set(reads.get() + 1);
            Sighting { sender: Some(0), planned: mark }
        };
        for _ in 0..5 {
            let frame = frames.read(Codec::MessagePack, &signals(7), recognise).unwrap();
            let Said::Signals { signals, .. } = &frame.messages[0].1 else { panic!("{frame:?}") };
            assert_eq!(signals[0].planned, Some(7));
        }
        assert_eq!((reads.get(), frames.hits), (1, 4));
    }

    #[test]
    fn what_is_one_clients_own_is_not_kept() {
        let mut frames = Frames::default();
        let nobody = |_, _| Sighting { sender: None, planned: None };
        let ping = Codec::Json.encode(None, "ping", &Ping { heads: vec![] });
        for _ in 0..2 {
            frames.read(Codec::Json, &ping, nobody).unwrap();
        }
        assert_eq!((frames.hits, frames.misses), (0, 2));
        assert!(frames.read(Codec::Json, b"{\"type\":\"ops\",\"data\":3}", nobody).is_err());
    }
}
