//! What comes in on one subject: notices what was lost on the way, and puts together what came in pieces.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use enfilade_store::Incarnation;
use tokio::time::Instant;

use super::frame::{Body, Frame, Piece};

/// The largest message that is put together: larger ones are not sent either.
pub(super) const MESSAGE_BYTES: usize = 64 << 20;
/// Messages that may come in pieces at the same time.
const PARTIAL: usize = 64;
/// A message of which nothing came for so long does not come any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// Senders that are remembered. There are fewer nodes; when they have been replaced often enough, all are forgotten.
const SENDERS: usize = 1024;

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// Coded messages that are whole now, in order.
    pub(super) messages: Vec<Bytes>,
    /// Something between this frame and the one before was lost.
    pub(super) gap: bool,
    /// A piece did not fit to what was there, or there was no room for it: its message will never be whole.
    pub(super) discarded: bool,
}

#[derive(Debug)]
pub(super) struct Incoming {
    last_seqs: BTreeMap<Incarnation, u64>,
    partial: BTreeMap<(Incarnation, u64), Partial>,
    /// Bytes in `partial`, and how many they may be.
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Partial {
    bytes: BytesMut,
    total: usize,
    touched: Instant,
}

impl Incoming {
    /// `max_bytes`: what messages that are not yet whole may hold together.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { last_seqs: BTreeMap::new(), partial: BTreeMap::new(), bytes: 0, max_bytes }
    }

    pub(super) fn take(&mut self, frame: Frame, now: Instant) -> Heard {
        let gap = self.follow(&frame);
        match frame.body {
            Body::Messages(messages) => Heard { messages, gap, discarded: false },
            Body::Piece(piece) => match self.add(frame.from, piece, now) {
                Ok(whole) => Heard { messages: whole.into_iter().collect(), gap, discarded: false },
                Err(Misfit) => Heard { messages: Vec::new(), gap, discarded: true },
            },
        }
    }

    /// Whether something is missing between this frame and the last one of its sender.
    fn follow(&mut self, frame: &Frame) -> bool {
        if self.last_seqs.len() >= SENDERS && !self.last_seqs.contains_key(&frame.from) {
            self.last_seqs.clear();
        }
        let last = self.last_seqs.insert(frame.from, frame.seq);
        frame.previous != 0 && last.is_some_and(|last| last != frame.previous)
    }

    /// Adds a piece; returns the message if it is whole now.
    fn add(&mut self, from: Incarnation, piece: Piece, now: Instant) -> Result<Option<Bytes>, Misfit> {
        self.expire(now);
        let key = (from, piece.id);
        let mut partial = match self.partial.remove(&key) {
            Some(partial) => partial,
            None if self.partial.len() < PARTIAL => Partial::new(&piece, now),
            None => return Err(Misfit),
        };
        self.bytes -= partial.bytes.len();
        partial.add(&piece, now)?;
        if self.bytes + partial.bytes.len() > self.max_bytes {
            return Err(Misfit);
        }
        if partial.bytes.len() == partial.total {
            return Ok(Some(partial.bytes.freeze()));
        }
        self.bytes += partial.bytes.len();
        self.partial.insert(key, partial);
        Ok(None)
    }

    fn expire(&mut self, now: Instant) {
        let gone = self.partial.extract_if(.., |_, partial| now - partial.touched > PATIENCE);
        self.bytes -= gone.map(|(_, partial)| partial.bytes.len()).sum::<usize>();
    }
}

struct Misfit;

impl Partial {
    /// Memory is taken as pieces come, not as the first one announces.
    fn new(first: &Piece, now: Instant) -> Self {
        Self { bytes: BytesMut::new(), total: first.total as usize, touched: now }
    }

    fn add(&mut self, piece: &Piece, now: Instant) -> Result<(), Misfit> {
        let fits = piece.total as usize == self.total
            && piece.offset as usize == self.bytes.len()
            && !piece.bytes.is_empty()
            && self.bytes.len() + piece.bytes.len() <= self.total.min(MESSAGE_BYTES);
        if !fits {
            return Err(Misfit);
        }
        self.bytes.extend_from_slice(&piece.bytes);
        self.touched = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn node(number: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(number))
    }

