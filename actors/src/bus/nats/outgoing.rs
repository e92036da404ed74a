//! What waits to be published: a bounded queue per destination, packed into frames.
//!
//! Messages that came while the last frames were on their way travel together in the next one; no timer holds anything back.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use enfilade_proto::RoomId;
use enfilade_store::Incarnation;

use super::frame::{Body, Frame, OVERHEAD, PER_MESSAGE, Piece};
use crate::trace::Span;

/// Bounds of what waits; beyond them the newest message is lost. A destination may have a quarter of all, so that one that is
/// flooded does not silence the others.
const QUEUE_MESSAGES: usize = 65_536;
const QUEUE_BYTES: usize = 16 << 20;
const ALL_BYTES: usize = 64 << 20;

/// Destinations of which something is remembered. Beyond them those to which nothing waits are forgotten, which costs only
/// that a loss on the way to them may not be noticed.
const DESTINATIONS: usize = 4096;

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Destination {
    Node(Incarnation),
    Everybody,
    Listeners(RoomId),
}

/// A coded message.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) bytes: Bytes,
    /// Steps of what is traced in it. They end when it was published, and their contexts travel with it.
    pub(super) spans: Vec<Span>,
}

/// A frame to be published.
#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) to: Destination,
    pub(super) frame: Frame,
    pub(super) spans: Vec<Span>,
    /// Messages that are on their way with this frame.
    pub(super) messages: u64,
}

/// There is no room for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Outgoing {
    me: Incarnation,
    queues: BTreeMap<Destination, Queue>,
    /// Destinations to which something waits, in the order in which they are served.
    ready: VecDeque<Destination>,
    bytes: usize,
    last_seq: u64,
    last_piece: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Coded>,
    bytes: usize,
    /// The seq of the frame before.
    previous: u64,
    /// How much of the first message is already on its way, if that is too large for a frame, and under which name.
    begun: Option<(u64, usize)>,
}

