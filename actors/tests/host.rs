//! Rooms as actors over a real database: woken, crashed, set aside, put to sleep.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and is nobody's simulation"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use enfilade_actors::Refusal;
use enfilade_actors::bus::{Bus, ClusterEvent, Edge, LocalBus, Notice, RoomEvent, Submission, Writer};
use enfilade_actors::host::{Clock, Host};
use enfilade_actors::presence::EdgeId;
use enfilade_actors::room::RoomSettings;
use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::{
    ClientId, Coord, DisplayName, ElementId, ErrorCode, Op, OpId, Points, Role, RoomId, RoomKind, Seq,
    SignalOut, UserId,
};
use enfilade_store::{Directory, Incarnation, NewRoom, Sqlite, SqliteOptions};
use tempfile::TempDir;
use uuid::Uuid;

const EDGE: EdgeId = EdgeId(Uuid::from_u128(1));
const ADA: UserId = UserId(Uuid::from_u128(2));

/// An edge that writes down what it hears.
#[derive(Debug, Default)]
struct Listener {
    ops: Mutex<Vec<(RoomId, Seq, usize)>>,
    owners_lost: AtomicU64,
}

impl Edge for Listener {
    fn room_event(&self, room: RoomId, event: RoomEvent) {
        match event {
            RoomEvent::Ops { first, ops, .. } => self.ops.lock().unwrap().push((room, first, ops.len())),
            RoomEvent::OwnerLost => {
                self.owners_lost.fetch_add(1, Ordering::Relaxed);
            }
            RoomEvent::Presence(_) => {}
        }
    }

    fn signals(&self, _: RoomId, _: Vec<SignalOut>) {}

    fn cluster_event(&self, _: ClusterEvent) {}
}

