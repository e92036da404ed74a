//! The host: the part of a node that runs rooms, and has the sessions of people. It wakes those of its shards on first use, bounds what waits in front of them,
//! restarts those that crash, sets aside those that crash again and again, and gives shards up.

mod deps;
mod ending;
mod heat;
mod restarts;
mod rooms;
mod sessions;
mod shards;
mod supervisor;
mod waiting;
mod waking;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use enfilade_proto::{Epoch, ErrorCode, Member, RoomId, UserId};
use enfilade_store::{Directory, Incarnation, RoomLog, Shard};
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::Semaphore;

use self::ending::{actors, end, inspect, stop};
use self::rooms::{Cell, Life, Rooms};
use self::sessions::Sessions;
use self::supervisor::{Never, Supervisor};
pub use self::waiting::Waiting;
use crate::bus::{Attached, Notice, Refused, RoomEvent, Submission, Ticket};
use crate::committer::Committers;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::room::{Audience, Inspection, RoomSettings};
use crate::room_actor::{Admission, Looking, RoomMessage, Sender, Submitted};
use crate::trace::{Side, Tracer};

pub(crate) use self::deps::Deps;
pub use self::deps::{Clock, Offload, Outlet};

/// Bytes of ops that may wait in and in front of all rooms of a node; beyond that they are busy.
const NODE_BYTES: usize = 128 << 20;
/// What a message weighs besides its frame.
const MESSAGE_BYTES: u32 = 256;
/// Messages that may wait for a room to wake up.
const WAITING: usize = 16_384;

/// What a host is made from.
#[derive(Debug)]
pub struct HostArgs {
    pub me: Incarnation,
    pub log: Arc<dyn RoomLog>,
    pub directory: Arc<dyn Directory>,
    pub clock: Arc<dyn Clock>,
    pub settings: RoomSettings,
    pub committers: usize,
    pub offload: Offload,
    pub tracer: Tracer,
}