impl Outgoing {
    pub(super) fn new(me: Incarnation) -> Self {
        Self { me, queues: BTreeMap::new(), ready: VecDeque::new(), bytes: 0, last_seq: 0, last_piece: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Adds a message to those that wait.
    pub(super) fn push(&mut self, to: Destination, message: Coded) -> Result<(), Full> {
        let cost = message.bytes.len() + PER_MESSAGE;
        if !self.has_room(to, cost) {
            self.lose(to);
            message.lost("full");
            return Err(Full);
        }
        let queue = self.queues.entry(to).or_default();
        if queue.waiting.is_empty() {
            self.ready.push_back(to);
        }
        queue.waiting.push_back(message);
        queue.bytes += cost;
        self.bytes += cost;
        Ok(())
    }

    /// How many messages wait, and their bytes with what each costs besides.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let queues = self.ready.iter().filter_map(|to| self.queues.get(to));
        (queues.map(|queue| queue.waiting.len()).sum(), self.bytes)
    }

    /// A message to this destination is lost before it was sent. Its frame would have had this seq, so the next one shows
    /// the gap.
    pub(super) fn lose(&mut self, to: Destination) {
        if let Some(queue) = self.queues.get_mut(&to) {
            self.last_seq += 1;
            queue.previous = self.last_seq;
        }
    }

    /// Forgets everything that waits. Returns how many messages that were.
    pub(super) fn clear(&mut self) -> u64 {
        let mut lost = 0;
        for to in std::mem::take(&mut self.ready) {
            self.lose(to);
            if let Some(queue) = self.queues.get_mut(&to) {
                lost += queue.waiting.len() as u64;
                let emptied = Queue { previous: queue.previous, ..Queue::default() };
                let queue = std::mem::replace(queue, emptied);
                queue.waiting.into_iter().for_each(|message| message.lost("disconnected"));
            }
        }
        self.bytes = 0;
        lost
    }

    /// The next frame of every destination to which something waits. A frame has at most `max` bytes.
    pub(super) fn round(&mut self, max: usize) -> Vec<Outbound> {
        let ready = std::mem::take(&mut self.ready);
        ready.into_iter().filter_map(|to| self.next_frame(to, max)).collect()
    }

    fn next_frame(&mut self, to: Destination, max: usize) -> Option<Outbound> {
        let queue = self.queues.get_mut(&to)?;
        let before = queue.bytes;
        let (body, spans, messages) =
            queue.pack(max.saturating_sub(OVERHEAD).max(1), &mut self.last_piece)?;
        self.bytes -= before - queue.bytes;
        self.last_seq += 1;
        let previous = std::mem::replace(&mut queue.previous, self.last_seq);
        if !queue.waiting.is_empty() {
            self.ready.push_back(to);
        }
        let frame = Frame { from: self.me, seq: self.last_seq, previous, body };
        Some(Outbound { to, frame, spans, messages })
    }

    fn has_room(&mut self, to: Destination, cost: usize) -> bool {
        if self.bytes + cost > ALL_BYTES {
            return false;
        }
        if let Some(queue) = self.queues.get(&to) {
            return queue.waiting.len() < QUEUE_MESSAGES && queue.bytes + cost <= QUEUE_BYTES;
        }
        if self.queues.len() >= DESTINATIONS {
            self.queues.retain(|_, queue| !queue.waiting.is_empty());
        }
        self.queues.len() < DESTINATIONS && cost <= QUEUE_BYTES
    }
}

impl Queue {
    /// What fits into a frame of `max` bytes: messages without a trace, or one with, or a piece.
    fn pack(&mut self, max: usize, last_piece: &mut u64) -> Option<(Body, Vec<Span>, u64)> {
        let first = self.waiting.front()?;
        if first.bytes.len() + PER_MESSAGE > max {
            let (piece, whole) = self.cut(max, last_piece)?;
            let done = u64::from(whole.is_some());
            return Some((Body::Piece(piece), whole.map(|whole| whole.spans).unwrap_or_default(), done));
        }
        let Coded { bytes, spans } = self.pop()?;
        let mut size = PER_MESSAGE + bytes.len();
        let mut messages = vec![bytes];
        while spans.is_empty() && self.waiting.front().is_some_and(|next| next.fits(max - size)) {
            let message = self.pop()?.bytes;
            size += PER_MESSAGE + message.len();
            messages.push(message);
        }
        let count = messages.len() as u64;
        Some((Body::Messages(messages), spans, count))
    }

    /// The next piece of the first message, and with the last one that message.
    fn cut(&mut self, max: usize, last_piece: &mut u64) -> Option<(Piece, Option<Coded>)> {
        let first = self.waiting.front()?;
        let (id, offset) = self.begun.unwrap_or_else(|| {
            *last_piece += 1;
            (*last_piece, 0)
        });
        let end = first.bytes.len().min(offset + max);
        let done = end == first.bytes.len();
        // The bounds of the queue are far below 4 GiB.
        let piece = Piece {
            id,
            total: first.bytes.len() as u32,
            offset: offset as u32,
            bytes: first.bytes.slice(offset..end),
        };
        self.begun = (!done).then_some((id, end));
        let whole = if done { self.pop() } else { None };
        Some((piece, whole))
    }

    fn pop(&mut self) -> Option<Coded> {
        let message = self.waiting.pop_front()?;
        self.bytes -= message.bytes.len() + PER_MESSAGE;
        Some(message)
    }
}

impl Coded {
    /// It does not arrive.
    pub(super) fn lost(mut self, why: &'static str) {
        self.spans.iter_mut().for_each(|span| span.fail(why));
    }

