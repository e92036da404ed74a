//! What a clone makes of what the server says.

use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{
    Epoch, Error, Joined, LoggedOp, OpId, Pong, Reconnecting, Request, Reset, Retry, Seq, ServerMessage,
    User, Welcome,
};
use rand::Rng;

use super::{Client, FIRST_OP, HELLO, JOIN, PING_GRACE, Phase, RETRY_DEFAULT_MS, RETRY_JITTER, Reason};
use crate::clock::{MILLISECOND, Micros};
use crate::frames::Said;
use crate::journal::{By, Entry};
use crate::oracle::{Delivery, Entrance, Seen, Stream};
use crate::room::{Room, count_code, digest, what_was_shown};
use crate::score::Fate;

impl Client {
    pub(super) fn hear(&mut self, now: Micros, wire: u32, id: Option<u32>, said: &Said, room: &mut Room) {
        match said {
            Said::Ops { room: of, .. } | Said::Signals { room: of, .. } if *of != self.room => {
                room.oracle.malformed(self.who, &format!("a push of room {of}, which it is not in"));
            }
            Said::Ops { epoch, first, ops, .. } => self.shown(now, wire, (*epoch, *first), ops, room),
            Said::Signals { signals, .. } => room.signals_seen(self.who, now, signals),
            Said::Other(message) => self.hear_message(now, wire, id, message, room),
        }
    }

    fn shown(&mut self, now: Micros, wire: u32, from: (Epoch, Seq), ops: &[Seen], room: &mut Room) {
        let (epoch, first) = from;
        let last = Seq((first.0 + ops.len() as u64).saturating_sub(1));
        room.note(now, || Entry::Ops {
            client: self.id,
            connection: wire,
            room: self.room,
            epoch,
            first,
            last,
            digest: Some(digest(first, ops)),
        });
        match room.oracle.delivered(self.stream(wire), epoch, first, ops) {
            Delivery::From(new) if new < ops.len() => {
                room.ops_seen(self.who, now, Seq(first.0 + new as u64), last);
            }
            Delivery::Gap => self.say_join(now, wire, room),
            Delivery::From(_) | Delivery::Ignored => {}
        }
    }

    fn stream(&self, wire: u32) -> Stream {
        Stream { who: self.who, connection: wire }
    }

