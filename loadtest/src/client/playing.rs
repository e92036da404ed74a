//! What a clone does: the steps of its part when they are due, and ops again when they have to be.

use bytes::Bytes;
use enfilade_proto::{Op, OpId, Request, Seq, Signal, Submit};
use serde_json::Value;

use super::{Client, FIRST_OP, Hold, LOOK_AGAIN, Pending, Rest, WAIT_FOR_OTHERS};
use crate::clock::Micros;
use crate::frames::MARK;
use crate::room::Room;
use crate::score::{Action, OpNumber};

/// What became of a step.
enum Outcome {
    Done,
    Held(Hold),
}

impl Client {
    pub(super) fn play(&mut self, now: Micros, room: &mut Room) {
        self.set_the_scene(now, room);
        let Some(start) = self.start else { return };
        let score = self.score.clone();
        while let Some(step) = score.tracks[self.part.person].steps.get(self.steps_done) {
            let planned = start + self.part.planned(step.at);
            if planned > now {
                break;
            }
            match self.perform(&step.action, planned, now, room) {
                Outcome::Held(hold) => {
                    self.held = Some(hold);
                    break;
                }
                Outcome::Done => {
                    if self.held.take().is_some() {
                        self.free_since = now;
                    }
                    self.steps_done += 1;
                    if planned >= self.free_since {
                        room.times().lag.record(now - planned);
                    }
                }
            }
        }
    }

    /// As fast as the answers come; not measured.
    fn set_the_scene(&mut self, now: Micros, room: &mut Room) {
        if !self.is_inside() || !self.sets_the_scene() {
            return;
        }
        let score = self.score.clone();
        while let Some(scene) =
            score.scene.get(self.scene_done).filter(|_| self.pending.len() < self.in_flight)
        {
            self.scene_done += 1;
            self.submit(now, scene.number, &scene.op, None, room);
        }
    }

    fn perform(&mut self, action: &Action, planned: Micros, now: Micros, room: &mut Room) -> Outcome {
        match action {
            Action::Join => {
                self.belongs(true, room);
                if self.rest == Rest::Away && self.wire.is_none() {
                    self.wire = Some(self.begin_wire());
                }
            }
            Action::Leave if !self.pending.is_empty() => return Outcome::Held(Hold::Answer),
            Action::Leave => self.leave(now, room),
            Action::Op { number, op, needs } => {
                if self.pending.len() >= self.in_flight {
                    return Outcome::Held(Hold::Answer);
                }
                if now < planned + WAIT_FOR_OTHERS && self.waits_for(needs, room) {
                    return Outcome::Held(Hold::Other(now + LOOK_AGAIN));
                }
                self.submit(now, *number, op, Some(planned), room);
            }
            Action::Signal { key, body } => self.signal(key, body, planned, room),
        }
        Outcome::Done
    }

    fn waits_for(&self, needs: &[OpNumber], room: &Room) -> bool {
        let open = |number: &&OpNumber| {
            self.part.plays(&self.score, **number) && room.fate(self.part.generation, **number).is_none()
        };
        needs.iter().any(|number| open(&number))
    }

    fn leave(&mut self, now: Micros, room: &mut Room) {
        self.belongs(false, room);
        self.take_leave(now, room);
        self.outside_since = None;
        self.rest = Rest::Away;
    }

    fn submit(&mut self, now: Micros, number: OpNumber, op: &Op, planned: Option<Micros>, room: &mut Room) {
        let generation = self.part.generation;
        let op = self.part.op(&self.score, op, |number| room.fate(generation, number).flatten());
        let op_id = self.next_op;
        let framed = op.and_then(|op| {
            let submit = Submit { room: self.room, op_id: OpId(op_id), op: op.clone() };
            let frame = self.codec.encode_request(Some(request_id(op_id)?), &Request::Submit(submit));
            (frame.len() <= self.frame_bytes).then(|| (op, Bytes::from(frame)))
        });
        let Some((op, frame)) = framed else {
            room.counts.ops_left_out += 1;
            return self.fated(number, None, room);
        };
        self.next_op += 1;
        room.submitted(now, self.who, self.id, op_id, planned, op);
        let inside = self.wire.as_mut().filter(|wire| wire.is_inside());
        let sent = inside.is_some();
        if let Some(wire) = inside {
            wire.outgoing.push_back(frame.clone());
        }
        let disturbed = self.outside_since.map(|(_, reason)| reason);
        let pending = Pending {
            frame,
            planned,
            submitted: now,
            number,
            sent,
            retry_at: None,
            refused: None,
            disturbed,
        };
        self.pending.insert(op_id, pending);
    }

    fn signal(&mut self, key: &str, body: &Value, planned: Micros, room: &mut Room) {
        let Some(wire) = self.wire.as_ref().filter(|wire| wire.is_inside()).map(|wire| wire.id) else {
            room.counts.signals_dropped += 1;
            return;
        };
        let mut body = self.part.signal(&self.score, key, body);
        let mark = room.mark(self.who, planned);
        if let Some(fields) = body.as_object_mut() {
            fields.insert(MARK.into(), mark.into());
        }
        room.counts.signals_sent += 1;
        self.say(wire, None, &Request::Signal(Signal { room: self.room, key: key.to_owned(), body }));
    }

    pub(super) fn retry(&mut self, now: Micros, room: &mut Room) {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.is_inside()) else { return };
        for pending in
            self.pending.values_mut().filter(|pending| pending.retry_at.is_some_and(|at| now >= at))
        {
            pending.retry_at = None;
            pending.refused = None;
            room.counts.ops_retried += 1;
            wire.outgoing.push_back(pending.frame.clone());
        }
    }

    pub(super) fn send_pending(&mut self, room: &mut Room) {
        let Some(wire) = &mut self.wire else { return };
        for pending in self.pending.values_mut() {
            room.counts.ops_resent += u64::from(pending.sent);
            pending.sent = true;
            (pending.retry_at, pending.refused) = (None, None);
            wire.outgoing.push_back(pending.frame.clone());
        }
    }

    pub(super) fn fated(&self, number: OpNumber, fate: Option<Seq>, room: &mut Room) {
        if self.score.is_awaited(number) {
            room.fated(self.part.generation, number, fate);
        }
    }
}

fn request_id(op_id: u64) -> Option<u32> {
    u32::try_from(op_id).ok()?.checked_add(FIRST_OP)
}
