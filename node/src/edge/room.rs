//! A room as this edge has it: its mirror, which hubs have members, and the way to its owner.
//!
//! Whoever joins must see everything that was acknowledged before, wherever that was. So each join asks the owner where the room
//! stands, once for however many join at a time (single flight); the snapshot and the ops come out of the mirror. When the owner is
//! lost, or ops are missing, the edge attaches again and reads what it missed from the log; the members notice nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use enfilade_actors::Refusal;
use enfilade_actors::bus::{Attached, Notice, RoomEvent, Standing, roster};
use enfilade_actors::kind::owner_hears;
use enfilade_actors::room::read_row;
use enfilade_proto::{
    Codec, Epoch, ErrorCode, LoggedOp, Member, Position, RoomId, RoomKind, Seq, SignalOut, UserId,
};
use enfilade_store::Incarnation;

use super::Ends;
use super::mirror::{Cursor, MirrorState, News, SharedSnapshot, Taken};

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
    /// Those who asked for the present state are numbered, and those up to here have it.
    asked: AtomicU64,
    answered: AtomicU64,
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
    pub(crate) snapshot: Option<Arc<SharedSnapshot>>,
    pub(crate) ops: Vec<Arc<LoggedOp>>,
    pub(crate) presence: enfilade_proto::Presence,
    pub(crate) cursor: Cursor,
}

/// Who joins, where.
#[derive(Debug)]
pub(crate) struct Joiner {
    pub(crate) hub: usize,
    pub(crate) member: Member,
    pub(crate) since: Option<Position>,
    pub(crate) codec: Codec,
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
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
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
                    snapshot.written(joiner.codec, self.ends.offload).await;
                    if let Some(joining) = self.enter(joiner, Some(&snapshot)) {
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
    fn enter(&self, joiner: &Joiner, snapshot: Option<&Arc<SharedSnapshot>>) -> Option<Joining> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let mirror = state.mirror.as_mut()?;
        let known = match (snapshot, joiner.since) {
            (Some(snapshot), _) => snapshot.seq,
            (None, since) => since?.seq,
        };
        if !mirror.covers(known) {
            return None;
        }
        let joining = Joining {
            kind: mirror.kind,
            position: mirror.position(),
            snapshot: snapshot.cloned(),
            ops: mirror.ops_after(known),
            presence: mirror.presence_with(&joiner.member),
            cursor: mirror.cursor(),
        };
        let news = mirror.arrive(joiner.member.clone());
        state.hubs[joiner.hub].members += 1;
        if news {
            self.ends.cluster.notify(self.id, Notice::Arrived(vec![joiner.member.clone()]));
        }
        Some(joining)
    }

    /// Undoes a join.
    pub(crate) fn leave(self: &Arc<Self>, hub: usize, user: UserId) {
        let mut state = self.lock();
        state.hubs[hub].members = state.hubs[hub].members.saturating_sub(1);
        let Some(mirror) = state.mirror.as_mut() else { return };
        if mirror.depart(user) {
            self.ends.cluster.notify(self.id, Notice::Departed(vec![user]));
        }
        if mirror.is_deserted() {
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
            let deserted = state.mirror.as_ref().is_none_or(MirrorState::is_deserted);
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
    pub(crate) async fn reset(self: &Arc<Self>, codec: Codec) -> Result<Joining, Refusal> {
        loop {
            self.refresh().await?;
            let snapshot = self.lock().mirror.as_ref().and_then(MirrorState::snapshot);
            let Some(snapshot) = snapshot else { continue };
            snapshot.written(codec, self.ends.offload).await;
            let state = self.lock();
            let Some(mirror) = state.mirror.as_ref().filter(|mirror| mirror.covers(snapshot.seq)) else {
                continue;
            };
            return Ok(Joining {
                kind: mirror.kind,
                position: mirror.position(),
                ops: mirror.ops_after(snapshot.seq),
                presence: mirror.full_presence(),
                cursor: mirror.cursor(),
                snapshot: Some(snapshot),
            });
        }
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
        } else if state.mirror.as_ref().is_some_and(MirrorState::is_deserted) {
            drop(state);
            self.close_if_deserted_for_long();
        }
    }

    fn head(&self) -> Option<Seq> {
        self.lock().mirror.as_ref().map(|mirror| mirror.position().seq)
    }

    // ---- from the owner and other edges -----------------------------------------------------------------------

    /// False if the room was given up here.
    pub(crate) fn take(self: &Arc<Self>, epoch: Epoch, event: RoomEvent) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        if !state.live {
            if state.waiting.len() < BUFFERED {
                state.waiting.push((epoch, event));
            } else {
                state.overflown = true;
            }
            return true;
        }
        match self.take_live(&mut state, epoch, event) {
            Taken::News => self.tell_hubs(&mut state),
            Taken::Nothing => {}
            Taken::Gap => self.lost(state),
        }
        true
    }

