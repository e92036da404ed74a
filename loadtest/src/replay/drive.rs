//! Carries one clone: opens the connections that it wants, wakes it in time, and hands over what arrives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use enfilade_proto::Codec;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Shared, lock};
use crate::client::{Client, Wish};
use crate::clock::{Clock, Micros, SECOND};
use crate::connection::{ConnectError, Incoming, Socket};
use crate::target::Target;

/// What all clones are carried with.
#[derive(Debug)]
pub(super) struct Carrier {
    pub(super) targets: Vec<Target>,
    pub(super) codec: Codec,
    pub(super) clock: Clock,
    pub(super) handshakes: Semaphore,
}

impl Carrier {
    /// Clones are spread over the targets one after the other, and whoever has to connect again goes on to the next:
    /// the one before may be down.
    pub(super) fn target(&self, clone: usize, wire: u32) -> &Target {
        &self.targets[(clone + wire as usize - 1) % self.targets.len()]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Gathering,
    /// The recording's time 0.
    Playing(Micros),
    /// Nobody does anything more.
    Cut,
    Over,
}

pub(super) async fn drive(
    clone: usize,
    client: Client,
    room: Shared,
    carrier: Arc<Carrier>,
    stage: watch::Receiver<Stage>,
) {
    let mut alarm = Box::pin(sleep_until(Instant::now()));
    let ends = Vec::new();
    let mut drive =
        Drive { clone, client, room, carrier, stage, ends, alarm: alarm.as_mut(), set_to: 0, over: false };
    drive.run().await;
    let mut room = lock(&drive.room);
    drive.client.finish(&mut room);
}

struct Drive<'a> {
    clone: usize,
    client: Client,
    room: Shared,
    carrier: Arc<Carrier>,
    stage: watch::Receiver<Stage>,
    /// By the client's number for the connection. There are seldom two, and only while it moves three.
    ends: Vec<(u32, End)>,
    alarm: Pin<&'a mut Sleep>,
    set_to: Micros,
    over: bool,
}

/// A connection, in whatever state.
enum End {
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open(Box<Socket>),
    Closing(Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// The socket, and how long the handshakes took.
type Opened = (Result<Box<Socket>, ConnectError>, Micros);

enum Happened {
    Opened(Opened),
    Came(Incoming),
    Gone,
}

impl End {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reads: bool,
        outgoing: impl FnMut() -> Option<Bytes>,
    ) -> Poll<Happened> {
        match self {
            Self::Opening(opening) => opening.as_mut().poll(cx).map(Happened::Opened),
            Self::Open(socket) if !reads => socket.poll_write(cx, outgoing).map(Happened::Came),
            Self::Open(socket) => socket.poll_next(cx, outgoing).map(Happened::Came),
            Self::Closing(closing) => closing.as_mut().poll(cx).map(|()| Happened::Gone),
        }
    }
}

/// What a slow reader's system takes for it: little, so that the server notices.
const SLOW_BUFFER: u32 = 4 * 1024;
/// Far enough to be never, near enough to be an instant.
const NEVER: Micros = 30 * 86_400 * SECOND;

impl Drive<'_> {
    async fn run(&mut self) {
        self.next_stage();
        loop {
            self.arrange();
            if (self.over || self.client.is_over()) && self.ends.is_empty() {
                return;
            }
            self.set_alarm();
            let reads = self.client.reads();
            let (ends, client) = (&mut self.ends, &mut self.client);
            tokio::select! {
                biased;
                () = self.alarm.as_mut() => self.tick(),
                _ = self.stage.changed() => self.next_stage(),
                (i, happened) = next_happening(ends, client, reads) => self.take(i, happened),
            }
        }
    }

