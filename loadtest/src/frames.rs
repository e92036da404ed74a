//! Frames from the server, read once however many clients get them.
//!
//! A server sends a room's members the same bytes, so the last few frames of a room are kept beside what they say;
//! equal bytes (compared, not hashed) are not read again. Of signals only the sender and the mark remain.

use std::sync::Arc;

use enfilade_proto::{ClientId, Codec, Epoch, RoomId, Seq, ServerMessage, SignalOut};
use serde_json::Value;

use crate::clock::Micros;
use crate::oracle::{Seen, Who};

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
#[derive(Debug, Default)]
pub struct Frames {
    kept: Vec<(Box<[u8]>, Arc<Frame>)>,
    next: usize,
    pub hits: u64,
    pub misses: u64,
}

/// The clients of one process are a few ticks of the server apart at most.
const KEPT: usize = 32;
/// Larger frames are snapshots and are one client's own.
const KEPT_BYTES: usize = 64 * 1024;

impl Frames {
    /// # Errors
    /// When the frame is none of the protocol's; the text says why.
    pub fn read(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        recognise: impl Fn(ClientId, Option<u64>) -> Sighting,
    ) -> Result<Arc<Frame>, String> {
        if let Some((_, frame)) = self.kept.iter().find(|(kept, _)| **kept == *bytes) {
            self.hits += 1;
            return Ok(frame.clone());
        }
        self.misses += 1;
        let messages = codec.decode_server(bytes).map_err(|e| e.to_string())?;
        let messages: Vec<_> =
            messages.into_iter().map(|m| (m.id, Said::new(m.message, &recognise))).collect();
        let frame = Arc::new(Frame { messages });
        if frame.is_for_all() && bytes.len() <= KEPT_BYTES {
            self.keep(bytes, frame.clone());
        }
        Ok(frame)
    }

    fn keep(&mut self, bytes: &[u8], frame: Arc<Frame>) {
        if self.kept.len() < KEPT {
            self.kept.push((bytes.into(), frame));
        } else {
            self.kept[self.next] = (bytes.into(), frame);
            self.next = (self.next + 1) % KEPT;
        }
    }
}

impl Frame {
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
        for mark in 0..100 {
            frames.read(Codec::MessagePack, &signals(mark), recognise).unwrap();
        }
        assert_eq!(frames.kept.len(), KEPT);
    }

    #[test]
    fn what_is_one_clients_own_is_not_kept() {
        let mut frames = Frames::default();
        let nobody = |_, _| Sighting { sender: None, planned: None };
        let ping = Codec::Json.encode(None, "ping", &Ping { heads: vec![] });
        frames.read(Codec::Json, &ping, nobody).unwrap();
        assert!(frames.kept.is_empty());
        assert!(frames.read(Codec::Json, b"{\"type\":\"ops\",\"data\":3}", nobody).is_err());
    }
}