    fn hear_message(
        &mut self,
        now: Micros,
        wire: u32,
        id: Option<u32>,
        message: &ServerMessage,
        room: &mut Room,
    ) {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(now, wire, id, welcome, room),
            ServerMessage::Joined(joined) => self.joined(now, wire, id, joined, room),
            ServerMessage::Accepted(accepted) => self.accepted(now, wire, id, accepted.seq, room),
            ServerMessage::Error(error) => self.refused(now, wire, id, error, room),
            ServerMessage::Reset(reset) => self.was_reset(now, wire, reset, room),
            ServerMessage::Ping(ping) => {
                self.say(wire, None, &Request::Pong(Pong {}));
                let head = ping.heads.iter().find(|head| head.room == self.room);
                if head.is_some_and(|head| room.oracle.head(self.stream(wire), head.seq)) {
                    self.say_join(now, wire, room);
                }
            }
            ServerMessage::Reconnect(elsewhere) => self.told_to_move(now, wire, elsewhere, room),
            ServerMessage::Closing(closing) => {
                if let Some(wire) = self.wire_mut(wire) {
                    wire.closing = Some(closing.code);
                }
            }
            // Who is there, what the room is called, and what is not known yet: nothing to do about.
            _ => {}
        }
    }

    fn told_to_move(&mut self, now: Micros, wire: u32, elsewhere: &Reconnecting, room: &mut Room) {
        let Reconnecting { after_ms, resume } = elsewhere;
        room.note(now, || Entry::Told { client: self.id, connection: wire, after_ms: *after_ms });
        room.counts.moves_told += 1;
        self.resume.clone_from(resume);
        // Who is moving already goes on; who moved to a node that goes away, too, moves again.
        if self.wire.as_ref().is_some_and(|main| main.id == wire) && self.next.is_none() {
            self.attempt = 0;
            self.move_at = Some(now + after_ms.saturating_mul(MILLISECOND));
        }
    }

    fn welcomed(&mut self, now: Micros, id: u32, request: Option<u32>, welcome: &Welcome, room: &mut Room) {
        let Some(wire) = self.wire_mut(id) else { return };
        let Phase::Greeting { since } = wire.phase else {
            return room.oracle.extra_reply(self.who, request.unwrap_or_default());
        };
        wire.silence = welcome.ping_ms.saturating_mul(MILLISECOND).saturating_add(PING_GRACE);
        wire.phase = Phase::Joining { since: now };
        wire.node.clone_from(&welcome.node);
        room.times().hello.record(now - since);
        room.times().node(&welcome.node).connections += 1;
        if let Some(User { id: user, .. }) = welcome.user {
            room.oracle.welcomed(self.who, user);
            let (client, node) = (self.id, welcome.node.clone());
            room.note(now, || Entry::Welcome { client, connection: id, user, node });
        }
        self.resume.clone_from(&welcome.resume);
        self.in_flight = welcome.limits.ops_in_flight.clamp(1, OPS_IN_FLIGHT);
        self.frame_bytes = welcome.limits.frame_bytes;
        self.say_join(now, id, room);
    }

    fn joined(&mut self, now: Micros, id: u32, request: Option<u32>, joined: &Joined, room: &mut Room) {
        let here = self.room;
        let Some(wire) = self.wire_mut(id) else { return };
        if request != Some(JOIN) || joined.room != here || !std::mem::take(&mut wire.join_open) {
            return room.oracle.extra_reply(self.who, request.unwrap_or_default());
        }
        let (since, phase) = (wire.since, wire.phase);
        let ops = seen(joined.ops.as_deref());
        let entrance = Entrance { position: joined.position, snapshot: joined.snapshot.as_ref(), ops: &ops };
        let hash = room.oracle.joined(self.stream(id), since, &entrance);
        room.note(now, || Entry::Joined {
            client: self.id,
            connection: id,
            room: self.room,
            position: joined.position,
            shown: what_was_shown(&entrance, hash),
        });
        room.counts.snapshots += u64::from(joined.snapshot.is_some());
        if let Phase::Joining { since } = phase {
            room.times().join.record(now - since);
            room.inside += 1;
            self.came_in(now, id, room);
        }
        // What it missed while away is visible to it now; what was before it ever came does not count.
        if since.is_some() && joined.snapshot.is_none() && !ops.is_empty() {
            let first = Seq((joined.position.seq.0 + 1).saturating_sub(ops.len() as u64));
            room.ops_seen(self.who, now, first, joined.position.seq);
        }
    }

    /// It is in the room over this connection: if it has another, that one has done its duty.
    fn came_in(&mut self, now: Micros, id: u32, room: &mut Room) {
        self.attempt = 0;
        self.took_its_place(now);
        if let Some(wire) = self.wire_mut(id) {
            wire.phase = Phase::Inside;
        }
        if self.next.as_ref().is_some_and(|next| next.id == id) {
            let moved = self.next.take();
            if let Some(old) = std::mem::replace(&mut self.wire, moved) {
                let old_id = old.id;
                self.next = Some(old);
                self.hang_up(now, old_id, room);
            }
            self.disturbed(now, Reason::Told);
        }
        if let Some((since, reason)) = self.outside_since.take() {
            self.gaps.outside(reason, now.saturating_sub(since));
        }
        self.send_pending(room);
    }

    fn was_reset(&mut self, now: Micros, wire: u32, reset: &Reset, room: &mut Room) {
        if reset.room != self.room {
            return room.oracle.malformed(self.who, &format!("a reset of room {}", reset.room));
        }
        room.counts.resets += 1;
        let ops = seen(reset.ops.as_deref());
        let entrance = Entrance { position: reset.position, snapshot: reset.snapshot.as_ref(), ops: &ops };
        let hash = room.oracle.reset(self.stream(wire), &entrance);
        room.note(now, || Entry::Reset {
            client: self.id,
            connection: wire,
            room: self.room,
            position: reset.position,
            shown: what_was_shown(&entrance, hash),
        });
    }

    fn accepted(&mut self, now: Micros, wire: u32, id: Option<u32>, seq: Seq, room: &mut Room) {
        let op_id = id.and_then(op_id);
        let Some((op_id, pending)) = op_id.and_then(|op_id| Some((op_id, self.pending.remove(&op_id)?)))
        else {
            return room.oracle.extra_reply(self.who, id.unwrap_or_default());
        };
        self.gaps.waited(pending.disturbed, now.saturating_sub(pending.submitted));
        if let Some(planned) = pending.planned {
            let time = now.saturating_sub(planned);
            let mut times = room.times();
            times.accepted.record(time);
            if let Some(wire) = self.wire_mut(wire) {
                times.node(&wire.node).accepted.record(time);
            }
        }
        room.accepted(now, self.who, self.id, op_id, seq);
        // Most ops nobody asks about.
        if self.part.score().is_awaited(pending.number) {
            room.fated(pending.generation, pending.number, Fate::Accepted(seq));
        }
    }

    fn refused(&mut self, now: Micros, wire: u32, id: Option<u32>, error: &Error, room: &mut Room) {
        let again = error.code.retry() == Retry::Same;
        if !id.and_then(op_id).is_some_and(|op_id| self.pending.contains_key(&op_id)) {
            let (client, code) = (self.id, error.code);
            room.note(now, || Entry::Error { client, room: self.room, code, op_id: None, last: !again });
        }
        match id {
            None => count_code(&mut room.counts.signals_refused, error.code),
            Some(HELLO) if again => self.ended(now, wire, By::Client, None, room),
            Some(HELLO) => self.dismissed(now, room, &format!("hello: {} ({})", error.code, error.message)),
            Some(JOIN) if again => {
                let later = self.later(now, error);
                if let Some(wire) = self.wire_mut(wire) {
                    wire.rejoin_at = Some(later);
                }
            }
            Some(JOIN) => self.dismissed(now, room, &format!("join: {} ({})", error.code, error.message)),
            Some(id) => self.op_refused(now, id, error, room),
        }
    }

    fn op_refused(&mut self, now: Micros, id: u32, error: &Error, room: &mut Room) {
        let later = self.later(now, error);
        let Some((op_id, pending)) = op_id(id).and_then(|op_id| Some((op_id, self.pending.get_mut(&op_id)?)))
        else {
            return room.oracle.extra_reply(self.who, id);
        };
        let last = error.code.retry() != Retry::Same && !pending.overtook;
        let (client, code) = (self.id, error.code);
        room.note(now, || Entry::Error { client, room: self.room, code, op_id: Some(OpId(op_id)), last });
        if !last {
            (pending.again, pending.overtook) = (true, false);
            pending.refused = Some(error.code);
            self.held_back = self.held_back.max(Some(later));
            let behind = self.pending.range_mut(op_id + 1..).map(|(_, pending)| pending);
            behind
                .filter(|pending| pending.sent && !pending.again)
                .for_each(|pending| pending.overtook = true);
            return;
        }
        let (generation, number) = (pending.generation, pending.number);
        self.pending.remove(&op_id);
        room.refused(now, self.who, op_id, error.code);
        room.fated(generation, number, Fate::Never);
    }

    fn later(&mut self, now: Micros, error: &Error) -> Micros {
        let ms = error.retry_after_ms.unwrap_or(RETRY_DEFAULT_MS);
        now + ms.saturating_mul(MILLISECOND) + self.rng.random_range(0..=RETRY_JITTER)
    }
}

fn op_id(id: u32) -> Option<u64> {
    id.checked_sub(FIRST_OP).map(u64::from)
}

fn seen(ops: Option<&[LoggedOp]>) -> Vec<Seen> {
    ops.unwrap_or_default().iter().cloned().map(Seen::new).collect()
}
