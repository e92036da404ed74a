//! The host: the part of a node that runs rooms. It wakes them on first use, bounds what waits in front of them, restarts those
//! that crash, and sets aside those that crash again and again.

mod restarts;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use enfilade_proto::{Epoch, ErrorCode, RoomId};
use enfilade_store::{Directory, Incarnation, RoomLog, Shard, StoreError};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use tokio::sync::{OnceCell, Semaphore, oneshot};

use self::restarts::Restarts;
use crate::bus::{Answer, Attached, Bus, Notice, RoomEvent, Submission};
use crate::committer::Committer;
use crate::presence::EdgeId;
use crate::refusal::Refusal;
use crate::room::{Inspection, RoomSettings};
use crate::room_actor::{Admission, Outdated, RoomActor, RoomArgs, RoomMessage};

/// Time as it is handed in, in milliseconds since 1970.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now_ms(&self) -> u64;
}

/// Bytes of ops that may wait in and in front of one room, and of all rooms of a node. The frames of a few dozen clients at the
/// bound of their own; beyond that the room is busy.
const ROOM_BYTES: usize = 4 << 20;
const NODE_BYTES: usize = 128 << 20;
/// What a message weighs besides its frame.
const MESSAGE_BYTES: u32 = 256;

/// How long rooms may take to write what they have accepted when the node stops.
const SETTLE: Duration = Duration::from_secs(5);
/// How long an edge waits for the state of a room.
const ATTACH: Duration = Duration::from_secs(10);

/// What rooms work with.
#[derive(Debug)]
pub struct Deps {
    pub log: Arc<dyn RoomLog>,
    pub directory: Arc<dyn Directory>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub settings: RoomSettings,
    pub committer: Committer,
}

/// The way to the rooms of this node.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

/// The same, for those whom the rooms themselves hold on to.
#[derive(Clone)]
pub struct WeakHost(Weak<Inner>);

impl fmt::Debug for WeakHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakHost")
    }
}

impl WeakHost {
    #[must_use]
    pub fn upgrade(&self) -> Option<Host> {
        self.0.upgrade().map(Host)
    }
}

struct Inner {
    deps: Arc<Deps>,
    /// The epoch in which this node owns each shard.
    epochs: HashMap<Shard, Epoch>,
    rooms: Mutex<Rooms>,
    node_bytes: Arc<Semaphore>,
    supervisor: OnceCell<ActorRef<Never>>,
}

#[derive(Debug, Default)]
struct Rooms {
    /// A cell per room that is wanted; whoever comes first fills it, the others wait for that.
    cells: HashMap<RoomId, Arc<OnceCell<Handle>>>,
    by_actor: HashMap<ActorId, RoomId>,
    restarts: Restarts,
    /// No room is woken any more.
    stopping: bool,
}

#[derive(Clone, Debug)]
struct Handle {
    actor: ActorRef<RoomMessage>,
    bytes: Arc<Semaphore>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("awake", &self.awake()).finish_non_exhaustive()
    }
}

impl Host {
    /// Claims every shard for this node and starts the supervisor of its rooms.
    ///
    /// # Errors
    /// When the shards cannot be claimed.
    pub async fn start(
        log: Arc<dyn RoomLog>,
        directory: Arc<dyn Directory>,
        bus: Arc<dyn Bus>,
        clock: Arc<dyn Clock>,
        settings: RoomSettings,
        incarnation: Incarnation,
    ) -> Result<Self, StoreError> {
        let shards: Vec<Shard> = Shard::all().collect();
        let epochs = log.claim(incarnation, &shards).await?.into_iter().collect();
        let committer = Committer::start(log.clone(), incarnation);
        let deps = Arc::new(Deps { log, directory, bus, clock, settings, committer });
        let inner = Arc::new(Inner {
            deps,
            epochs,
            rooms: Mutex::default(),
            node_bytes: Arc::new(Semaphore::new(NODE_BYTES)),
            supervisor: OnceCell::new(),
        });
        let spawned = Actor::spawn(None, Supervisor, Arc::downgrade(&inner)).await;
        let (supervisor, _) = spawned.map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let _ = inner.supervisor.set(supervisor);
        Ok(Self(inner))
    }

    #[must_use]
    pub fn downgrade(&self) -> WeakHost {
        WeakHost(Arc::downgrade(&self.0))
    }

    /// See [`Bus::submit`].
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    pub async fn submit(&self, room: RoomId, submission: Submission) -> Result<Answer, Refusal> {
        // Once more, if the room went to sleep just now.
        for _ in 0..2 {
            let handle = self.0.awake(room).await?;
            let admission = self.0.admit(&handle, submission.weight)?;
            let (reply, answer) = oneshot::channel();
            if self.0.cast(&handle, RoomMessage::Submit { submission: submission.clone(), reply, admission })
            {
                return Ok(Answer(answer));
            }
        }
        Err(Refusal::busy("the room is restarting", 200))
    }