#[derive(Debug, Default)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Node {
    host: Host,
    bus: Arc<LocalBus>,
    store: Arc<Sqlite>,
    listener: Arc<Listener>,
    clock: Arc<TestClock>,
    folder: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        let store = Arc::new(Sqlite::open(folder.path().join("test.db"), options).await.unwrap());
        let bus = Arc::new(LocalBus::default());
        let clock = Arc::new(TestClock(AtomicU64::new(1_000)));
        let settings = RoomSettings { idle_ms: 50, ..RoomSettings::default() };
        let writer = Incarnation(Uuid::new_v4());
        let host = Host::start(store.clone(), store.clone(), bus.clone(), clock.clone(), settings, writer)
            .await
            .unwrap();
        let listener = Arc::new(Listener::default());
        let edge: Arc<dyn Edge> = listener.clone();
        bus.connect(&host, Arc::downgrade(&edge));
        Self { host, bus, store, listener, clock, folder }
    }

    async fn board(&self) -> RoomId {
        let id = RoomId(Uuid::new_v4());
        let title = DisplayName::new("Board").unwrap();
        let room = NewRoom { id, kind: RoomKind::Board, title, created_ms: 0, owner: None, link: None };
        self.store.create_room(&room).await.unwrap();
        id
    }

    async fn draw(&self, room: RoomId, client: u128, op_id: u64) -> Result<Seq, Refusal> {
        let at = |x: f64| [Coord::from_units(x).unwrap(); 2];
        let op = Op::AddStroke(Stroke {
            element: ElementId::new(&format!("c{client}-{op_id}")).unwrap(),
            color: Color::parse("#1a1a1a").unwrap(),
            width: Width::new(4.0).unwrap(),
            points: Points::encode(&[at(0.0), at(10.0)]),
            pressure: None,
        });
        let writer = Writer { author: ADA, client: ClientId(Uuid::from_u128(client)) };
        let submission = Submission { writer, role: Role::Editor, op_id: OpId(op_id), op, weight: 100 };
        self.bus.submit(room, submission).await?.wait().await
    }

    /// As a client does: the same op again, until there is an answer.
    async fn draw_until_answered(&self, room: RoomId, client: u128, op_id: u64) -> Seq {
        for _ in 0..100 {
            match self.draw(room, client, op_id).await {
                Ok(seq) => return seq,
                Err(refusal) => assert_eq!(refusal.code, ErrorCode::Busy),
            }
        }
        panic!("never answered");
    }

    async fn kill(&self, room: RoomId) {
        let before = self.listener.owners_lost.load(Ordering::Relaxed);
        self.host.kill(room);
        eventually("the owner is lost", || self.listener.owners_lost.load(Ordering::Relaxed) > before).await;
    }
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_there_after_a_restart_of_the_process() {
    let node = Node::start().await;
    let room = node.board().await;
    for op_id in 1..=20 {
        assert_eq!(node.draw(room, 7, op_id).await, Ok(Seq(op_id)));
    }
    let Node { host, bus, store, folder, .. } = node;
    host.stop().await;
    store.close().await;
    drop((host, bus));
    let node = Node::start_in(folder).await;
    assert_eq!(node.draw(room, 7, 20).await, Ok(Seq(20)), "recognised");
    assert_eq!(node.draw(room, 7, 21).await, Ok(Seq(21)));
    let attached = node.bus.attach(room, EDGE).await.unwrap();
    assert_eq!(attached.position.seq, Seq(21));
    assert_eq!(attached.contents.to_snapshot(Seq(21)).elements.unwrap().0.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_in_the_name_of_the_room() {
    let node = Node::start().await;
    let room = node.board().await;
    assert_eq!(node.draw(room, 0, 1).await.unwrap_err().code, ErrorCode::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_does_not_exist_is_not_woken() {
    let node = Node::start().await;
    let nowhere = RoomId(Uuid::new_v4());
    assert_eq!(node.draw(nowhere, 7, 1).await.unwrap_err().code, ErrorCode::RoomNotFound);
    assert_eq!(node.bus.attach(nowhere, EDGE).await.unwrap_err().code, ErrorCode::RoomNotFound);
    assert_eq!(node.host.awake(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_room_starts_anew_and_its_neighbours_notice_nothing() {
    let node = Node::start().await;
    let (room, neighbour) = (node.board().await, node.board().await);
    node.draw(room, 7, 1).await.unwrap();
    node.draw(neighbour, 7, 1).await.unwrap();
    let before = node.host.inspect(neighbour).await.unwrap();
    node.kill(room).await;
    assert_eq!(node.draw_until_answered(room, 7, 1).await, Seq(1), "recognised");
    assert_eq!(node.draw_until_answered(room, 7, 2).await, Seq(2));
    assert_eq!(node.host.inspect(neighbour).await.unwrap(), before);
    assert_eq!(node.draw(neighbour, 7, 2).await, Ok(Seq(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ops_in_flight_during_a_crash_are_applied_once() {
    let node = Arc::new(Node::start().await);
    let room = node.board().await;
    let writers: Vec<_> = (1..=8)
        .map(|client| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for op_id in 1..=40 {
                    seqs.push(node.draw_until_answered(room, client, op_id).await);
                }
                seqs
            })
        })
        .collect();
    // Three crashes while they write; a fourth and a fifth would set the room aside.
    for count in [60, 140, 220] {
        let reached = async {
            while node.host.inspect(room).await.is_none_or(|room| room.committed.0 < count) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
        node.host.kill(room);
    }
    let mut seqs = Vec::new();
    for writer in writers {
        seqs.extend(writer.await.unwrap());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=320).map(Seq).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_crashes_again_and_again_is_set_aside_until_an_operator_releases_it() {
    let node = Node::start().await;
    let (room, neighbour) = (node.board().await, node.board().await);
    for op_id in 1..=5 {
        node.draw_until_answered(room, 7, op_id).await;
        node.kill(room).await;
    }
    let refusal = node.draw(room, 7, 6).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::RoomUnavailable);
    assert!(refusal.retry_after_ms.is_some());
    assert_eq!(node.bus.attach(room, EDGE).await.unwrap_err().code, ErrorCode::RoomUnavailable);
    assert_eq!(node.draw(neighbour, 7, 1).await, Ok(Seq(1)));
    node.host.release(room);
    assert_eq!(node.draw(room, 7, 6).await, Ok(Seq(6)), "nothing was lost meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_room_goes_to_sleep_and_wakes_with_everything() {
    let node = Node::start().await;
    let room = node.board().await;
    node.bus.attach(room, EDGE).await.unwrap();
    node.draw(room, 7, 1).await.unwrap();
    node.clock.0.fetch_add(10_000, Ordering::Relaxed);
    node.bus.notify(room, Notice::Detached { edge: EDGE });
    node.clock.0.fetch_add(10_000, Ordering::Relaxed);
    // Whatever is asked of it, it looks at the clock.
    node.bus.notify(room, Notice::Departed { edge: EDGE, users: Vec::new() });
    eventually("it sleeps", || node.host.awake() == 0).await;
    assert_eq!(node.draw(room, 7, 1).await, Ok(Seq(1)));
    assert_eq!(node.draw(room, 7, 2).await, Ok(Seq(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_edge_hears_every_op_in_order() {
    let node = Arc::new(Node::start().await);
    let room = node.board().await;
    let attached = node.bus.attach(room, EDGE).await.unwrap();
    assert_eq!(attached.position.seq, Seq(0));
    let writers = (1..=10).map(|client| {
        let node = node.clone();
        tokio::spawn(async move {
            for op_id in 1..=20 {
                node.draw(room, client, op_id).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let heard = || node.listener.ops.lock().unwrap().iter().map(|(_, _, count)| count).sum::<usize>();
    eventually("all is heard", || heard() == 200).await;
    let mut next = Seq(1);
    for (_, first, count) in node.listener.ops.lock().unwrap().iter() {
        assert_eq!(*first, next);
        next = Seq(next.0 + *count as u64);
    }
}