    /// Opens and closes until the connections are those that the client wants.
    fn arrange(&mut self) {
        for wire in self.client.wires() {
            if !self.over && !self.ends.iter().any(|(id, _)| *id == wire) {
                self.ends.push((wire, self.open(wire)));
            }
        }
        for i in (0..self.ends.len()).rev() {
            let (wire, end) = &self.ends[i];
            match self.client.wish(*wire) {
                Wish::Connect | Wish::Keep => continue,
                Wish::HangUp if matches!(end, End::Closing(_)) => continue,
                Wish::HangUp => {}
                Wish::Drop => {
                    self.ends.swap_remove(i);
                    continue;
                }
            }
            let (wire, end) = self.ends.swap_remove(i);
            // Whatever was still being opened is not wanted any more.
            if let End::Open(socket) = end {
                let mut words: Vec<Bytes> = std::iter::from_fn(|| self.client.next_outgoing(wire)).collect();
                words.reverse();
                let closing = async move { socket.close(|| words.pop()).await };
                self.ends.push((wire, End::Closing(Box::pin(closing))));
            }
        }
    }

    fn open(&self, wire: u32) -> End {
        let (carrier, clone) = (self.carrier.clone(), self.clone);
        let buffer = self.client.is_slow().then_some(SLOW_BUFFER);
        End::Opening(Box::pin(async move {
            // Closed never; and if it were, there would be no bound to keep.
            let _permit = carrier.handshakes.acquire().await;
            let begun = carrier.clock.now();
            let socket = Socket::open_with(carrier.target(clone, wire), carrier.codec, buffer).await;
            (socket.map(Box::new), carrier.clock.now() - begun)
        }))
    }

    fn take(&mut self, i: usize, happened: Happened) {
        let wire = self.ends[i].0;
        let now = self.carrier.clock.now();
        let mut room = lock(&self.room);
        match happened {
            Happened::Opened((Ok(socket), took)) => {
                self.ends[i].1 = End::Open(socket);
                self.client.connected(now, wire, took, &mut room);
            }
            Happened::Opened((Err(error), _)) => {
                tracing::debug!(%error, "no connection");
                self.ends.swap_remove(i);
                self.client.connect_failed(now, wire, &mut room);
            }
            Happened::Came(Incoming::Frame(frame)) => self.client.received(now, wire, &frame, &mut room),
            Happened::Came(Incoming::Closed(code)) => {
                self.ends.swap_remove(i);
                self.client.lost(now, wire, code, &mut room);
            }
            Happened::Came(Incoming::Broken(problem)) => {
                self.ends.swap_remove(i);
                room.oracle.malformed(self.client.who(), &problem);
                self.client.lost(now, wire, None, &mut room);
            }
            Happened::Gone => drop(self.ends.swap_remove(i)),
        }
    }

    fn tick(&mut self) {
        // An alarm that rang is set anew, even to the same time.
        self.set_to = 0;
        if !self.over {
            self.client.tick(self.carrier.clock.now(), &mut lock(&self.room));
        }
    }

    fn next_stage(&mut self) {
        let now = self.carrier.clock.now();
        match *self.stage.borrow_and_update() {
            Stage::Gathering => {}
            Stage::Playing(start) => self.client.start(start),
            Stage::Cut => self.client.cut_short(),
            Stage::Over => {
                self.over = true;
                return self.client.take_leave(now, &mut lock(&self.room));
            }
        }
        self.client.tick(now, &mut lock(&self.room));
    }

    fn set_alarm(&mut self) {
        let wanted = self.client.alarm().filter(|_| !self.over);
        let at = wanted.unwrap_or(NEVER).min(NEVER);
        if at != self.set_to {
            self.set_to = at;
            self.alarm.as_mut().reset(Instant::from_std(self.carrier.clock.instant(at)));
        }
    }
}

/// What happens first at any of the connections.
async fn next_happening(ends: &mut [(u32, End)], client: &mut Client, reads: bool) -> (usize, Happened) {
    std::future::poll_fn(|cx| {
        for (i, (wire, end)) in ends.iter_mut().enumerate() {
            if let Poll::Ready(happened) = end.poll(cx, reads, || client.next_outgoing(*wire)) {
                return Poll::Ready((i, happened));
            }
        }
        Poll::Pending
    })
    .await
}