    /// See [`Bus::attach`].
    ///
    /// # Errors
    /// `room_not_found`, `room_unavailable`, `busy`.
    pub async fn attach(&self, room: RoomId, edge: EdgeId) -> Result<Attached, Refusal> {
        self.look(room, Some(edge)).await
    }

    /// See [`Bus::read`].
    ///
    /// # Errors
    /// As [`Host::attach`].
    pub async fn read(&self, room: RoomId) -> Result<Attached, Refusal> {
        self.look(room, None).await
    }

    async fn look(&self, room: RoomId, edge: Option<EdgeId>) -> Result<Attached, Refusal> {
        // Once more, if the room went to sleep or crashed with the request in its mailbox.
        for _ in 0..2 {
            let handle = self.0.awake(room).await?;
            let (reply, answer) = oneshot::channel();
            if !self.0.cast(&handle, RoomMessage::Attach { edge, reply }) {
                continue;
            }
            match tokio::time::timeout(ATTACH, answer).await {
                Ok(Ok(result)) => return result,
                Ok(Err(_)) => {}
                Err(_) => return Err(Refusal::busy("the room does not answer", 1_000)),
            }
        }
        Err(Refusal::busy("the room is restarting", 200))
    }

    /// Tells a room something, if it is awake: what it hears of matters only to a room that somebody is in.
    pub fn notify(&self, room: RoomId, notice: Notice) {
        let handle = self.0.lock().cells.get(&room).and_then(|cell| cell.get().cloned());
        if let Some(handle) = handle {
            let _ = handle.actor.cast(RoomMessage::Notice(notice));
        }
    }

    /// What a room looks like, if it is awake.
    pub async fn inspect(&self, room: RoomId) -> Option<Inspection> {
        let handle = self.0.lock().cells.get(&room).and_then(|cell| cell.get().cloned())?;
        let (reply, answer) = oneshot::channel();
        handle.actor.cast(RoomMessage::Inspect(reply)).ok()?;
        answer.await.ok()
    }

    /// Ends a room's actor as a fault would: it starts anew from checkpoint and log. For operators, and for tests of the faults.
    pub fn kill(&self, room: RoomId) {
        if let Some(handle) = self.0.lock().cells.get(&room).and_then(|cell| cell.get().cloned()) {
            handle.actor.kill();
        }
    }

