//! One clone: what it says and when, and what it makes of the answers.
//!
//! Pure: it is told the time, what arrived and what broke; it says what is to be sent and which connections it wants. Ops
//! wait in `pending` until they are answered, across connections; everything due is planned from the recording, never
//! from when the last thing was done (an open loop).
//!
//! Usually it has one [`Wire`]. Told to move, it opens a second, and lets go of the first when it is in the room by the
//! other (`next`).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use enfilade_proto::limits::{FRAME_BYTES, OPS_IN_FLIGHT};
use enfilade_proto::{ClientId, Codec, ErrorCode, Join, Leave, Request, RoomId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::absence::Course;
pub use self::absence::Life;
use self::gaps::Gaps;
pub use self::gaps::Reason;
use self::wire::{Phase, Wire};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::clones::Part;
use crate::journal::Entry;
use crate::oracle::{Stream, Who};
use crate::room::{Room, Status, count_code};
use crate::score::{Action, OpNumber};

/// How long a reply to `hello` or `join` may take before the connection counts as dead.
const REPLY_TIMEOUT: Micros = 15 * SECOND;
/// What a ping may be late.
const PING_GRACE: Micros = 10 * SECOND;
/// Backoff as the protocol says: a random time up to 0.5 s · 2ⁿ, at most 30 s.
const BACKOFF: Micros = SECOND / 2;
const BACKOFF_MAX: Micros = 30 * SECOND;
/// How often a clone looks whether the op that it waits for was accepted, and when it gives up.
const LOOK_AGAIN: Micros = 5 * MILLISECOND;
const WAIT_FOR_OTHERS: Micros = 10 * SECOND;
/// How much later than the server says, at most, a refused op is tried again: all at once would be refused again.
const RETRY_JITTER: Micros = 100 * MILLISECOND;
const RETRY_DEFAULT_MS: u64 = 200;

/// Request ids: an op's tells its op id.
const HELLO: u32 = 1;
const JOIN: u32 = 2;
const FIRST_OP: u32 = 16;

/// What the clone wants of whoever carries it, for one of its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Connect,
    Keep,
    /// Close it, having sent its last words.
    HangUp,
    /// Let it fall.
    Drop,
}

/// What it does without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Away,
    Waiting {
        until: Micros,
    },
    /// It will do nothing more.
    Over,
}

mod absence;
mod gaps;
mod hearing;
mod playing;
mod reconnecting;
mod wire;

/// How a clone behaves, whatever it plays.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    pub codec: Codec,
    pub seed: u64,
    /// How long it tries to come back.
    pub patience: Micros,
}

#[derive(Debug)]
pub struct Client {
    who: Who,
    id: ClientId,
    room: RoomId,
    link: Option<String>,
    codec: Codec,
    patience: Micros,
    part: Part,
    course: Course,
    rng: StdRng,

    rest: Rest,
    wire: Option<Wire>,
    /// Where it moves to.
    next: Option<Wire>,
    /// What is still to be sent over connections that it has let go.
    last_words: BTreeMap<u32, VecDeque<Bytes>>,
    /// Connections up to this one were let fall.
    dropped: u32,
    wires_begun: u32,
    /// Whether the person is there, by the recording.
    wanted: bool,
    attempt: u32,
    resume: Option<String>,
    /// The server asked to come back over another connection.
    move_at: Option<Micros>,
    /// Since when it is not in the room although it belongs there, and why.
    outside_since: Option<(Micros, Reason)>,
    gaps: Gaps,

    /// When the recording's time 0 is; none before the start.
    start: Option<Micros>,
    scene_done: usize,
    steps_done: usize,
    /// There is nothing more to play.
    finished: bool,
    held: Option<Hold>,
    /// Steps planned before this were held up by others; the generator was not late.
    free_since: Micros,

    next_op: u64,
    in_flight: usize,
    frame_bytes: usize,
    pending: BTreeMap<u64, Pending>,
    /// No op is sent before: what was told to come again goes first, in its order.
    held_back: Option<Micros>,
    frames_sent: u64,
    bytes_sent: u64,
}

/// An op that was not answered yet, as the bytes that say it: a resent op is the same to the bit.
#[derive(Debug)]
struct Pending {
    frame: Bytes,
    planned: Option<Micros>,
    submitted: Micros,
    generation: u32,
    number: OpNumber,
    sent: bool,
    /// The server asked to try again.
    again: bool,
    /// It was on its way when one before it was told to come again: if it is refused, that may be why.
    overtook: bool,
    refused: Option<ErrorCode>,
    /// What happened to its connection meanwhile.
    disturbed: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Until an answer comes.
    Answer,
    /// Until another clone's op was accepted; look again then.
    Other(Micros),
}

