//! One clone: what it says and when, and what it makes of the answers.
//!
//! Pure: it is told the time, what arrived and what broke; it says what is to be sent and whether it wants a
//! connection. Ops wait in `pending` until they are answered, across connections; everything due is planned from the
//! recording, never from when the last thing was done (an open loop).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use enfilade_proto::limits::{FRAME_BYTES, OPS_IN_FLIGHT, PING_MS};
use enfilade_proto::{
    ClientId, CloseCode, Codec, ErrorCode, Guest, Hello, Join, Leave, Position, Reconnect, Request, RoomId,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::clones::Part;
use crate::oracle::Who;
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

/// What the clone wants of whoever carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No connection; wake it then, if ever.
    Rest(Option<Micros>),
    Connect,
    /// Keep the connection; wake it then.
    Talk(Micros),
    /// Close the connection, having sent what is to be sent.
    HangUp,
    /// It will do nothing more.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Away,
    Waiting { until: Micros },
    Connecting,
    Greeting { since: Micros },
    Joining { since: Micros },
    Inside,
    HangingUp,
    Over,
}

mod hearing;
mod playing;

#[derive(Debug)]
pub struct Client {
    who: Who,
    id: ClientId,
    room: RoomId,
    link: Option<String>,
    codec: Codec,
    part: Part,
    score: Arc<Score>,
    rng: StdRng,

    phase: Phase,
    /// Whether the person is there, by the recording.
    wanted: bool,
    attempt: u32,
    resume: Option<String>,
    heard: Micros,
    silence: Micros,
    joining_since: Option<Position>,
    join_open: bool,
    rejoin_at: Option<Micros>,
    /// The server asked to come back over another connection.
    move_at: Option<Micros>,
    closing: Option<u16>,

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
    outgoing: VecDeque<Bytes>,
    frames_sent: u64,
    bytes_sent: u64,
}

