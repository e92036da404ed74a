//! A hub: one core's share of an edge. It owns its connections' way out and writes to their sockets directly.
//!
//! It is told *that* a room has news, never what: it takes from the room's mirror what came since, once, and writes the same bytes
//! to every member. A quiet room is sent at once, a busy one once per [`TICK_MS`] with everything that came meanwhile in one
//! write. No lock is held while writing, and nobody is woken per recipient.

mod connection;
mod connections;
mod delivery;
mod rooms;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use enfilade_actors::bus::Notice;
use enfilade_proto::limits::{PING_MS, SILENCE_MS};
use enfilade_proto::{
    CloseCode, Closing, Codec, DisplayName, ErrorCode, Head, LoginId, Ping, Reconnecting, Renamed, RoomId,
    SignalOut,
};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::connection::{Connection, ConnectionId, Membership, Opening, Pulse};
use super::devices::Change;
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
    /// Somebody uses it, or nobody does.
    Activity {
        who: ConnectionId,
        active: bool,
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
    /// Tell everybody to go to another node, each at a moment of their own within this time.
    SendAway {
        spread: Duration,
        done: oneshot::Sender<usize>,
    },
    /// Say goodbye to everybody.
    CloseAll {
        code: CloseCode,
        done: oneshot::Sender<usize>,
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

    /// The rooms that have news, as soon as there are some.
    #[cfg(test)]
    pub(crate) async fn news(&self) -> Vec<RoomId> {
        loop {
            let rooms = self.take_news();
            if !rooms.is_empty() {
                return rooms;
            }
            self.news.notify.notified().await;
        }
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
            Command::Activity { who, active } => self.activity(who, active),
            Command::Writable(who) => self.writable(who),
            Command::Close { who, code } => self.close(who, code),
            Command::EndLogin(login) => {
                self.close_where(CloseCode::SignedOut, |it| it.login() == Some(login));
            }
            Command::Recheck(room) => self.recheck(room),
            Command::Rename { room, title } => self.rename(room, &title),
            Command::SendAway { spread, done } => {
                let _ = done.send(self.send_away(spread));
            }
            Command::CloseAll { code, done } => {
                let _ = done.send(self.close_all(code));
            }
            Command::Stop { code, done } => {
                self.stopped = true;
                let _ = done.send(self.close_all(code));
            }
        }
    }
}