    fn frame(from: u128, seq: u64, previous: u64) -> Frame {
        Frame { from: node(from), seq, previous, body: Body::Messages(vec![]) }
    }

    fn piece(id: u64, total: u32, offset: u32, bytes: &'static [u8]) -> Frame {
        let piece = Piece { id, total, offset, bytes: Bytes::from_static(bytes) };
        Frame { from: node(1), seq: 1, previous: 0, body: Body::Piece(piece) }
    }

    fn nothing() -> Heard {
        Heard { messages: vec![], gap: false, discarded: false }
    }

    fn discarded() -> Heard {
        Heard { discarded: true, ..nothing() }
    }

    fn whole(bytes: &'static [u8]) -> Heard {
        Heard { messages: vec![Bytes::from_static(bytes)], ..nothing() }
    }

    #[tokio::test]
    async fn a_gap_is_noticed_once_and_per_sender() {
        let mut incoming = Incoming::new(100);
        let gaps = [(1, 5, 4), (2, 9, 0), (1, 7, 5), (2, 12, 11), (2, 13, 12), (1, 8, 7), (1, 9, 0)]
            .map(|(from, seq, previous)| incoming.take(frame(from, seq, previous), Instant::now()).gap);
        assert_eq!(gaps, [false, false, false, true, false, false, false]);
    }

    #[tokio::test]
    async fn pieces_make_a_message_though_others_come_between() {
        let (mut incoming, now) = (Incoming::new(100), Instant::now());
        assert_eq!(incoming.take(piece(1, 6, 0, b"abc"), now), nothing());
        assert_eq!(incoming.take(piece(2, 4, 0, b"12"), now), nothing());
        assert_eq!(incoming.take(piece(1, 6, 3, b"def"), now), whole(b"abcdef"));
        assert_eq!(incoming.take(piece(2, 4, 2, b"34"), now), whole(b"1234"));
        assert_eq!((incoming.bytes, incoming.partial.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_message_with_a_hole_is_never_whole() {
        let (mut incoming, now) = (Incoming::new(100), Instant::now());
        incoming.take(piece(1, 6, 0, b"ab"), now);
        assert_eq!(incoming.take(piece(1, 6, 4, b"ef"), now), discarded());
        assert_eq!(incoming.take(piece(1, 6, 2, b"cd"), now), discarded());
        assert_eq!((incoming.bytes, incoming.partial.len()), (0, 0));
    }

    #[tokio::test]
    async fn pieces_that_lie_about_their_size_are_discarded() {
        let (mut incoming, now) = (Incoming::new(100), Instant::now());
        for lie in [piece(1, 2, 0, b"abc"), piece(1, u32::MAX, u32::MAX, b"a"), piece(1, 0, 0, b"")] {
            assert_eq!(incoming.take(lie, now), discarded());
        }
        incoming.take(piece(2, u32::MAX, 0, b"abc"), now);
        assert_eq!(incoming.take(piece(2, 6, 3, b"def"), now), discarded());
        assert_eq!((incoming.bytes, incoming.partial.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_not_whole_is_bounded_in_bytes_number_and_time() {
        let (mut incoming, now) = (Incoming::new(100), Instant::now());
        for id in 0..PARTIAL as u64 {
            assert_eq!(incoming.take(piece(id, 9, 0, b"a"), now), nothing());
        }
        assert_eq!(incoming.take(piece(99, 9, 0, b"a"), now), discarded());
        let later = now + PATIENCE * 2;
        assert_eq!(incoming.take(piece(99, 9, 0, b"a"), later), nothing());
        assert_eq!((incoming.bytes, incoming.partial.len()), (1, 1));

        assert_eq!(incoming.take(piece(100, 99, 0, &[0; 80]), later), nothing());
        assert_eq!(incoming.take(piece(101, 99, 0, &[0; 80]), later), discarded());
        assert_eq!(incoming.bytes, 81);
    }

    #[tokio::test]
    async fn senders_are_forgotten_in_the_end() {
        let mut incoming = Incoming::new(100);
        for from in 0..3 * SENDERS as u128 {
            incoming.take(frame(from, 1, 0), Instant::now());
        }
        assert!(incoming.last_seqs.len() <= SENDERS);
    }
}
