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

/// What a socket is owed. One that takes everything at once is owed nothing, and holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Outgoing(Option<Box<Backlog>>);

#[derive(Debug, Default)]
struct Backlog {
    /// Whole frames, but for the first, of which a part may have gone.
    queue: VecDeque<Bytes>,
    /// Rooms of which this connection was told other than everybody else, and up to where.
    late: Vec<(RoomId, Cursor)>,
    /// Since when nothing could be written.
    stalled_since: Option<u64>,
    /// Somebody waits until it can be written to again.
    watched: bool,
    spared_until: u64,
}

impl Outgoing {
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.as_ref().is_some_and(|backlog| backlog.stalled_since.is_some())
    }

    pub(crate) fn stalled_for(&self, now_ms: u64) -> u64 {
        let since = self.0.as_ref().and_then(|backlog| backlog.stalled_since);
        since.map_or(0, |since| now_ms.saturating_sub(since))
    }

    /// Of messages that wait in the queue.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.0.iter().flat_map(|backlog| &backlog.queue).map(Bytes::len).sum()
    }

    /// Whether somebody has to begin to wait until the socket can be written to again.
    pub(crate) fn begin_watch(&mut self) -> bool {
        let blocked = self.0.as_mut().filter(|backlog| backlog.stalled_since.is_some());
        blocked.is_some_and(|backlog| !std::mem::replace(&mut backlog.watched, true))
    }

    /// Whether signals are for this connection now.
    pub(crate) fn takes_signals(&self, now_ms: u64) -> bool {
        self.0.as_ref().is_none_or(|it| it.stalled_since.is_none() && now_ms >= it.spared_until)
    }

    /// Sends a message, which must not be lost: what does not go now is queued.
    pub(crate) fn send(&mut self, parts: &[Bytes], pipe: &impl Pipe, now_ms: u64) -> Written {
        let mut unsent = parts;
        if !self.is_blocked() {
            // What goes at once needs no queue.
            while let [first, rest @ ..] = unsent {
                match pipe.try_write(first) {
                    Ok(written) if written == first.len() => unsent = rest,
                    Ok(written) => {
                        let backlog = self.block(now_ms);
                        backlog.queue.push_back(first.slice(written..));
                        backlog.queue.extend(rest.iter().cloned());
                        return Written::Blocked;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.block(now_ms);
                        break;
                    }
                    Err(_) => return Written::Gone,
                }
            }
        }
        if unsent.is_empty() { Written::Done } else { self.queue(unsent) }
    }

    fn queue(&mut self, parts: &[Bytes]) -> Written {
        let backlog = self.0.get_or_insert_default();
        let waiting: usize = backlog.queue.iter().map(Bytes::len).sum();
        if backlog.queue.len() + parts.len() > QUEUED || waiting > QUEUED_BYTES {
            return Written::Overflow;
        }
        backlog.queue.extend(parts.iter().cloned());
        Written::Blocked
    }

    fn block(&mut self, now_ms: u64) -> &mut Backlog {
        let backlog = self.0.get_or_insert_default();
        backlog.stalled_since.get_or_insert(now_ms);
        backlog
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
            Ok(written) => self.interrupted(room, before, news, written, now_ms),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.interrupted(room, before, news, 0, now_ms)
            }
            Err(_) => Written::Gone,
        }
    }

    /// Of news of a room only so many bytes could be written. A frame that was begun goes out as a whole; of one that was not, a
    /// cursor remains.
    pub(crate) fn interrupted(
        &mut self,
        room: RoomId,
        before: Cursor,
        news: &Bytes,
        written: usize,
        now_ms: u64,
    ) -> Written {
        if written == 0 {
            self.is_late(room, before);
        }
        let backlog = self.block(now_ms);
        if written > 0 {
            backlog.queue.push_back(news.slice(written..));
        }
        Written::Blocked
    }

    /// The connection was told of the room up to here, and not up to where its hub is. The earliest cursor counts.
    pub(crate) fn is_late(&mut self, room: RoomId, told: Cursor) {
        let backlog = self.0.get_or_insert_default();
        if !backlog.late.iter().any(|(late, _)| *late == room) {
            backlog.late.push((room, told));
        }
    }

    pub(crate) fn late(&self, room: RoomId) -> Option<Cursor> {
        let late = &self.0.as_ref()?.late;
        late.iter().find(|(late, _)| *late == room).map(|(_, cursor)| *cursor)
    }

    pub(crate) fn late_rooms(&self) -> Vec<RoomId> {
        self.0.iter().flat_map(|backlog| &backlog.late).map(|(room, _)| *room).collect()
    }

    /// The room has caught up, or is no concern of this connection any more.
    pub(crate) fn forget_room(&mut self, room: RoomId) {
        if let Some(backlog) = &mut self.0 {
            backlog.late.retain(|(late, _)| *late != room);
        }
    }

    /// The socket can be written again: first what is queued. `Done` means that late rooms may catch up now.
    pub(crate) fn resume(&mut self, pipe: &impl Pipe, now_ms: u64) -> Written {
        let Some(backlog) = &mut self.0 else { return Written::Done };
        backlog.stalled_since = None;
        backlog.watched = false;
        backlog.spared_until = now_ms + SPARED_MS;
        while let Some(front) = backlog.queue.front_mut() {
            match pipe.try_write(front) {
                Ok(written) if written == front.len() => {
                    backlog.queue.pop_front();
                }
                Ok(written) => front.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    backlog.stalled_since = Some(now_ms);
                    return Written::Blocked;
                }
                Err(_) => return Written::Gone,
            }
        }
        Written::Done
    }

    /// Gives the memory of a hard time back once it is over.
    pub(crate) fn tidy(&mut self, now_ms: u64) {
        self.0.take_if(|backlog| {
            backlog.queue.is_empty()
                && backlog.late.is_empty()
                && backlog.stalled_since.is_none()
                && now_ms >= backlog.spared_until
        });
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
        assert_eq!((out.late(ROOM), out.late_rooms()), (Some(at(8)), vec![ROOM]));
        assert!(!out.takes_signals(10) && out.takes_signals(10 + SPARED_MS));
        out.tidy(10 + SPARED_MS);
        assert!(out.0.is_some(), "it is still late");
        out.forget_room(ROOM);
        out.tidy(10 + SPARED_MS);
        assert!(out.0.is_none());
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
