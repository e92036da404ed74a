//! Kinds of rooms: what a room is *for*. Everything else about rooms is the same for all of them.
//!
//! A kind is a plain state machine without I/O, clock or chance, so that a test plays an hour of a busy room in a millisecond.

mod board;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use enfilade_proto::{Codec, LoggedOp, Op, Role, RoomKind, Seq, Snapshot, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use board::Board;

use crate::bus::Writer;
use crate::refusal::Refusal;

/// The state of a room of one kind.
pub trait Kind: fmt::Debug + Send + 'static {
    /// Whether somebody with this role may submit this op.
    ///
    /// # Errors
    /// `forbidden`, or `wrong_kind` for an op that no one may submit here.
    fn permits(&self, role: Role, op: &Op) -> Result<(), Refusal>;

    /// Applies an op as the room's op `seq` and returns it as it is to be logged and shown.
    ///
    /// # Errors
    /// When it makes no sense in the present state, which it then leaves as it was.
    fn apply(&mut self, seq: Seq, author: UserId, op: Op) -> Result<Op, Refusal>;

    /// Applies an op that was accepted before. It cannot fail: what does not fit any more has no effect.
    fn replay(&mut self, seq: Seq, author: UserId, op: &Op);

    /// An op that the room does to itself to stay within its bounds; asked after every applied op, until there is none.
    fn tidy(&self) -> Option<Op>;

    /// Notes a signal that may matter later (most do not).
    fn notice(&mut self, writer: Writer, key: &str, body: &Value);

    /// The writer is gone for good: what they left unfinished, as an op of theirs.
    fn abandon(&mut self, writer: Writer) -> Option<Op>;

    /// The state, for joiners and checkpoints. Cheap: what is large is shared.
    fn snapshot(&self) -> Contents;
}

/// Whether the owner of a room wants to be told of signals with this key. The others go past it.
#[must_use]
pub fn owner_hears(kind: RoomKind, key: &str) -> bool {
    match kind {
        RoomKind::Board => board::owner_hears(key),
        RoomKind::Document | RoomKind::Chat | RoomKind::Thread => false,
    }
}

/// An empty room of a kind.
///
/// # Errors
/// When this version has no rooms of that kind.
pub fn create(kind: RoomKind) -> Result<Box<dyn Kind>, Refusal> {
    match kind {
        RoomKind::Board => Ok(Box::new(Board::default())),
        RoomKind::Document | RoomKind::Chat | RoomKind::Thread => Err(unsupported(kind)),
    }
}

/// A room as a checkpoint left it.
///
/// # Errors
/// When the bytes are not a checkpoint of that kind.
pub fn restore(kind: RoomKind, body: &[u8]) -> Result<Box<dyn Kind>, Refusal> {
    match kind {
        RoomKind::Board => Ok(Box::new(Board::restore(body)?)),
        RoomKind::Document | RoomKind::Chat | RoomKind::Thread => Err(unsupported(kind)),
    }
}

fn unsupported(kind: RoomKind) -> Refusal {
    let message = format!("this server has no rooms of kind {}", kind.as_str());
    Refusal::new(enfilade_proto::ErrorCode::WrongKind, message)
}

/// What is in a room, to be written when and where there is time for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Contents {
    Board(Arc<[Arc<enfilade_proto::board::Element>]>),
}

impl Contents {
    /// The contents as a [`Snapshot`] in a codec. Takes milliseconds for a large room: not for an actor's thread.
    #[must_use]
    pub fn encode(&self, codec: Codec, seq: Seq) -> Bytes {
        #[derive(Serialize)]
        struct Shared<'a> {
            seq: Seq,
            elements: &'a [Arc<enfilade_proto::board::Element>],
        }
        match self {
            Self::Board(elements) => codec.encode_value(&Shared { seq, elements }).into(),
        }
    }

    /// The contents as a checkpoint's body, read by [`restore`].
    #[must_use]
    pub fn to_checkpoint(&self) -> Vec<u8> {
        match self {
            Self::Board(elements) => Codec::MessagePack.encode_value(&**elements),
        }
    }

    /// The contents as clients read them.
    #[must_use]
    pub fn to_snapshot(&self, seq: Seq) -> Snapshot {
        match self {
            Self::Board(elements) => {
                let elements = elements.iter().map(|element| (**element).clone()).collect();
                Snapshot { seq, elements: Some(enfilade_proto::board::AllElements(elements)) }
            }
        }
    }
}

/// Rebuilds a state from a log: how recovery, playback and tests do it.
pub fn replay_all<'a>(kind: &mut dyn Kind, first: Seq, ops: impl IntoIterator<Item = &'a LoggedOp>) {
    let mut seq = first;
    for logged in ops {
        kind.replay(seq, logged.author, &logged.op);
        seq = seq.next();
    }
}
