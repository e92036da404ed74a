//! Rooms as actors over a real database: woken, crashed, set aside, put to sleep.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on has failed, and is nobody's simulation"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use enfilade_actors::bus::{ClusterEvent, MemoryBus, Notice, RoomEvent, Submission, Writer};
use enfilade_actors::cluster::{Answer, Cluster, ClusterArgs, Edge, Probe, Verdict};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload, Waiting};
use enfilade_actors::presence::GRACE_MS;
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::{Kept, SpanRecord};
use enfilade_actors::{Refusal, Reply};
use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::{
    ClientId, Coord, DisplayName, ElementId, Epoch, ErrorCode, Member, Op, OpId, Points, Role, RoomId,
    RoomKind, Seq, SignalOut, TraceParent, UserId,
};
use enfilade_store::{Directory, Incarnation, NewNode, NewRoom, Ownership, Shard, Sqlite, SqliteOptions};
use tempfile::TempDir;
use uuid::Uuid;

const ADA: UserId = UserId(Uuid::from_u128(2));

/// An edge that writes down what it hears.
#[derive(Debug, Default)]
struct Listener {
    ops: Mutex<Vec<(RoomId, Seq, usize)>>,
    traces: Mutex<Vec<TraceParent>>,
    counts: Mutex<Vec<u64>>,
    owners_lost: AtomicU64,
}

impl Edge for Listener {
    fn room_event(&self, room: RoomId, _: Epoch, event: RoomEvent) -> bool {
        match event {
            RoomEvent::Ops { first, ops, traces } => {
                self.ops.lock().unwrap().push((room, first, ops.len()));
                self.traces.lock().unwrap().extend(traces);
            }
            RoomEvent::OwnerLost => {
                self.owners_lost.fetch_add(1, Ordering::Relaxed);
            }
            RoomEvent::Presence(presence) => self.counts.lock().unwrap().push(presence.count),
            RoomEvent::Edges { .. } | RoomEvent::Head(_) => {}
        }
        true
    }

    fn signals(&self, _: RoomId, _: Vec<SignalOut>) {}

    fn cluster_event(&self, _: ClusterEvent) {}

    fn moved(&self, _: &[(Shard, Epoch)]) {}

    fn compare_notes(&self) {}
}

/// Time as it passes, and what a test adds to it.
#[derive(Debug)]
struct TestClock {
    start: Instant,
    added_ms: AtomicU64,
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64 + self.added_ms.load(Ordering::Relaxed)
    }
}

/// There is nobody else.
#[derive(Debug)]
struct NobodyElse;

#[async_trait]
impl Probe for NobodyElse {
    async fn probe(&self, _: Incarnation, _: &str) -> Verdict {
        Verdict::Gone
    }
}

struct Node {
    host: Host,
    cluster: Cluster,
    store: Arc<Sqlite>,
    listener: Arc<Listener>,
    clock: Arc<TestClock>,
    kept: Kept,
    folder: TempDir,
}

