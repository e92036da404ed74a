//! What a room costs while it is awake, and that a sleeping one costs nothing: `cargo run --release -p enfilade-actors --example
//! room_memory [ROOMS]`. Prints resident memory, actors and bytes per room.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement that fails has failed")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use enfilade_actors::bus::{MemoryBus, Submission, Writer};
use enfilade_actors::cluster::{Cluster, ClusterArgs, Probe, Verdict};
use enfilade_actors::host::{Clock, Host, HostArgs, Offload};
use enfilade_actors::room::RoomSettings;
use enfilade_actors::trace::Tracer;
use enfilade_proto::board::{Color, Stroke, Width};
use enfilade_proto::{
    ClientId, Coord, DisplayName, ElementId, Op, OpId, Points, Role, RoomId, RoomKind, UserId,
};
use enfilade_store::{Directory, Incarnation, NewNode, NewRoom, Sqlite, SqliteOptions, Store};
use futures_util::{StreamExt, stream};
use uuid::Uuid;

#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> u64 {
        SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
    }
}

#[derive(Debug)]
struct NobodyElse;

#[async_trait]
impl Probe for NobodyElse {
    async fn probe(&self, _: Incarnation, _: &str) -> Verdict {
        Verdict::Silent
    }
}

#[tokio::main]
async fn main() {
    let rooms: u64 = std::env::args().nth(1).map_or(10_000, |rooms| rooms.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = SqliteOptions { migrate: true, ..SqliteOptions::default() };
    let store = Store::from(Sqlite::open(folder.path().join("rooms.db"), options).await.unwrap());
    let ids: Vec<RoomId> = (0..rooms).map(|n| RoomId(Uuid::from_u128(u128::from(n) + 1))).collect();
    create(&*store.directory, &ids).await;
    let me = Incarnation(Uuid::new_v4());
    let host = Host::start(HostArgs {
        me,
        log: store.log.clone(),
        directory: store.directory.clone(),
        clock: Arc::new(WallClock),
        settings: RoomSettings { idle_ms: 5_000, ..RoomSettings::default() },
        committers: store.committers(),
        offload: Offload::Thread,
        tracer: Tracer::default(),
    })
    .await
    .unwrap();
    let cluster = Cluster::start(ClusterArgs {
        node: NewNode {
            incarnation: me,
            name: "measurement".to_owned(),
            address: String::new(),
            version: String::new(),
            host: true,
            edge: false,
        },
        ownership: store.ownership.clone(),
        bus: Arc::new(MemoryBus::alone(me)),
        probe: Arc::new(NobodyElse),
        host: Some(host.clone()),
    })
    .await
    .unwrap();
    println!("{rooms} rooms             actors   resident MB   KB a room");
    let asleep = resident();
    report("asleep", &host, asleep, asleep, rooms);
    each(&ids, |room| {
        let cluster = cluster.clone();
        async move { drop(cluster.read(room).await.unwrap()) }
    })
    .await;
    report("awake, empty", &host, resident(), asleep, rooms);
    each(&ids, |room| {
        let cluster = cluster.clone();
        async move {
            cluster.submit(room, stroke()).unwrap().wait().await.unwrap();
        }
    })
    .await;
    report("awake, one stroke each", &host, resident(), asleep, rooms);
    while host.awake() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    report("asleep again", &host, resident(), asleep, rooms);
    cluster.stop().await;
    store.close().await;
}

async fn create(directory: &dyn Directory, ids: &[RoomId]) {
    for id in ids {
        let title = DisplayName::new("A room").unwrap();
        let room = NewRoom { id: *id, kind: RoomKind::Board, title, created_ms: 0, owner: None, link: None };
        directory.create_room(&room).await.unwrap();
    }
}

async fn each<F: Future<Output = ()>>(ids: &[RoomId], work: impl Fn(RoomId) -> F) {
    stream::iter(ids).map(|id| work(*id)).buffer_unordered(256).collect::<Vec<()>>().await;
}

/// A stroke of 60 points, as people draw them.
fn stroke() -> Submission {
    let coord = |units| Coord::from_units(units).unwrap();
    let points: Vec<_> = (0..60).map(|n| [coord(f64::from(n)), coord(f64::from(n * n) / 60.0)]).collect();
    let op = Op::AddStroke(Stroke {
        element: ElementId::new("stroke").unwrap(),
        color: Color::parse("#1a1a1a").unwrap(),
        width: Width::new(2.0).unwrap(),
        points: Points::encode(&points),
        pressure: None,
    });
    let writer = Writer { author: UserId(Uuid::from_u128(1)), client: ClientId(Uuid::from_u128(2)) };
    Submission { writer, role: Role::Editor, op_id: OpId(1), op, weight: 300, trace: None }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn report(what: &str, host: &Host, now: usize, before: usize, rooms: u64) {
    let per_room = now.saturating_sub(before) as f64 / rooms as f64 / 1_024.0;
    println!("{what:<24} {:>7} {:>13.1} {per_room:>11.2}", host.awake(), now as f64 / 1e6);
}
