//! A room as this edge has it: its mirror, which hubs have members, and the way to its owner.
//!
//! Whoever joins must see everything that was acknowledged before, wherever that was. So each join asks the owner where the room
//! stands, once for however many join at a time (single flight); the snapshot and the ops come out of the mirror. When the owner is
//! lost, or ops are missing, the edge attaches again and reads what it missed from the log; the members notice nothing.

mod hearing;
mod reporting;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use enfilade_actors::Refusal;
use enfilade_actors::bus::{Attached, Notice, RoomEvent};
use enfilade_actors::kind::owner_hears;
use enfilade_actors::room::read_row;
use enfilade_proto::{Epoch, ErrorCode, LoggedOp, Member, Position, RoomId, RoomKind, Seq, UserId};
use enfilade_store::Incarnation;

use super::Ends;
use super::mirror::{Cursor, MirrorState, News, Taken};
use super::next_answer::NextAnswers;
use super::snapshot::{Field, Reads, SharedSnapshot};

/// Events that may come while the edge attaches. Beyond that it attaches once more.
const BUFFERED: usize = 1_024;
/// Between attempts to reach an owner: doubled each time, up to the latter.
const RETRY: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_secs(2);
/// How much of a log is read at a time.
const READ_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct EdgeRoom {
    pub(crate) id: RoomId,
    ends: Arc<Ends>,
    kind: OnceLock<RoomKind>,
    state: Mutex<State>,
    /// Held by whoever attaches.
    attaching: tokio::sync::Mutex<()>,
    /// The present state, for all who want it.
    refreshed: Arc<NextAnswers<(), Result<(), Refusal>>>,
}

#[derive(Debug, Default)]
struct State {
    mirror: Option<MirrorState>,
    /// Whether the mirror hears everything. If not, somebody is about to attach, and events wait.
    live: bool,
    waiting: Vec<(Epoch, RoomEvent)>,
    overflown: bool,
    /// The edges that are attached, and whether they listen to the room together.
    edges: Vec<Incarnation>,
    multicast: bool,
    /// Per hub: how many members it has, and whether it knows that there is news.
    hubs: Vec<HubInterest>,
    /// The owner was told of a crowd just now, and will be again.
    reporting: bool,
    /// The room was given up; whoever still holds it looks for a new one.
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct HubInterest {
    members: usize,
    told: bool,
}

/// What a joiner is told, and where they stand then.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) kind: RoomKind,
    pub(crate) position: Position,
    pub(crate) snapshot: Option<Shown>,
    pub(crate) ops: Vec<Arc<LoggedOp>>,
    pub(crate) presence: enfilade_proto::Presence,
    pub(crate) cursor: Cursor,
}

/// A snapshot, and as what it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) snapshot: Arc<SharedSnapshot>,
    pub(crate) field: Field,
}

/// Who joins, where.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub(crate) hub: usize,
    pub(crate) comes: As,
    pub(crate) since: Option<Position>,
    pub(crate) reads: Reads,
}

/// As what somebody comes into a room.
#[derive(Clone, Debug)]
pub(crate) enum As {
    Member(Member),
    /// To watch: counted, not listed.
    Audience,
}

/// What somebody who came in gives back when they leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Member(UserId),
    Audience,
}

impl As {
    pub(crate) fn came(&self) -> Came {
        match self {
            Self::Member(member) => Came::Member(member.id),
            Self::Audience => Came::Audience,
        }
    }
}

