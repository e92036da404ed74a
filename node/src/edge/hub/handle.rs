//! The way to a hub from other threads: commands, rooms that have news, and sockets that have arrived.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use enfilade_proto::{CloseCode, DisplayName, LoginId, RoomId};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{ConnectionId, SlowConnection, Unsent};
use crate::edge::arrival::Arrival;
use crate::edge::mirror::Cursor;

/// Commands that may wait; senders wait beyond that.
const COMMANDS: usize = 4_096;

/// What a hub is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// The room as it stands, for a connection that fell too far behind.
    Reset {
        who: ConnectionId,
        room: RoomId,
        frames: Vec<Bytes>,
        cursor: Cursor,
    },
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
    /// Which connections lag the most.
    Slowest {
        most: usize,
        done: oneshot::Sender<Vec<SlowConnection>>,
    },
    /// How much waits for its sockets.
    Unsent {
        done: oneshot::Sender<Unsent>,
    },
    /// Tell everybody to go to another node, each at a moment of their own within this time.
    SendAway {
        spread: Duration,
        done: oneshot::Sender<usize>,
    },
    #[cfg(test)]
    Break,
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

#[derive(Clone, Debug)]
pub(crate) struct HubHandle {
    commands: mpsc::Sender<Command>,
    waiting: Arc<Waiting>,
}

/// What waits for a hub, and is taken as a whole.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// A room is listed at most once, so there are no more than there are rooms.
    rooms: Mutex<Vec<RoomId>>,
    pub(super) news: Notify,
    /// As many as the server accepts at a time.
    arrived: Mutex<Vec<Arrival>>,
    pub(super) arrivals: Notify,
}

impl HubHandle {
    pub(crate) fn new() -> (Self, HubInbox) {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let handle = Self { commands, waiting: Arc::default() };
        (handle.clone(), HubInbox { commands: inbox, handle })
    }

    /// Waits only while the hub has thousands of other things to do.
    pub(crate) async fn tell(&self, command: Command) {
        // A hub ends with its node; nobody is there any more to hear.
        let _ = self.commands.send(command).await;
    }

    pub(crate) fn has_news(&self, room: RoomId) {
        self.waiting.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        self.waiting.news.notify_one();
    }

    /// Wakes the hub.
    pub(super) fn wake(&self) {
        self.waiting.news.notify_one();
    }

    /// Sockets for the hub to look after.
    pub(crate) fn arrived(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        self.waiting.arrived.lock().unwrap_or_else(PoisonError::into_inner).extend(arrivals);
        self.waiting.arrivals.notify_one();
    }

    /// The rooms that have news, as soon as there are some.
    #[cfg(test)]
    pub(crate) async fn news(&self) -> Vec<RoomId> {
        loop {
            let rooms = self.take_news();
            if !rooms.is_empty() {
                return rooms;
            }
            self.waiting.news.notified().await;
        }
    }

    pub(super) fn take_news(&self) -> Vec<RoomId> {
        std::mem::take(&mut *self.waiting.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn waiting(&self) -> Arc<Waiting> {
        self.waiting.clone()
    }
}

impl Waiting {
    pub(super) fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The hub's end of a [`HubHandle`].
#[derive(Debug)]
pub(crate) struct HubInbox {
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) handle: HubHandle,
}
