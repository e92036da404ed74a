//! Carries one clone: opens its connections, wakes it in time, and hands over what arrives.

use std::pin::Pin;
use std::sync::Arc;

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
    pub(super) target: Target,
    pub(super) codec: Codec,
    pub(super) clock: Clock,
    pub(super) handshakes: Semaphore,
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
    client: Client,
    room: Shared,
    carrier: Arc<Carrier>,
    stage: watch::Receiver<Stage>,
) {
    let mut alarm = Box::pin(sleep_until(Instant::now()));
    let mut drive = Drive { client, room, carrier, stage, alarm: alarm.as_mut(), set_to: 0, over: false };
    drive.run().await;
    let mut room = lock(&drive.room);
    drive.client.finish(&mut room);
}

struct Drive<'a> {
    client: Client,
    room: Shared,
    carrier: Arc<Carrier>,
    stage: watch::Receiver<Stage>,
    alarm: Pin<&'a mut Sleep>,
    set_to: Micros,
    over: bool,
}

/// Far enough to be never, near enough to be an instant.
const NEVER: Micros = 30 * 86_400 * SECOND;

impl Drive<'_> {
    async fn run(&mut self) {
        self.next_stage();
        while !self.over {
            match self.client.wish() {
                Wish::Rest(until) => self.rest(until).await,
                Wish::Connect => self.connect().await,
                // There is no connection here to keep or to close.
                Wish::Talk(_) | Wish::HangUp => self.lost(None),
                Wish::Over => return,
            }
        }
    }

    async fn rest(&mut self, until: Option<Micros>) {
        self.set_alarm(until);
        tokio::select! {
            () = self.alarm.as_mut() => self.tick(),
            _ = self.stage.changed() => self.next_stage(),
        }
    }

    async fn connect(&mut self) {
        let carrier = self.carrier.clone();
        let mut opening = Box::pin(async move {
            // Closed never; and if it were, there would be no bound to keep.
            let _permit = carrier.handshakes.acquire().await;
            let begun = carrier.clock.now();
            let socket = Socket::open(&carrier.target, carrier.codec).await;
            (socket, carrier.clock.now() - begun)
        });
        while !self.over && self.client.wish() == Wish::Connect {
            self.set_alarm(self.client.next_due());
            tokio::select! {
                (socket, took) = &mut opening => return self.connected(socket, took).await,
                () = self.alarm.as_mut() => self.tick(),
                _ = self.stage.changed() => self.next_stage(),
            }
        }
    }

    async fn connected(&mut self, socket: Result<Socket, ConnectError>, took: Micros) {
        let now = self.carrier.clock.now();
        match socket {
            Ok(socket) => {
                self.client.connected(now, took, &mut lock(&self.room));
                self.talk(socket).await;
            }
            Err(error) => {
                tracing::debug!(%error, "no connection");
                self.client.connect_failed(now, &mut lock(&self.room));
            }
        }
    }

    async fn talk(&mut self, mut socket: Socket) {
        while !self.over {
            let Wish::Talk(until) = self.client.wish() else { break };
            self.set_alarm(Some(until));
            let client = &mut self.client;
            tokio::select! {
                biased;
                () = self.alarm.as_mut() => self.tick(),
                _ = self.stage.changed() => self.next_stage(),
                incoming = socket.next(|| client.next_outgoing()) => match incoming {
                    Incoming::Frame(frame) => {
                        let now = self.carrier.clock.now();
                        self.client.received(now, &frame, &mut lock(&self.room));
                    }
                    Incoming::Closed(code) => return self.lost(code),
                    Incoming::Broken(problem) => {
                        lock(&self.room).oracle.malformed(self.client.who(), &problem);
                        return self.lost(None);
                    }
                },
            }
        }
        if self.over {
            self.client.take_leave(&mut lock(&self.room));
        }
        socket.close(|| self.client.next_outgoing()).await;
        self.lost(None);
    }

    fn tick(&mut self) {
        // An alarm that rang is set anew, even to the same time.
        self.set_to = 0;
        self.client.tick(self.carrier.clock.now(), &mut lock(&self.room));
    }

    fn lost(&mut self, code: Option<u16>) {
        if !self.over {
            self.client.lost(self.carrier.clock.now(), code, &mut lock(&self.room));
        }
    }

    fn next_stage(&mut self) {
        match *self.stage.borrow_and_update() {
            Stage::Gathering => {}
            Stage::Playing(start) => self.client.start(start),
            Stage::Cut => self.client.cut_short(),
            Stage::Over => self.over = true,
        }
        self.client.tick(self.carrier.clock.now(), &mut lock(&self.room));
    }

    fn set_alarm(&mut self, at: Option<Micros>) {
        let at = at.unwrap_or(NEVER).min(NEVER);
        if at != self.set_to {
            self.set_to = at;
            self.alarm.as_mut().reset(Instant::from_std(self.carrier.clock.instant(at)));
        }
    }
}
