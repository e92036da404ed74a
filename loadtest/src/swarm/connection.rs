//! One connection of the swarm: a socket and where it stands. It owns no buffer while nothing is under way.

mod greeting;
mod speaking;

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use enfilade_proto::{Codec, Pong, Request, Retry};

use self::greeting::{upgrade, upgraded};
use self::speaking::Speaker;
use super::clock;
use super::ears::{Book, Ears};
use super::listener::{Listener, Order};
use super::plan::Place;
use super::said::Said;
use super::times::Class;
use super::websocket::{self, BINARY, Broken, CLOSE, Header, PING, PONG, TEXT};
use super::wire::{Job, Speech};
use crate::clock::{MILLISECOND, Micros};
use crate::known::{self, FrameId};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Out,
    /// TCP is being connected.
    Connecting,
    /// The upgrade was sent.
    Upgrading,
    /// `hello` and `join` were sent.
    Greeting,
    Inside,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) phase: Phase,
    socket: Option<TcpStream>,
    /// When it should have connected; then, when it said hello.
    since: Micros,
    /// What the socket did not take yet.
    out: Vec<u8>,
    /// The beginning of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// The last known frame.
    before: FrameId,
    pub(super) listener: Listener,
    /// Has been inside before.
    returns: bool,
    /// One of those who read nothing for a while; it is not measured.
    pub(super) deaf: bool,
    /// This is the while.
    pub(super) deafened: bool,
    resume: Option<Box<str>>,
    pub(super) speaker: Option<Box<Speaker>>,
}

/// Why a connection ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(io::ErrorKind),
    #[error("end")]
    End,
    #[error("handshake {0}")]
    Handshake(u16),
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("malformed")]
    Malformed,
    #[error("{0}")]
    Closed(u16),
    #[error("refused {0}")]
    Refused(&'static str),
    #[error("stalled")]
    Stalled,
}

impl From<io::Error> for Lost {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

// What thousands of them cost while nothing happens, beside the list that holds them.
const _: () = assert!(size_of::<Connection>() <= 256);

/// What became of a connection by what came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) entered: bool,
    /// Ops were refused for now: send them again then.
    pub(super) again: Option<Micros>,
}

/// The replies to what a connection says first have ids that no op has.
const HELLO: u32 = u32::MAX - 1;
const JOIN: u32 = u32::MAX;
/// Bytes that may wait for a socket.
const OUT_BYTES: usize = 1024 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

impl Connection {
    pub(super) fn new(place: Place, speaks: bool) -> Self {
        Self {
            place,
            phase: Phase::Out,
            socket: None,
            since: 0,
            out: Vec::new(),
            partial: Vec::new(),
            before: known::NONE,
            listener: Listener::default(),
            returns: false,
            deaf: false,
            deafened: false,
            resume: None,
            speaker: speaks.then(Box::default),
        }
    }

    pub(super) fn connect(&mut self, socket: TcpStream, planned: Micros) {
        self.socket = Some(socket);
        self.phase = Phase::Connecting;
        self.since = planned;
    }

    pub(super) fn socket(&self) -> Option<&TcpStream> {
        self.socket.as_ref()
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.out.is_empty() || self.phase == Phase::Connecting
    }

