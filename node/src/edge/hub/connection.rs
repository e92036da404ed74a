//! A connection as its hub knows it: plain state, no task and no timer of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use enfilade_actors::bus::Writer;
use enfilade_proto::{ClientId, Codec, DisplayName, LoginId, Role, RoomId, UserId};
use tokio::net::TcpStream;

use crate::edge::outgoing::Outgoing;
use crate::edge::room::EdgeRoom;
use crate::people::{Principal, Visitor};

/// Names a connection of a hub; a place that is taken again has another serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId {
    pub(super) key: usize,
    pub(super) serial: u64,
}

/// What a hub needs to know of a new connection.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) codec: Codec,
    pub(crate) client: ClientId,
    pub(crate) principal: Principal,
    pub(crate) pulse: Arc<Pulse>,
}

/// What a connection's reader and its hub tell each other without words.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// When the reader heard of the client last, in milliseconds since 1970.
    heard_ms: AtomicU64,
    /// The hub has said goodbye: what still comes is not for us.
    closed: AtomicBool,
}

impl Pulse {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { heard_ms: AtomicU64::new(now_ms), closed: AtomicBool::new(false) }
    }

    pub(crate) fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A room that a connection has joined.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) room: Arc<EdgeRoom>,
    pub(crate) user: UserId,
    pub(crate) title: DisplayName,
    pub(crate) role: Role,
    /// With what it entered, to be looked at again when access changes.
    pub(crate) visitor: Visitor,
}

#[derive(Debug)]
struct Joined {
    membership: Membership,
    /// Whether it began strokes, which the room closes if the connection is lost.
    drew: bool,
    /// Whether it waits for a reset, and is sent nothing else of the room.
    resetting: bool,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) socket: Arc<TcpStream>,
    pub(super) codec: Codec,
    client: ClientId,
    principal: Principal,
    pub(super) pulse: Arc<Pulse>,
    rooms: Vec<Joined>,
    pub(super) out: Outgoing,
    /// Whether somebody uses it, as far as the client says.
    pub(super) active: bool,
    /// The room that it is being told of just now.
    pub(super) settling: Option<RoomId>,
    /// On the hub's clock: when its token runs out, and when it is pinged next (0: not decided).
    pub(super) expires_ms: Option<u64>,
    pub(super) ping_at_ms: u64,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, opening: Opening) -> Self {
        let Opening { socket, codec, client, principal, pulse } = opening;
        Self {
            id,
            socket,
            codec,
            client,
            principal,
            pulse,
            rooms: Vec::new(),
            out: Outgoing::default(),
            active: true,
            settling: None,
            expires_ms: None,
            ping_at_ms: 0,
        }
    }

    pub(super) fn writer(&self) -> Writer {
        Writer { author: self.principal.user.id, client: self.client }
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn login(&self) -> Option<LoginId> {
        self.principal.signed_in.map(|signed_in| signed_in.login)
    }

    /// The device that it is a connection of, if its person is signed in.
    pub(super) fn device(&self) -> Option<(UserId, LoginId)> {
        self.login().map(|login| (self.principal.user.id, login))
    }

    pub(super) fn login_expires_ms(&self) -> Option<u64> {
        self.principal.signed_in.map(|signed_in| signed_in.expires_ms)
    }

    pub(super) fn silent_for(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_sub(self.pulse.heard_ms.load(Ordering::Relaxed))
    }

    pub(super) fn rooms(&self) -> Vec<RoomId> {
        self.rooms.iter().map(|joined| joined.membership.room.id).collect()
    }

    pub(super) fn membership(&self, room: RoomId) -> Option<&Membership> {
        self.rooms.iter().map(|joined| &joined.membership).find(|membership| membership.room.id == room)
    }

    /// Joins, and returns the membership that this one replaces.
    pub(super) fn join(&mut self, membership: Membership) -> Option<Membership> {
        match self.find(membership.room.id) {
            Some(joined) => {
                joined.resetting = false;
                Some(std::mem::replace(&mut joined.membership, membership))
            }
            None => {
                self.rooms.push(Joined { membership, drew: false, resetting: false });
                None
            }
        }
    }

    /// Leaves, and says whether it drew there.
    pub(super) fn leave(&mut self, room: RoomId) -> Option<(Membership, bool)> {
        let place = self.rooms.iter().position(|joined| joined.membership.room.id == room)?;
        let joined = self.rooms.swap_remove(place);
        Some((joined.membership, joined.drew))
    }

    pub(super) fn drew(&mut self, room: RoomId, key: &str) {
        if let Some(joined) = self.find(room) {
            joined.drew |= joined.membership.room.owner_hears(key);
        }
    }

    /// False if it waits already.
    pub(super) fn begin_reset(&mut self, room: RoomId) -> bool {
        self.find(room).is_some_and(|joined| !std::mem::replace(&mut joined.resetting, true))
    }

    /// False if it does not wait (any more).
    pub(super) fn end_reset(&mut self, room: RoomId) -> bool {
        self.find(room).is_some_and(|joined| std::mem::replace(&mut joined.resetting, false))
    }

    pub(super) fn is_resetting(&self, room: RoomId) -> bool {
        self.rooms.iter().any(|joined| joined.resetting && joined.membership.room.id == room)
    }

    fn find(&mut self, room: RoomId) -> Option<&mut Joined> {
        self.rooms.iter_mut().find(|joined| joined.membership.room.id == room)
    }
}
