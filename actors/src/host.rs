//! The host: the part of a node that runs rooms, and has the sessions of people. It wakes those of its shards on first use, bounds what waits in front of them,
//! restarts those that crash, sets aside those that crash again and again, and gives shards up.

mod heat;
mod restarts;
mod sessions;
mod shards;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use enfilade_proto::{Epoch, ErrorCode, Member, RoomId, UserId};
use enfilade_store::{Directory, Incarnation, RoomLog, Shard};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot};

use self::heat::Heat;
use self::restarts::Restarts;
use self::sessions::Sessions;
use self::shards::Shards;
pub use self::waiting::Waiting;
use crate::bus::{Attached, Notice, Refused, RoomEvent, Submission, Ticket};
use crate::committer::Committers;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::room::{Audience, Inspection, RoomSettings};
use crate::room_actor::{Admission, Looking, Outdated, RoomActor, RoomArgs, RoomMessage, Sender, Submitted};
use crate::trace::{Side, Tracer};

/// Time as it is handed in, in milliseconds since 1970.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now_ms(&self) -> u64;
}

/// What rooms tell the world.
pub trait Outlet: fmt::Debug + Send + Sync + 'static {
    /// To edges.
    fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent);

    /// The database says that the shard is not this node's any more.
    fn fenced(&self, shard: Shard);
}

/// Bytes of ops that may wait in and in front of one room, and of all rooms of a node. The frames of a few dozen clients at the
/// bound of their own; beyond that the room is busy.
const ROOM_BYTES: usize = 4 << 20;
const NODE_BYTES: usize = 128 << 20;
/// What a message weighs besides its frame.
const MESSAGE_BYTES: u32 = 256;
/// Messages that may wait for a room to wake up.
const WAITING: usize = 16_384;

/// How long rooms may take to write what they have accepted before they are ended.
const SETTLE: Duration = Duration::from_secs(5);

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

/// Where work goes that would hold up others, such as reading a large board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// To a thread for such work.
    Thread,
    /// Nowhere: it is done at once. A simulation that is to run the same way again has no threads.
    Inline,
}

impl Offload {
    /// # Errors
    /// When the work panicked.
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, tokio::task::JoinError> {
        match self {
            Self::Thread => tokio::task::spawn_blocking(work).await,
            Self::Inline => Ok(work()),
        }
    }
}

/// What rooms work with.
#[derive(Debug)]
pub(crate) struct Deps {
    pub(crate) log: Arc<dyn RoomLog>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: RoomSettings,
    pub(crate) committers: Committers,
    pub(crate) offload: Offload,
    pub(crate) tracer: Tracer,
    outlet: OnceLock<Weak<dyn Outlet>>,
}

impl Deps {
    pub(crate) fn publish(&self, room: RoomId, epoch: Epoch, to: Audience, event: RoomEvent) {
        if let Some(outlet) = self.outlet.get().and_then(Weak::upgrade) {
            outlet.publish(room, epoch, to, event);
        }
    }

