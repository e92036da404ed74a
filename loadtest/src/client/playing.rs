//! What a clone does: the steps of its part when they are due, and ops again when they have to be.

use bytes::Bytes;
use enfilade_proto::{Op, OpId, Request, Signal, Submit};
use serde_json::Value;

use super::{Client, FIRST_OP, Hold, LOOK_AGAIN, Pending, Rest, WAIT_FOR_OTHERS};
use crate::clock::Micros;
use crate::frames::MARK;
use crate::room::Room;
use crate::score::{Action, Fate, OpNumber};

/// What became of a step.
enum Outcome {
    Done,
    Held(Hold),
}

impl Client {
    pub(super) fn play(&mut self, now: Micros, room: &mut Room) {
        self.set_the_scene(now, room);
        let Some(start) = self.start else { return };
        while !self.finished && !self.course.vacant {
            let score = self.part.score().clone();
            let Some(step) =
                score.tracks.get(self.part.person).and_then(|track| track.steps.get(self.steps_done))
            else {
                self.go_on();
                continue;
            };
            let planned = start + self.part.planned(step.at);
            if !self.part.is_in_time(planned - start) {
                self.finished = true;
                break;
            }
            if planned > now {
                break;
            }
            let outcome = if self.sets_the_scene() {
                Outcome::Held(Hold::Answer)
            } else {
                self.perform(&step.action, planned, now, room)
            };
            match outcome {
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

    /// To the next recording, if there is one.
    fn go_on(&mut self) {
        match self.part.next() {
            Some(next) => {
                self.part = next;
                (self.steps_done, self.scene_done) = (0, 0);
            }
            None => self.finished = true,
        }
    }

    /// As fast as the answers come; not measured.
    fn set_the_scene(&mut self, now: Micros, room: &mut Room) {
        let due = self.start.map_or(0, |start| start + self.part.planned(0));
        // The first scene is set before the clock starts, or by whoever arrives.
        let first = self.part.generation() == self.part.ensemble.number;
        if !self.is_inside() || !self.sets_the_scene() || (!first && now < due) {
            return;
        }
        let score = self.part.score().clone();
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
            Action::Op { number, .. } if !self.finishes(*number) => room.counts.ops_left_out += 1,
            Action::Op { number, op, needs } => {
                if self.pending.len() >= self.in_flight {
                    return Outcome::Held(Hold::Answer);
                }
                if now < planned + WAIT_FOR_OTHERS && self.waits_for(needs, room) {
                    return Outcome::Held(Hold::Other(now + LOOK_AGAIN));
                }
                let measured = planned >= self.course.present_since && room.measures(self.who);
                self.submit(now, *number, op, measured.then_some(planned), room);
            }
            Action::Signal { key, body } => self.signal(key, body, planned, room),
        }
        Outcome::Done
    }

    fn waits_for(&self, needs: &[OpNumber], room: &Room) -> bool {
        let open = |number: &&OpNumber| {
            self.part.plays(**number) && room.fate(self.part.generation(), **number) == Fate::Open
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
        let generation = self.part.generation();
        let op = self.part.op(op, |number| room.fate(generation, number));
        let op_id = self.next_op;
        let framed = op.and_then(|op| {
            let submit = Submit { room: self.room, op_id: OpId(op_id), op: op.clone() };
            let frame = self.codec.encode_request(Some(request_id(op_id)?), &Request::Submit(submit));
            (frame.len() <= self.frame_bytes).then(|| (op, Bytes::from(frame)))
        });
        let Some((op, frame)) = framed else {
            room.counts.ops_left_out += 1;
            return room.fated(generation, number, Fate::Never);
        };
        self.next_op += 1;
        room.submitted(now, self.who, self.id, op_id, planned, op);
        let held_back = self.held_back.is_some();
        let inside = self.wire.as_mut().filter(|wire| wire.is_inside() && !held_back);
        let sent = inside.is_some();
        if let Some(wire) = inside {
            wire.outgoing.push_back(frame.clone());
        }
        let disturbed = self.outside_since.map(|(_, reason)| reason);
        let pending = Pending {
            frame,
            planned,
            submitted: now,
            generation,
            number,
            sent,
            again: false,
            overtook: false,
            refused: None,
            disturbed,
        };
        self.pending.insert(op_id, pending);
    }

    fn signal(&mut self, key: &str, body: &Value, planned: Micros, room: &mut Room) {
        if self.is_given_up(key, body) || planned < self.course.present_since {
            room.counts.signals_dropped += 1;
            return;
        }
        let Some(wire) = self.wire.as_ref().filter(|wire| wire.is_inside()).map(|wire| wire.id) else {
            room.counts.signals_dropped += 1;
            return;
        };
        let mut body = self.part.signal(key, body);
        let mark = room.mark(self.who, planned);
        if let Some(fields) = body.as_object_mut() {
            fields.insert(MARK.into(), mark.into());
        }
        room.counts.signals_sent += 1;
        self.say(wire, None, &Request::Signal(Signal { room: self.room, key: key.to_owned(), body }));
    }

    pub(super) fn retry(&mut self, now: Micros, room: &mut Room) {
        if self.held_back.is_none_or(|until| now < until) {
            return;
        }
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.is_inside()) else { return };
        self.held_back = None;
        for pending in self.pending.values_mut().filter(|pending| pending.again || !pending.sent) {
            room.counts.ops_retried += u64::from(pending.again);
            (pending.again, pending.overtook, pending.sent) = (false, false, true);
            pending.refused = None;
            wire.outgoing.push_back(pending.frame.clone());
        }
    }

    pub(super) fn send_pending(&mut self, room: &mut Room) {
        let Some(wire) = &mut self.wire else { return };
        self.held_back = None;
        for pending in self.pending.values_mut() {
            room.counts.ops_resent += u64::from(pending.sent);
            pending.sent = true;
            (pending.again, pending.overtook, pending.refused) = (false, false, None);
            wire.outgoing.push_back(pending.frame.clone());
        }
    }
}

fn request_id(op_id: u64) -> Option<u32> {
    u32::try_from(op_id).ok()?.checked_add(FIRST_OP)
}
