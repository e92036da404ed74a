//! A hub: one core's share of an edge. It owns its connections and writes to their sockets directly.
//!
//! A hub is a thread of its own. The small tasks that read its connections' sockets live on it too, so what a client says reaches the
//! hub by a call and not by a queue; what takes time (the database, the owner of a room) is done on the node's other threads.
//!
//! A hub is told *that* a room has news, never what: it takes from the room's mirror what came since, once, and writes the same
//! bytes to every member. A quiet room is sent at once, a busy one once per tick with everything that came meanwhile in one
//! write. No lock is held while writing, and nobody is woken per recipient.

mod age;
pub mod bench;
mod connection;
mod connections;
mod delivery;
mod handle;
mod meters;
mod pace;
mod requests;
mod rooms;
mod seats;
mod slowest;
#[cfg(test)]
mod tests;
mod unseen;
mod unsent;
mod watch;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::trace::Tracer;
use enfilade_proto::{CloseCode, RoomId, SignalOut};
use futures_util::FutureExt as _;
use metrics::{Counter, Histogram};
use slab::Slab;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use self::connection::Connection;
pub(crate) use self::connection::{ConnectionId, Line, Opening};
use self::handle::Waiting;
pub(crate) use self::handle::{Command, HubHandle, HubInbox};
pub(crate) use self::meters::Allowances;
use self::pace::{Pace, Pacer};
pub(crate) use self::requests::{Later, Taken};
use self::seats::Seats;
pub(crate) use self::slowest::{SlowConnection, merge as slowest};
use self::unseen::{Arrived, Unseen};
pub(crate) use self::unsent::Unsent;
use super::mirror::{Amount, Cursor};
use super::room::EdgeRoom;
use super::wheel::Wheel;
use super::{Ends, reader};

/// Commands that are taken at a time.
const COMMANDS: usize = 256;
/// Before a hub takes the place of one that broke.
const RESTART: Duration = Duration::from_millis(100);
/// How long the sockets of a hub that has ended may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// A hub as the readers of its connections reach it: on its own thread, one at a time, never across an await.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) ends: Arc<Ends>,
    hub: RefCell<Hub>,
}

impl Desk {
    fn new(index: usize, ends: Arc<Ends>, handle: HubHandle) -> Rc<Self> {
        Rc::new_cyclic(|desk| Self {
            ends: ends.clone(),
            hub: RefCell::new(Hub::new(index, ends, handle, desk.clone())),
        })
    }

    /// Takes everybody out of their rooms.
    fn abandon(&self) {
        let everybody: Vec<ConnectionId> =
            self.with(|hub| hub.connections.iter().map(|(_, it)| it.id).collect());
        for who in everybody {
            // What broke may break again; the others leave all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| self.with(|hub| hub.remove(who))));
        }
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Hub) -> R) -> R {
        // What this sets off besides (a room that wakes up, say) runs where rooms do, not on the hub's thread.
        let _elsewhere = self.ends.runtime.enter();
        work(&mut self.hub.borrow_mut())
    }
}

/// A room in which this hub has connections.
#[derive(Debug)]
struct HubRoom {
    room: Arc<EdgeRoom>,
    /// By pace.
    seats: [Seats; 2],
    /// Signals from here that wait for the next tick; of one client and key only the latest.
    signals: Vec<SignalOut>,
    signalled: Pacer,
    /// Ops of connections of this hub.
    unseen: Unseen<Arrived>,
}

impl HubRoom {
    fn new(room: Arc<EdgeRoom>, cursor: Cursor) -> Self {
        let seats = [Seats::new(cursor), Seats::new(cursor)];
        Self { room, seats, signals: Vec::new(), signalled: Pacer::default(), unseen: Unseen::default() }
    }

    fn is_empty(&self) -> bool {
        self.seats.iter().all(Seats::is_empty)
    }

    fn connections(&self) -> impl Iterator<Item = u32> {
        self.seats.iter().flat_map(Seats::connections)
    }
}

/// Figures that every message touches.
#[derive(Debug)]
struct Figures {
    deliveries: Counter,
    ops_sent: Counter,
    signals_sent: Counter,
    received_bytes: Counter,
    signals: Counter,
    signals_conflated: Counter,
    signals_dropped: Counter,
    joins: Counter,
    ops_accepted: Counter,
    ops_refused: Counter,
    op_ack: OpSeconds,
    op_visible: OpSeconds,
    op_delivered: Histogram,
}

/// How long ops take to get somewhere.
#[derive(Debug)]
struct OpSeconds {
    name: &'static str,
    histogram: Histogram,
}

impl OpSeconds {
    fn record(&self, op: Arrived, tracer: &Tracer) {
        let seconds = op.watch.seconds();
        self.histogram.record(seconds);
        if let Some(trace) = op.trace {
            tracer.example(self.name, seconds, trace);
        }
    }
}

impl Figures {
    /// So many were told so much.
    fn delivered(&self, times: u64, amount: Amount) {
        self.deliveries.increment(times);
        // All hubs count together: nobody waits for a counter that stays as it is.
        if amount.ops > 0 {
            self.ops_sent.increment(times * amount.ops);
        }
        if amount.signals > 0 {
            self.signals_sent.increment(times * amount.signals);
        }
    }