impl Client {
    #[must_use]
    pub fn new(id: ClientId, part: Part, life: Life, manner: Manner, room: &mut Room) -> Self {
        let who = room.register(id, part.name().to_string());
        let course = Course::new(life, part.arrives, manner.seed);
        room.measure(who, course.is_measured());
        let mut client = Self {
            who,
            id,
            room: room.id,
            link: room.link.clone(),
            codec: manner.codec,
            patience: manner.patience,
            part,
            course,
            rng: StdRng::seed_from_u64(manner.seed),
            rest: Rest::Away,
            wire: None,
            next: None,
            last_words: BTreeMap::new(),
            dropped: 0,
            wires_begun: 0,
            wanted: false,
            attempt: 0,
            resume: None,
            move_at: None,
            outside_since: None,
            gaps: Gaps::default(),
            start: None,
            scene_done: 0,
            steps_done: 0,
            finished: false,
            held: None,
            free_since: 0,
            next_op: 1,
            in_flight: OPS_IN_FLIGHT,
            frame_bytes: FRAME_BYTES,
            pending: BTreeMap::new(),
            held_back: None,
            frames_sent: 0,
            bytes_sent: 0,
        };
        client.gather(room);
        room.set_status(who, client.status());
        client
    }

    /// Whoever is there at the recording's beginning comes before the clock starts.
    fn gather(&mut self, room: &mut Room) {
        let first = self.part.steps().first();
        let there = first.is_some_and(|step| step.at == 0 && matches!(step.action, Action::Join));
        self.steps_done = usize::from(there);
        if !there && !self.sets_the_scene() {
            self.course.end_arrival();
        } else if self.course.has_come() {
            self.belongs(true, room);
            self.rest = Rest::Waiting { until: 0 };
        }
    }

    fn belongs(&mut self, now: bool, room: &mut Room) {
        if std::mem::replace(&mut self.wanted, now) != now {
            room.belongs(self.who, now);
        }
    }

    fn sets_the_scene(&self) -> bool {
        self.part.sets_the_scene() && self.scene_done < self.part.score().scene.len()
    }

    // ---- what the carrier asks ----------------------------------------------------------------------------------

    /// The connections that it wants.
    pub fn wires(&self) -> impl Iterator<Item = u32> + use<> {
        let wires = [&self.wire, &self.next].map(|wire| wire.as_ref().map(|wire| wire.id));
        wires.into_iter().flatten()
    }

    #[must_use]
    pub fn wish(&self, wire: u32) -> Wish {
        match [&self.wire, &self.next].into_iter().flatten().find(|other| other.id == wire) {
            Some(Wire { phase: Phase::Connecting, .. }) => Wish::Connect,
            Some(_) => Wish::Keep,
            None if wire <= self.dropped => Wish::Drop,
            None => Wish::HangUp,
        }
    }

