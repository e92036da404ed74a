//! The room actor: carries out what [`Room`] decides. One drives any kind of room.
//!
//! No handler waits for the database: commits and checkpoints go out, and their outcome comes back as a message.

mod traced;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use enfilade_proto::{Epoch, Member, RoomId, RoomKind, Seq, UserId};
use enfilade_store::{Batch, Checkpoint, Incarnation, LogRow};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use self::traced::TracedOps;
use crate::bus::{Attached, Notice, Refused, RoomEvent, Submission, Ticket};
use crate::committer::{Commit, CommitRequest};
use crate::host::Deps;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::room::{CHECKPOINT_FORM, CheckpointParts, Effect, Input, Inspection, Room, Token, write_row};
use crate::stopwatch::Stopwatch;

/// How many bytes of log are read at a time while a room wakes up.
const READ_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(crate) enum RoomMessage {
    Submit(Submitted),
    Attach(Looking),
    Notice {
        from: Incarnation,
        notice: Notice,
    },
    EdgeGone(Incarnation),
    Committed(Commit),
    /// Its seq and its bytes, if it was written.
    CheckpointWritten(Option<(Seq, u64)>),
    Tick,
    People {
        after: Option<UserId>,
        limit: usize,
        reply: Reply<Vec<Member>>,
    },
    Inspect(oneshot::Sender<Inspection>),
}

/// An op on its way into the room.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) from: Sender,
    pub(crate) submission: Submission,
    pub(crate) reply: Reply<Seq>,
    pub(crate) admission: Admission,
}

/// From which edge an op comes, and what it has to come after.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) edge: Incarnation,
    pub(crate) ticket: Ticket,
    pub(crate) after: Option<Ticket>,
}

/// Somebody who wants to see the room.
#[derive(Debug)]
pub(crate) struct Looking {
    pub(crate) edge: Option<Incarnation>,
    pub(crate) contents: bool,
    pub(crate) reply: Reply<Attached>,
}

impl RoomMessage {
    /// Answers no, if it wants an answer.
    pub(crate) fn refuse(self, refused: &Refused) {
        match self {
            Self::Submit(submitted) => submitted.reply.send(Err(refused.clone())),
            Self::Attach(looking) => looking.reply.send(Err(refused.clone())),
            _ => {}
        }
    }
}

/// The room taken up by a message, from before it enters the mailbox until it is answered.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) _room: OwnedSemaphorePermit,
    pub(crate) _node: OwnedSemaphorePermit,
}

pub(crate) struct RoomActor;

pub(crate) struct RoomArgs {
    pub(crate) id: RoomId,
    pub(crate) kind: RoomKind,
    pub(crate) epoch: Epoch,
    pub(crate) deps: Arc<Deps>,
}

pub(crate) struct RoomState {
    id: RoomId,
    epoch: Epoch,
    deps: Arc<Deps>,
    room: Room,
    next_token: u64,
    /// The op that came last from each edge.
    streams: BTreeMap<Incarnation, Ticket>,
    submitters: BTreeMap<Token, (Reply<Seq>, Admission)>,
    /// Those of them whose ops are traced.
    traced: TracedOps,
    readers: BTreeMap<Token, Reply<Attached>>,
    timer: Option<Timer>,
}

struct Timer {
    at_ms: u64,
    task: JoinHandle<()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Actor for RoomActor {
    type Msg = RoomMessage;
    /// Boxed: the actor's loop holds its state several times over.
    type State = Box<RoomState>;
    type Arguments = RoomArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RoomMessage>,
        args: RoomArgs,
    ) -> Result<Box<RoomState>, ActorProcessingErr> {
        let room = load(&args).await?;
        let RoomArgs { id, epoch, deps, .. } = args;
        metrics::gauge!("enfilade_rooms_awake").increment(1);
        let mut state = Box::new(RoomState {
            id,
            epoch,
            deps,
            room,
            next_token: 0,
            streams: BTreeMap::new(),
            submitters: BTreeMap::new(),
            traced: TracedOps::default(),
            readers: BTreeMap::new(),
            timer: None,
        });
        state.set_timer(&myself);
        Ok(state)
    }

    /// What awaits is as large as what it holds, for every room that there is: that is what is to be committed, and nothing else.
    fn handle(
        &self,
        myself: ActorRef<RoomMessage>,
        message: RoomMessage,
        state: &mut Box<RoomState>,
    ) -> impl Future<Output = Result<(), ActorProcessingErr>> + Send {
        let requests = state.take(&myself, message);
        let deps = &state.deps;
        async move {
            for request in requests? {
                deps.committers.commit(request).await;
            }
            Ok(())
        }
    }
}

