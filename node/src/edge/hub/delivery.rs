//! Delivery: what came in a room goes to all of its members, in as few writes as can be.

use enfilade_actors::bus::Notice;
use enfilade_actors::trace::Side;
use enfilade_proto::{RoomId, SignalOut};
use rustix::net::SendFlags;
use tokio::net::TcpStream;

use super::connection::SENT_BYTES;
use super::pace::Pace;
use super::seats::Batch;
use super::{ConnectionId, Hub};
use crate::edge::mirror::{Amount, Want};
use crate::edge::outgoing::Written;

/// Sockets that are written to before other work gets a turn.
const CHUNK: usize = 256;
/// Signals of one room that may wait for the next tick. More pens than that are not seen on one board.
const SIGNALS: usize = 4_096;

impl Hub {
    /// Takes a signal in, to be sent with the others of the next tick.
    pub(super) fn signal(&mut self, from: ConnectionId, room: RoomId, signal: SignalOut) {
        let soon_ms = self.soon_ms();
        let Some(entry) = self.rooms.get(&room) else { return };
        if entry.signals.is_empty() {
            self.flush_at(soon_ms.max(entry.signalled.not_before(Pace::Member)), room, Pace::Member);
        }
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        match entry.signals.iter().position(|it| same_signal(it, &signal)) {
            // What is newer comes later than what was said in between.
            Some(earlier) => {
                self.figures.signals_conflated.increment(1);
                entry.signals.remove(earlier);
            }
            None if entry.signals.len() >= SIGNALS => {
                self.figures.signals_dropped.increment(1);
                return;
            }
            None => {}
        }
        let sender = self.connections.get_mut(from.key as usize).filter(|connection| connection.id == from);
        if let Some(connection) = sender {
            connection.drew(room, &signal.key);
        }
        entry.signals.push(signal);
    }

    /// Sees to it that the room is flushed then.
    pub(super) fn flush_at(&mut self, at_ms: u64, room: RoomId, pace: Pace) {
        self.due.insert((at_ms, room, pace));
        // The hub sleeps until what was due before.
        if at_ms < self.wakes_ms {
            self.wakes_ms = at_ms;
            self.handle.wake();
        }
    }

    /// Now; a moment later if there was a delivery just now, so that what comes to many rooms at once is delivered together.
    fn soon_ms(&self) -> u64 {
        let now_ms = self.now_ms();
        now_ms + u64::from(now_ms == self.delivered_ms)
    }

    /// Notes which rooms are to be flushed when.
    pub(super) fn look_at_news(&mut self) {
        let soon_ms = self.soon_ms();
        for room in self.handle.take_news() {
            let Some(entry) = self.rooms.get(&room) else { continue };
            for pace in Pace::ALL {
                let seats = &entry.seats[pace as usize];
                if !seats.is_empty() {
                    self.due.insert((soon_ms, room, pace));
                }
            }
        }
    }

    /// Delivers what is due, up to a few hundred writes. Returns whether there is more.
    pub(super) fn deliver_some(&mut self) -> bool {
        let now_ms = self.now_ms();
        let mut writes = 0;
        while writes < CHUNK {
            let Some((at, room, pace)) = self.due.first().copied().filter(|(at, _, _)| *at <= now_ms) else {
                return false;
            };
            self.send_signals(room);
            if let Some(later_ms) = self.not_before(room, pace).filter(|later_ms| *later_ms > now_ms) {
                self.due.remove(&(at, room, pace));
                self.due.insert((later_ms, room, pace));
                continue;
            }
            match self.flush(room, pace) {
                Some(seats) => writes += seats,
                None => {
                    self.due.remove(&(at, room, pace));
                }
            }
        }
        true
    }

    /// When the room may be flushed again; nothing while it is being flushed.
    fn not_before(&self, room: RoomId, pace: Pace) -> Option<u64> {
        let seats = &self.rooms.get(&room)?.seats[pace as usize];
        (!seats.is_flushing()).then(|| seats.pacer.not_before(pace))
    }

