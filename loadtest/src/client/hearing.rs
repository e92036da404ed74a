//! What a clone makes of what the server says.

use enfilade_proto::limits::OPS_IN_FLIGHT;
use enfilade_proto::{Error, Joined, LoggedOp, Pong, Request, Reset, Retry, Seq, ServerMessage, Welcome};
use rand::Rng;

use super::{Client, FIRST_OP, HELLO, JOIN, PING_GRACE, Phase, RETRY_DEFAULT_MS, RETRY_JITTER};
use crate::clock::{MILLISECOND, Micros};
use crate::frames::Said;
use crate::oracle::{Delivery, Entry, Seen};
use crate::room::{Room, count_code};

impl Client {
    pub(super) fn hear(&mut self, now: Micros, id: Option<u32>, said: &Said, room: &mut Room) {
        match said {
            Said::Ops { room: of, .. } | Said::Signals { room: of, .. } if *of != self.room => {
                room.oracle.malformed(self.who, &format!("a push of room {of}, which it is not in"));
            }
            Said::Ops { epoch, first, ops, .. } => match room.oracle.delivered(self.who, *epoch, *first, ops)
            {
                Delivery::From(new) if new < ops.len() => {
                    let (from, to) = (Seq(first.0 + new as u64), Seq(first.0 + ops.len() as u64 - 1));
                    room.ops_seen(self.who, now, from, to);
                }
                Delivery::Gap => self.say_join(room),
                Delivery::From(_) | Delivery::Ignored => {}
            },
            Said::Signals { signals, .. } => room.signals_seen(self.who, now, signals),
            Said::Other(message) => self.hear_message(now, id, message, room),
        }
    }

    fn hear_message(&mut self, now: Micros, id: Option<u32>, message: &ServerMessage, room: &mut Room) {
        match message {
            ServerMessage::Welcome(welcome) => self.welcomed(now, id, welcome, room),
            ServerMessage::Joined(joined) => self.joined(now, id, joined, room),
            ServerMessage::Accepted(accepted) => self.accepted(now, id, accepted.seq, room),
            ServerMessage::Error(error) => self.refused(now, id, error, room),
            ServerMessage::Reset(reset) => self.was_reset(reset, room),
            ServerMessage::Ping(ping) => {
                self.say(None, &Request::Pong(Pong {}));
                let head = ping.heads.iter().find(|head| head.room == self.room);
                if head.is_some_and(|head| room.oracle.head(self.who, head.seq)) {
                    self.say_join(room);
                }
            }
            ServerMessage::Reconnect(elsewhere) => {
                self.resume = Some(elsewhere.resume.clone());
                self.move_at = Some(now + elsewhere.after_ms.saturating_mul(MILLISECOND));
            }
            ServerMessage::Closing(closing) => self.closing = Some(closing.code),
            // Who is there, what the room is called, and what is not known yet: nothing to do about.
            _ => {}
        }
    }

    fn welcomed(&mut self, now: Micros, id: Option<u32>, welcome: &Welcome, room: &mut Room) {
        let Phase::Greeting { since } = self.phase else {
            return room.oracle.extra_reply(self.who, id.unwrap_or_default());
        };
        room.times().hello.record(now - since);
        room.oracle.welcomed(self.who, welcome.user.id);
        self.resume = Some(welcome.resume.clone());
        self.silence = welcome.ping_ms.saturating_mul(MILLISECOND).saturating_add(PING_GRACE);
        self.in_flight = welcome.limits.ops_in_flight.clamp(1, OPS_IN_FLIGHT);
        self.frame_bytes = welcome.limits.frame_bytes;
        self.phase = Phase::Joining { since: now };
        self.say_join(room);
    }

    fn joined(&mut self, now: Micros, id: Option<u32>, joined: &Joined, room: &mut Room) {
        if id != Some(JOIN) || joined.room != self.room || !std::mem::take(&mut self.join_open) {
            return room.oracle.extra_reply(self.who, id.unwrap_or_default());
        }
        if !matches!(self.phase, Phase::Joining { .. } | Phase::Inside) {
            return;
        }
        let ops = seen(joined.ops.as_deref());
        let entry = Entry { position: joined.position, snapshot: joined.snapshot.as_ref(), ops: &ops };
        room.oracle.joined(self.who, self.joining_since, &entry);
        room.counts.snapshots += u64::from(joined.snapshot.is_some());
        if let Phase::Joining { since } = self.phase {
            room.times().join.record(now - since);
            room.inside += 1;
            self.phase = Phase::Inside;
            self.attempt = 0;
            self.send_pending(room);
        }
        // What it missed while away is visible to it now; what was before it ever came does not count.
        if self.joining_since.is_some() && joined.snapshot.is_none() && !ops.is_empty() {
            let first = Seq((joined.position.seq.0 + 1).saturating_sub(ops.len() as u64));
            room.ops_seen(self.who, now, first, joined.position.seq);
        }
    }

    fn was_reset(&mut self, reset: &Reset, room: &mut Room) {
        if reset.room != self.room {
            return room.oracle.malformed(self.who, &format!("a reset of room {}", reset.room));
        }
        room.counts.resets += 1;
        let ops = seen(reset.ops.as_deref());
        room.oracle
            .reset(self.who, &Entry { position: reset.position, snapshot: Some(&reset.snapshot), ops: &ops });
    }

    fn accepted(&mut self, now: Micros, id: Option<u32>, seq: Seq, room: &mut Room) {
        let op_id = id.and_then(op_id);
        let Some((op_id, pending)) = op_id.and_then(|op_id| Some((op_id, self.pending.remove(&op_id)?)))
        else {
            return room.oracle.extra_reply(self.who, id.unwrap_or_default());
        };
        if let Some(planned) = pending.planned {
            room.times().accepted.record(now.saturating_sub(planned));
        }
        room.accepted(self.who, self.id, op_id, seq);
        self.fated(pending.number, Some(seq), room);
    }

    fn refused(&mut self, now: Micros, id: Option<u32>, error: &Error, room: &mut Room) {
        match id {
            None => count_code(&mut room.counts.signals_refused, error.code),
            Some(HELLO) if error.code.retry() == Retry::Same => self.hang_up(room),
            Some(HELLO) => self.dismissed(room, &format!("hello: {} ({})", error.code, error.message)),
            Some(JOIN) if error.code.retry() == Retry::Same => self.rejoin_at = Some(self.later(now, error)),
            Some(JOIN) => self.dismissed(room, &format!("join: {} ({})", error.code, error.message)),
            Some(id) => self.op_refused(now, id, error, room),
        }
    }

    fn op_refused(&mut self, now: Micros, id: u32, error: &Error, room: &mut Room) {
        let later = self.later(now, error);
        let Some((op_id, pending)) = op_id(id).and_then(|op_id| Some((op_id, self.pending.get_mut(&op_id)?)))
        else {
            return room.oracle.extra_reply(self.who, id);
        };
        if error.code.retry() == Retry::Same {
            pending.retry_at = Some(later);
            pending.refused = Some(error.code);
            return;
        }
        let number = pending.number;
        self.pending.remove(&op_id);
        count_code(&mut room.counts.ops_refused, error.code);
        room.oracle.refused(self.who, op_id);
        self.fated(number, None, room);
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
