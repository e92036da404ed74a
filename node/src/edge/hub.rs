//! A hub: one core's share of an edge. It owns its connections' way out and writes to their sockets directly.
//!
//! It is told *that* a room has news, never what: it takes from the room's mirror what came since, once, and writes the same bytes
//! to every member. A quiet room is sent at once, a busy one once per [`TICK_MS`] with everything that came meanwhile in one
//! write. No lock is held while writing, and nobody is woken per recipient.

mod connection;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use enfilade_actors::bus::Notice;
use enfilade_proto::limits::{PING_MS, SILENCE_MS};
use enfilade_proto::{
    CloseCode, Closing, Codec, DisplayName, ErrorCode, Head, LoginId, Ping, Renamed, RoomId, SignalOut,
};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::connection::{Connection, ConnectionId, Membership, Opening, Pulse};
use super::frame;
use super::mirror::{Cursor, Want};
use super::outgoing::{Pipe, STALLED_MS, Written};
use super::room::EdgeRoom;
use super::{Ends, joined};

/// How often a busy room is flushed.
const TICK_MS: u64 = 16;
/// Sockets that are written to before other work gets a turn.
const CHUNK: usize = 256;
/// Commands that may wait; senders wait beyond that.
const COMMANDS: usize = 65_536;
/// Signals of one room that may wait for the next tick. More pens than that are not seen on one board.
const SIGNALS: usize = 2_048;
/// After its farewell a connection has this long to hang up by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a hub is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Open {
        opening: Opening,
        opened: oneshot::Sender<ConnectionId>,
    },
    /// The reader of the connection has ended.
    Closed(ConnectionId),
    Send {
        to: ConnectionId,
        frame: Bytes,
    },
    Join {
        who: ConnectionId,
        membership: Membership,
        /// What to tell it, and where the room stood then.
        frames: Vec<Bytes>,
        cursor: Cursor,
        /// How often access had changed when it was looked at.
        access_changes: u64,
    },
    Reset {
        who: ConnectionId,
        room: RoomId,
        frames: Vec<Bytes>,
        cursor: Cursor,
    },
    Leave {
        who: ConnectionId,
        room: RoomId,
    },
    Signal {
        from: ConnectionId,
        room: RoomId,
        signal: SignalOut,
    },
    /// The access token holds until then.
    Refreshed {
        who: ConnectionId,
        expires_ms: u64,
    },
    Writable(ConnectionId),
    Close {
        who: ConnectionId,
        code: CloseCode,
    },
    EndLogin(LoginId),
    /// Everybody in the room has to be looked at again.
    Recheck(RoomId),
    /// The room has another title.
    Rename {
        room: RoomId,
        title: DisplayName,
    },
    /// Say goodbye to everybody, and end.
    Stop {
        code: CloseCode,
        done: oneshot::Sender<usize>,
    },
}

/// The way to a hub.
#[derive(Clone, Debug)]
pub(crate) struct HubHandle {
    commands: mpsc::Sender<Command>,
    news: Arc<NewsList>,
}

/// Rooms that have news. A room is on it at most once, so it is no longer than there are rooms.
#[derive(Debug, Default)]
struct NewsList {
    rooms: Mutex<Vec<RoomId>>,
    notify: Notify,
}