    /// Brings what was signalled here to everybody in the room, unless that was done just now.
    fn send_signals(&mut self, id: RoomId) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        if entry.signals.is_empty() || now_ms < entry.signalled.not_before(Pace::Member) {
            return;
        }
        self.send_signals_at_once(id);
    }

    pub(super) fn send_signals_at_once(&mut self, id: RoomId) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        if entry.signals.is_empty() {
            return;
        }
        let signals = std::mem::take(&mut entry.signals);
        entry.signalled.delivered(Pace::Member, now_ms);
        for signal in signals.iter().filter(|signal| entry.room.owner_hears(&signal.key)) {
            self.ends.cluster.notify(id, Notice::Signal(signal.clone()));
        }
        self.figures.signals.increment(signals.len() as u64);
        entry.room.send_signals(signals);
    }

    /// Sends some of those in a room what came since the last time. Returns how many were looked at; nothing when all were.
    fn flush(&mut self, id: RoomId, pace: Pace) -> Option<usize> {
        let (index, now_ms) = (self.index, self.now_ms());
        let entry = self.rooms.get_mut(&id)?;
        let seats = &mut entry.seats[pace as usize];
        if !seats.is_flushing() {
            let before = seats.cursor;
            let news = entry.room.news_for_hub(index, &mut seats.cursor);
            if news.is_empty() {
                return None;
            }
            seats.begin(before, news);
        }
        let flushed = seats.flushing().cloned();
        let Some((batch, concerned)) = seats.step(CHUNK) else {
            // From its end on, so that a flush that takes long leaves time for others.
            seats.pacer.delivered(pace, now_ms);
            if pace == Pace::Member {
                let told = seats.told();
                while let Some(op) = entry.unseen.take_seen(told) {
                    self.figures.op_visible.record(op, &self.ends.sampling.tracer);
                }
                if let Some(taken_ms) = flushed.as_ref().and_then(|batch| batch.amount.taken_ms) {
                    let took_ms = self.ends.clock.now_ms().saturating_sub(taken_ms);
                    self.figures.op_delivered.record(took_ms as f64 / 1_000.0);
                }
            }
            if let Some(batch) = flushed.filter(|batch| batch.news.is_traced()) {
                self.tell_trace(id, pace, &batch);
            }
            return None;
        };
        let (mut looked_at, mut sent, mut sent_bytes) = (1, 0u64, 0u64);
        let mut aside = Vec::new();
        for seat in concerned {
            looked_at += 1;
            if !seat.plain || batch.news.behind {
                aside.push((seat.connection, Outcome::NotTried));
                continue;
            }
            let Some(bytes) = batch.bytes(seat.codec, Want::Everything) else { continue };
            match send_once(&seat.line.socket, bytes) {
                Outcome::Wrote(written) => {
                    sent_bytes += written as u64;
                    if written == bytes.len() {
                        sent += 1;
                    } else {
                        aside.push((seat.connection, Outcome::Wrote(written)));
                    }
                }
                outcome => aside.push((seat.connection, outcome)),
            }
        }
        self.figures.delivered(sent, batch.amount);
        SENT_BYTES.increment(sent_bytes);
        self.delivered_ms = now_ms;
        for (connection, outcome) in aside {
            self.tell_aside(connection, id, &batch, outcome);
        }
        Some(looked_at)
    }

    /// The last step of ops that are traced: since they came here they were written to everybody of this pace who keeps up.
    fn tell_trace(&self, room: RoomId, pace: Pace, batch: &Batch) {
        for (parent, came) in batch.news.traces() {
            let span = self.ends.sampling.tracer.child_since(parent, "tell", Side::Internal, came);
            let Some(span) = span else { continue };
            let told = if pace == Pace::Member { "members" } else { "audience" };
            drop(span.with("room.id", room.to_string()).with("hub", self.index as u64).with("told", told));
        }
    }

    /// Tells a connection, to which the news cannot be written as they are, what it can take.
    fn tell_aside(&mut self, key: u32, room: RoomId, batch: &Batch, outcome: Outcome) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        let (who, codec) = (connection.id, connection.codec());
        if connection.joined(room).is_none_or(|joined| joined.resetting) {
            return;
        }
        if batch.news.behind {
            return self.start_reset(who, room);
        }
        let spared = batch.news.has_signals() && !connection.out.takes_signals(now_ms);
        let want = if spared { Want::NoSignals } else { Want::Everything };
        let Some(bytes) = batch.bytes(codec, want) else { return };
        let written = match outcome {
            Outcome::Gone => Written::Gone,
            Outcome::Wrote(written) => connection.out.interrupted(room, batch.before, bytes, written, now_ms),
            Outcome::NotTried if connection.out.is_blocked() => {
                return connection.out.is_late(room, batch.before);
            }
            Outcome::NotTried if connection.out.late(room).is_some() => return self.catch_up(who, room),
            Outcome::NotTried => {
                connection.out.send_news(room, batch.before, bytes, &*connection.line, now_ms)
            }
        };
        if spared {
            metrics::counter!("enfilade_slow_total", "step" => "signals_dropped").increment(1);
        }
        if written == Written::Done {
            let signals = if spared { 0 } else { batch.amount.signals };
            self.figures.delivered(1, Amount { signals, ..batch.amount });
        }
        self.after_write(who, written);
        self.sit_plainly(who, room);
    }

    /// Lets a connection that is owed nothing take part in flushes like everybody else.
    pub(super) fn sit_plainly(&mut self, who: ConnectionId, room: RoomId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        connection.out.tidy(now_ms);
        let plain = connection.is_plain(room, now_ms);
        self.set_plain(who, room, plain);
    }

    /// A socket that would block is blocked for all of its rooms.
    pub(super) fn sit_aside(&mut self, who: ConnectionId) {
        let rooms = self.connection(who).map(|connection| connection.room_ids()).unwrap_or_default();
        for room in rooms {
            self.set_plain(who, room, false);
        }
    }

    fn set_plain(&mut self, who: ConnectionId, room: RoomId, plain: bool) {
        let Some(connection) = self.connections.get(who.key as usize) else { return };
        let Some(seat) = connection.joined(room).map(|joined| joined.seat) else { return };
        let pace = connection.pace();
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        if let Some(seat) = entry.seats[pace as usize].get_mut(seat) {
            seat.plain = plain;
        }
    }
}

/// What became of writing news to a socket.
enum Outcome {
    NotTried,
    Wrote(usize),
    Gone,
}

/// Writes past the runtime, which would be another piece of cold memory to touch for each of thousands of sockets.
fn send_once(socket: &TcpStream, bytes: &[u8]) -> Outcome {
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(written) => Outcome::Wrote(written),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Outcome::Wrote(0),
        Err(_) => Outcome::Gone,
    }
}

/// Whether one of these takes the place of the other.
fn same_signal(one: &SignalOut, other: &SignalOut) -> bool {
    one.client == other.client && one.author == other.author && one.key == other.key
}
