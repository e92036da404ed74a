//! One clone: what it says and when, and what it makes of the answers.
//!
//! Pure: it is told the time, what arrived and what broke; it says what is to be sent and which connections it wants. Ops
//! wait in `pending` until they are answered, across connections; everything due is planned from the recording, never
//! from when the last thing was done (an open loop).
//!
//! Usually it has one [`Wire`]. Told to move, it opens a second, and lets go of the first when it is in the room by the
//! other (`next`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use enfilade_proto::limits::{FRAME_BYTES, OPS_IN_FLIGHT};
use enfilade_proto::{
    ClientId, CloseCode, Codec, ErrorCode, Guest, Hello, Join, Leave, Reconnect, Request, RoomId,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::gaps::Gaps;
pub use self::gaps::Reason;
use self::wire::{Phase, Wire};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::clones::Part;
use crate::journal::{By, Entry};
use crate::oracle::{Stream, Who};
use crate::room::{Room, Status, count_code};
use crate::score::{Action, OpNumber, Score};

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

mod gaps;
mod hearing;
mod playing;
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
    score: Arc<Score>,
    rng: StdRng,

    rest: Rest,
    wire: Option<Wire>,
    /// Where it moves to.
    next: Option<Wire>,
    /// What is still to be sent over connections that it has let go.
    last_words: BTreeMap<u32, VecDeque<Bytes>>,
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
    held: Option<Hold>,
    /// Steps planned before this were held up by others; the generator was not late.
    free_since: Micros,

    next_op: u64,
    in_flight: usize,
    frame_bytes: usize,
    pending: BTreeMap<u64, Pending>,
    frames_sent: u64,
    bytes_sent: u64,
}

/// An op that was not answered yet, as the bytes that say it: a resent op is the same to the bit.
#[derive(Debug)]
struct Pending {
    frame: Bytes,
    planned: Option<Micros>,
    submitted: Micros,
    number: OpNumber,
    sent: bool,
    /// The server asked to try again then.
    retry_at: Option<Micros>,
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
    pub fn new(id: ClientId, part: Part, score: Arc<Score>, manner: Manner, room: &mut Room) -> Self {
        let who =
            room.register(id, format!("clone {} of {}", part.generation + 1, score.tracks[part.person].name));
        let mut client = Self {
            who,
            id,
            room: room.id,
            link: room.link.clone(),
            codec: manner.codec,
            patience: manner.patience,
            part,
            score,
            rng: StdRng::seed_from_u64(manner.seed),
            rest: Rest::Away,
            wire: None,
            next: None,
            last_words: BTreeMap::new(),
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
            held: None,
            free_since: 0,
            next_op: 1,
            in_flight: OPS_IN_FLIGHT,
            frame_bytes: FRAME_BYTES,
            pending: BTreeMap::new(),
            frames_sent: 0,
            bytes_sent: 0,
        };
        client.gather(room);
        room.set_status(who, client.status());
        client
    }

    /// Whoever is there at the recording's beginning comes before the clock starts.
    fn gather(&mut self, room: &mut Room) {
        let first = self.score.tracks[self.part.person].steps.first();
        let there = first.is_some_and(|step| step.at == 0 && matches!(step.action, Action::Join));
        self.steps_done = usize::from(there);
        if there || self.sets_the_scene() {
            self.belongs(true, room);
            self.rest = Rest::Waiting { until: 0 };
        }
    }

    fn belongs(&mut self, now: bool, room: &mut Room) {
        match (std::mem::replace(&mut self.wanted, now), now) {
            (false, true) => room.present += 1,
            (true, false) => room.present -= 1,
            _ => {}
        }
    }

