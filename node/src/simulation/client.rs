//! A client of a simulation: writes, keeps what was not answered and sends it again under the same ids, moves to another node
//! when its own is gone, goes on from where it stood, and notes in the journal all that it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use enfilade_actors::Refusal;
use enfilade_actors::bus::Writer;
use enfilade_actors::kind::{self, Contents, Kind};
use enfilade_proto::board::{Area, Bounds, Color, Elements, Some1, Width};
use enfilade_proto::{
    ClientId, Coord, DisplayName, ElementId, Epoch, ErrorCode, LoggedOp, Member, Op, OpId, Position,
    Presence, Role, RoomId, RoomKind, Seq, UserId,
};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::journal::Entry;
use super::world::World;
use crate::edge::harness::{BareEdge, Guest, Pushed, Session, View};

/// Ops without an answer.
const IN_FLIGHT: usize = 12;
/// So long a client waits to be let in, and for any answer, until it gives a connection up.
const PATIENCE_MS: u64 = 13_000;

#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Mutex<State>>);

#[derive(Debug)]
pub(super) struct State {
    index: usize,
    world: World,
    member: Member,
    writer: Writer,
    room: RoomId,
    last_op: u64,
    unanswered: BTreeMap<OpId, Waiting>,
    /// Its own elements that are on the board for certain.
    elements: Vec<ElementId>,
    replica: Option<Replica>,
    roster: BTreeSet<UserId>,
    /// How many connections it has had.
    connections: u64,
    link: Option<Link>,
    connect_at_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    op: Op,
    /// It went out on the present connection.
    sent_ms: Option<u64>,
    not_before_ms: u64,
}

/// The room as the client has it.
#[derive(Debug)]
pub(super) struct Replica {
    state: Box<dyn Kind>,
    position: Position,
}

#[derive(Debug)]
struct Link {
    node: usize,
    orders: mpsc::UnboundedSender<Order>,
    since_ms: u64,
    joined: bool,
}

#[derive(Debug)]
enum Order {
    Submit(OpId, Op),
    Signal,
    Leave,
}

impl Client {
    pub(super) fn new(world: &World, index: usize, room: RoomId) -> Self {
        let id = index as u128 + 1;
        let member = Member {
            id: UserId(Uuid::from_u128(id)),
            name: DisplayName::new("Ada").unwrap(),
            role: Role::Editor,
        };
        let writer = Writer { author: member.id, client: ClientId(Uuid::from_u128(1_000 + id)) };
        Self(Arc::new(Mutex::new(State {
            index,
            world: world.clone(),
            member,
            writer,
            room,
            last_op: 0,
            unanswered: BTreeMap::new(),
            elements: Vec::new(),
            replica: None,
            roster: BTreeSet::new(),
            connections: 0,
            link: None,
            connect_at_ms: 0,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to a node. Returns what has to run there.
    pub(super) fn connect(&self, node: usize, edge: BareEdge) -> impl Future<Output = ()> + Send + 'static {
        let (orders, taken) = mpsc::unbounded_channel();
        let mut state = self.lock();
        state.connections += 1;
        let now_ms = state.world.lock().now_ms;
        state.link = Some(Link { node, orders, since_ms: now_ms, joined: false });
        for waiting in state.unanswered.values_mut() {
            waiting.sent_ms = None;
        }
        let guest =
            Guest { hub: state.index, member: state.member.clone(), writer: state.writer, room: state.room };
        let (connection, since) = (state.connections, state.replica.as_ref().map(|replica| replica.position));
        let began = Entry::JoinBegan { client: state.index, room: state.room, connection };
        state.note(began);
        drop(state);
        run(self.clone(), connection, edge, guest, since, taken)
    }
}

/// A connection, from its beginning to its end.
async fn run(
    client: Client,
    connection: u64,
    edge: BareEdge,
    guest: Guest,
    since: Option<Position>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let mut session = match edge.join(guest, since).await {
        Ok((session, view)) => {
            client.lock().joined(connection, &view, since);
            session
        }
        Err(refusal) => return client.lock().turned_away(connection, &refusal),
    };
    loop {
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Submit(op_id, op)) => submit(&client, connection, &session, op_id, op),
                Some(Order::Signal) => session.signal(),
                Some(Order::Leave) => return session.end(true),
                None => return session.end(false),
            },
            news = session.news() => match news {
                Ok(news) => client.lock().shown(connection, news),
                Err(refusal) => {
                    client.lock().turned_away(connection, &refusal);
                    return session.end(false);
                }
            },
        }
    }
}

fn submit(client: &Client, connection: u64, session: &Session, op_id: OpId, op: Op) {
    match session.submit(op_id, op) {
        Ok(answer) => {
            let client = client.clone();
            tokio::spawn(async move {
                let result = answer.wait().await;
                client.lock().answered(connection, op_id, result);
            });
        }
        Err(refusal) => client.lock().answered(connection, op_id, Err(refusal)),
    }
}

impl State {
    fn note(&self, entry: Entry) {
        let mut world = self.world.lock();
        let numbers = match &entry {
            Entry::Accepted { seq, op, .. } | Entry::Shown { seq, op, .. } => {
                [self.index as u64, seq.0, op.1.0]
            }
            Entry::Submitted { op, .. } => [self.index as u64, op.1.0, 1],
            Entry::JoinBegan { connection, .. } => [self.index as u64, *connection, 2],
            Entry::Joined { position, .. } => [self.index as u64, position.seq.0, 3],
            Entry::Reset { base, .. } => [self.index as u64, base.0, 4],
            Entry::Wrong(_) => [self.index as u64, 0, 5],
        };
        let words = format!("{entry:?}");
        world.note("client", numbers, || words);
        world.journal.entries.push(entry);
    }