impl Node {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
        let store = Arc::new(Sqlite::open(folder.path().join("test.db"), options).await.unwrap());
        let clock = Arc::new(TestClock { start: Instant::now(), added_ms: AtomicU64::new(1_000) });
        let (me, kept) = (Incarnation(Uuid::new_v4()), Kept::default());
        let host = Host::start(HostArgs {
            me,
            log: store.clone(),
            directory: store.clone(),
            clock: clock.clone(),
            settings: RoomSettings { idle_ms: 50, ..RoomSettings::default() },
            committers: 1,
            offload: Offload::Thread,
            tracer: kept.tracer(),
        })
        .await
        .unwrap();
        let cluster = Cluster::start(ClusterArgs {
            node: NewNode {
                incarnation: me,
                name: "one".into(),
                address: "nowhere:1".into(),
                version: "1".into(),
                host: true,
                edge: true,
            },
            ownership: store.clone(),
            bus: Arc::new(MemoryBus::alone(me)),
            probe: Arc::new(NobodyElse),
            host: Some(host.clone()),
        })
        .await
        .unwrap();
        let listener = Arc::new(Listener::default());
        let edge: Arc<dyn Edge> = listener.clone();
        cluster.connect(Arc::downgrade(&edge));
        Self { host, cluster, store, listener, clock, kept, folder }
    }

    async fn board(&self) -> RoomId {
        let id = RoomId(Uuid::new_v4());
        let title = DisplayName::new("Board").unwrap();
        let room = NewRoom { id, kind: RoomKind::Board, title, created_ms: 0, owner: None, link: None };
        self.store.create_room(&room).await.unwrap();
        id
    }

    async fn draw(&self, room: RoomId, client: u128, op_id: u64) -> Result<Seq, Refusal> {
        self.draw_traced(room, client, op_id, None).await
    }

    async fn draw_traced(
        &self,
        room: RoomId,
        client: u128,
        op_id: u64,
        trace: Option<TraceParent>,
    ) -> Result<Seq, Refusal> {
        self.submit(room, client, op_id, trace)?.wait().await
    }

    fn submit(
        &self,
        room: RoomId,
        client: u128,
        op_id: u64,
        trace: Option<TraceParent>,
    ) -> Result<Answer, Refusal> {
        let at = |x: f64| [Coord::from_units(x).unwrap(); 2];
        let op = Op::AddStroke(Stroke {
            element: ElementId::new(&format!("c{client}-{op_id}")).unwrap(),
            color: Color::parse("#1a1a1a").unwrap(),
            width: Width::new(4.0).unwrap(),
            points: Points::encode(&[at(0.0), at(10.0)]),
            pressure: None,
        });
        let writer = Writer { author: ADA, client: ClientId(Uuid::from_u128(client)) };
        let submission =
            Submission { writer, role: Role::Editor, op_id: OpId(op_id), op, weight: 100, trace };
        self.cluster.submit(room, submission)
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

    /// Lets time pass; whatever is asked of a room, it looks at the clock.
    fn pass(&self, room: RoomId, ms: u64) {
        self.clock.added_ms.fetch_add(ms, Ordering::Relaxed);
        self.cluster.notify(room, Notice::Departed(Vec::new()));
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
    let Node { cluster, store, folder, .. } = node;
    cluster.stop().await;
    store.close().await;
    drop(cluster);
    let node = Node::start_in(folder).await;
    assert_eq!(node.draw(room, 7, 20).await, Ok(Seq(20)), "recognised");
    assert_eq!(node.draw(room, 7, 21).await, Ok(Seq(21)));
    let attached = node.cluster.attach(room, true).await.unwrap();
    assert_eq!(attached.position.seq, Seq(21));
    assert_eq!(attached.contents.unwrap().to_snapshot(Seq(21)).elements.unwrap().0.len(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_in_the_name_of_the_room() {
    let node = Node::start().await;
    let room = node.board().await;
    assert_eq!(node.draw(room, 0, 1).await.unwrap_err().code, ErrorCode::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_of_a_traced_op_through_its_owner_is_told_step_by_step() {
    let node = Node::start().await;
    let room = node.board().await;
    node.cluster.attach(room, true).await.unwrap();
    let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    assert_eq!(node.draw(room, 7, 1).await, Ok(Seq(1)));
    let unsampled = Some(TraceParent { sampled: false, ..parent });
    assert_eq!(node.draw_traced(room, 7, 2, unsampled).await, Ok(Seq(2)));
    assert!(node.kept.spans().is_empty(), "nothing is told of the ways of others");

    assert_eq!(node.draw_traced(room, 7, 3, Some(parent)).await, Ok(Seq(3)));
    let spans = node.kept.spans();
    let step = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let steps = ["mailbox", "room", "commit"].map(step);
    let parents = [parent.span, steps[0].context.span, steps[1].context.span];
    assert_eq!(steps.map(|span| span.parent), parents.map(Some));
    assert!(spans.len() == 3 && spans.iter().all(|span| span.context.trace == parent.trace));
    assert_eq!(*node.listener.traces.lock().unwrap(), [steps[2].context], "edges go on from the commit");
    assert_eq!(node.kept.examples(), [("enfilade_commit_seconds", parent.trace)]);

    // Sent again, it is not written again; and what is refused has failed.
    assert_eq!(node.draw_traced(room, 7, 3, Some(parent)).await, Ok(Seq(3)));
    let refusal = node.draw_traced(room, 0, 4, Some(parent)).await.unwrap_err();
    let outcome = |span: &SpanRecord| (span.name, span.failure.as_deref().map(str::to_owned));
    let refused = ("room", Some(refusal.code.as_str().to_owned()));
    let told: Vec<_> = node.kept.spans()[3..].iter().map(outcome).collect();
    assert_eq!(told, [("mailbox", None), ("room", None), ("mailbox", None), refused]);

    // Nor did it get into a room that does not exist.
    let nowhere = RoomId(Uuid::new_v4());
    let refusal = node.draw_traced(nowhere, 7, 1, Some(parent)).await.unwrap_err();
    let refused = ("mailbox", Some(refusal.code.as_str().to_owned()));
    assert_eq!(node.kept.spans().last().map(outcome), Some(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_fenced_has_failed_and_the_op_arrives_all_the_same() {
    let node = Node::start().await;
    let room = node.board().await;
    let parent: TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let fenced = |span: &SpanRecord| span.name == "commit" && span.failure.as_deref() == Some("fenced");
    let mut drawn = 0;
    while !node.kept.spans().iter().any(fenced) {
        drawn += 1;
        assert!(drawn < 50, "never fenced");
        node.draw_until_answered(room, 7, drawn).await;
        // The epoch goes on behind the node's back. It may notice that before the op is there.
        node.store.claim(node.cluster.me(), &[Shard::of(room)]).await.unwrap();
        let _ = node.draw_traced(room, 8, drawn, Some(parent)).await;
    }
    let seq = node.draw_until_answered(room, 8, drawn).await;
    assert!(seq <= Seq(2 * drawn), "{seq:?}");
    assert_eq!(node.draw_until_answered(room, 8, drawn).await, seq, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_does_not_exist_is_not_woken() {
    let node = Node::start().await;
    let nowhere = RoomId(Uuid::new_v4());
    assert_eq!(node.draw(nowhere, 7, 1).await.unwrap_err().code, ErrorCode::RoomNotFound);
    assert_eq!(node.cluster.attach(nowhere, true).await.unwrap_err().code, ErrorCode::RoomNotFound);
    assert_eq!(node.host.awake(), 0);
}

/// On one thread: the room does nothing before somebody waits.
#[tokio::test]
async fn what_waits_for_rooms_is_known_until_it_is_answered() {
    let node = Node::start().await;
    let (room, neighbour) = (node.board().await, node.board().await);
    assert_eq!(node.host.waiting(), Waiting::default());
    let mut answers: Vec<Answer> = (1..=3).map(|op_id| node.submit(room, 7, op_id, None).unwrap()).collect();
    let of_room = node.host.waiting();
    assert!(of_room.bytes >= 3 * 100 && of_room.largest == of_room.bytes, "{of_room:?}");
    answers.push(node.submit(neighbour, 7, 1, None).unwrap());
    let of_both = Waiting { bytes: of_room.bytes + of_room.bytes / 3, ..of_room };
    assert_eq!(node.host.waiting(), of_both);
    for answer in answers {
        answer.wait().await.unwrap();
    }
    eventually("nothing waits", || node.host.waiting() == Waiting::default()).await;
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
    assert_eq!(node.cluster.attach(room, true).await.unwrap_err().code, ErrorCode::RoomUnavailable);
    assert_eq!(node.draw(neighbour, 7, 1).await, Ok(Seq(1)));
    node.host.release(room);
    assert_eq!(node.draw(room, 7, 6).await, Ok(Seq(6)), "nothing was lost meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_room_goes_to_sleep_and_wakes_with_everything() {
    let node = Node::start().await;
    let room = node.board().await;
    node.cluster.attach(room, true).await.unwrap();
    node.draw(room, 7, 1).await.unwrap();
    node.pass(room, 10_000);
    node.cluster.notify(room, Notice::Detached);
    node.pass(room, 10_000);
    eventually("it sleeps", || node.host.awake() == 0).await;
    assert_eq!(node.draw(room, 7, 1).await, Ok(Seq(1)));
    assert_eq!(node.draw(room, 7, 2).await, Ok(Seq(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_edge_hears_every_op_in_order() {
    let node = Arc::new(Node::start().await);
    let room = node.board().await;
    let attached = node.cluster.attach(room, true).await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_died_leaves_no_ghosts() {
    let node = Node::start().await;
    let room = node.board().await;
    node.cluster.attach(room, true).await.unwrap();
    let far = Incarnation(Uuid::from_u128(9));
    let (reply, answer) = tokio::sync::oneshot::channel();
    node.host.attach(room, Some(far), true, Reply::new(|attached| drop(reply.send(attached))));
    answer.await.unwrap().unwrap();
    let name = DisplayName::new("Ada").unwrap();
    node.host.notice(room, far, Notice::Arrived(vec![Member { id: ADA, name, role: Role::Editor }]));
    eventually("somebody is there", || *node.listener.counts.lock().unwrap() == [1]).await;
    node.host.edge_gone(far);
    let inspected = || async { node.host.inspect(room).await.unwrap() };
    assert_eq!((inspected().await.edges, inspected().await.people), (1, 1), "they may come back");
    node.pass(room, GRACE_MS);
    eventually("nobody is there", || node.listener.counts.lock().unwrap().ends_with(&[0])).await;
    assert_eq!(inspected().await.people, 0);
}