    /// Gone; `reset` says nothing to the server.
    pub(super) fn end(&mut self, reset: bool) {
        if let (Some(socket), true) = (self.socket.take(), reset) {
            let _ = socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO));
        }
        self.phase = Phase::Out;
        self.out = Vec::new();
        self.partial = Vec::new();
        self.before = known::NONE;
    }

    /// The socket takes more: it is connected, or has room again.
    pub(super) fn writable(&mut self, job: &Job) -> Result<(), Lost> {
        let Some(socket) = &self.socket else { return Ok(()) };
        if self.phase == Phase::Connecting {
            if let Some(error) = socket.take_error()? {
                return Err(error.into());
            }
            self.phase = Phase::Upgrading;
            return self.send(upgrade(job).as_bytes());
        }
        let waiting = std::mem::take(&mut self.out);
        self.send(&waiting)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let mut rest = bytes;
        while let Some(mut socket) = self.socket.as_ref().filter(|_| self.out.is_empty() && !rest.is_empty())
        {
            match socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.out.len() + rest.len() > OUT_BYTES {
            return Err(Lost::Stalled);
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }

    fn send_request(&mut self, ears: &mut Ears, bytes: &[u8]) -> Result<(), Lost> {
        let mut frame = Vec::with_capacity(bytes.len() + 8);
        websocket::write_masked(&mut frame, opcode(ears.codec), bytes);
        ears.book.counts.bytes_sent += frame.len() as u64;
        self.send(&frame)
    }

    /// Reads what is there, once, and makes of it what it can.
    pub(super) fn readable(
        &mut self,
        job: &Job,
        ears: &mut Ears,
        scratch: &mut Vec<u8>,
    ) -> Result<Step, Lost> {
        let kept = self.partial.len();
        if scratch.len() < kept + READ_BYTES {
            scratch.resize(kept + READ_BYTES, 0);
        }
        let Some(mut socket) = self.socket.as_ref() else { return Ok(Step::default()) };
        let read = match socket.read(&mut scratch[kept..]) {
            Ok(0) => return Err(Lost::End),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(Step::default());
            }
            Err(error) => return Err(error.into()),
        };
        ears.book.counts.bytes_received += read as u64;
        scratch[..kept].copy_from_slice(&self.partial);
        let bytes = &scratch[..kept + read];
        let now = clock::now();
        let mut at = 0;
        if self.phase == Phase::Upgrading {
            match upgraded(bytes)? {
                Some(head) => at = head,
                None => {
                    self.partial = bytes.to_vec();
                    return Ok(Step::default());
                }
            }
            ears.book.times.record(Class::Connect, now.saturating_sub(self.since));
            ears.book.counts.connections += 1;
            self.greet(job, ears, now)?;
        }
        let mut step = Step::default();
        while let Some(header) = Header::read(&bytes[at..])? {
            let start = at + header.len;
            let Some(payload) = bytes.get(start..start + header.payload) else { break };
            at = start + header.payload;
            match header.opcode {
                TEXT | BINARY => self.message(payload, job, ears, now, &mut step)?,
                PING => {
                    let mut pong = Vec::new();
                    websocket::write_masked(&mut pong, PONG, payload);
                    self.send(&pong)?;
                }
                CLOSE => {
                    return Err(Lost::Closed(
                        payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)),
                    ));
                }
                _ => {}
            }
        }
        self.keep(&bytes[at..]);
        Ok(step)
    }

    /// A buffer is held only while there is something in it.
    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            if !self.partial.is_empty() {
                self.partial = Vec::new();
            }
        } else {
            self.partial.clear();
            self.partial.extend_from_slice(rest);
        }
    }

    #[inline]
    fn message(
        &mut self,
        payload: &[u8],
        job: &Job,
        ears: &mut Ears,
        now: Micros,
        step: &mut Step,
    ) -> Result<(), Lost> {
        ears.book.counts.frames += 1;
        if let Some(frame) = ears.known.find(self.before, payload) {
            ears.book.counts.frames_known += 1;
            self.before = frame;
            self.hear_known(ears, now);
            return Ok(());
        }
        let said = Said::read(ears.codec, payload, &ears.plan, &ears.rooms).map_err(|_| Lost::Malformed)?;
        if said.iter().all(Said::is_for_all) {
            self.before = ears.known.keep(self.before, payload, said);
            self.hear_known(ears, now);
            return Ok(());
        }
        for said in said {
            self.told(said, job, ears, now, step)?;
        }
        Ok(())
    }

    /// What the frame says that came just now.
    #[inline]
    fn hear_known(&mut self, ears: &mut Ears, now: Micros) {
        if let Some(said) = ears.known.said(self.before) {
            self.hear(said, &mut ears.book, now);
        }
    }

    /// What all members hear.
    #[inline]
    fn hear(&mut self, said: &[Said], book: &mut Book, now: Micros) {
        for said in said {
            let (Said::Signals { room, heard } | Said::Ops { room, heard, .. }) = said else { continue };
            if *room != Some(self.place.room) {
                book.tally.misplaced(|| format!("what was said in {room:?} came to {}", self.place.room));
                continue;
            }
            let tally = if self.deaf { &mut book.deaf } else { &mut book.tally };
            if let Said::Ops { first, .. } = said {
                self.listener.ops(*first, heard, book.speakers, tally);
            } else {
                for heard in heard {
                    self.listener.hear(heard, Order::Sent, book.speakers, tally);
                }
            }
            if !self.deaf {
                book.arrived(heard, self.place, now);
            }
        }
    }

    /// What is said to this member alone.
    fn told(
        &mut self,
        said: Said,
        job: &Job,
        ears: &mut Ears,
        now: Micros,
        step: &mut Step,
    ) -> Result<(), Lost> {
        match said {
            Said::Welcome { resume } => {
                ears.book.times.record(Class::Hello, now.saturating_sub(self.since));
                self.resume = resume.filter(|_| job.resume).map(String::into_boxed_str);
            }
            Said::Joined { epoch, seq, snapshot, ops } => {
                ears.book.times.record(Class::Join, now.saturating_sub(self.since));
                ears.book.counts.joined += 1;
                self.phase = Phase::Inside;
                step.entered = true;
                let first = seq + 1 - (ops.len() as u64).min(seq);
                if job.resume && self.returns && snapshot.is_none() {
                    self.listener.epoch = epoch;
                    if job.speech == Speech::Signals {
                        self.listener.returned();
                    }
                    self.listener.ops(first, &ops, ears.book.speakers, &mut ears.book.tally);
                } else {
                    self.listener.enter(epoch, seq, ears.begun);
                }
                self.returns = true;
                return self.submit_again(job, ears);
            }
            Said::Reset { epoch, seq } => {
                ears.book.counts.resets += 1;
                self.listener.enter(epoch, seq, true);
            }
            Said::Ping => {
                ears.book.counts.pings += 1;
                let pong = ears.codec.encode_request(None, &Request::Pong(Pong {}));
                return self.send_request(ears, &pong);
            }
            Said::Accepted { id } => self.accepted(id, ears, now),
            Said::Refused { id, code, retry_after_ms } => {
                *ears.book.counts.refused.entry(code.as_str().to_owned()).or_default() += 1;
                if matches!(id, Some(HELLO | JOIN)) {
                    return Err(Lost::Refused(code.as_str()));
                }
                if code.retry() == Retry::Same {
                    step.again = Some(now + retry_after_ms.unwrap_or(100) * MILLISECOND);
                } else if let Some(speaker) = &mut self.speaker {
                    speaker.unanswered.retain(|(number, _)| Some(*number) != id);
                }
            }
            Said::Closing { code } => return Err(Lost::Closed(code)),
            Said::Aside => {}
            // Together with something of our own.
            Said::Signals { .. } | Said::Ops { .. } => self.hear(&[said], &mut ears.book, now),
        }
        Ok(())
    }

    /// Whether it has heard everything, and everything it said was answered.
    pub(super) fn is_complete(&self, sent: &[u32]) -> bool {
        let answered = self.speaker.as_ref().is_none_or(|speaker| speaker.unanswered.is_empty());
        answered && self.listener.missing(sent) == 0
    }
}

fn opcode(codec: Codec) -> u8 {
    if codec == Codec::Json { TEXT } else { BINARY }
}