/// An op that was not answered yet, as the bytes that say it: a resent op is the same to the bit.
#[derive(Debug)]
struct Pending {
    frame: Bytes,
    planned: Option<Micros>,
    number: OpNumber,
    sent: bool,
    /// The server asked to try again then.
    retry_at: Option<Micros>,
    refused: Option<ErrorCode>,
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
    pub fn new(
        id: ClientId,
        part: Part,
        score: Arc<Score>,
        codec: Codec,
        seed: u64,
        room: &mut Room,
    ) -> Self {
        let who =
            room.register(id, format!("clone {} of {}", part.generation + 1, score.tracks[part.person].name));
        let mut client = Self {
            who,
            id,
            room: room.id,
            link: room.link.clone(),
            codec,
            part,
            score,
            rng: StdRng::seed_from_u64(seed),
            phase: Phase::Away,
            wanted: false,
            attempt: 0,
            resume: None,
            heard: 0,
            silence: PING_MS * MILLISECOND + PING_GRACE,
            joining_since: None,
            join_open: false,
            rejoin_at: None,
            move_at: None,
            closing: None,
            start: None,
            scene_done: 0,
            steps_done: 0,
            held: None,
            free_since: 0,
            next_op: 1,
            in_flight: OPS_IN_FLIGHT,
            frame_bytes: FRAME_BYTES,
            pending: BTreeMap::new(),
            outgoing: VecDeque::new(),
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
            self.phase = Phase::Waiting { until: 0 };
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

    #[must_use]
    pub fn wish(&self) -> Wish {
        match self.phase {
            Phase::Away => Wish::Rest(self.next_planned()),
            Phase::Waiting { until } => {
                Wish::Rest(Some(self.next_planned().map_or(until, |next| next.min(until))))
            }
            Phase::Connecting => Wish::Connect,
            Phase::Greeting { since } | Phase::Joining { since } => {
                let timeout = since + REPLY_TIMEOUT;
                Wish::Talk(self.next_due().map_or(timeout, |next| next.min(timeout)))
            }
            Phase::Inside => {
                Wish::Talk(self.next_due().map_or(self.deadline(), |next| next.min(self.deadline())))
            }
            Phase::HangingUp => Wish::HangUp,
            Phase::Over => Wish::Over,
        }
    }

    pub fn next_outgoing(&mut self) -> Option<Bytes> {
        let frame = self.outgoing.pop_front()?;
        self.frames_sent += 1;
        self.bytes_sent += frame.len() as u64;
        Some(frame)
    }

    #[must_use]
    pub fn status(&self) -> Status {
        let over = self.phase == Phase::Over;
        let ready = !self.wanted
            || (self.phase == Phase::Inside && !self.sets_the_scene() && self.pending.is_empty());
        let played = self.steps_done >= self.steps() && self.pending.is_empty();
        let settled = matches!(self.phase, Phase::Inside | Phase::Away);
        Status { ready: ready || over, done: over || (played && settled), over }
    }

    #[must_use]
    pub fn who(&self) -> Who {
        self.who
    }

    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    fn steps(&self) -> usize {
        self.score.tracks[self.part.person].steps.len()
    }

    /// When the connection counts as dead.
    fn deadline(&self) -> Micros {
        self.heard + self.silence
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

    /// When there is something to do, whether or not there is a connection.
    #[must_use]
    pub fn next_due(&self) -> Option<Micros> {
        let retry = self.pending.values().filter_map(|pending| pending.retry_at).min();
        [self.next_planned(), retry, self.rejoin_at, self.move_at].into_iter().flatten().min()
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
        match self.phase {
            Phase::Waiting { until } if now >= until && self.wanted => self.phase = Phase::Connecting,
            Phase::Greeting { since } | Phase::Joining { since } if now >= since + REPLY_TIMEOUT => {
                self.hang_up(room);
            }
            Phase::Inside if now >= self.deadline() => self.hang_up(room),
            _ => {}
        }
        if self.move_at.is_some_and(|at| now >= at) {
            self.move_at = None;
            self.attempt = 0;
            self.hang_up(room);
        }
        if self.rejoin_at.is_some_and(|at| now >= at) {
            self.rejoin_at = None;
            self.say_join(room);
        }
        self.retry(now, room);
        self.play(now, room);
        self.report(room);
    }

    /// The connection that it wished for is there; the handshakes took so long.
    pub fn connected(&mut self, now: Micros, took: Micros, room: &mut Room) {
        room.times().connect.record(took);
        room.counts.connections_opened += 1;
        self.outgoing.clear();
        self.heard = now;
        self.phase = Phase::Greeting { since: now };
        let guest = Some(Guest { name: self.part.name(&self.score).to_string() });
        let hello = Hello { client: self.id, resume: self.resume.clone(), token: None, guest };
        self.say(Some(HELLO), &Request::Hello(hello));
    }

    pub fn connect_failed(&mut self, now: Micros, room: &mut Room) {
        room.counts.connections_failed += 1;
        self.back_off(now);
    }

    /// The connection is gone; `code` is what the server closed it with.
    pub fn lost(&mut self, now: Micros, code: Option<u16>, room: &mut Room) {
        self.go_outside(room);
        self.outgoing.clear();
        self.join_open = false;
        (self.rejoin_at, self.move_at) = (None, None);
        // After the next join everything goes out again anyway.
        self.pending.values_mut().for_each(|pending| pending.retry_at = None);
        let code = self.closing.take().or(code);
        if self.phase == Phase::Over {
            return;
        }
        if !self.wanted {
            self.phase = Phase::Away;
            return self.report(room);
        }
        room.counts.connections_lost += 1;
        match CloseCode::verdict(code.unwrap_or_default()) {
            Reconnect::Never => {
                return self.dismissed(room, &format!("closed with {}", code.unwrap_or_default()));
            }
            Reconnect::Now if self.attempt == 0 => {
                self.attempt = 1;
                self.phase = Phase::Waiting { until: now };
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

    pub fn received(&mut self, now: Micros, bytes: &[u8], room: &mut Room) {
        self.heard = now;
        match room.read(self.codec, bytes) {
            Ok(frame) => {
                for (id, said) in &frame.messages {
                    if !matches!(self.phase, Phase::HangingUp | Phase::Over) {
                        self.hear(now, *id, said, room);
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
    pub fn take_leave(&mut self, room: &mut Room) {
        if self.phase == Phase::Inside {
            self.say(None, &Request::Leave(Leave { room: self.room }));
        }
        self.go_outside(room);
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
        self.phase = Phase::Over;
    }

    fn report(&self, room: &mut Room) {
        room.set_status(self.who, self.status());
    }

    fn hang_up(&mut self, room: &mut Room) {
        self.go_outside(room);
        self.phase = Phase::HangingUp;
    }

    fn go_outside(&mut self, room: &mut Room) {
        if self.phase == Phase::Inside {
            room.inside -= 1;
            self.phase = Phase::HangingUp;
        }
        room.oracle.outside(self.who);
    }

    fn back_off(&mut self, now: Micros) {
        let most = BACKOFF.saturating_mul(1 << self.attempt.min(16)).min(BACKOFF_MAX);
        self.attempt += 1;
        self.phase = Phase::Waiting { until: now + self.rng.random_range(0..=most) };
    }

    fn dismissed(&mut self, room: &mut Room, why: &str) {
        room.oracle.dismissed(self.who, why);
        self.belongs(false, room);
        self.go_outside(room);
        self.phase = Phase::Over;
        self.report(room);
    }

    // ---- what it says -------------------------------------------------------------------------------------------

    fn say(&mut self, id: Option<u32>, request: &Request) {
        self.outgoing.push_back(self.codec.encode_request(id, request).into());
    }

    fn say_join(&mut self, room: &Room) {
        let position = room.oracle.position(self.who);
        self.joining_since = (position != Position::default()).then_some(position);
        self.join_open = true;
        let join = Join { room: self.room, link: self.link.clone(), since: self.joining_since };
        self.say(Some(JOIN), &Request::Join(join));
    }
}

#[cfg(test)]
mod tests;