    /// When to wake it, if ever.
    #[must_use]
    pub fn alarm(&self) -> Option<Micros> {
        let waiting = match self.rest {
            Rest::Waiting { until } if self.wire.is_none() => Some(until),
            _ => None,
        };
        let wires = [&self.wire, &self.next].into_iter().flatten().filter_map(Wire::alarm).min();
        let gives_up = self.outside_since.map(|(since, _)| since + self.patience);
        [waiting, wires, gives_up, self.next_due(), self.move_at, self.course_due()]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn next_outgoing(&mut self, wire: u32) -> Option<Bytes> {
        let frame = match self.wire_mut(wire) {
            Some(wire) => wire.outgoing.pop_front(),
            None => self.last_words.get_mut(&wire)?.pop_front(),
        };
        self.frames_sent += u64::from(frame.is_some());
        self.bytes_sent += frame.as_ref().map_or(0, |frame| frame.len() as u64);
        frame
    }

    #[must_use]
    pub fn status(&self) -> Status {
        let over = self.is_over();
        let ready = !self.wanted || (self.is_inside() && !self.sets_the_scene() && self.pending.is_empty());
        let played = self.finished && self.course.has_come() && self.pending.is_empty();
        let settled = self.is_inside() || (self.wire.is_none() && self.rest == Rest::Away);
        Status { ready: ready || over, done: over || (played && settled), over }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.wire.is_none() && self.rest == Rest::Over
    }

    /// Whether it reads less than it could.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        self.course.slow
    }

    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    fn is_inside(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::is_inside)
    }

    fn wire_mut(&mut self, id: u32) -> Option<&mut Wire> {
        [&mut self.wire, &mut self.next].into_iter().flatten().find(|wire| wire.id == id)
    }

    fn next_planned(&self) -> Option<Micros> {
        match self.held {
            Some(Hold::Answer) => None,
            Some(Hold::Other(at)) => Some(at),
            None if self.finished || self.course.vacant => None,
            None => {
                let step = self.part.steps().get(self.steps_done)?;
                Some(self.start? + self.part.planned(step.at))
            }
        }
    }

    /// When there is something to do of what it plays.
    fn next_due(&self) -> Option<Micros> {
        let retry = self.held_back;
        [self.next_planned(), retry].into_iter().flatten().min()
    }

    // ---- what the carrier tells ---------------------------------------------------------------------------------

    /// The recording's time 0.
    pub fn start(&mut self, at: Micros) {
        self.start = Some(at);
    }

    /// Whatever is still to come does not.
    pub fn cut_short(&mut self) {
        self.finished = true;
        self.scene_done = self.part.score().scene.len();
        self.held = None;
        self.course.end();
    }

    /// It is time for something.
    pub fn tick(&mut self, now: Micros, room: &mut Room) {
        self.give_up_the_dead(now, room);
        self.live(now, room);
        if let Some((since, _)) = self.outside_since.filter(|(since, _)| now >= since + self.patience) {
            return self.stranded(now, since, room);
        }
        if self.wire.is_none() && self.wanted && matches!(self.rest, Rest::Waiting { until } if now >= until)
        {
            self.wire = Some(self.begin_wire());
        }
        if self.move_at.is_some_and(|at| now >= at) {
            self.move_at = None;
            self.next = Some(self.begin_wire());
        }
        for wire in self.wires() {
            if self.wire_mut(wire).is_some_and(|wire| wire.rejoin_at.take_if(|at| now >= *at).is_some()) {
                self.say_join(now, wire, room);
            }
        }
        self.retry(now, room);
        self.play(now, room);
        self.report(room);
    }

    pub fn received(&mut self, now: Micros, id: u32, bytes: &[u8], room: &mut Room) {
        if let Some(wire) = self.wire_mut(id) {
            wire.heard(now);
        }
        match room.read(self.codec, bytes) {
            Ok(frame) => {
                for (request, said) in &frame.messages {
                    if self.wire_mut(id).is_some() {
                        self.hear(now, id, *request, said, room);
                    }
                }
            }
            Err(problem) => room.oracle.malformed(self.who, &problem),
        }
        if self.held == Some(Hold::Answer) || self.sets_the_scene() {
            self.play(now, room);
        }
        self.report(room);
    }

    /// The run is over: whoever is in the room leaves it.
    pub fn take_leave(&mut self, now: Micros, room: &mut Room) {
        if let Some(id) = self.wire.as_ref().filter(|wire| wire.is_inside()).map(|wire| wire.id) {
            self.say(id, None, &Request::Leave(Leave { room: self.room }));
        }
        self.hang_up_all(now, room);
    }

    /// The run is over: what is still open will not be answered.
    pub fn finish(&mut self, room: &mut Room) {
        for (op_id, pending) in std::mem::take(&mut self.pending) {
            // It was answered: with "later". There is no later.
            if let Some(code) = pending.refused {
                count_code(&mut room.counts.ops_refused, code);
                room.oracle.refused(self.who, op_id);
            }
        }
        room.counts.frames_sent += std::mem::take(&mut self.frames_sent);
        room.counts.bytes_sent += std::mem::take(&mut self.bytes_sent);
        self.record_gaps(room);
        self.rest = Rest::Over;
    }

    fn record_gaps(&mut self, room: &mut Room) {
        let gaps = std::mem::take(&mut self.gaps);
        if room.measures(self.who) {
            gaps.record(&mut room.times());
        }
    }

    fn report(&self, room: &mut Room) {
        room.set_status(self.who, self.status());
    }

    // ---- what it says -------------------------------------------------------------------------------------------

    fn say(&mut self, wire: u32, id: Option<u32>, request: &Request) {
        let frame = self.codec.encode_request(id, request).into();
        if let Some(wire) = self.wire_mut(wire) {
            wire.outgoing.push_back(frame);
        }
    }

    fn say_join(&mut self, now: Micros, id: u32, room: &mut Room) {
        let since = room.oracle.asks(Stream { who: self.who, connection: id });
        let Some(wire) = self.wire_mut(id) else { return };
        (wire.since, wire.join_open) = (since, true);
        room.note(now, || Entry::Join { client: self.id, connection: id, room: self.room, since });
        let join = Join { room: self.room, link: self.link.clone(), since };
        self.say(id, Some(JOIN), &Request::Join(join));
    }
}

#[cfg(test)]
mod tests;