    fn take_live(&self, state: &mut State, epoch: Epoch, event: RoomEvent) -> Taken {
        let Some(mirror) = state.mirror.as_mut() else { return Taken::Gap };
        // Said by an owner that was replaced.
        if epoch < mirror.position().epoch {
            return Taken::Nothing;
        }
        match event {
            RoomEvent::Ops { first, ops } => mirror.take_ops(epoch, first, &ops),
            RoomEvent::Presence(presence) => {
                mirror.take_presence(presence);
                Taken::News
            }
            RoomEvent::Edges { edges, multicast } => {
                self.set_edges(state, edges, multicast);
                Taken::Nothing
            }
            RoomEvent::Head(seq) if seq <= mirror.position().seq => Taken::Nothing,
            RoomEvent::Head(_) | RoomEvent::OwnerLost => Taken::Gap,
        }
    }

    fn set_edges(&self, state: &mut State, edges: Vec<Incarnation>, multicast: bool) {
        state.edges = edges;
        if multicast != state.multicast {
            state.multicast = multicast;
            self.ends.cluster.listen(self.id, multicast);
        }
    }

    /// The room has an owner in this epoch. If that is not the one that this edge is attached to, it attaches again.
    pub(crate) fn moved(self: &Arc<Self>, epoch: Epoch) {
        let state = self.lock();
        let known = state.mirror.as_ref().map(|mirror| mirror.position().epoch);
        if state.live && known.is_some_and(|known| known != epoch) {
            self.lost(state);
        }
    }

    /// Tells the owner what this edge knows, which shows what was lost on the way.
    pub(crate) fn compare_notes(&self) {
        let standing = {
            let state = self.lock();
            state.mirror.as_ref().filter(|_| state.live && !state.closed).map(|mirror| Standing {
                position: mirror.position(),
                here: mirror.here().iter().map(|member| member.id.0).collect(),
                people: roster(&mirror.full_presence()),
                edges: state.edges.iter().map(|edge| edge.0).collect(),
            })
        };
        // Not under the lock: a host that does not have the room says so at once.
        if let Some(standing) = standing {
            self.ends.cluster.notify(self.id, Notice::Standing(standing));
        }
    }

    /// Brings signals from here to everybody in the room.
    pub(crate) fn send_signals(&self, signals: Vec<SignalOut>) {
        let (edges, multicast) = {
            let state = self.lock();
            (state.edges.clone(), state.multicast)
        };
        self.ends.cluster.signal(self.id, &edges, multicast, &signals);
        self.take_signals(signals);
    }

    pub(crate) fn take_signals(&self, signals: Vec<SignalOut>) {
        let mut state = self.lock();
        if let Some(mirror) = state.mirror.as_mut() {
            mirror.take_signals(signals);
            self.tell_hubs(&mut state);
        }
    }

    fn tell_hubs(&self, state: &mut State) {
        for (interest, hub) in state.hubs.iter_mut().zip(&self.ends.hubs) {
            if interest.members > 0 && !interest.told {
                interest.told = true;
                hub.has_news(self.id);
            }
        }
    }

    // ---- to the owner -----------------------------------------------------------------------------------------

    /// Sees to it that the mirror has everything that was acknowledged before this was called. Those who ask while somebody is
    /// asking share the next answer.
    async fn refresh(self: &Arc<Self>) -> Result<(), Refusal> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let _one_at_a_time = self.attaching.lock().await;
        if self.answered.load(Ordering::SeqCst) >= number || self.lock().closed {
            return Ok(());
        }
        let through = self.asked.load(Ordering::SeqCst);
        self.attach().await?;
        self.answered.store(through, Ordering::SeqCst);
        Ok(())
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
        let contents = self.lock().mirror.as_ref().is_none_or(|mirror| mirror.snapshot().is_none());
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
        let here = state.mirror.as_ref().map(MirrorState::here).unwrap_or_default();
        // An owner that did not know this edge does not know who is here; one that did may have heard only half.
        if !here.is_empty() && !known || known && !state.live {
            self.ends.cluster.notify(self.id, Notice::Present(here));
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
    since.is_some_and(|since| since.epoch <= mirror.position().epoch && mirror.covers(since.seq))
}