    fn wrong(&self, what: String) {
        self.note(Entry::Wrong(format!("client {}: {what}", self.index)));
    }

    fn now_ms(&self) -> u64 {
        self.world.lock().now_ms
    }

    fn is_current(&self, connection: u64) -> bool {
        self.link.is_some() && connection == self.connections
    }

    // ---- what it does -----------------------------------------------------------------------------------------

    pub(super) fn wants_to_connect(&self, now_ms: u64) -> bool {
        self.link.is_none() && now_ms >= self.connect_at_ms
    }

    pub(super) fn node(&self) -> Option<usize> {
        self.link.as_ref().map(|link| link.node)
    }

    pub(super) fn is_in(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.joined)
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    pub(super) fn user(&self) -> UserId {
        self.member.id
    }

    pub(super) fn room(&self) -> RoomId {
        self.room
    }

    pub(super) fn roster(&self) -> &BTreeSet<UserId> {
        &self.roster
    }

    /// What it has of its room.
    pub(super) fn contents(&self) -> (RoomId, Option<(Seq, Contents)>) {
        let contents = self.replica.as_ref().map(|it| (it.position.seq, it.state.snapshot()));
        (self.room, contents)
    }

    /// The connection is no more; the client comes back after a while.
    pub(super) fn hang_up(&mut self, goodbye: bool, back_after_ms: u64) {
        if let Some(link) = self.link.take() {
            if goodbye {
                let _ = link.orders.send(Order::Leave);
            }
            self.connect_at_ms = self.now_ms() + back_after_ms;
        }
    }

    /// Gives a connection up on which nothing comes back.
    pub(super) fn lose_patience(&mut self, now_ms: u64) {
        let Some(link) = &self.link else { return };
        let waiting_since_ms = if link.joined {
            self.unanswered.values().filter_map(|waiting| waiting.sent_ms).min()
        } else {
            Some(link.since_ms)
        };
        if waiting_since_ms.is_some_and(|since_ms| now_ms >= since_ms + PATIENCE_MS) {
            self.hang_up(false, 0);
        }
    }

    /// Thinks of a new op, if it may.
    pub(super) fn write(&mut self) {
        if self.unanswered.len() >= IN_FLIGHT {
            return;
        }
        self.last_op += 1;
        let op_id = OpId(self.last_op);
        let erase = self.world.lock().chance.one_in(4);
        let op = match self.elements.pop().filter(|_| erase) {
            Some(element) => Op::Delete(Elements { elements: Some1::new(vec![element]).unwrap() }),
            None => self.draw(),
        };
        let entry = Entry::Submitted { client: self.index, room: self.room, op: (self.writer, op_id) };
        self.note(entry);
        self.unanswered.insert(op_id, Waiting { op, sent_ms: None, not_before_ms: 0 });
    }

    fn draw(&self) -> Op {
        let number = f64::from(u16::try_from(self.last_op % 1_000).unwrap());
        let corner = |it: f64| Coord::from_units(it).unwrap();
        Op::AddRectangle(Area {
            element: ElementId::new(&format!("c{}-{}", self.index, self.last_op)).unwrap(),
            color: Color::from_rgba(0xff),
            width: Width::new(1.0).unwrap(),
            fill: None,
            bounds: Bounds::new([corner(number), corner(0.0), corner(number + 5.0), corner(5.0)]).unwrap(),
        })
    }

    /// Sends what is to be sent, in order.
    pub(super) fn send(&mut self, now_ms: u64) {
        let Some(link) = self.link.as_ref().filter(|link| link.joined) else { return };
        for (op_id, waiting) in &mut self.unanswered {
            if waiting.sent_ms.is_none() && now_ms >= waiting.not_before_ms {
                waiting.sent_ms = Some(now_ms);
                let _ = link.orders.send(Order::Submit(*op_id, waiting.op.clone()));
            }
        }
    }