impl EdgeRoom {
    pub(crate) fn new(id: RoomId, ends: Arc<Ends>) -> Self {
        let hubs = vec![HubInterest::default(); ends.hubs.len()];
        let state = State { hubs, ..State::default() };
        Self {
            id,
            ends,
            kind: OnceLock::new(),
            state: Mutex::new(state),
            attaching: tokio::sync::Mutex::default(),
            refreshed: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes somebody a member and says what they have to know. `Ok(None)`: the room was given up meanwhile; take a new one.
    ///
    /// # Errors
    /// When the owner refuses, or cannot be reached.
    pub(crate) async fn join(self: &Arc<Self>, joiner: &Joiner) -> Result<Option<Joining>, Refusal> {
        loop {
            self.refresh().await?;
            // Writing a large snapshot takes a while: before the lock, not under it.
            let snapshot = {
                let state = self.lock();
                if state.closed {
                    return Ok(None);
                }
                let Some(mirror) = &state.mirror else { continue };
                if resumes(mirror, joiner.since) { None } else { Some(mirror.snapshot()) }
            };
            match snapshot {
                // The ring has moved past the snapshot: the next look at the owner brings a fresh one.
                Some(None) => {}
                Some(Some(snapshot)) => {
                    let field = snapshot.field(joiner.reads, self.ends.offload).await;
                    if let Some(joining) = self.enter(joiner, Some(Shown { snapshot, field })) {
                        return Ok(Some(joining));
                    }
                }
                None => {
                    if let Some(joining) = self.enter(joiner, None) {
                        return Ok(Some(joining));
                    }
                }
            }
        }
    }

    /// The moment of joining. None if the mirror has moved on too far, or is gone.
    fn enter(self: &Arc<Self>, joiner: &Joiner, shown: Option<Shown>) -> Option<Joining> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let mirror = state.mirror.as_mut()?;
        let known = match (&shown, joiner.since) {
            (Some(shown), _) => shown.snapshot.position.seq,
            (None, since) => since?.seq,
        };
        if !mirror.covers(known) {
            return None;
        }
        match &joiner.comes {
            As::Member(member) => mirror.here.arrive(member.clone()),
            As::Audience => mirror.here.watch(),
        }
        let joining = Joining {
            kind: mirror.kind,
            position: mirror.position(),
            snapshot: shown,
            ops: mirror.ops_after(known),
            presence: mirror.presence(),
            cursor: mirror.cursor(),
        };
        state.hubs[joiner.hub].members += 1;
        self.report(&mut state);
        Some(joining)
    }

    /// Undoes a join.
    pub(crate) fn leave(self: &Arc<Self>, hub: usize, came: Came) {
        let mut state = self.lock();
        state.hubs[hub].members = state.hubs[hub].members.saturating_sub(1);
        let Some(mirror) = state.mirror.as_mut() else { return };
        match came {
            Came::Member(user) => mirror.here.depart(user),
            Came::Audience => mirror.here.unwatch(),
        }
        let deserted = mirror.here.is_deserted();
        self.report(&mut state);
        if deserted {
            drop(state);
            self.close_if_deserted_for_long();
        }
    }

    /// Gives the room up when nobody has come back for a while. A mirror that was just used is likely to be used again.
    fn close_if_deserted_for_long(self: &Arc<Self>) {
        let room = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(room.ends.linger).await;
            let mut state = room.lock();
            let deserted = state.mirror.as_ref().is_none_or(|mirror| mirror.here.is_deserted());
            if deserted && !state.closed {
                // Under the lock: whoever comes next attaches after the owner has heard of this.
                room.close(&mut state);
            }
        });
    }

    fn close(self: &Arc<Self>, state: &mut State) {
        state.closed = true;
        self.ends.cluster.notify(self.id, Notice::Detached);
        if state.multicast {
            self.ends.cluster.listen(self.id, false);
        }
        self.ends.forget(self);
    }

    /// What came since `cursor`, for a hub; from now on it will be told of news again.
    pub(crate) fn news_for_hub(&self, hub: usize, cursor: &mut Cursor) -> News {
        let mut state = self.lock();
        state.hubs[hub].told = false;
        state.mirror.as_ref().map_or_else(News::default, |mirror| mirror.news(cursor))
    }

    /// What came between two cursors, for one connection that catches up with its hub.
    pub(crate) fn news_until(&self, after: Cursor, until: Cursor) -> News {
        self.lock().mirror.as_ref().map_or_else(News::default, |mirror| mirror.news_until(after, until))
    }

    /// The room as it stands, for somebody who fell too far behind.
    ///
    /// # Errors
    /// When the owner cannot be reached.
    pub(crate) async fn reset(self: &Arc<Self>, reads: Reads) -> Result<Joining, Refusal> {
        loop {
            self.refresh().await?;
            let snapshot = self.lock().mirror.as_ref().and_then(MirrorState::snapshot);
            let Some(snapshot) = snapshot else { continue };
            let (field, seq) = (snapshot.field(reads, self.ends.offload).await, snapshot.position.seq);
            let state = self.lock();
            let Some(mirror) = state.mirror.as_ref().filter(|mirror| mirror.covers(seq)) else { continue };
            return Ok(Joining {
                kind: mirror.kind,
                position: mirror.position(),
                ops: mirror.ops_after(seq),
                presence: mirror.presence(),
                cursor: mirror.cursor(),
                snapshot: Some(Shown { snapshot, field }),
            });
        }
    }

    /// A recent snapshot, for those who fetch it before they join. `Ok(None)`: the room was given up meanwhile; take a new one.
    ///
    /// # Errors
    /// When the owner refuses, or cannot be reached.
    pub(crate) async fn latest_snapshot(self: &Arc<Self>) -> Result<Option<Arc<SharedSnapshot>>, Refusal> {
        loop {
            {
                let state = self.lock();
                if state.closed {
                    return Ok(None);
                }
                let live = state.mirror.as_ref().filter(|_| state.live);
                if let Some(snapshot) = live.and_then(MirrorState::fresh_snapshot) {
                    return Ok(Some(snapshot));
                }
            }
            self.refresh().await?;
        }
    }

    pub(crate) fn snapshot_at(&self, position: Position) -> Option<Arc<SharedSnapshot>> {
        self.lock().mirror.as_ref().and_then(|mirror| mirror.snapshot_at(position))
    }

    /// Whether the owner wants to be told of signals with this key.
    pub(crate) fn owner_hears(&self, key: &str) -> bool {
        // Whoever signals has joined, and so the kind is known.
        self.kind.get().is_some_and(|kind| owner_hears(*kind, key))
    }

    /// Gives the room up at once if it could not be attached: rooms that do not exist must not fill the memory.
    pub(crate) fn drop_if_empty(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.mirror.is_none() && !state.closed {
            self.close(&mut state);
        } else if state.mirror.as_ref().is_some_and(|mirror| mirror.here.is_deserted()) {
            drop(state);
            self.close_if_deserted_for_long();
        }
    }

    fn head(&self) -> Option<Seq> {
        self.lock().mirror.as_ref().map(|mirror| mirror.position().seq)
    }

    // ---- to the owner -----------------------------------------------------------------------------------------

    /// Sees to it that the mirror has everything that was acknowledged before this was called. Those who ask while somebody is
    /// asking share the next answer.
    async fn refresh(self: &Arc<Self>) -> Result<(), Refusal> {
        let room = self.clone();
        let question = move |_| {
            let room = room.clone();
            async move {
                let _one_at_a_time = room.attaching.lock().await;
                vec![if room.lock().closed { Ok(()) } else { room.attach().await }]
            }
        };
        let answer = self.refreshed.ask((), 1, &self.ends.runtime, question).await;
        answer.unwrap_or_else(|| Err(Refusal::busy("the room cannot be reached", 100)))
    }

    /// Sees to it that the mirror hears everything.
    async fn revive(self: &Arc<Self>) -> Result<(), Refusal> {
        let _one_at_a_time = self.attaching.lock().await;
        let wanted = {
            let state = self.lock();
            !state.live && !state.closed
        };
        if wanted { self.attach().await } else { Ok(()) }
    }

    async fn attach(self: &Arc<Self>) -> Result<(), Refusal> {
        let contents = self.lock().mirror.as_ref().is_none_or(|mirror| mirror.fresh_snapshot().is_none());
        let attached = self.ends.cluster.attach(self.id, contents).await?;
        let missed = self.missed(attached.position.seq).await?;
        if self.take_in(attached, missed) {
            return Ok(());
        }
        // The log does not reach back to where the mirror stands.
        let attached = self.ends.cluster.attach(self.id, true).await?;
        self.take_in(attached, Vec::new());
        Ok(())
    }

    /// False if what the owner said is not enough: the mirror lacks ops, and there are no contents to go on from.
    fn take_in(self: &Arc<Self>, attached: Attached, missed: Vec<(Seq, Vec<Arc<LoggedOp>>)>) -> bool {
        let Attached { kind, position, contents, presence, edges, multicast, known } = attached;
        self.kind.get_or_init(|| kind);
        let mut state = self.lock();
        match (state.mirror.as_mut(), contents) {
            (None, None) => return false,
            (None, Some(contents)) => {
                state.mirror = Some(MirrorState::new(self.id, kind, position, contents, presence));
            }
            (Some(mirror), contents) => {
                for (first, ops) in missed {
                    mirror.take_ops(position.epoch, first, &ops.into());
                }
                let lacks = mirror.position().seq < position.seq;
                match contents {
                    None if lacks => return false,
                    None => mirror.set_epoch(position.epoch),
                    Some(contents) if lacks => mirror.start_over(position, contents),
                    Some(contents) => mirror.set_snapshot(position, contents),
                }
            }
        }
        self.set_edges(&mut state, edges, multicast);
        // An owner that did not know this edge does not know who is here; one that did may have heard only half.
        let half = known && !state.live;
        if let Some(mirror) = state.mirror.as_mut()
            && (half || !known && !mirror.here.is_deserted())
        {
            self.notify_all(mirror.here.report_all());
        }
        if !state.live {
            self.go_live(&mut state);
        }
        self.tell_hubs(&mut state);
        if state.closed {
            // Given up while the owner was being asked, who now believes that we are here.
            self.ends.cluster.notify(self.id, Notice::Detached);
        }
        true
    }

    fn go_live(self: &Arc<Self>, state: &mut State) {
        state.live = true;
        let waiting = std::mem::take(&mut state.waiting);
        let mut gap = std::mem::take(&mut state.overflown);
        for (epoch, event) in waiting {
            gap |= self.take_live(state, epoch, event) == Taken::Gap;
        }
        if gap {
            state.live = false;
            self.recover();
        }
    }

    /// The committed ops between what the mirror has and `through`, from the log.
    async fn missed(&self, through: Seq) -> Result<Vec<(Seq, Vec<Arc<LoggedOp>>)>, Refusal> {
        let Some(mut after) = self.head() else { return Ok(Vec::new()) };
        let mut missed = Vec::new();
        while after < through {
            let rows = self.ends.log.read(self.id, after, READ_BYTES).await.map_err(|error| {
                tracing::error!(room = %self.id, error = &error as &dyn std::error::Error, "missed ops cannot be read");
                Refusal::busy("the database does not answer", 500)
            })?;
            let Some(last) = rows.last() else { break };
            after = last.last;
            for row in &rows {
                missed.push((row.first, read_row(&row.ops)?.into_iter().map(Arc::new).collect()));
            }
        }
        Ok(missed)
    }

    fn lost(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.live = false;
        drop(state);
        self.recover();
    }

    /// Attaches again in the background, until it succeeds or nobody is here any more.
    fn recover(self: &Arc<Self>) {
        metrics::counter!("enfilade_mirror_recoveries_total").increment(1);
        let room = self.clone();
        tokio::spawn(async move {
            let mut wait = RETRY;
            while let Err(refusal) = room.revive().await {
                if refusal.code == ErrorCode::RoomNotFound || room.lock().closed {
                    return;
                }
                tracing::debug!(room = %room.id, %refusal, "the owner cannot be reached yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MOST);
            }
        });
    }
}

fn resumes(mirror: &MirrorState, since: Option<Position>) -> bool {
    since.is_some_and(|since| since.leads_to(mirror.position()) && mirror.covers(since.seq))
}