    fn new() -> Self {
        Self {
            deliveries: metrics::counter!("enfilade_deliveries_total"),
            ops_sent: metrics::counter!("enfilade_ops_sent_total"),
            signals_sent: metrics::counter!("enfilade_signals_sent_total"),
            received_bytes: metrics::counter!("enfilade_received_bytes_total"),
            signals: metrics::counter!("enfilade_signals_total"),
            signals_conflated: metrics::counter!("enfilade_signals_conflated_total"),
            signals_dropped: metrics::counter!("enfilade_signals_dropped_total"),
            joins: metrics::counter!("enfilade_joins_total"),
            ops_accepted: metrics::counter!("enfilade_ops_total", "outcome" => "accepted"),
            ops_refused: metrics::counter!("enfilade_ops_total", "outcome" => "refused"),
            op_ack: OpSeconds {
                name: "enfilade_op_ack_seconds",
                histogram: metrics::histogram!("enfilade_op_ack_seconds"),
            },
            op_visible: OpSeconds {
                name: "enfilade_op_visible_seconds",
                histogram: metrics::histogram!("enfilade_op_visible_seconds"),
            },
            op_delivered: metrics::histogram!("enfilade_op_delivered_seconds"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Hub {
    index: usize,
    ends: Arc<Ends>,
    handle: HubHandle,
    /// Where the tasks that it starts find it again.
    desk: Weak<Desk>,
    start: Instant,
    /// Boxed: a table of thousands grows by half as much again, and would hold that much air.
    connections: Slab<Box<Connection>>,
    opened: u32,
    rooms: HashMap<RoomId, HubRoom>,
    /// Rooms to be flushed, by when.
    due: BTreeSet<(u64, RoomId, Pace)>,
    /// When the hub wakes up by itself.
    wakes_ms: u64,
    /// When something was delivered last.
    delivered_ms: u64,
    wheel: Wheel<ConnectionId>,
    figures: Figures,
    stopped: bool,
}

/// Starts a hub, which runs until its node ends. One that breaks is replaced: its connections are lost and come back.
///
/// # Errors
/// When there is no thread or no polling of sockets to be had.
pub(crate) fn start(index: usize, ends: Arc<Ends>, inbox: HubInbox) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let serve = move || {
        let HubInbox { mut commands, handle } = inbox;
        loop {
            let local = LocalSet::new();
            let desk = Desk::new(index, ends.clone(), handle.clone());
            let run = AssertUnwindSafe(run(&desk, &mut commands)).catch_unwind();
            if local.block_on(&runtime, run).is_ok() {
                // What was said last is still on its way.
                runtime.block_on(async { tokio::time::timeout(FAREWELL, local).await.ok() });
                return;
            }
            metrics::counter!("enfilade_hub_restarts_total").increment(1);
            tracing::error!(hub = index, "a hub broke; another one takes its place");
            // Their sockets close with the last task that holds them.
            local.block_on(&runtime, async { desk.abandon() });
            drop(local);
            // The thread is the hub's alone.
            std::thread::sleep(RESTART);
        }
    };
    std::thread::Builder::new().name(format!("hub-{index}")).spawn(serve)?;
    Ok(())
}

async fn run(desk: &Rc<Desk>, commands: &mut mpsc::Receiver<Command>) {
    let waiting = desk.with(|hub| hub.handle.waiting());
    let mut batch = Vec::with_capacity(COMMANDS);
    loop {
        let wake = desk.with(Hub::sleep_until);
        let Waiting { news, arrivals, .. } = &*waiting;
        tokio::select! {
            taken = commands.recv_many(&mut batch, COMMANDS) => {
                if taken == 0 {
                    return;
                }
            }
            () = news.notified() => {}
            () = arrivals.notified() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
        for arrival in waiting.take_arrivals() {
            tokio::task::spawn_local(reader::welcome(desk.clone(), arrival));
        }
        desk.with(|hub| batch.drain(..).for_each(|command| hub.handle(command)));
        if desk.with(|hub| hub.stopped) {
            return;
        }
        desk.with(Hub::look_at_news);
        while desk.with(Hub::deliver_some) {
            tokio::task::yield_now().await;
        }
        desk.with(Hub::attend);
    }
}

impl Hub {
    fn new(index: usize, ends: Arc<Ends>, handle: HubHandle, desk: Weak<Desk>) -> Self {
        Self {
            index,
            ends,
            handle,
            desk,
            start: Instant::now(),
            connections: Slab::new(),
            opened: 0,
            rooms: HashMap::new(),
            due: BTreeSet::new(),
            wakes_ms: 0,
            delivered_ms: 0,
            wheel: Wheel::new(),
            figures: Figures::new(),
            stopped: false,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A time of the wall clock on the hub's own, which never jumps.
    fn local_ms(&self, wall_ms: u64) -> u64 {
        self.now_ms() + wall_ms.saturating_sub(self.ends.clock.now_ms())
    }

    /// Until when there is nothing to do, unless somebody says otherwise.
    fn sleep_until(&mut self) -> Instant {
        let attend_ms = self.wheel.next_ms();
        self.wakes_ms = self.due.first().map_or(attend_ms, |(at, _, _)| attend_ms.min(*at));
        self.start + Duration::from_millis(self.wakes_ms)
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Reset { who, room, frames, cursor } => self.reset(who, room, &frames, cursor),
            Command::Close { who, code } => self.close(who, code),
            Command::EndLogin(login) => {
                self.close_where(CloseCode::SignedOut, |it| it.login() == Some(login));
            }
            Command::Recheck(room) => self.recheck(room),
            Command::Rename { room, title } => self.rename(room, &title),
            Command::Slowest { most, done } => {
                let _ = done.send(self.slowest(most));
            }
            Command::Unsent { done } => {
                let _ = done.send(self.unsent());
            }
            Command::SendAway { spread, done } => {
                let _ = done.send(self.send_away(spread));
            }
            #[cfg(test)]
            Command::Break => panic!("as intended"),
            Command::CloseAll { code, done } => {
                let _ = done.send(self.close_all(code));
            }
            Command::Stop { code, done } => {
                self.stopped = true;
                let _ = done.send(self.close_all(code));
            }
        }
    }
}