impl Drop for RoomState {
    fn drop(&mut self) {
        metrics::gauge!("enfilade_rooms_awake").decrement(1);
    }
}

/// Reads a room from the database, after everything that a predecessor may have left in the committer.
async fn load(args: &RoomArgs) -> Result<Room, ActorProcessingErr> {
    let deps = &args.deps;
    let (done, outcome) = oneshot::channel();
    let batch = empty_batch(args.id, args.epoch, Seq(1));
    let done = Box::new(|commit| _ = done.send(commit));
    deps.committers.commit(CommitRequest { batch, done, spans: Vec::new() }).await;
    match outcome.await {
        Ok(Commit::Done) => {}
        Ok(Commit::Fenced) => return Err(Box::new(Outdated::Fenced)),
        Ok(Commit::Failed | Commit::Unknown) | Err(_) => {
            return Err(Box::new(Refusal::busy("the database does not answer", 500)));
        }
    }
    let checkpoint = deps.log.checkpoint(args.id).await.map_err(|error| unreadable(args.id, &error))?;
    let rows =
        read_log(deps, args.id, checkpoint.as_ref().map_or(Seq(0), |checkpoint| checkpoint.seq)).await?;
    let (id, kind, epoch, settings) = (args.id, args.kind, args.epoch, deps.settings.clone());
    let now_ms = deps.clock.now_ms();
    // A large board takes a good part of a second to read.
    let work = move || Room::load(id, kind, epoch, settings, checkpoint.as_ref(), &rows, now_ms);
    Ok(deps.offload.run(work).await.map_err(|error| unreadable(id, &error))??)
}

async fn read_log(deps: &Deps, room: RoomId, mut after: Seq) -> Result<Vec<LogRow>, Refusal> {
    let mut rows = Vec::new();
    loop {
        let more = deps.log.read(room, after, READ_BYTES).await.map_err(|error| unreadable(room, &error))?;
        let Some(last) = more.last() else { return Ok(rows) };
        after = last.last;
        rows.extend(more);
    }
}

fn unreadable(room: RoomId, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(%room, error, "the room cannot be read");
    Refusal::busy("the room cannot be read right now", 1_000)
}

fn empty_batch(room: RoomId, epoch: Epoch, first: Seq) -> Batch {
    Batch { room, epoch, first, last: Seq(first.0 - 1), at_ms: 0, ops: bytes::Bytes::new() }
}

impl RoomState {
    /// Takes a message in. Returns what is to be committed, in this order.
    fn take(
        &mut self,
        myself: &ActorRef<RoomMessage>,
        message: RoomMessage,
    ) -> Result<Vec<CommitRequest>, ActorProcessingErr> {
        let Some(input) = self.read(message)? else { return Ok(Vec::new()) };
        let mut effects = Vec::new();
        self.room.handle(self.deps.clock.now_ms(), input, &mut effects);
        let requests = effects.into_iter().filter_map(|effect| self.carry_out(myself, effect)).collect();
        self.set_timer(myself);
        Ok(requests)
    }