    pub(super) fn signal(&self) {
        if let Some(link) = self.link.as_ref().filter(|link| link.joined) {
            let _ = link.orders.send(Order::Signal);
        }
    }

    // ---- what it is told --------------------------------------------------------------------------------------

    fn turned_away(&mut self, connection: u64, refusal: &Refusal) {
        if !self.is_current(connection) {
            return;
        }
        if refusal.code != ErrorCode::Busy {
            self.wrong(format!("was turned away: {refusal}"));
        }
        self.link = None;
        self.connect_at_ms = self.now_ms() + refusal.retry_after_ms.unwrap_or(500);
    }

    fn joined(&mut self, connection: u64, view: &View, since: Option<Position>) {
        if !self.is_current(connection) {
            return;
        }
        if let Some(link) = &mut self.link {
            link.joined = true;
        }
        let base = view.snapshot.as_ref().map(|(seq, _)| *seq);
        let (client, room, position) = (self.index, self.room, view.position);
        self.note(Entry::Joined { client, room, connection, position, base });
        if base.is_none() && since.is_none() {
            self.wrong("joined anew and was shown no snapshot".to_owned());
        }
        self.see(view);
    }

    fn see(&mut self, view: &View) {
        let epoch = view.position.epoch;
        if let Some((seq, contents)) = &view.snapshot {
            let state = kind::restore(RoomKind::Board, &contents.to_checkpoint()).unwrap();
            self.replica = Some(Replica { state, position: Position { epoch, seq: *seq } });
        }
        let first = self.replica.as_ref().map_or(Seq(1), |replica| replica.position.seq.next());
        self.take_ops(epoch, first, &view.ops);
        if let Some(replica) = &mut self.replica {
            replica.position.epoch = epoch;
            if replica.position.seq != view.position.seq {
                let what = format!("stands at {} but was told {}", replica.position.seq, view.position.seq);
                self.wrong(what);
            }
        }
        self.roster.clear();
        self.take_presence(&view.presence);
    }

    fn shown(&mut self, connection: u64, news: Vec<Pushed>) {
        if !self.is_current(connection) {
            return;
        }
        for pushed in news {
            match pushed {
                Pushed::Ops { epoch, first, ops } => self.take_ops(epoch, first, &ops),
                Pushed::Presence(presence) => self.take_presence(&presence),
                Pushed::Reset(view) => {
                    let base = view.snapshot.as_ref().map_or(Seq(0), |(seq, _)| *seq);
                    self.note(Entry::Reset { client: self.index, room: self.room, base });
                    self.see(&view);
                }
            }
        }
    }

    fn take_ops(&mut self, epoch: Epoch, first: Seq, ops: &[Arc<LoggedOp>]) {
        let mut seq = first;
        for logged in ops {
            let op = (Writer { author: logged.author, client: logged.client }, logged.op_id);
            self.note(Entry::Shown { client: self.index, room: self.room, epoch, seq, op });
            let Some(replica) = &mut self.replica else { return };
            if seq == replica.position.seq.next() {
                replica.state.replay(seq, logged.author, &logged.op);
                replica.position = Position { epoch, seq };
            } else {
                let what = format!("stands at {} and is shown {seq}", replica.position.seq);
                self.wrong(what);
            }
            seq = seq.next();
        }
    }

    fn take_presence(&mut self, presence: &Presence) {
        if let Some(members) = &presence.members {
            self.roster = members.iter().map(|member| member.id).collect();
        }
        self.roster.extend(presence.joined.iter().flatten().map(|member| member.id));
        for user in presence.left.iter().flatten() {
            self.roster.remove(user);
        }
    }

    fn answered(&mut self, connection: u64, op_id: OpId, result: Result<Seq, Refusal>) {
        if !self.is_current(connection) {
            return;
        }
        let Some(waiting) = self.unanswered.get_mut(&op_id) else { return };
        match result {
            Ok(seq) => {
                let waiting = self.unanswered.remove(&op_id);
                if let Some(Waiting { op: Op::AddRectangle(area), .. }) = waiting {
                    self.elements.push(area.element);
                }
                let op = (self.writer, op_id);
                self.note(Entry::Accepted { client: self.index, room: self.room, op, seq });
            }
            Err(refusal) if refusal.code == ErrorCode::Busy => {
                waiting.sent_ms = None;
                waiting.not_before_ms = self.world.lock().now_ms + refusal.retry_after_ms.unwrap_or(200);
            }
            Err(refusal) => {
                self.unanswered.remove(&op_id);
                self.wrong(format!("op {op_id} was refused: {refusal}"));
            }
        }
    }
}
