//! A frame: what one NATS message carries from one node. Either whole messages, or a piece of one that is too large for that.
//!
//! ```text
//! version u8 · form u8 · sender's incarnation 16 bytes · seq u64 · previous u64 · body      (big endian)
//! body of form 0: (length u32 · message)*      body of form 1: id u64 · total u32 · offset u32 · bytes
//! ```
//! `seq` counts the frames of a sender, wherever they go, and `previous` is the one before on the same subject: whoever got
//! another one before has lost something. The chain needs no memory at either end, so both may forget (`previous` is 0 then).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use enfilade_store::Incarnation;
use uuid::Uuid;

/// Changes when older nodes cannot read the frame any more. Messages in it grow by fields and kinds without that.
const VERSION: u8 = 1;
const MESSAGES: u8 = 0;
const PIECE: u8 = 1;

const HEADER: usize = 1 + 1 + 16 + 8 + 8;
const PIECE_HEADER: usize = 8 + 4 + 4;

/// What a message costs in a frame beyond its own bytes.
pub(super) const PER_MESSAGE: usize = 4;
/// What a frame costs beyond its messages, or its piece.
pub(super) const OVERHEAD: usize = HEADER + PIECE_HEADER;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) from: Incarnation,
    pub(super) seq: u64,
    /// The seq of the frame before on this subject; 0 if that is not known.
    pub(super) previous: u64,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Coded messages, in order.
    Messages(Vec<Bytes>),
    Piece(Piece),
}

/// A part of a coded message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Names the message among those of its sender.
    pub(super) id: u64,
    /// Bytes of the whole message.
    pub(super) total: u32,
    /// Where in the message this piece begins.
    pub(super) offset: u32,
    pub(super) bytes: Bytes,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a frame of version {0}")]
    Version(u8),
    #[error("a frame of form {0}")]
    Form(u8),
    #[error("a frame ends too early")]
    Short,
}

impl Frame {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER + self.body.len());
        out.put_u8(VERSION);
        out.put_u8(match self.body {
            Body::Messages(_) => MESSAGES,
            Body::Piece(_) => PIECE,
        });
        out.put_slice(self.from.0.as_bytes());
        out.put_u64(self.seq);
        out.put_u64(self.previous);
        self.body.encode(&mut out);
        out.freeze()
    }

    /// Nothing is copied: the messages share the frame's bytes.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Malformed> {
        let version = bytes.try_get_u8().map_err(short)?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let form = bytes.try_get_u8().map_err(short)?;
        let from = Incarnation(Uuid::from_u128(bytes.try_get_u128().map_err(short)?));
        let seq = bytes.try_get_u64().map_err(short)?;
        let previous = bytes.try_get_u64().map_err(short)?;
        let body = match form {
            MESSAGES => Body::Messages(decode_messages(bytes)?),
            PIECE => Body::Piece(decode_piece(bytes)?),
            other => return Err(Malformed::Form(other)),
        };
        Ok(Self { from, seq, previous, body })
    }
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::Messages(messages) => messages.iter().map(|message| PER_MESSAGE + message.len()).sum(),
            Self::Piece(piece) => PIECE_HEADER + piece.bytes.len(),
        }
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Messages(messages) => {
                for message in messages {
                    // A frame is far smaller than 4 GiB.
                    out.put_u32(message.len() as u32);
                    out.put_slice(message);
                }
            }
            Self::Piece(piece) => {
                out.put_u64(piece.id);
                out.put_u32(piece.total);
                out.put_u32(piece.offset);
                out.put_slice(&piece.bytes);
            }
        }
    }
}

fn decode_messages(mut bytes: Bytes) -> Result<Vec<Bytes>, Malformed> {
    let mut messages = Vec::new();
    while bytes.has_remaining() {
        let len = bytes.try_get_u32().map_err(short)? as usize;
        if len > bytes.len() {
            return Err(Malformed::Short);
        }
        messages.push(bytes.split_to(len));
    }
    Ok(messages)
}

fn decode_piece(mut bytes: Bytes) -> Result<Piece, Malformed> {
    let id = bytes.try_get_u64().map_err(short)?;
    let total = bytes.try_get_u32().map_err(short)?;
    let offset = bytes.try_get_u32().map_err(short)?;
    Ok(Piece { id, total, offset, bytes })
}

fn short(_: bytes::TryGetError) -> Malformed {
    Malformed::Short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body() -> impl Strategy<Value = Body> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
        let piece = (any::<u64>(), any::<u32>(), any::<u32>(), bytes())
            .prop_map(|(id, total, offset, bytes)| Body::Piece(Piece { id, total, offset, bytes }));
        prop_oneof![prop::collection::vec(bytes(), 0..8).prop_map(Body::Messages), piece]
    }

    proptest! {
        #[test]
        fn a_frame_is_read_as_it_was_written(from: u128, seq: u64, previous: u64, body in body()) {
            let frame = Frame { from: Incarnation(Uuid::from_u128(from)), seq, previous, body };
            let bytes = frame.encode();
            prop_assert!(bytes.len() <= OVERHEAD + frame.body.len());
            prop_assert_eq!(Frame::decode(bytes), Ok(frame));
        }

        #[test]
        fn any_bytes_are_a_frame_or_malformed(mut bytes in prop::collection::vec(any::<u8>(), 0..256), form in 0..3_u8) {
            if let [version, second, ..] = bytes.as_mut_slice() {
                *version = VERSION;
                *second = form;
            }
            if let Ok(frame) = Frame::decode(bytes.clone().into()) {
                prop_assert_eq!(frame.encode(), Bytes::from(bytes));
            }
        }
    }

    #[test]
    fn a_frame_of_a_later_version_is_not_guessed_at() {
        let frame =
            Frame { from: Incarnation(Uuid::nil()), seq: 1, previous: 0, body: Body::Messages(vec![]) };
        let mut bytes = frame.encode().to_vec();
        bytes[0] = 2;
        assert_eq!(Frame::decode(bytes.into()), Err(Malformed::Version(2)));
    }
}
