//! A connection as its hub knows it: plain state, with one small reading task and no timer of its own.
//!
//! Thousands of them are idle at a time, so what only a busy one needs is boxed or empty.

use std::cell::Cell;
use std::io;
use std::num::{NonZeroU16, NonZeroU32};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use enfilade_actors::bus::Writer;
use enfilade_proto::limits::PING_MS;
use enfilade_proto::{ClientId, Codec, LoginId, Role, RoomId, TraceParent, UserId};
use enfilade_store::LinkHash;
use metrics::Counter;
use tokio::net::TcpStream;

use super::age::{Age, seconds};
use super::meters::{Allowances, Meters};
use super::pace::Pace;
use super::seats::SeatId;
use super::slowest::Lag;
use crate::edge::Slot;
use crate::edge::inbox::Inbox;
use crate::edge::outgoing::{Outgoing, Pipe};
use crate::edge::room::{Came, EdgeRoom};
use crate::edge::snapshot::Reads;
use crate::people::{Principal, Visitor};

/// Names a connection of a hub; a place that is taken again has another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(super) key: u32,
    pub(super) serial: u32,
}

/// What a connection's reader and its hub have in common.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) socket: TcpStream,
    /// When the client was heard last, on the hub's clock.
    pub(super) heard_ms: Cell<u64>,
}

/// Bytes that hubs have written to sockets.
pub(super) static SENT_BYTES: LazyLock<Counter> =
    LazyLock::new(|| metrics::counter!("enfilade_sent_bytes_total"));

impl Pipe for Line {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.socket.try_write(bytes)?;
        SENT_BYTES.increment(written as u64);
        Ok(written)
    }
}

impl Line {
    pub(crate) fn new(socket: TcpStream) -> Rc<Self> {
        Rc::new(Self { socket, heard_ms: Cell::new(0) })
    }
}

/// What a hub needs to know of a new connection.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) line: Rc<Line>,
    pub(crate) inbox: Inbox,
    pub(crate) client: ClientId,
    /// Nobody: an audience without a name.
    pub(crate) person: Option<Principal>,
    /// It only watches.
    pub(crate) audience: bool,
    /// It can read what is compressed.
    pub(crate) deflate: bool,
    /// The trace to which its ops shall belong.
    pub(crate) trace: Option<Box<TraceParent>>,
    pub(crate) slot: Slot,
}