    fn fits(&self, space: usize) -> bool {
        self.spans.is_empty() && self.bytes.len() + PER_MESSAGE <= space
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::trace::{Kept, Side};

    const FRAME: usize = 256;

    fn node(number: u128) -> Destination {
        Destination::Node(Incarnation(Uuid::from_u128(number)))
    }

    fn outgoing() -> Outgoing {
        Outgoing::new(Incarnation(Uuid::from_u128(1)))
    }

    fn coded(len: usize) -> Coded {
        Coded { bytes: vec![7; len].into(), spans: Vec::new() }
    }

    fn traced() -> Coded {
        Coded { spans: vec![Kept::default().tracer().root("test", Side::Producer).unwrap()], ..coded(10) }
    }

    fn counts(round: &[Outbound]) -> Vec<u64> {
        round.iter().map(|out| out.messages).collect()
    }

    #[test]
    fn what_waits_for_one_destination_travels_together() {
        let mut outgoing = outgoing();
        for _ in 0..10 {
            outgoing.push(node(2), coded(20)).unwrap();
            outgoing.push(node(3), coded(50)).unwrap();
        }
        // 206 bytes are left for messages: eight of 24, or three of 54.
        assert_eq!(outgoing.waiting(), (20, 10 * (20 + 50 + 2 * PER_MESSAGE)));
        assert_eq!(counts(&outgoing.round(FRAME)), [8, 3]);
        assert_eq!(outgoing.waiting().0, 9);
        assert_eq!(counts(&outgoing.round(FRAME)), [2, 3]);
        assert_eq!(counts(&outgoing.round(FRAME)), [3]);
        assert_eq!(counts(&outgoing.round(FRAME)), [1]);
        assert!(outgoing.is_empty());
        assert_eq!(outgoing.waiting(), (0, 0));
    }

    #[test]
    fn no_frame_is_larger_than_it_may_be() {
        let mut outgoing = outgoing();
        for len in 0..600 {
            outgoing.push(node(2), coded(len)).unwrap();
        }
        while !outgoing.is_empty() {
            for out in outgoing.round(FRAME) {
                assert!(out.frame.encode().len() <= FRAME);
            }
        }
    }

    #[test]
    fn a_message_with_a_trace_travels_alone_and_in_order() {
        let mut outgoing = outgoing();
        for message in [coded(10), coded(10), traced(), coded(10), traced(), traced()] {
            outgoing.push(node(2), message).unwrap();
        }
        let mut seen = Vec::new();
        while !outgoing.is_empty() {
            seen.extend(outgoing.round(FRAME).into_iter().map(|out| (out.messages, !out.spans.is_empty())));
        }
        assert_eq!(seen, [(2, false), (1, true), (1, false), (1, true), (1, true)]);
    }

    #[test]
    fn frames_name_the_one_before_on_their_way() {
        let mut outgoing = outgoing();
        let mut links = Vec::new();
        for to in [2, 3, 2, 3, 3] {
            outgoing.push(node(to), coded(10)).unwrap();
            links.extend(outgoing.round(FRAME).into_iter().map(|out| (out.frame.seq, out.frame.previous)));
        }
        assert_eq!(links, [(1, 0), (2, 0), (3, 1), (4, 2), (5, 4)]);
    }

    #[test]
    fn a_full_queue_loses_the_newest_and_shows_a_gap() {
        let mut outgoing = outgoing();
        outgoing.push(node(2), coded(QUEUE_BYTES - 100)).unwrap();
        let sent = outgoing.round(QUEUE_BYTES).remove(0).frame.seq;
        outgoing.push(node(2), coded(QUEUE_BYTES - 100)).unwrap();
        assert_eq!(outgoing.push(node(2), coded(100)), Err(Full));
        outgoing.push(node(3), coded(100)).unwrap();
        assert_ne!(outgoing.round(QUEUE_BYTES)[0].frame.previous, sent);
    }

    #[test]
    fn all_queues_together_are_bounded() {
        let mut outgoing = outgoing();
        let taken = (0..10).filter(|to| outgoing.push(node(*to), coded(QUEUE_BYTES - 4)).is_ok()).count();
        assert_eq!(taken, ALL_BYTES / QUEUE_BYTES);
        let lost = outgoing.clear();
        assert_eq!((lost, outgoing.is_empty()), (4, true));
        outgoing.push(node(99), coded(QUEUE_BYTES - 4)).unwrap();
    }

    #[test]
    fn destinations_to_which_nothing_waits_are_forgotten_in_the_end() {
        let mut outgoing = outgoing();
        for to in 0..3 * DESTINATIONS as u128 {
            outgoing.push(node(to), coded(1)).unwrap();
            assert_eq!(outgoing.round(FRAME)[0].frame.previous, 0);
        }
        assert!(outgoing.queues.len() <= DESTINATIONS);
    }
}