    /// Ends a room that was deleted.
    pub fn end(&self, room: RoomId) {
        if let Some(handle) = self.0.lock().cells.get(&room).and_then(|cell| cell.get().cloned()) {
            handle.actor.stop(Some("deleted".to_owned()));
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

    /// Lets every room finish what it has begun, and ends it. Nothing is awake afterwards.
    pub async fn stop(&self) {
        let handles: Vec<Handle> = {
            let mut rooms = self.0.lock();
            rooms.stopping = true;
            rooms.cells.drain().filter_map(|(_, cell)| cell.get().cloned()).collect()
        };
        let settled = futures_util::future::join_all(handles.iter().map(settled));
        let _ = tokio::time::timeout(SETTLE, settled).await;
        for handle in &handles {
            let _ = handle.actor.drain();
        }
        for handle in handles {
            let _ = handle.actor.wait(Some(Duration::from_secs(5))).await;
        }
        if let Some(supervisor) = self.0.supervisor.get() {
            supervisor.stop(None);
        }
    }
}

/// Waits until everything that a room has accepted is on disk and answered.
async fn settled(handle: &Handle) {
    loop {
        let (reply, answer) = oneshot::channel();
        let asked = handle.actor.cast(RoomMessage::Inspect(reply)).is_ok();
        match answer.await {
            Ok(room) if asked && room.pending_ops > 0 => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => return,
        }
    }
}

impl Rooms {
    /// Takes an actor's cell away, unless another actor has taken its place.
    fn forget_cell(&mut self, room: RoomId, actor: ActorId) {
        let same =
            |cell: &Arc<OnceCell<Handle>>| cell.get().is_some_and(|handle| handle.actor.get_id() == actor);
        if self.cells.get(&room).is_some_and(same) {
            self.cells.remove(&room);
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Rooms> {
        // Nothing under this lock can fail half-way.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message. False if the room is gone.
    fn cast(&self, handle: &Handle, message: RoomMessage) -> bool {
        let sent = handle.actor.cast(message).is_ok();
        if !sent {
            // Only out of the way: what became of it is for its supervisor to say.
            let mut rooms = self.lock();
            if let Some(room) = rooms.by_actor.get(&handle.actor.get_id()).copied() {
                rooms.forget_cell(room, handle.actor.get_id());
            }
        }
        sent
    }

    fn admit(&self, handle: &Handle, weight: u32) -> Result<Admission, Refusal> {
        let weight = weight + MESSAGE_BYTES;
        let full = |_| Refusal::busy("too many ops are waiting", 200);
        Ok(Admission {
            _room: handle.bytes.clone().try_acquire_many_owned(weight).map_err(full)?,
            _node: self.node_bytes.clone().try_acquire_many_owned(weight).map_err(full)?,
        })
    }

    async fn awake(self: &Arc<Self>, room: RoomId) -> Result<Handle, Refusal> {
        let cell = {
            let mut rooms = self.lock();
            if rooms.stopping {
                return Err(Refusal::busy("the node is stopping", 1_000));
            }
            if let Some(wait_ms) = rooms.restarts.quarantined_for(room, self.deps.clock.now_ms()) {
                return Err(set_aside(wait_ms));
            }
            rooms.cells.entry(room).or_default().clone()
        };
        let result = cell.get_or_try_init(|| self.wake(room)).await.cloned();
        if result.is_err() {
            self.drop_empty(room, cell);
        }
        result
    }

    /// A cell that could not be filled must not stay: rooms that do not exist would fill the memory. But as long as somebody else
    /// holds it, it may yet be filled, and a second cell beside it would make a second owner.
    fn drop_empty(&self, room: RoomId, cell: Arc<OnceCell<Handle>>) {
        let mut rooms = self.lock();
        let same = |known: &Arc<OnceCell<Handle>>| Arc::ptr_eq(known, &cell);
        let ours = !cell.initialized() && rooms.cells.get(&room).is_some_and(same);
        // Under the lock, so that the last of those who failed finds itself alone.
        drop(cell);
        if ours && rooms.cells.get(&room).is_some_and(|known| Arc::strong_count(known) == 1) {
            rooms.cells.remove(&room);
        }
    }

    async fn wake(self: &Arc<Self>, room: RoomId) -> Result<Handle, Refusal> {
        let known = self.deps.directory.room(room).await.map_err(|error| {
            tracing::error!(%room, error = &error as &dyn std::error::Error, "the room cannot be looked up");
            Refusal::busy("the database does not answer", 500)
        })?;
        let known = known.ok_or_else(|| Refusal::new(ErrorCode::RoomNotFound, "there is no such room"))?;
        let epoch = self.epochs.get(&Shard::of(room)).copied();
        let epoch = epoch.ok_or_else(|| Refusal::busy("the room has another owner", 100))?;
        let args = RoomArgs { id: room, kind: known.kind, epoch, deps: self.deps.clone() };
        let supervisor = self.supervisor.get().ok_or_else(|| Refusal::busy("the node is starting", 100))?;
        match Actor::spawn_linked(None, RoomActor, args, supervisor.get_cell()).await {
            Ok((actor, _)) => {
                self.lock().by_actor.insert(actor.get_id(), room);
                Ok(Handle { actor, bytes: Arc::new(Semaphore::new(ROOM_BYTES)) })
            }
            Err(SpawnErr::StartupFailed(error)) => Err(self.failed_to_wake(room, error)),
            Err(error) => Err(self.failed_to_wake(room, Box::new(error))),
        }
    }

    /// A room whose data cannot be read is as bad as one that crashes; a database that does not answer is no fault of the room's.
    fn failed_to_wake(&self, room: RoomId, error: ActorProcessingErr) -> Refusal {
        let refusal = match error.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(error) => Refusal::new(ErrorCode::Internal, error.to_string()),
        };
        if refusal.code == ErrorCode::Internal {
            tracing::error!(%room, error = %refusal, "the room cannot be woken");
            self.crashed(room);
        }
        refusal
    }

    fn crashed(&self, room: RoomId) {
        metrics::counter!("enfilade_room_crashes_total").increment(1);
        let now_ms = self.deps.clock.now_ms();
        if self.lock().restarts.crashed(room, now_ms) {
            metrics::counter!("enfilade_rooms_quarantined_total").increment(1);
            tracing::error!(%room, "the room crashed again and again and is set aside");
        }
    }

    /// An actor is gone. Edges attach again, which wakes the room.
    fn ended(&self, actor: ActorId, crash: Option<&ActorProcessingErr>) {
        let room = {
            let mut rooms = self.lock();
            let Some(room) = rooms.by_actor.remove(&actor) else { return };
            rooms.forget_cell(room, actor);
            room
        };
        if let Some(error) = crash {
            tracing::error!(%room, %error, "the room crashed");
            if error.downcast_ref::<Outdated>().is_none() {
                self.crashed(room);
            }
        }
        self.deps.bus.publish(room, &[], RoomEvent::OwnerLost);
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