impl HubHandle {
    pub(crate) fn new() -> (Self, HubInbox) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let handle = Self { commands, news: Arc::default() };
        (handle.clone(), HubInbox { commands: inbox, handle })
    }

    /// Waits only while the hub has thousands of other things to do.
    pub(crate) async fn tell(&self, command: Command) {
        // A hub ends with its node; nobody is there any more to hear.
        let _ = self.commands.send(command).await;
    }

    pub(crate) fn has_news(&self, room: RoomId) {
        self.news.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        self.news.notify.notify_one();
    }

    fn take_news(&self) -> Vec<RoomId> {
        std::mem::take(&mut *self.news.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hub's end of a [`HubHandle`].
#[derive(Debug)]
pub(crate) struct HubInbox {
    commands: mpsc::Receiver<Command>,
    handle: HubHandle,
}

struct HubRoom {
    room: Arc<EdgeRoom>,
    members: Vec<usize>,
    /// What has been sent to everybody who is not late.
    cursor: Cursor,
    flushed_ms: u64,
    /// Signals from here that wait for the next tick; of one client and key only the latest.
    signals: Vec<SignalOut>,
    signalled_ms: u64,
}

struct Hub {
    index: usize,
    ends: Arc<Ends>,
    handle: HubHandle,
    start: Instant,
    connections: Slab<Connection>,
    opened: u64,
    rooms: HashMap<RoomId, HubRoom>,
    /// Rooms to be flushed, by when.
    due: BTreeSet<(u64, RoomId)>,
    wheel: super::wheel::Wheel<ConnectionId>,
    stopped: bool,
}

impl Pipe for TcpStream {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Self::try_write(self, bytes)
    }
}

/// Runs a hub until its node ends.
pub(crate) async fn run(index: usize, ends: Arc<Ends>, inbox: HubInbox) {
    let HubInbox { mut commands, handle } = inbox;
    let mut hub = Hub {
        index,
        ends,
        handle,
        start: Instant::now(),
        connections: Slab::new(),
        opened: 0,
        rooms: HashMap::new(),
        due: BTreeSet::new(),
        wheel: super::wheel::Wheel::new(0),
        stopped: false,
    };
    let mut batch = Vec::with_capacity(CHUNK);
    loop {
        let wake = hub.start + Duration::from_millis(hub.next_wake_ms());
        let news = hub.handle.news.clone();
        tokio::select! {
            taken = commands.recv_many(&mut batch, CHUNK) => {
                if taken == 0 {
                    return;
                }
            }
            () = news.notify.notified() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
        for command in batch.drain(..) {
            hub.handle(command).await;
            if hub.stopped {
                return;
            }
        }
        hub.deliver().await;
        hub.attend();
    }
}

impl Hub {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn next_wake_ms(&self) -> u64 {
        let second = (self.now_ms() / 1_000 + 1) * 1_000;
        self.due.first().map_or(second, |(at, _)| second.min(*at))
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Open { opening, opened } => {
                let id = self.open(opening);
                let _ = opened.send(id);
            }
            Command::Closed(who) => self.remove(who),
            Command::Send { to, frame } => self.send(to, &[frame]),
            Command::Join { who, membership, frames, cursor, access_changes } => {
                let room = membership.room.id;
                self.join(who, membership, &frames, cursor).await;
                // Somebody's access was taken away between the look at it and now.
                if access_changes != self.ends.access_changes() {
                    self.recheck(room);
                }
            }
            Command::Reset { who, room, frames, cursor } => self.reset(who, room, &frames, cursor).await,
            Command::Leave { who, room } => self.leave(who, room, true),
            Command::Signal { from, room, signal } => self.signal(from, room, signal),
            Command::Refreshed { who, expires_ms } => {
                let expires_ms = self.local_ms(expires_ms);
                if let Some(connection) = self.connection(who) {
                    connection.expires_ms = Some(expires_ms);
                }
            }
            Command::Writable(who) => self.writable(who),
            Command::Close { who, code } => self.close(who, code),
            Command::EndLogin(login) => {
                self.close_where(CloseCode::SignedOut, |it| it.login() == Some(login));
            }
            Command::Recheck(room) => self.recheck(room),
            Command::Rename { room, title } => self.rename(room, &title),
            Command::Stop { code, done } => {
                let _ = done.send(self.stop(code));
            }
        }
    }

    // ---- connections ------------------------------------------------------------------------------------------

    fn open(&mut self, opening: Opening) -> ConnectionId {
        self.opened += 1;
        let entry = self.connections.vacant_entry();
        let id = ConnectionId { key: entry.key(), serial: self.opened };
        entry.insert(Connection::new(id, opening));
        let expires_ms = self.connections[id.key].login_expires_ms().map(|at| self.local_ms(at));
        self.connections[id.key].expires_ms = expires_ms;
        metrics::gauge!("enfilade_connections").increment(1);
        self.wake_later(id);
        // Signed out between the look at the token and now.
        if self.connections[id.key].login().is_some_and(|login| self.ends.people.is_revoked(login)) {
            self.close(id, CloseCode::SignedOut);
        }
        id
    }

    /// A time of the wall clock on the hub's own, which never jumps.
    fn local_ms(&self, wall_ms: u64) -> u64 {
        self.now_ms() + wall_ms.saturating_sub(self.ends.clock.now_ms())
    }

    fn connection(&mut self, who: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(who.key).filter(|connection| connection.id == who)
    }

    fn remove(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        // Whoever waits for a blocked socket would wait for ever.
        if connection.out.is_blocked() {
            shut_later(connection.socket.clone());
        }
        for room in connection.rooms() {
            self.leave(who, room, false);
        }
        self.connections.remove(who.key);
        metrics::gauge!("enfilade_connections").decrement(1);
    }

    fn send(&mut self, to: ConnectionId, parts: &[Bytes]) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(to) else { return };
        let was_blocked = connection.out.is_blocked();
        let written = connection.out.send(parts, &*connection.socket, now_ms);
        self.after_write(to, written, was_blocked);
    }

    fn after_write(&mut self, who: ConnectionId, written: Written, was_blocked: bool) {
        match written {
            Written::Done => {}
            Written::Blocked if was_blocked => {}
            Written::Blocked => self.watch(who),
            Written::Gone => self.hang_up(who),
            Written::Overflow => {
                metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
                self.close(who, CloseCode::TooSlow);
            }
        }
    }

    /// Waits, outside, until the socket can be written again. Only a blocked connection has such a task.
    fn watch(&mut self, who: ConnectionId) {
        let handle = self.handle.clone();
        let Some(connection) = self.connection(who) else { return };
        let socket = connection.socket.clone();
        tokio::spawn(async move {
            let _ = socket.writable().await;
            handle.tell(Command::Writable(who)).await;
        });
    }

    fn writable(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(who) else { return };
        match connection.out.resume(&*connection.socket, now_ms) {
            Written::Done => {
                metrics::counter!("enfilade_slow_total", "step" => "caught_up").increment(1);
                self.catch_up(who);
            }
            written => self.after_write(who, written, false),
        }
    }

    /// Sends a connection what it missed while it was blocked.
    fn catch_up(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        loop {
            let Some(connection) = self.connection(who) else { return };
            if connection.out.is_blocked() {
                return;
            }
            let Some((id, after)) = connection.out.take_late() else { return };
            let codec = connection.codec;
            let Some(room) = self.rooms.get(&id) else { continue };
            let news = room.room.news_until(after, room.cursor);
            if news.behind {
                self.start_reset(who, id, codec);
                continue;
            }
            let Some(bytes) = news.frames(codec, Want::NoSignals) else { continue };
            let Some(connection) = self.connection(who) else { return };
            let written = connection.out.send_news(id, after, &bytes, &*connection.socket, now_ms);
            self.after_write(who, written, false);
        }
    }

    /// Says goodbye and closes.
    fn close(&mut self, who: ConnectionId, code: CloseCode) {
        let Some(connection) = self.connection(who) else { return };
        let farewell = Closing { code: code.code(), reason: code.reason().to_owned() };
        let codec = connection.codec;
        let message = frame::message(codec == Codec::Json, &codec.encode(None, "closing", &farewell));
        metrics::counter!("enfilade_closed_total", "reason" => code.reason()).increment(1);
        connection.pulse.close();
        self.send_last(who, &[message, frame::close(code)]);
        self.hang_up(who);
    }

    fn send_last(&mut self, who: ConnectionId, parts: &[Bytes]) {
        let now_ms = self.now_ms();
        if let Some(connection) = self.connection(who) {
            let _ = connection.out.send(parts, &*connection.socket, now_ms);
        }
    }

    /// Ends the connection from our side. Its reader then ends by itself.
    fn hang_up(&mut self, who: ConnectionId) {
        let Some(connection) = self.connection(who) else { return };
        let socket = connection.socket.clone();
        let _ = socket2::SockRef::from(&*socket).shutdown(std::net::Shutdown::Write);
        self.remove(who);
        shut_later(socket);
    }

    fn close_where(&mut self, code: CloseCode, which: impl Fn(&Connection) -> bool) {
        let which: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, it)| which(it)).map(|(_, it)| it.id).collect();
        for who in which {
            self.close(who, code);
        }
    }

    fn stop(&mut self, code: CloseCode) -> usize {
        let count = self.connections.len();
        self.close_where(code, |_| true);
        self.stopped = true;
        count
    }

    // ---- rooms ------------------------------------------------------------------------------------------------

    async fn join(&mut self, who: ConnectionId, membership: Membership, frames: &[Bytes], cursor: Cursor) {
        let (index, now_ms) = (self.index, self.now_ms());
        let room = membership.room.clone();
        let Some(connection) = self.connection(who) else {
            // It hung up meanwhile.
            return room.leave(index, membership.user);
        };
        let again = connection.join(membership);
        let entry = self.rooms.entry(room.id).or_insert_with(|| HubRoom {
            room: room.clone(),
            members: Vec::new(),
            cursor,
            flushed_ms: now_ms.saturating_sub(TICK_MS),
            signals: Vec::new(),
            signalled_ms: now_ms.saturating_sub(TICK_MS),
        });
        // A room that was given up and taken up again has a new mirror.
        if !Arc::ptr_eq(&entry.room, &room) {
            entry.room = room.clone();
            entry.cursor = cursor;
        }
        match again {
            Some(before) => before.room.leave(index, before.user),
            None => entry.members.push(who.key),
        }
        self.settle(who, room.id, frames, cursor).await;
    }

    async fn reset(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        if !self.connection(who).is_some_and(|connection| connection.end_reset(room)) {
            return;
        }
        metrics::counter!("enfilade_slow_total", "step" => "reset").increment(1);
        self.settle(who, room, frames, cursor).await;
    }

    /// Tells a connection where a room stood at `cursor`, and brings it to where the hub is.
    async fn settle(&mut self, who: ConnectionId, room: RoomId, frames: &[Bytes], cursor: Cursor) {
        // First the others (the joiner is passed over while it is `settling`), so that the hub is not behind the joiner.
        if let Some(connection) = self.connection(who) {
            connection.out.forget_room(room);
            connection.settling = Some(room);
        }
        self.flush(room).await;
        if let Some(connection) = self.connection(who) {
            connection.settling = None;
        }
        self.send(who, frames);
        let now = self.rooms.get(&room).map(|room| room.cursor);
        let Some(connection) = self.connection(who) else { return };
        if now.is_some_and(|now| now != cursor) {
            connection.out.is_late(room, cursor);
            if !connection.out.is_blocked() {
                self.catch_up(who);
            }
        }
    }

    fn start_reset(&mut self, who: ConnectionId, room: RoomId, codec: Codec) {
        let Some(connection) = self.connection(who) else { return };
        if !connection.begin_reset(room) {
            return;
        }
        let Some(room) = self.rooms.get(&room).map(|room| room.room.clone()) else { return };
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let command = match room.reset(codec).await {
                Ok(joining) => {
                    let frames = joined::reset_frames(codec, room.id, &joining).await;
                    Command::Reset { who, room: room.id, frames, cursor: joining.cursor }
                }
                Err(_) => Command::Close { who, code: CloseCode::StateInvalid },
            };
            handle.tell(command).await;
        });
    }

    fn leave(&mut self, who: ConnectionId, room: RoomId, left: bool) {
        let index = self.index;
        // What it signalled just now comes before its farewell.
        self.send_signals(room);
        let Some(connection) = self.connection(who) else { return };
        connection.out.forget_room(room);
        let Some((membership, drew)) = connection.leave(room) else { return };
        if drew {
            let gone = Notice::WriterGone { writer: connection.writer(), left };
            self.ends.bus.notify(room, gone);
        }
        membership.room.leave(index, membership.user);
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.members.retain(|member| *member != who.key);
            if entry.members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// Looks whether those who are in a room still may be.
    fn recheck(&self, room: RoomId) {
        let Some(entry) = self.rooms.get(&room) else { return };
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for member in &entry.members {
            let Some(connection) = self.connections.get(*member) else { continue };
            let Some(membership) = connection.membership(room) else { continue };
            let key = (membership.visitor.member, membership.visitor.link.map(|link| link.0));
            groups.entry(key).or_default().push((connection.id, membership.role, membership.visitor));
        }
        let (ends, handle) = (self.ends.clone(), self.handle.clone());
        tokio::spawn(async move {
            for members in groups.into_values() {
                let Some((_, _, visitor)) = members.first() else { continue };
                let now = ends.people.access(room, visitor).await;
                for (who, role, _) in members {
                    let code = match &now {
                        Ok(admission) if admission.role == role => continue,
                        Ok(_) => CloseCode::StateInvalid,
                        Err(error) if matches!(error.code, ErrorCode::Busy | ErrorCode::Internal) => {
                            CloseCode::StateInvalid
                        }
                        Err(_) => CloseCode::AccessRevoked,
                    };
                    handle.tell(Command::Close { who, code }).await;
                }
            }
        });
    }

    fn rename(&mut self, room: RoomId, title: &DisplayName) {
        let members = self.rooms.get(&room).map(|entry| entry.members.clone()).unwrap_or_default();
        let renamed = Renamed { room, title: title.clone() };
        for member in members {
            let Some(connection) = self.connections.get(member) else { continue };
            let (who, codec) = (connection.id, connection.codec);
            let message = codec.encode(None, "renamed", &renamed);
            self.send(who, &[frame::message(codec == Codec::Json, &message)]);
        }
    }

    // ---- delivery ---------------------------------------------------------------------------------------------

    fn signal(&mut self, from: ConnectionId, room: RoomId, signal: SignalOut) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&room) else { return };
        self.due.insert((now_ms.max(entry.signalled_ms + TICK_MS), room));
        let full = entry.signals.len() >= SIGNALS;
        let earlier = entry.signals.iter_mut().find(|it| same_signal(it, &signal));
        if earlier.is_none() && full {
            metrics::counter!("enfilade_signals_dropped_total").increment(1);
            return;
        }
        if let Some(connection) =
            self.connections.get_mut(from.key).filter(|connection| connection.id == from)
        {
            connection.drew(room, &signal.key);
        }
        match earlier {
            Some(earlier) => {
                metrics::counter!("enfilade_signals_conflated_total").increment(1);
                *earlier = signal;
            }
            None => entry.signals.push(signal),
        }
    }

    async fn deliver(&mut self) {
        let now_ms = self.now_ms();
        for room in self.handle.take_news() {
            if let Some(entry) = self.rooms.get(&room) {
                self.due.insert((now_ms.max(entry.flushed_ms + TICK_MS), room));
            }
        }
        while let Some((_, room)) = self.due.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.due.pop_first();
            self.send_signals(room);
            self.flush(room).await;
        }
    }

    fn send_signals(&mut self, id: RoomId) {
        let now_ms = self.now_ms();
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        if entry.signals.is_empty() {
            return;
        }
        let signals = std::mem::take(&mut entry.signals);
        entry.signalled_ms = now_ms;
        for signal in signals.iter().filter(|signal| entry.room.owner_hears(&signal.key)) {
            self.ends.bus.notify(id, Notice::Signal(signal.clone()));
        }
        metrics::counter!("enfilade_signals_total").increment(signals.len() as u64);
        self.ends.bus.signal(id, signals);
    }

    /// Sends everybody in a room what came since the last time.
    async fn flush(&mut self, id: RoomId) {
        let (index, now_ms) = (self.index, self.now_ms());
        let Some(entry) = self.rooms.get_mut(&id) else { return };
        let before = entry.cursor;
        let news = entry.room.news_for_hub(index, &mut entry.cursor);
        if news.is_empty() {
            return;
        }
        entry.flushed_ms = now_ms;
        let mut written = Frames::default();
        let mut sent = 0u64;
        // By index: the list changes only when a connection that is gone is removed, and then by this loop.
        let mut next = 0;
        while let Some(key) = self.rooms.get(&id).and_then(|entry| entry.members.get(next).copied()) {
            next += 1;
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if connection.settling == Some(id) || connection.is_resetting(id) {
                continue;
            }
            let who = connection.id;
            if news.behind {
                let codec = connection.codec;
                self.start_reset(who, id, codec);
                continue;
            }
            let spared = news.has_signals() && !connection.out.takes_signals(now_ms);
            if spared {
                metrics::counter!("enfilade_slow_total", "step" => "signals_dropped").increment(1);
            }
            let want = if spared { Want::NoSignals } else { Want::Everything };
            let Some(bytes) = written.get(connection.codec, want, |codec| news.frames(codec, want)) else {
                continue;
            };
            let was_blocked = connection.out.is_blocked();
            let result = connection.out.send_news(id, before, &bytes, &*connection.socket, now_ms);
            sent += u64::from(result == Written::Done);
            if result == Written::Gone {
                // Removing it moves the last ones of the list forward; look at this place again.
                next -= 1;
            }
            self.after_write(who, result, was_blocked);
            if next.is_multiple_of(CHUNK) {
                tokio::task::yield_now().await;
            }
        }
        metrics::counter!("enfilade_deliveries_total").increment(sent);
    }

    // ---- once a second ----------------------------------------------------------------------------------------

    /// Looks after connections that want attention now.
    fn attend(&mut self) {
        let second = self.now_ms() / 1_000;
        for who in self.wheel.turn(second) {
            self.attend_to(who);
        }
    }

    fn attend_to(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let wall_ms = self.ends.clock.now_ms();
        let Some(connection) = self.connection(who) else { return };
        if connection.expires_ms.is_some_and(|at| now_ms >= at) {
            return self.close(who, CloseCode::TokenExpired);
        }
        if connection.silent_for(wall_ms) >= SILENCE_MS {
            return self.close(who, CloseCode::Silent);
        }
        if connection.out.stalled_for(now_ms) >= STALLED_MS {
            metrics::counter!("enfilade_slow_total", "step" => "closed").increment(1);
            return self.close(who, CloseCode::TooSlow);
        }
        if now_ms >= connection.ping_at_ms && !connection.out.is_blocked() {
            connection.ping_at_ms = now_ms + PING_MS;
            self.ping(who);
        }
        self.wake_later(who);
    }

    fn wake_later(&mut self, who: ConnectionId) {
        let now_ms = self.now_ms();
        let wall_ms = self.ends.clock.now_ms();
        let Some(connection) = self.connection(who) else { return };
        if connection.ping_at_ms == 0 {
            // Spread, so that those who came together are not pinged together.
            connection.ping_at_ms = now_ms + PING_MS / 2 + (who.serial * 7_919) % (PING_MS / 2);
        }
        let silent_at_ms = now_ms + SILENCE_MS.saturating_sub(connection.silent_for(wall_ms));
        let next = connection.ping_at_ms.min(silent_at_ms);
        let next = connection.expires_ms.map_or(next, |at| at.min(next));
        self.wheel.wake_at(next.div_ceil(1_000), who);
    }

    /// The heads are those up to which this connection has been sent everything.
    fn ping(&mut self, who: ConnectionId) {
        let Some(connection) = self.connections.get(who.key) else { return };
        let codec = connection.codec;
        let heads = connection
            .rooms()
            .into_iter()
            .filter(|room| !connection.is_resetting(*room))
            .filter_map(|room| self.rooms.get(&room).map(|entry| Head { room, seq: entry.cursor.seq }))
            .collect();
        let ping = codec.encode(None, "ping", &Ping { heads });
        self.send(who, &[frame::message(codec == Codec::Json, &ping)]);
    }
}

/// Closes a socket for good after a while, whoever still holds on to it. Its farewell has that long to arrive.
fn shut_later(socket: Arc<TcpStream>) {
    tokio::spawn(async move {
        tokio::time::sleep(FAREWELL).await;
        let _ = socket2::SockRef::from(&*socket).shutdown(std::net::Shutdown::Both);
    });
}

/// Whether one of these takes the place of the other.
fn same_signal(one: &SignalOut, other: &SignalOut) -> bool {
    one.client == other.client && one.author == other.author && one.key == other.key
}

/// The bytes of one flush, per codec and want, written when somebody needs them.
#[derive(Default)]
struct Frames([Option<Option<Bytes>>; 4]);

impl Frames {
    fn get(&mut self, codec: Codec, want: Want, write: impl FnOnce(Codec) -> Option<Bytes>) -> Option<Bytes> {
        let slot = usize::from(codec == Codec::Json) * 2 + usize::from(want == Want::Everything);
        self.0[slot].get_or_insert_with(|| write(codec)).clone()
    }
}