    fn sets_the_scene(&self) -> bool {
        self.part.sets_the_scene() && self.scene_done < self.score.scene.len()
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
        [waiting, wires, gives_up, self.next_due(), self.move_at].into_iter().flatten().min()
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
        let played = self.steps_done >= self.steps() && self.pending.is_empty();
        let settled = self.is_inside() || (self.wire.is_none() && self.rest == Rest::Away);
        Status { ready: ready || over, done: over || (played && settled), over }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.wire.is_none() && self.rest == Rest::Over
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

    fn steps(&self) -> usize {
        self.score.tracks[self.part.person].steps.len()
    }

    fn next_planned(&self) -> Option<Micros> {
        match self.held {
            Some(Hold::Answer) => None,
            Some(Hold::Other(at)) => Some(at),
            None => {
                let step = self.score.tracks[self.part.person].steps.get(self.steps_done)?;
                Some(self.start? + self.part.planned(step.at))
            }
        }
    }

    /// When there is something to do of what it plays.
    fn next_due(&self) -> Option<Micros> {
        let retry = self.pending.values().filter_map(|pending| pending.retry_at).min();
        [self.next_planned(), retry].into_iter().flatten().min()
    }

    // ---- what the carrier tells ---------------------------------------------------------------------------------

    /// The recording's time 0.
    pub fn start(&mut self, at: Micros) {
        self.start = Some(at);
    }

    /// Whatever is still to come does not.
    pub fn cut_short(&mut self) {
        self.steps_done = self.steps();
        self.scene_done = self.score.scene.len();
        self.held = None;
    }

    /// It is time for something.
    pub fn tick(&mut self, now: Micros, room: &mut Room) {
        self.give_up_the_dead(now, room);
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

    fn begin_wire(&mut self) -> Wire {
        self.wires_begun += 1;
        Wire::new(self.wires_begun)
    }

    fn give_up_the_dead(&mut self, now: Micros, room: &mut Room) {
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
        let guest = Some(Guest { name: self.part.name(&self.score).to_string() });
        let hello = Hello { client: self.id, resume: self.resume.clone(), token: None, guest };
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
    fn ended(&mut self, now: Micros, id: u32, by: By, code: Option<u16>, room: &mut Room) {
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
    fn disturbed(&mut self, now: Micros, reason: Reason) {
        self.outside_since = self.outside_since.or(Some((now, reason)));
        for pending in self.pending.values_mut() {
            pending.disturbed = pending.disturbed.or(Some(reason));
            // After the next join everything goes out again anyway.
            pending.retry_at = None;
        }
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
        self.gaps.record(&mut room.times());
        self.rest = Rest::Over;
    }

    fn report(&self, room: &mut Room) {
        room.set_status(self.who, self.status());
    }

    /// Ends a connection by itself.
    fn hang_up(&mut self, now: Micros, id: u32, room: &mut Room) {
        room.note(now, || Entry::Closed { client: self.id, connection: id, by: By::Client, code: None });
        self.let_go(id, room);
    }

    fn hang_up_all(&mut self, now: Micros, room: &mut Room) {
        for wire in self.wires() {
            self.hang_up(now, wire, room);
        }
        self.move_at = None;
    }

    /// The connection is no longer one of its own; what it had to say over it is kept.
    fn let_go(&mut self, id: u32, room: &mut Room) {
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

    fn back_off(&mut self, now: Micros) {
        let most = BACKOFF.saturating_mul(1 << self.attempt.min(16)).min(BACKOFF_MAX);
        self.attempt += 1;
        let at = now + self.rng.random_range(0..=most);
        self.come_back(at);
    }

    /// A connection is gone; another one takes its place then, unless it is there already.
    fn come_back(&mut self, at: Micros) {
        if self.is_inside() {
            self.move_at = Some(at);
        } else if self.wire.is_none() && self.wanted {
            self.rest = Rest::Waiting { until: at };
        }
    }

    fn stranded(&mut self, now: Micros, since: Micros, room: &mut Room) {
        let seconds = (now - since) / SECOND;
        room.oracle.stranded(self.who, &format!("not back in the room after {seconds} s"));
        self.withdraw(now, room);
    }

    fn dismissed(&mut self, now: Micros, room: &mut Room, why: &str) {
        room.oracle.dismissed(self.who, why);
        self.withdraw(now, room);
    }

    fn withdraw(&mut self, now: Micros, room: &mut Room) {
        self.belongs(false, room);
        self.hang_up_all(now, room);
        self.outside_since = None;
        self.rest = Rest::Over;
        self.report(room);
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
