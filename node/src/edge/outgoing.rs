//! What goes out to one connection: replies and pings in a short queue, rooms by cursor.
//!
//! Decides, without I/O of its own, what a socket that takes everything, a part, or nothing is sent next. The overflow ladder:
//! a socket that would block gets no signals; what it misses of a room is a cursor and not a queue; for a while after it has caught
//! up it gets no signals either; where its cursor fell off the ring it gets a reset; and when even its replies pile up, or it stalls
//! for [`STALLED_MS`], it is closed.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use enfilade_proto::RoomId;

use super::mirror::Cursor;

/// Messages that may wait for a socket: a reply for every op in flight, and some more.
const QUEUED: usize = 1_024;
/// Bytes that may wait for a socket before another message is queued. One message may be larger: a snapshot's bytes are shared.
const QUEUED_BYTES: usize = 4 << 20;
/// How long a socket may take nothing at all.
pub(crate) const STALLED_MS: u64 = 30_000;
/// How long a socket that has just caught up is spared signals.
const SPARED_MS: u64 = 500;

/// Where bytes go: a socket, or a script in tests. Writes what it can without waiting.
pub(crate) trait Pipe {
    /// # Errors
    /// `WouldBlock`, or what means that the connection is gone.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Done,
    /// The rest waits until the socket can be written again.
    Blocked,
    /// The connection is gone.
    Gone,
    /// Too much is waiting: the connection has to be closed.
    Overflow,
}

#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Whole frames, but for the first, of which a part may have gone.
    queue: VecDeque<Bytes>,
    /// Rooms whose news this connection missed, and since when.
    late: Vec<(RoomId, Cursor)>,
    /// Since when nothing could be written.
    stalled_since: Option<u64>,
    spared_until: u64,
}

impl Outgoing {
    pub(crate) fn is_blocked(&self) -> bool {
        self.stalled_since.is_some()
    }

    pub(crate) fn stalled_for(&self, now_ms: u64) -> u64 {
        self.stalled_since.map_or(0, |since| now_ms.saturating_sub(since))
    }

    /// Whether signals are for this connection now.
    pub(crate) fn takes_signals(&self, now_ms: u64) -> bool {
        !self.is_blocked() && now_ms >= self.spared_until
    }

    /// Sends a message, which must not be lost: what does not go now is queued.
    pub(crate) fn send(&mut self, parts: &[Bytes], pipe: &impl Pipe, now_ms: u64) -> Written {
        let waiting: usize = self.queue.iter().map(Bytes::len).sum();
        if self.queue.len() + parts.len() > QUEUED || waiting > QUEUED_BYTES {
            return Written::Overflow;
        }
        let blocked = self.is_blocked();
        self.queue.extend(parts.iter().cloned());
        if blocked { Written::Blocked } else { self.write_queue(pipe, now_ms) }
    }

    /// Sends news of a room. If the socket would block, the room is late from `before` on, and the bytes are forgotten.
    pub(crate) fn send_news(
        &mut self,
        room: RoomId,
        before: Cursor,
        news: &Bytes,
        pipe: &impl Pipe,
        now_ms: u64,
    ) -> Written {
        if self.is_blocked() {
            self.is_late(room, before);
            return Written::Blocked;
        }
        match pipe.try_write(news) {
            Ok(written) if written == news.len() => Written::Done,
            Ok(written) => {
                self.queue.push_back(news.slice(written..));
                self.stalled_since = Some(now_ms);
                Written::Blocked
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_late(room, before);
                self.stalled_since = Some(now_ms);
                Written::Blocked
            }
            Err(_) => Written::Gone,
        }
    }

    /// The room has news that this connection was not sent. The earliest cursor counts.
    pub(crate) fn is_late(&mut self, room: RoomId, before: Cursor) {
        if !self.late.iter().any(|(late, _)| *late == room) {
            self.late.push((room, before));
        }
    }

    /// The socket can be written again: first what is queued. `Done` means that late rooms may catch up now.
    pub(crate) fn resume(&mut self, pipe: &impl Pipe, now_ms: u64) -> Written {
        self.stalled_since = None;
        self.spared_until = now_ms + SPARED_MS;
        self.write_queue(pipe, now_ms)
    }

    /// The next room that has to catch up.
    pub(crate) fn take_late(&mut self) -> Option<(RoomId, Cursor)> {
        self.late.pop()
    }