/// A room that a connection has joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) room: Arc<EdgeRoom>,
    pub(super) role: Role,
    /// The link with which it entered, to be looked at again when access changes.
    pub(super) link: Option<LinkHash>,
    pub(super) seat: SeatId,
    /// Whether it began strokes, which the room closes if the connection is lost.
    pub(super) drew: bool,
    /// Whether it waits for a reset, and is sent nothing else of the room.
    pub(super) resetting: bool,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) line: Rc<Line>,
    pub(super) inbox: Inbox,
    client: ClientId,
    /// Boxed: an audience without a name has none.
    pub(super) person: Option<Box<Principal>>,
    pub(super) audience: bool,
    deflate: bool,
    /// The trace to which its ops shall belong, as it said.
    trace: Option<Box<TraceParent>>,
    rooms: Vec<Joined>,
    pub(super) out: Outgoing,
    meters: Option<Box<Meters>>,
    /// Ops without an answer.
    pub(super) in_flight: u16,
    /// Frames in a row that made no sense, and requests in a row that were refused for their number.
    pub(super) malformed: u16,
    pub(super) flooding: u16,
    /// Whether somebody uses it, as far as the client says.
    pub(super) active: bool,
    /// On the hub's clock: when its token runs out (never: [`u64::MAX`]), and when it is pinged next (0: not decided).
    pub(super) expires_ms: u64,
    pub(super) ping_at_ms: u64,
    pub(super) age: Age,
    /// When it last drew a stroke, in seconds on the hub's clock.
    pub(super) drew_s: Option<NonZeroU32>,
    /// How long the last answer to a ping took, if there was one.
    round_trip_ms: Option<NonZeroU16>,
    /// A ping has no answer yet.
    pub(super) pinged: bool,
    _slot: Slot,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, opening: Opening, age: Age) -> Self {
        let Opening { line, inbox, client, person, audience, deflate, trace, slot } = opening;
        Self {
            id,
            line,
            inbox,
            client,
            person: person.map(Box::new),
            audience,
            deflate,
            trace,
            rooms: Vec::new(),
            out: Outgoing::default(),
            meters: None,
            in_flight: 0,
            malformed: 0,
            flooding: 0,
            active: true,
            expires_ms: u64::MAX,
            ping_at_ms: 0,
            age,
            drew_s: None,
            round_trip_ms: None,
            pinged: false,
            _slot: slot,
        }
    }

    pub(super) fn codec(&self) -> Codec {
        self.inbox.codec()
    }

    pub(super) fn pace(&self) -> Pace {
        if self.audience { Pace::Audience } else { Pace::Member }
    }

    pub(super) fn reads(&self) -> Reads {
        Reads { codec: self.codec(), deflate: self.deflate }
    }

    pub(super) fn meters(&mut self) -> &mut Meters {
        self.meters.get_or_insert_default()
    }

    /// Whoever has only looked on for a while needs no meters.
    pub(super) fn tidy(&mut self, allowed: &Allowances, now_ms: u64) {
        self.meters.take_if(|meters| meters.are_unused(allowed, now_ms));
    }

    pub(super) fn client(&self) -> ClientId {
        self.client
    }

    /// In whose name it writes, if it may.
    pub(super) fn writer(&self) -> Option<Writer> {
        let person = self.person.as_ref().filter(|_| !self.audience)?;
        Some(Writer { author: person.user.id, client: self.client })
    }

    /// As what it is in its rooms.
    pub(super) fn came(&self) -> Came {
        let member = self.person.as_ref().filter(|_| !self.audience);
        member.map_or(Came::Audience, |person| Came::Member(person.user.id))
    }

    /// With what it entered a room.
    pub(super) fn visitor(&self, joined: &Joined) -> Visitor {
        self.person
            .as_ref()
            .map_or(Visitor { member: None, link: joined.link }, |person| person.visitor(joined.link))
    }

    pub(super) fn login(&self) -> Option<LoginId> {
        Some(self.person.as_ref()?.signed_in?.login)
    }

    /// The device that it is a connection of, if its person is signed in.
    pub(super) fn device(&self) -> Option<(UserId, LoginId)> {
        Some((self.person.as_ref()?.user.id, self.login()?))
    }

    pub(super) fn trace(&self) -> Option<TraceParent> {
        self.trace.as_deref().copied()
    }

    pub(super) fn silent_for(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.line.heard_ms.get())
    }

    pub(super) fn lag(&self, now_ms: u64) -> Lag {
        Lag {
            stalled_ms: self.out.stalled_for(now_ms),
            waiting_bytes: self.out.waiting_bytes(),
            late_rooms: self.out.late_rooms().len(),
            round_trip_ms: self.round_trip_ms(now_ms),
        }
    }

    pub(super) fn rooms(&self) -> &[Joined] {
        &self.rooms
    }

    pub(super) fn room_ids(&self) -> Vec<RoomId> {
        self.rooms.iter().map(|joined| joined.room.id).collect()
    }

    pub(super) fn joined(&self, room: RoomId) -> Option<&Joined> {
        self.rooms.iter().find(|joined| joined.room.id == room)
    }

    pub(super) fn joined_mut(&mut self, room: RoomId) -> Option<&mut Joined> {
        self.rooms.iter_mut().find(|joined| joined.room.id == room)
    }

    pub(super) fn enter(&mut self, joined: Joined) {
        // Most connections join one room and stay there.
        self.rooms.reserve_exact(1);
        self.rooms.push(joined);
    }

    pub(super) fn leave(&mut self, room: RoomId) -> Option<Joined> {
        let place = self.rooms.iter().position(|joined| joined.room.id == room)?;
        Some(self.rooms.swap_remove(place))
    }

    /// It has just sent a signal.
    pub(super) fn drew(&mut self, room: RoomId, key: &str) {
        let now_s = NonZeroU32::new(seconds(self.line.heard_ms.get()).max(1));
        if let Some(joined) = self.joined_mut(room).filter(|joined| joined.room.owner_hears(key)) {
            joined.drew = true;
            self.drew_s = now_s;
        }
    }

    /// The answer to a ping. What was not asked for says nothing.
    pub(super) fn ponged(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.pinged) {
            let took = now_ms.saturating_sub(self.ping_at_ms.saturating_sub(PING_MS));
            self.round_trip_ms = NonZeroU16::new(u16::try_from(took).unwrap_or(u16::MAX).max(1));
        }
    }

    /// Milliseconds from the last ping to its answer, or since it has been waiting for one that takes longer.
    pub(super) fn round_trip_ms(&self, now_ms: u64) -> Option<u64> {
        let last = self.round_trip_ms.map(|it| u64::from(it.get()));
        let waiting = now_ms.saturating_sub(self.ping_at_ms.saturating_sub(PING_MS));
        if self.pinged { Some(waiting.max(last.unwrap_or(0))) } else { last }
    }

    /// Whether news of this room can be written to the socket as they are: it waits for nothing and is owed nothing.
    pub(super) fn is_plain(&self, room: RoomId, now_ms: u64) -> bool {
        self.out.takes_signals(now_ms)
            && self.out.late(room).is_none()
            && self.joined(room).is_some_and(|joined| !joined.resetting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        // What is larger than 128 bytes has 160 in the allocator.
        assert!(size_of::<Connection>() <= 160, "{}", size_of::<Connection>());
        assert!(size_of::<Joined>() <= 48, "{}", size_of::<Joined>());
    }
}