/// The way to the rooms of this node.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    deps: Arc<Deps>,
    rooms: Mutex<Rooms>,
    sessions: Mutex<Sessions>,
    node_bytes: Arc<Semaphore>,
    supervisor: OnceLock<ActorRef<Never>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("awake", &self.awake()).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts the supervisor of the rooms and the committers. The node owns no shard yet.
    ///
    /// # Errors
    /// When the supervisor cannot be started, which only a runtime that is about to end brings about.
    pub async fn start(args: HostArgs) -> Result<Self, SpawnErr> {
        let HostArgs { me, log, directory, clock, settings, committers, offload, tracer } = args;
        let committers = Committers::start(&log, me, committers, &tracer);
        let outlet = OnceLock::new();
        let deps = Arc::new(Deps { log, directory, clock, settings, committers, offload, tracer, outlet });
        let inner = Arc::new(Inner {
            deps,
            rooms: Mutex::default(),
            sessions: Mutex::default(),
            node_bytes: Arc::new(Semaphore::new(NODE_BYTES)),
            supervisor: OnceLock::new(),
        });
        let (supervisor, _) = Actor::spawn(None, Supervisor, Arc::downgrade(&inner)).await?;
        let _ = inner.supervisor.set(supervisor);
        Ok(Self(inner))
    }

    /// The way to the committers, to see how they are getting on.
    #[must_use]
    pub fn committers(&self) -> &Committers {
        &self.0.deps.committers
    }

    /// Says where rooms' events go. What they tell before that nobody hears.
    pub fn connect(&self, outlet: Weak<dyn Outlet>) {
        let _ = self.0.deps.outlet.set(outlet);
    }

    // ---- shards -----------------------------------------------------------------------------------------------

    /// This node owns these shards from now on, in these epochs.
    pub fn adopt(&self, shards: &[(Shard, Epoch)]) {
        let outdated = {
            let mut rooms = self.0.lock();
            let now_ms = self.0.deps.clock.now_ms();
            let changed = shards.iter().filter(|(shard, epoch)| rooms.shards.adopt(*shard, *epoch, now_ms));
            let changed: Vec<Shard> = changed.map(|(shard, _)| *shard).collect();
            rooms.remove(&changed)
        };
        stop(outdated);
    }

    /// The shards that this node owns, those included that it is giving up.
    #[must_use]
    pub fn owned(&self) -> Vec<(Shard, Epoch)> {
        self.0.lock().shards.owned()
    }

    /// Takes nothing more for these shards, and lets their rooms write what they have accepted and end. Afterwards nothing of
    /// them is in memory, and the node still owns them in the eyes of the database.
    pub async fn give_up(&self, shards: &[Shard]) {
        let cells = {
            let mut rooms = self.0.lock();
            shards.iter().for_each(|shard| rooms.shards.close(*shard));
            rooms.remove(shards)
        };
        end(actors(cells)).await;
    }

    /// The shards stay after all.
    pub fn keep(&self, shards: &[Shard]) {
        let mut rooms = self.0.lock();
        shards.iter().for_each(|shard| rooms.shards.reopen(*shard));
    }

    /// The shards are not this node's any more. What still runs of them is ended without ceremony.
    pub fn forget(&self, shards: &[Shard]) {
        let cells = {
            let mut rooms = self.0.lock();
            shards.iter().for_each(|shard| rooms.shards.forget(*shard));
            rooms.remove(shards)
        };
        stop(cells);
    }

    // ---- rooms ------------------------------------------------------------------------------------------------

    /// Puts an op into the queue of its room. `from` and the tickets say what it has to come after.
    pub fn submit(
        &self,
        room: RoomId,
        from: Incarnation,
        (ticket, after): (Ticket, Option<Ticket>),
        submission: Submission,
        reply: Reply<enfilade_proto::Seq>,
    ) {
        let weight = submission.weight + MESSAGE_BYTES;
        let waiting =
            submission.trace.and_then(|parent| self.0.deps.tracer.child(parent, "mailbox", Side::Internal));
        let now_ms = self.0.deps.clock.now_ms();
        self.0.tell(room, reply.during(waiting), |cell, reply| {
            cell.heat.count(now_ms);
            let full = |_| Refusal::busy("too many ops are waiting", 200);
            let admitted =
                cell.bytes.clone().try_acquire_many_owned(weight).map_err(full).and_then(|of_room| {
                    let of_node = self.0.node_bytes.clone().try_acquire_many_owned(weight).map_err(full)?;
                    Ok(Admission { _room: of_room, _node: of_node })
                });
            match admitted {
                Ok(admission) => {
                    let from = Sender { edge: from, ticket, after };
                    Ok(RoomMessage::Submit(Submitted { from, submission, reply, admission }))
                }
                Err(refusal) => Err((reply, refusal)),
            }
        });
    }

    /// Shows the room as it stands, durable and fenced. An edge that stays hears of its events from now on.
    pub fn attach(&self, room: RoomId, edge: Option<Incarnation>, contents: bool, reply: Reply<Attached>) {
        self.0.tell(room, reply, |_, reply| Ok(RoomMessage::Attach(Looking { edge, contents, reply })));
    }

    /// Tells a room something, if it is awake: what it hears of matters only to a room that somebody is in. An edge that
    /// believes itself attached to one that is not awake is told.
    pub fn notice(&self, room: RoomId, from: Incarnation, notice: Notice) {
        if let Some(notice) = self.0.pass_on(room, from, notice)
            && let Notice::Standing(standing) = notice
        {
            let to = Audience::Edges(vec![from]);
            self.0.deps.publish(room, standing.position.epoch, to, RoomEvent::OwnerLost);
        }
    }

    /// Who is in a room: some of them, by id, after the one given. In one that is not awake there is nobody.
    pub fn people(&self, room: RoomId, after: Option<UserId>, limit: usize, reply: Reply<Vec<Member>>) {
        let actor = {
            let rooms = self.0.lock();
            rooms.shards.open_epoch(Shard::of(room)).map(|_| rooms.actor(room))
        };
        match actor {
            None => reply.send(Err(Refused::NotOwner)),
            Some(None) => reply.send(Ok(Vec::new())),
            // If it ends meanwhile, the reply that is dropped says so.
            Some(Some(actor)) => _ = actor.cast(RoomMessage::People { after, limit, reply }),
        }
    }

    /// A node is dead: nobody is in any room there, or connected to it.
    pub fn edge_gone(&self, edge: Incarnation) {
        self.0.sessions_lose(edge);
        for cell in self.0.lock().cells.values() {
            if let Life::Awake(actor) = &cell.life {
                let _ = actor.cast(RoomMessage::EdgeGone(edge));
            }
        }
    }

    /// What a room looks like, if it is awake.
    pub async fn inspect(&self, room: RoomId) -> Option<Inspection> {
        let actor = self.0.lock().actor(room)?;
        inspect(&actor).await
    }

    /// The rooms in which most is going on, the hottest first, with their ops per second.
    #[must_use]
    pub fn hottest(&self, most: usize) -> Vec<(RoomId, f32)> {
        let now_ms = self.0.deps.clock.now_ms();
        let mut rooms: Vec<(RoomId, f32)> =
            self.0.lock().cells.iter().map(|(room, cell)| (*room, cell.heat.at(now_ms))).collect();
        rooms.sort_by(|(a, more), (b, less)| less.total_cmp(more).then(a.cmp(b)));
        rooms.truncate(most);
        rooms
    }

    /// The rooms of a shard that are awake, or about to be.
    #[must_use]
    pub fn rooms_of(&self, shard: Shard) -> Vec<RoomId> {
        self.0.lock().cells.keys().copied().filter(|room| Shard::of(*room) == shard).collect()
    }

    /// Ends a room's actor as a fault would: it starts anew from checkpoint and log. For operators, and for tests of the faults.
    pub fn kill(&self, room: RoomId) {
        if let Some(actor) = self.0.lock().actor(room) {
            actor.kill();
        }
    }

    /// Ends a room that was deleted.
    pub fn end(&self, room: RoomId) {
        if let Some(actor) = self.0.lock().actor(room) {
            actor.stop(Some("deleted".to_owned()));
        }
    }

    /// Gives a room that was set aside another chance.
    pub fn release(&self, room: RoomId) {
        self.0.lock().restarts.release(room);
    }

    /// How many rooms are awake.
    #[must_use]
    pub fn awake(&self) -> usize {
        self.0.lock().by_actor.len()
    }

    /// Gives everything up. Nothing is awake afterwards.
    pub async fn stop(&self) {
        let shards: Vec<Shard> = self.owned().into_iter().map(|(shard, _)| shard).collect();
        self.give_up(&shards).await;
        if let Some(supervisor) = self.0.supervisor.get() {
            supervisor.stop(None);
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Rooms> {
        // Nothing under this lock can fail half-way.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a question to its room, which is woken if need be.
    fn tell<T>(
        self: &Arc<Self>,
        room: RoomId,
        reply: Reply<T>,
        write: impl FnOnce(&mut Cell, Reply<T>) -> Result<RoomMessage, (Reply<T>, Refusal)>,
    ) {
        // Answers are given when the lock is free again: who hears one may ask the next thing.
        let mut guard = self.lock();
        let rooms = &mut *guard;
        let Some(epoch) = rooms.shards.open_epoch(Shard::of(room)) else {
            drop(guard);
            return reply.send(Err(Refused::NotOwner));
        };
        if let Some(wait_ms) = rooms.restarts.quarantined_for(room, self.deps.clock.now_ms()) {
            drop(guard);
            return reply.send(Err(set_aside(wait_ms).into()));
        }
        let is_new = !rooms.cells.contains_key(&room);
        let cell = rooms.cells.entry(room).or_insert_with(|| Cell::new(epoch));
        let message = match write(cell, reply) {
            Ok(message) => message,
            Err((reply, refusal)) => {
                drop(guard);
                return reply.send(Err(refusal.into()));
            }
        };
        let (mut too_many, mut ended) = (None, None);
        match &mut cell.life {
            Life::Waking(waiting) if waiting.len() < WAITING => waiting.push(message),
            Life::Waking(_) => too_many = Some(message),
            Life::Awake(actor) => ended = actor.cast(message).err(),
        }
        if is_new {
            self.start_to_wake(room, epoch);
        }
        if ended.is_some() {
            // What became of it is for its supervisor to say. Whoever asks again wakes another.
            rooms.cells.remove(&room);
        }
        drop(guard);
        if let Some(message) = too_many {
            message.refuse(&Refusal::busy("too much is waiting for the room", 500).into());
        }
    }

    /// Gives the notice back if the room is not there.
    fn pass_on(&self, room: RoomId, from: Incarnation, notice: Notice) -> Option<Notice> {
        let mut rooms = self.lock();
        match rooms.cells.get_mut(&room).map(|cell| &mut cell.life) {
            Some(Life::Awake(actor)) => {
                let _ = actor.cast(RoomMessage::Notice { from, notice });
                None
            }
            // In order after an edge's attaching, which woke the room.
            Some(Life::Waking(waiting)) if waiting.len() < WAITING => {
                waiting.push(RoomMessage::Notice { from, notice });
                None
            }
            _ => Some(notice),
        }
    }
}

fn set_aside(wait_ms: u64) -> Refusal {
    let message = "the room failed again and again and was set aside";
    Refusal { retry_after_ms: Some(wait_ms), ..Refusal::new(ErrorCode::RoomUnavailable, message) }
}
