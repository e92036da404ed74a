//! The bus between processes: core NATS, which forgets what nobody takes.
//!
//! A node has one subject, on which everything sent to it comes in order; one subject is for all nodes, and one for each room
//! that is multicast. Lanes would divide an order that the bus promises as a whole, and save nothing: messages that wait for
//! one destination travel in one frame anyway. What is bulky goes through a second connection.
//!
//! Nothing here waits for NATS. Queues are bounded, what does not fit is lost, and a loss is noticed: by the sender when the
//! connection breaks, by the receiver when a frame is missing in the chain (see [`frame`]).

mod bulk;
mod connection;
mod frame;
mod incoming;
mod outgoing;
mod receive;
mod subjects;
mod wire;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use enfilade_proto::{RoomId, TraceParent};
use enfilade_store::Incarnation;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::connection::{Change, Line, connect, is_connected};
pub use self::connection::{Identity, NatsError, NatsOptions};
use self::outgoing::{Coded, Destination};
use self::receive::{Subscriptions, round_trip};
use self::subjects::Subjects;
use self::wire::{Ear, Outbox, Wire, count_dropped, lock};
use super::{Bus, Endpoint, Message};
use crate::stopwatch::Stopwatch;
use crate::trace::Side;

/// How long a graceful stop waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One node's connection to the others over NATS. Dropping it ends everything that it began.
pub struct NatsBus {
    wire: Arc<Wire>,
    runtime: Handle,
    tasks: Mutex<JoinSet<()>>,
    opened: AtomicBool,
    closed: AtomicBool,
}

impl NatsBus {
    /// Connects a node to the others of its cluster. If NATS cannot be reached, the node is alone until it can.
    ///
    /// # Errors
    /// When the options make no sense, or NATS refuses the credentials.
    pub async fn connect(me: Incarnation, options: &NatsOptions) -> Result<Self, NatsError> {
        options.check()?;
        let outbox = Arc::new(Outbox::new(me));
        let ear = Arc::new(Ear::default());
        let urgent: Arc<dyn Fn(Change) + Send + Sync> = Arc::new({
            let (outbox, ear) = (outbox.clone(), ear.clone());
            move |change| {
                if change == Change::Lost {
                    outbox.clear();
                }
                ear.heed(change);
            }
        });
        let bulk: Arc<dyn Fn(Change) + Send + Sync> = Arc::new({
            let ear = ear.clone();
            move |change| ear.heed(change)
        });
        let clients = tokio::try_join!(
            connect(options, me, Line::Urgent, urgent),
            connect(options, me, Line::Bulk, bulk)
        )?;
        let subjects = Subjects::new(&options.cluster, me);
        Ok(Self {
            wire: Arc::new(Wire::new(subjects, me, clients.into(), outbox, ear, options.tracer.clone())),
            runtime: Handle::current(),
            tasks: Mutex::default(),
            opened: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    /// How many messages wait to be published, and their bytes. What is bulky waits elsewhere.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        self.wire.outbox.waiting()
    }

    /// How long it takes to NATS and back, behind what is on its way; nothing if it does not answer.
    pub async fn round_trip(&self) -> Option<Duration> {
        let watch = Stopwatch::start();
        round_trip(&self.wire, &self.wire.client).await.then(|| watch.elapsed())
    }

    /// Ends the bus when what is queued was sent, at the latest after a second. What is sent later is lost.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let wire = &*self.wire;
        let said = timeout(LAST_WORDS, async {
            tokio::join!(wire.bulk.idle(), wire.outbox.emptied());
            round_trip(wire, &wire.client).await;
        });
        if said.await.is_err() {
            tracing::warn!("the bus closes before everything was sent");
        }
        lock(&self.tasks).abort_all();
    }

    fn enqueue(&self, to: Destination, message: &Message) {
        if self.closed.load(Ordering::Relaxed) {
            return count_dropped("closed", 1);
        }
        match rmp_serde::to_vec_named(message) {
            Ok(bytes) => {
                let step =
                    |parent: &TraceParent| self.wire.tracer.child(*parent, "bus publish", Side::Producer);
                let spans = message.traces().iter().filter_map(step).collect();
                self.wire.enqueue(to, Coded { bytes: bytes.into(), spans });
            }
            Err(error) => {
                tracing::error!(%error, "a message cannot be coded");
                count_dropped("uncoded", 1);
            }
        }
    }

    fn send_bulky(&self, to: Incarnation, message: Message) {
        let wire = self.wire.clone();
        if self.closed.load(Ordering::Relaxed) {
            count_dropped("closed", 1);
        } else if !is_connected(&wire.bulk_client) {
            count_dropped("disconnected", 1);
        } else if let Some(admitted) = wire.bulk.admit() {
            self.spawn(bulk::send(wire, to, message, admitted));
        } else {
            count_dropped("full", 1);
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.runtime);
    }
}

impl Bus for NatsBus {
    fn open(&self, endpoint: Weak<dyn Endpoint>) {
        self.wire.ear.open(endpoint);
        if self.opened.swap(true, Ordering::Relaxed) {
            return;
        }
        let wire = self.wire.clone();
        self.spawn(async move {
            match Subscriptions::make(&wire).await {
                Ok(subscriptions) => {
                    tokio::join!(subscriptions.hear(wire.clone()), wire.publish());
                }
                Err(error) => tracing::error!(%error, "cannot subscribe"),
            }
        });
    }

    fn send(&self, to: Incarnation, message: Message) {
        if message.is_bulky() {
            self.send_bulky(to, message);
        } else {
            self.enqueue(Destination::Node(to), &message);
        }
    }

    fn broadcast(&self, message: Message) {
        self.enqueue(Destination::Everybody, &message);
    }

    fn multicast(&self, room: RoomId, message: Message) {
        self.enqueue(Destination::Listeners(room), &message);
    }

    fn listen(&self, room: RoomId, on: bool) {
        let mut rooms = lock(&self.wire.rooms);
        let changed = if on { rooms.insert(room) } else { rooms.remove(&room) };
        drop(rooms);
        if changed {
            self.wire.rooms_changed.notify_one();
        }
    }

    fn is_connected(&self) -> bool {
        let wire = &self.wire;
        !self.closed.load(Ordering::Relaxed) && is_connected(&wire.client) && is_connected(&wire.bulk_client)
    }
}

impl fmt::Debug for NatsBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connected = self.is_connected();
        f.debug_struct("NatsBus")
            .field("me", &self.wire.me)
            .field("connected", &connected)
            .finish_non_exhaustive()
    }
}