    pub(crate) fn forget_room(&mut self, room: RoomId) {
        self.late.retain(|(late, _)| *late != room);
    }

    fn write_queue(&mut self, pipe: &impl Pipe, now_ms: u64) -> Written {
        while let Some(front) = self.queue.front_mut() {
            match pipe.try_write(front) {
                Ok(written) if written == front.len() => {
                    self.queue.pop_front();
                }
                Ok(written) => front.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled_since = Some(now_ms);
                    return Written::Blocked;
                }
                Err(_) => return Written::Gone,
            }
        }
        // An idle connection holds no memory.
        self.queue = VecDeque::new();
        Written::Done
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use enfilade_proto::Seq;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    /// A socket that takes `room` more bytes.
    #[derive(Default)]
    struct Script {
        room: Cell<usize>,
        taken: RefCell<Vec<u8>>,
    }

    impl Pipe for Script {
        fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            let fits = self.room.get().min(bytes.len());
            if fits == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room.set(self.room.get() - fits);
            self.taken.borrow_mut().extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }
    }

    const ROOM: RoomId = RoomId(Uuid::from_u128(1));

    fn at(seq: u64) -> Cursor {
        Cursor { seq: Seq(seq), ..Cursor::default() }
    }

    #[test]
    fn what_a_blocked_socket_misses_of_a_room_is_a_cursor() {
        let (mut out, pipe) = (Outgoing::default(), Script::default());
        pipe.room.set(3);
        let news = Bytes::from_static(b"12345");
        assert_eq!(out.send_news(ROOM, at(7), &news, &pipe, 0), Written::Blocked);
        assert_eq!(out.send_news(ROOM, at(8), &news, &pipe, 0), Written::Blocked);
        assert_eq!(out.send_news(ROOM, at(9), &news, &pipe, 0), Written::Blocked);
        pipe.room.set(100);
        assert_eq!(out.resume(&pipe, 10), Written::Done);
        assert_eq!(*pipe.taken.borrow(), b"12345");
        // The first news went as a whole in the end, so only what came after it is missing.
        assert_eq!(out.take_late(), Some((ROOM, at(8))));
        assert_eq!(out.take_late(), None);
        assert!(!out.takes_signals(10) && out.takes_signals(10 + SPARED_MS));
    }

    #[test]
    fn replies_wait_but_not_without_end() {
        let (mut out, pipe) = (Outgoing::default(), Script::default());
        let reply = [Bytes::from_static(b"x")];
        for _ in 0..QUEUED {
            assert_eq!(out.send(&reply, &pipe, 5), Written::Blocked);
        }
        assert_eq!(out.send(&reply, &pipe, 6), Written::Overflow);
        assert_eq!(out.stalled_for(5 + STALLED_MS), STALLED_MS);
    }

    #[test]
    fn large_replies_do_not_pile_up() {
        let (mut out, pipe) = (Outgoing::default(), Script::default());
        let snapshot = [Bytes::from(vec![0; QUEUED_BYTES + 1])];
        assert_eq!(out.send(&snapshot, &pipe, 0), Written::Blocked);
        assert_eq!(out.send(&snapshot, &pipe, 0), Written::Overflow);
    }

    proptest! {
        /// Whatever the socket takes when: the bytes of whole messages come out, in order.
        #[test]
        fn bytes_come_out_whole_and_in_order(steps in prop::collection::vec((0usize..20, 0usize..30, any::<bool>()), 1..100)) {
            let (mut out, pipe) = (Outgoing::default(), Script::default());
            let mut sent = Vec::new();
            for (n, (len, room, news)) in steps.into_iter().enumerate() {
                pipe.room.set(room);
                if out.is_blocked() {
                    out.resume(&pipe, 0);
                }
                let bytes = Bytes::from(vec![n as u8; len + 1]);
                let was_blocked = out.is_blocked();
                let before = pipe.taken.borrow().len();
                if news {
                    out.send_news(ROOM, at(0), &bytes, &pipe, 0);
                    // All of it will go, or none.
                    if !was_blocked && pipe.taken.borrow().len() > before { sent.extend_from_slice(&bytes); }
                } else {
                    out.send(std::slice::from_ref(&bytes), &pipe, 0);
                    sent.extend_from_slice(&bytes);
                }
            }
            pipe.room.set(usize::MAX);
            out.resume(&pipe, 0);
            prop_assert_eq!(&*pipe.taken.borrow(), &sent);
        }
    }
}
