//! What a clone does of its own accord: it comes late, it is away for a while, it goes for good and somebody else comes
//! in its place, or it reads slowly. None of this is the server's doing, and none of it may cost anybody anything.

use std::collections::VecDeque;

use enfilade_proto::ClientId;
use serde_json::Value;

use super::{Client, Reason, Rest};
use crate::clock::{Micros, SECOND};
use crate::crowd::{Absence, Habits};
use crate::journal::{By, Entry};
use crate::room::{Room, Status};
use crate::score::{Fate, OpNumber};

/// A slow reader reads for so long …
const READS: Micros = 2 * SECOND;
/// … of so much time.
const RHYTHM: Micros = 10 * SECOND;

/// What lies before a clone.
#[derive(Clone, Debug, Default)]
pub struct Life {
    pub habits: Habits,
    /// Who come in its place, one after the other.
    pub successors: Vec<ClientId>,
}

/// How far it is with that.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) slow: bool,
    /// Where in its rhythm a slow reader is when the clock starts.
    phase: Micros,
    rests: bool,
    /// When it begins to rest, or to read.
    turns_at: Option<Micros>,
    absences: VecDeque<Absence>,
    successors: VecDeque<ClientId>,
    /// It is still to come in.
    arrives: Option<Micros>,
    /// Whoever comes in its place is not there yet: nobody plays.
    pub(super) vacant: bool,
    /// What was planned before that is played, but not measured.
    pub(super) present_since: Micros,
    /// The stroke whose pieces it sends.
    drawing: Option<OpNumber>,
    /// A stroke that the one before left unfinished.
    given_up: Option<OpNumber>,
}

impl Course {
    pub(super) fn new(life: Life, arrives: Option<Micros>, seed: u64) -> Self {
        Self {
            slow: life.habits.slow,
            phase: seed % RHYTHM,
            rests: false,
            turns_at: None,
            absences: life.habits.absences.into(),
            successors: life.successors.into(),
            arrives,
            vacant: false,
            present_since: 0,
            drawing: None,
            given_up: None,
        }
    }

    /// Its figures are not those of the server.
    pub(super) fn is_measured(&self) -> bool {
        !self.slow && self.absences.iter().all(|absence| absence.for_good)
    }

    pub(super) fn has_come(&self) -> bool {
        self.arrives.is_none()
    }

    /// It comes when the recording says so.
    pub(super) fn end_arrival(&mut self) {
        self.arrives = None;
    }

    /// It does nothing more of its own accord.
    pub(super) fn end(&mut self) {
        (self.slow, self.rests, self.turns_at) = (false, false, None);
        self.absences.clear();
        self.arrives = None;
    }

    /// When it has to be looked after, since the start.
    fn due(&self) -> Option<Micros> {
        self.absences.front().map(|absence| absence.from).into_iter().chain(self.arrives).min()
    }
}

impl Client {
    /// When it does something of its own accord.
    pub(super) fn course_due(&self) -> Option<Micros> {
        let start = self.start?;
        let due = self.course.due().map(|due| start + due);
        due.into_iter().chain(self.course.turns_at).min()
    }

    /// Whether what came over the connection is taken.
    #[must_use]
    pub fn reads(&self) -> bool {
        !self.course.rests
    }

    /// Slow readers read for a while and rest for a while, as long as the recordings are played.
    pub(super) fn keep_rhythm(&mut self, now: Micros) {
        let playing = self.start.is_some_and(|start| start <= now && now < start + self.part.ends());
        if !self.course.slow || !playing || !self.is_inside() {
            (self.course.rests, self.course.turns_at) = (false, None);
            return;
        }
        let at = (now + self.course.phase) % RHYTHM;
        self.course.rests = at >= READS;
        self.course.turns_at = Some(now + if self.course.rests { RHYTHM - at } else { READS - at });
    }

    pub(super) fn live(&mut self, now: Micros, room: &mut Room) {
        self.keep_rhythm(now);
        let Some(start) = self.start else { return };
        if self.course.arrives.take_if(|at| start + *at <= now).is_some() {
            self.belongs(true, room);
            self.rest = Rest::Waiting { until: now };
        }
        while let Some(absence) = self.course.absences.pop_front_if(|absence| start + absence.from <= now) {
            // Whoever is away anyway does not notice.
            if self.is_inside() {
                // Never at once, however late it is: the old connection has to be let fall first.
                self.vanish(now, (start + absence.until).max(now + 1), absence.for_good, room);
            }
        }
    }

    /// Lets its connections fall, without a word.
    fn vanish(&mut self, now: Micros, back: Micros, for_good: bool, room: &mut Room) {
        for wire in self.wires() {
            room.note(now, || Entry::Closed {
                client: self.id,
                connection: wire,
                by: By::Client,
                code: None,
            });
            self.let_go(wire, room);
            self.last_words.remove(&wire);
            self.dropped = self.dropped.max(wire);
        }
        self.move_at = None;
        room.counts.absences += 1;
        match self.course.successors.pop_front().filter(|_| for_good) {
            Some(successor) => self.succeed(successor, room),
            None => self.disturbed(back, Reason::Lost),
        }
        self.rest = Rest::Waiting { until: back };
    }

    /// Somebody else goes on where this one was. What it had not been answered, and the stroke that it was drawing, are
    /// nobody's any more; the room may keep them or not.
    fn succeed(&mut self, successor: ClientId, room: &mut Room) {
        for (op_id, pending) in std::mem::take(&mut self.pending) {
            room.abandoned(self.who, op_id);
            room.fated(pending.generation, pending.number, Fate::Never);
        }
        self.course.given_up = self.course.drawing.take();
        if let Some(number) = self.course.given_up {
            room.fated(self.part.generation(), number, Fate::Never);
        }
        self.record_gaps(room);
        room.set_status(self.who, Status { ready: true, done: true, over: true });
        room.counts.successions += 1;
        let measured = room.measures(self.who);
        self.id = successor;
        self.who = room.register(successor, format!("whoever came for {}", self.part.name()));
        room.measure(self.who, measured);
        (self.resume, self.next_op, self.attempt, self.wires_begun) = (None, 1, 0, 0);
        self.outside_since = None;
        self.course.vacant = true;
    }

    /// It is in the room.
    pub(super) fn took_its_place(&mut self, now: Micros) {
        self.keep_rhythm(now);
        if std::mem::take(&mut self.course.vacant) {
            (self.course.present_since, self.free_since) = (now, now);
        }
    }

    /// Whether a signal belongs to a stroke that is not drawn any more; if not, it is noted which one is being drawn.
    pub(super) fn is_given_up(&mut self, key: &str, body: &Value) -> bool {
        let stroke = self.part.stroke_of(key, body);
        let given_up = stroke.is_some() && stroke == self.course.given_up;
        if stroke.is_some() && !given_up {
            self.course.drawing = stroke;
        }
        given_up
    }

    /// True if the stroke is finished; false if it was given up.
    pub(super) fn finishes(&mut self, number: OpNumber) -> bool {
        self.course.drawing.take_if(|drawing| *drawing == number);
        self.course.given_up.take_if(|given_up| *given_up == number).is_none()
    }
}