    /// What a message means to the room. `Err` ends the actor: its supervisor starts it anew from the log.
    fn read(&mut self, message: RoomMessage) -> Result<Option<Input>, ActorProcessingErr> {
        Ok(Some(match message {
            RoomMessage::Submit(submitted) => {
                let Submitted { from, submission, mut reply, admission } = submitted;
                let Sender { edge, ticket, after } = from;
                if after.is_some() && self.streams.get(&edge).copied() != after {
                    // The one before it was lost on the way; both come again.
                    reply.send(Err(Refused::Gone));
                    return Ok(None);
                }
                self.streams.insert(edge, ticket);
                let token = self.token();
                if let Some(waited) = reply.take_step() {
                    let (tracer, parent) = (&self.deps.tracer, waited.context());
                    self.traced.begin(tracer, self.id, token, &submission, parent);
                }
                self.submitters.insert(token, (reply, admission));
                Input::Submit { token, submission }
            }
            RoomMessage::Attach(Looking { edge, contents, reply }) => {
                let token = self.token();
                self.readers.insert(token, reply);
                Input::Attach { token, edge, contents }
            }
            RoomMessage::Notice { from, notice } => Input::Notice { from, notice },
            RoomMessage::EdgeGone(edge) => {
                self.streams.remove(&edge);
                Input::EdgeGone(edge)
            }
            RoomMessage::Committed(Commit::Done) => Input::Committed,
            RoomMessage::Committed(Commit::Failed) => Input::CommitFailed,
            RoomMessage::Committed(Commit::Fenced) => return Err(Box::new(Outdated::Fenced)),
            RoomMessage::Committed(Commit::Unknown) => return Err(Box::new(Outdated::Unknown)),
            RoomMessage::CheckpointWritten(Some((seq, bytes))) => Input::CheckpointWritten { seq, bytes },
            RoomMessage::CheckpointWritten(None) => Input::CheckpointFailed,
            RoomMessage::Tick => {
                self.timer = None;
                Input::Tick
            }
            RoomMessage::People { after, limit, reply } => {
                reply.send(Ok(self.room.people(after, limit)));
                return Ok(None);
            }
            RoomMessage::Inspect(reply) => {
                let _ = reply.send(self.room.inspect());
                return Ok(None);
            }
        }))
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    /// Returns what is to be committed.
    fn carry_out(&mut self, myself: &ActorRef<RoomMessage>, effect: Effect) -> Option<CommitRequest> {
        match effect {
            Effect::Commit { first, ops } => {
                let last = Seq(first.0 + ops.len() as u64 - 1);
                let batch = if ops.is_empty() {
                    empty_batch(self.id, self.epoch, first)
                } else {
                    let at_ms = self.deps.clock.now_ms();
                    Batch { room: self.id, epoch: self.epoch, first, last, at_ms, ops: write_row(&ops) }
                };
                let room = myself.clone();
                let done = Box::new(move |commit| drop(room.cast(RoomMessage::Committed(commit))));
                let spans = self.traced.commit(&self.deps.tracer, &ops);
                return Some(CommitRequest { batch, done, spans });
            }
            Effect::Accept { token, seq } => self.answer(token, Ok(seq)),
            Effect::Refuse { token, refusal } => match self.readers.remove(&token) {
                Some(reply) => reply.send(Err(refusal.into())),
                None => self.answer(token, Err(refusal)),
            },
            Effect::Attached { token, attached } => {
                if let Some(reply) = self.readers.remove(&token) {
                    reply.send(Ok(attached));
                }
            }
            Effect::Publish { to, mut event } => {
                if let RoomEvent::Ops { ops, traces, .. } = &mut event {
                    *traces = self.traced.of(ops);
                }
                self.deps.publish(self.id, self.epoch, to, event);
            }
            Effect::Checkpoint { seq, parts } => self.write_checkpoint(myself.clone(), seq, parts),
            Effect::Sleep => myself.stop(Some("idle".to_owned())),
        }
        None
    }

    fn answer(&mut self, token: Token, result: Result<Seq, Refusal>) {
        self.traced.answered(token, &result);
        if let Some((reply, _admission)) = self.submitters.remove(&token) {
            reply.send(result.map_err(Refused::from));
        }
    }

    fn write_checkpoint(&self, myself: ActorRef<RoomMessage>, seq: Seq, parts: CheckpointParts) {
        let (room, epoch, deps) = (self.id, self.epoch, self.deps.clone());
        tokio::spawn(async move {
            let (at_ms, watch) = (deps.clock.now_ms(), Stopwatch::start());
            let written = match deps.offload.run(move || parts.write()).await {
                Ok(body) => {
                    let bytes = body.len() as u64;
                    let checkpoint = Checkpoint { room, seq, epoch, format: CHECKPOINT_FORM, body, at_ms };
                    let put = deps.log.put_checkpoint(&checkpoint).await;
                    put.map(|()| bytes).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            let outcome = if written.is_ok() { "ok" } else { "error" };
            metrics::counter!("enfilade_checkpoints_total", "outcome" => outcome).increment(1);
            metrics::histogram!("enfilade_checkpoint_seconds").record(watch.seconds());
            if let Err(error) = &written {
                tracing::warn!(%room, %seq, error, "the checkpoint could not be written; the log has everything");
            }
            let _ = myself.cast(RoomMessage::CheckpointWritten(written.ok().map(|bytes| (seq, bytes))));
        });
    }

    fn set_timer(&mut self, myself: &ActorRef<RoomMessage>) {
        let Some(at_ms) = self.room.next_deadline() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|timer| timer.at_ms == at_ms) {
            return;
        }
        let wait = Duration::from_millis(at_ms.saturating_sub(self.deps.clock.now_ms()));
        let room = myself.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = room.cast(RoomMessage::Tick);
        });
        self.timer = Some(Timer { at_ms, task });
    }
}

/// The actor's state is not the truth any more; it has to be read anew. No fault of the room's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Outdated {
    #[error("another owner has written to the room")]
    Fenced,
    #[error("the outcome of a commit is not known")]
    Unknown,
}
