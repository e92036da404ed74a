//! Frames from the server, read once however many clients get them.
//!
//! A server sends a room's members the same bytes, so the last few frames of a room are kept beside what they say;
//! equal bytes (compared, not only hashed) are not read again. Signals are most of what arrives, and all that is needed
//! of one is whose it is and its mark, so a frame of signals is skimmed.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use enfilade_proto::{ClientId, Codec, Epoch, RoomId, Seq, ServerMessage, SignalOut};
use serde_json::Value;

use self::skim::skim_signals;
use crate::clock::Micros;
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
#[derive(Debug, Default)]
pub struct Frames {
    kept: HashMap<u64, Kept>,
    oldest_first: VecDeque<u64>,
    bytes: usize,
    pub hits: u64,
    pub misses: u64,
}

#[derive(Debug)]
struct Kept {
    bytes: Box<[u8]>,
    frame: Arc<Frame>,
}

/// Clients of one process that are further apart than this read for themselves.
const KEPT_FRAMES: usize = 512;
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Larger frames are few.
const KEPT_FRAME_BYTES: usize = 256 * 1024;

impl Frames {
    /// # Errors
    /// When the frame is none of the protocol's; the text says why.
    pub fn read(
        &mut self,
        codec: Codec,
        bytes: &[u8],
        recognise: impl Fn(ClientId, Option<u64>) -> Sighting,
    ) -> Result<Arc<Frame>, String> {
        let key = key(bytes);
        if let Some(kept) = self.kept.get(&key).filter(|kept| *kept.bytes == *bytes) {
            self.hits += 1;
            return Ok(kept.frame.clone());
        }
        self.misses += 1;
        let frame = Arc::new(Frame::read(codec, bytes, &recognise)?);
        if frame.is_for_all() && bytes.len() <= KEPT_FRAME_BYTES {
            self.keep(key, bytes, frame.clone());
        }
        Ok(frame)
    }

    fn keep(&mut self, key: u64, bytes: &[u8], frame: Arc<Frame>) {
        self.bytes += bytes.len();
        match self.kept.insert(key, Kept { bytes: bytes.into(), frame }) {
            Some(before) => self.bytes -= before.bytes.len(),
            None => self.oldest_first.push_back(key),
        }
        while self.oldest_first.len() > KEPT_FRAMES || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.oldest_first.pop_front() else { break };
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| kept.bytes.len());
        }
    }
}

/// Of the length and both ends: frames that agree in these seldom differ, and the comparison decides.
fn key(bytes: &[u8]) -> u64 {
    const END: usize = 48;
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(bytes.len());
    hasher.write(&bytes[..bytes.len().min(END)]);
    hasher.write(&bytes[bytes.len().saturating_sub(END)..]);
    hasher.finish()
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
        for mark in 0..2_000 {
            frames.read(Codec::MessagePack, &signals(mark), recognise).unwrap();
        }
        assert_eq!((frames.kept.len(), frames.oldest_first.len()), (KEPT_FRAMES, KEPT_FRAMES));
        assert_eq!(frames.bytes, frames.kept.values().map(|kept| kept.bytes.len()).sum::<usize>());
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
