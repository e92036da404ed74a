//! A clone's connections: how they begin and end, and how it comes back.

use enfilade_proto::{CloseCode, Guest, Hello, Reconnect, Request};
use rand::Rng;

use super::wire::Wire;
use super::{BACKOFF, BACKOFF_MAX, Client, HELLO, Reason, Rest};
use crate::clock::{Micros, SECOND};
use crate::journal::{By, Entry};
use crate::oracle::Stream;
use crate::room::Room;

impl Client {
    pub(super) fn begin_wire(&mut self) -> Wire {
        self.wires_begun += 1;
        self.dropped = 0;
        Wire::new(self.wires_begun)
    }

    pub(super) fn give_up_the_dead(&mut self, now: Micros, room: &mut Room) {
        for wire in self.wires() {
            let deadline = self.wire_mut(wire).and_then(|wire| wire.deadline());
            if deadline.is_some_and(|deadline| now >= deadline) {
                self.ended(now, wire, By::Loss, None, room);
            }
        }
    }

    /// A connection that it wished for is there; the handshakes took so long.
    pub fn connected(&mut self, now: Micros, id: u32, took: Micros, room: &mut Room) {
        room.times().connect.record(took);
        room.counts.connections_opened += 1;
        room.note(now, || Entry::Opened { client: self.id, connection: id });
        let Some(wire) = self.wire_mut(id) else { return };
        wire.opened(now);
        let guest = Some(Guest { name: self.part.name().to_string() });
        let hello = Hello { resume: self.resume.clone(), guest, ..Hello::new(self.id) };
        self.say(id, Some(HELLO), &Request::Hello(hello));
    }

    pub fn connect_failed(&mut self, now: Micros, id: u32, room: &mut Room) {
        room.counts.connections_failed += 1;
        self.let_go(id, room);
        self.back_off(now);
        self.report(room);
    }

    /// A connection is gone; `code` is what the server closed it with.
    pub fn lost(&mut self, now: Micros, id: u32, code: Option<u16>, room: &mut Room) {
        let code = self.wire_mut(id).and_then(|wire| wire.closing.take()).or(code);
        let by = if code.is_some() { By::Server } else { By::Loss };
        self.ended(now, id, by, code, room);
    }

    /// Ended by the other side, or given up.
    pub(super) fn ended(&mut self, now: Micros, id: u32, by: By, code: Option<u16>, room: &mut Room) {
        let was_main = self.wire.as_ref().is_some_and(|wire| wire.id == id);
        if self.wire_mut(id).is_none() || self.is_over() {
            return;
        }
        let moving = self.move_at.is_some() || self.next.is_some();
        let inside = self.is_inside();
        room.counts.connections_lost += 1;
        room.note(now, || Entry::Closed { client: self.id, connection: id, by, code });
        self.let_go(id, room);
        if was_main && inside {
            let reason = match code {
                _ if moving => Reason::Told,
                Some(_) => Reason::Closed,
                None => Reason::Lost,
            };
            self.disturbed(now, reason);
        }
        if was_main {
            self.wire = self.next.take();
            self.move_at = None;
        }
        match CloseCode::verdict(code.unwrap_or_default()) {
            Reconnect::Never => {
                return self.dismissed(now, room, &format!("closed with {}", code.unwrap_or_default()));
            }
            Reconnect::Now if self.attempt == 0 => {
                self.attempt = 1;
                self.come_back(now);
            }
            Reconnect::FromScratch => {
                room.oracle.forget(self.who);
                self.back_off(now);
            }
            Reconnect::AfterRefresh => {
                // A guest's new token is a new guest.
                self.resume = None;
                self.back_off(now);
            }
            Reconnect::Now | Reconnect::WithJitter => self.back_off(now),
        }
        self.report(room);
    }

    /// It is not in the room any more, or soon over another connection.
    pub(super) fn disturbed(&mut self, now: Micros, reason: Reason) {
        self.outside_since = self.outside_since.or(Some((now, reason)));
        for pending in self.pending.values_mut() {
            pending.disturbed = pending.disturbed.or(Some(reason));
            // After the next join everything goes out again anyway.
            (pending.again, pending.overtook) = (false, false);
        }
        self.held_back = None;
    }

    /// Ends a connection by itself.
    pub(super) fn hang_up(&mut self, now: Micros, id: u32, room: &mut Room) {
        room.note(now, || Entry::Closed { client: self.id, connection: id, by: By::Client, code: None });
        self.let_go(id, room);
    }

    pub(super) fn hang_up_all(&mut self, now: Micros, room: &mut Room) {
        for wire in self.wires() {
            self.hang_up(now, wire, room);
        }
        self.move_at = None;
    }

    /// The connection is no longer one of its own; what it had to say over it is kept.
    pub(super) fn let_go(&mut self, id: u32, room: &mut Room) {
        let slot = [&mut self.wire, &mut self.next].into_iter();
        let Some(wire) = slot.into_iter().find_map(|slot| slot.take_if(|wire| wire.id == id)) else { return };
        room.oracle.outside(Stream { who: self.who, connection: id });
        if wire.is_inside() {
            room.inside -= 1;
        }
        // One is enough: a clone that hangs up without anybody to carry its last words has none.
        self.last_words.retain(|_, words| !words.is_empty());
        self.last_words.insert(id, wire.outgoing);
    }

    pub(super) fn back_off(&mut self, now: Micros) {
        let most = BACKOFF.saturating_mul(1 << self.attempt.min(16)).min(BACKOFF_MAX);
        self.attempt += 1;
        let at = now + self.rng.random_range(0..=most);
        self.come_back(at);
    }

    /// A connection is gone; another one takes its place then, unless it is there already.
    pub(super) fn come_back(&mut self, at: Micros) {
        if self.is_inside() {
            self.move_at = Some(at);
        } else if self.wire.is_none() && self.wanted {
            self.rest = Rest::Waiting { until: at };
        }
    }

    pub(super) fn stranded(&mut self, now: Micros, since: Micros, room: &mut Room) {
        let seconds = (now - since) / SECOND;
        room.oracle.stranded(self.who, &format!("not back in the room after {seconds} s"));
        self.withdraw(now, room);
    }

    pub(super) fn dismissed(&mut self, now: Micros, room: &mut Room, why: &str) {
        room.oracle.dismissed(self.who, why);
        self.withdraw(now, room);
    }

    pub(super) fn withdraw(&mut self, now: Micros, room: &mut Room) {
        self.belongs(false, room);
        self.hang_up_all(now, room);
        self.outside_since = None;
        self.rest = Rest::Over;
        self.report(room);
    }
}