    fn fenced(&self, shard: Shard) {
        if let Some(outlet) = self.outlet.get().and_then(Weak::upgrade) {
            outlet.fenced(shard);
        }
    }
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

#[derive(Debug, Default)]
struct Rooms {
    shards: Shards,
    /// Every room that somebody wants. Ordered, so that a simulation runs the same way again.
    cells: BTreeMap<RoomId, Cell>,
    by_actor: HashMap<ActorId, (RoomId, Epoch)>,
    restarts: Restarts,
}

/// A room on its way up, or up.
#[derive(Debug)]
struct Cell {
    epoch: Epoch,
    bytes: Arc<Semaphore>,
    heat: Heat,
    life: Life,
}

#[derive(Debug)]
enum Life {
    /// What came meanwhile, in order.
    Waking(Vec<RoomMessage>),
    Awake(ActorRef<RoomMessage>),
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
        self.0.tell(room, reply, |cell, reply| {
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
                    Ok(RoomMessage::Submit(Submitted { from, submission, reply, admission, waiting }))
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

/// Ends rooms that are not to write anything any more.
fn stop(cells: Vec<Cell>) {
    actors(cells).into_iter().for_each(|actor| actor.stop(Some("fenced".to_owned())));
}

/// The actors of rooms that were taken away. Who waits for one that is not awake yet is told to ask again.
fn actors(cells: Vec<Cell>) -> Vec<ActorRef<RoomMessage>> {
    let awake = |cell: Cell| match cell.life {
        Life::Awake(actor) => Some(actor),
        Life::Waking(_) => None,
    };
    cells.into_iter().filter_map(awake).collect()
}

/// Lets rooms finish what they have begun, and ends them.
async fn end(actors: Vec<ActorRef<RoomMessage>>) {
    let settled = futures_util::future::join_all(actors.iter().map(settled));
    let _ = tokio::time::timeout(SETTLE, settled).await;
    for actor in &actors {
        let _ = actor.drain();
    }
    for actor in actors {
        let _ = actor.wait(Some(SETTLE)).await;
    }
}

/// Waits until everything that a room has accepted is on disk and answered.
async fn settled(actor: &ActorRef<RoomMessage>) {
    while inspect(actor).await.is_some_and(|room| room.pending_ops > 0) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn inspect(actor: &ActorRef<RoomMessage>) -> Option<Inspection> {
    let (reply, answer) = oneshot::channel();
    actor.cast(RoomMessage::Inspect(reply)).ok()?;
    answer.await.ok()
}

impl Rooms {
    fn actor(&self, room: RoomId) -> Option<ActorRef<RoomMessage>> {
        match &self.cells.get(&room)?.life {
            Life::Awake(actor) => Some(actor.clone()),
            Life::Waking(_) => None,
        }
    }

    /// Takes the rooms of shards away, with what waits in front of them. Their actors are still to be ended, and what waits is
    /// answered when it is dropped: not under the lock.
    fn remove(&mut self, shards: &[Shard]) -> Vec<Cell> {
        let shards: BTreeSet<Shard> = shards.iter().copied().collect();
        self.cells
            .extract_if(.., |room, _| shards.contains(&Shard::of(*room)))
            .map(|(_, cell)| cell)
            .collect()
    }

    /// Takes an actor's cell away, unless another actor has taken its place.
    fn forget_actor(&mut self, room: RoomId, actor: ActorId) {
        let ours = |it: &Cell| matches!(&it.life, Life::Awake(known) if known.get_id() == actor);
        if self.cells.get(&room).is_some_and(ours) {
            self.cells.remove(&room);
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

    fn start_to_wake(self: &Arc<Self>, room: RoomId, epoch: Epoch) {
        let host = self.clone();
        tokio::spawn(async move {
            match host.wake(room, epoch).await {
                Ok(actor) => host.woken(room, epoch, actor),
                Err(refused) => host.not_woken(room, epoch, &refused),
            }
        });
    }

    fn woken(&self, room: RoomId, epoch: Epoch, actor: ActorRef<RoomMessage>) {
        let mut rooms = self.lock();
        rooms.by_actor.insert(actor.get_id(), (room, epoch));
        match rooms.cells.get_mut(&room) {
            Some(cell) if cell.epoch == epoch && matches!(cell.life, Life::Waking(_)) => {
                let Life::Waking(waiting) = std::mem::replace(&mut cell.life, Life::Awake(actor.clone()))
                else {
                    return;
                };
                for message in waiting {
                    let _ = actor.cast(message);
                }
            }
            // The shard was given up meanwhile.
            _ => actor.stop(Some("not wanted".to_owned())),
        }
    }

    fn not_woken(&self, room: RoomId, epoch: Epoch, refused: &Refused) {
        let cell = {
            let mut rooms = self.lock();
            let ours = |cell: &Cell| cell.epoch == epoch && matches!(cell.life, Life::Waking(_));
            if rooms.cells.get(&room).is_some_and(ours) { rooms.cells.remove(&room) } else { None }
        };
        if let Some(Cell { life: Life::Waking(waiting), .. }) = cell {
            waiting.into_iter().for_each(|message| message.refuse(refused));
        }
    }

    async fn wake(self: &Arc<Self>, room: RoomId, epoch: Epoch) -> Result<ActorRef<RoomMessage>, Refused> {
        let known = self.deps.directory.room(room).await.map_err(|error| {
            tracing::error!(%room, error = &error as &dyn std::error::Error, "the room cannot be looked up");
            Refusal::busy("the database does not answer", 500)
        })?;
        let known = known.ok_or_else(|| Refusal::new(ErrorCode::RoomNotFound, "there is no such room"))?;
        let args = RoomArgs { id: room, kind: known.kind, epoch, deps: self.deps.clone() };
        let supervisor = self.supervisor.get().ok_or_else(|| Refusal::busy("the node is starting", 100))?;
        match Actor::spawn_linked(None, RoomActor, args, supervisor.get_cell()).await {
            Ok((actor, _)) => Ok(actor),
            Err(SpawnErr::StartupFailed(error)) => Err(self.failed_to_wake(room, error)),
            Err(error) => Err(self.failed_to_wake(room, Box::new(error))),
        }
    }

    /// A room whose data cannot be read is as bad as one that crashes; a database that does not answer, or says that somebody else
    /// has the room, is no fault of the room's.
    fn failed_to_wake(&self, room: RoomId, error: ActorProcessingErr) -> Refused {
        if error.downcast_ref::<Outdated>().is_some() {
            self.deps.fenced(Shard::of(room));
            return Refused::NotOwner;
        }
        let refusal = match error.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(error) => Refusal::new(ErrorCode::Internal, error.to_string()),
        };
        if refusal.code == ErrorCode::Internal {
            tracing::error!(%room, error = %refusal, "the room cannot be woken");
            self.crashed(room);
        }
        refusal.into()
    }

    fn crashed(&self, room: RoomId) {
        metrics::counter!("enfilade_room_crashes_total").increment(1);
        let now_ms = self.deps.clock.now_ms();
        if self.lock().restarts.crashed(room, now_ms) {
            metrics::counter!("enfilade_rooms_quarantined_total").increment(1);
            tracing::error!(%room, "the room crashed again and again and is set aside");
        }
    }

    /// An actor is gone. Edges attach again, which wakes the room, here or elsewhere.
    fn ended(&self, actor: ActorId, crash: Option<&ActorProcessingErr>) {
        let (room, epoch) = {
            let mut rooms = self.lock();
            let Some((room, epoch)) = rooms.by_actor.remove(&actor) else { return };
            rooms.forget_actor(room, actor);
            (room, epoch)
        };
        // One that was put to sleep, or given up, has nobody to tell or was told of.
        let Some(error) = crash else { return };
        if error.downcast_ref::<Outdated>().is_some() {
            tracing::warn!(%room, %error, "the room starts anew from the log");
        } else {
            tracing::error!(%room, %error, "the room crashed");
            self.crashed(room);
        }
        // Which edges it had is lost with it.
        self.deps.publish(room, epoch, Audience::Everybody, RoomEvent::OwnerLost);
    }
}

impl Cell {
    fn new(epoch: Epoch) -> Self {
        let bytes = Arc::new(Semaphore::new(ROOM_BYTES));
        Self { epoch, bytes, heat: Heat::default(), life: Life::Waking(Vec::new()) }
    }
}

fn set_aside(wait_ms: u64) -> Refusal {
    let message = "the room failed again and again and was set aside";
    Refusal { retry_after_ms: Some(wait_ms), ..Refusal::new(ErrorCode::RoomUnavailable, message) }
}

/// Survives every death among its rooms.
struct Supervisor;

/// The supervisor is sent nothing but the fates of its rooms.
enum Never {}

impl Actor for Supervisor {
    type Msg = Never;
    type State = Weak<Inner>;
    type Arguments = Weak<Inner>;

    async fn pre_start(
        &self,
        _: ActorRef<Never>,
        host: Weak<Inner>,
    ) -> Result<Weak<Inner>, ActorProcessingErr> {
        Ok(host)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Never>,
        event: SupervisionEvent,
        host: &mut Weak<Inner>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(host) = host.upgrade() else { return Ok(()) };
        match event {
            SupervisionEvent::ActorFailed(actor, error) => host.ended(actor.get_id(), Some(&error)),
            SupervisionEvent::ActorTerminated(actor, _, reason) => {
                let killed =
                    (reason.as_deref() == Some("killed")).then(|| ActorProcessingErr::from("killed"));
                host.ended(ActorCell::get_id(&actor), killed.as_ref());
            }
            _ => {}
        }
        Ok(())
    }
}
