//! The release before this one and this one in one cluster while people draw: either joins, leaves and comes back, and the load tester's
//! oracle and the checker find nothing. `tools/previous` builds the older one; where it cannot, this is skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use enfilade_loadtest::checker::files::rooms_of;
use enfilade_loadtest::http;
use enfilade_loadtest::journal::Entry;
use enfilade_loadtest::replica::StateHash;
use enfilade_loadtest::target::Target;
use enfilade_proto::{Position, RoomId};
use enfilade_testbed::cluster::{Cluster, Network, Plan, Ports, Shape, temporary_folder};
use enfilade_testbed::faults::inject::Done;
use enfilade_testbed::faults::load::{Crowd, Load};
use enfilade_testbed::faults::marks::Marks;
use enfilade_testbed::faults::measure::Window;
use enfilade_testbed::faults::trial::{Outcome, Theatre, observe};
use enfilade_testbed::faults::{journal, report};
use enfilade_testbed::node::Node;
use enfilade_testbed::{admin, program};

const SAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../loadtest/samples/house-and-garden.enfilade.ndjson");
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than all that is done; it is ended when that is done.
const DRAWN: Duration = Duration::from_secs(600);
/// How many ops have to be acknowledged of every state that the cluster is in.
const OPS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_share_a_cluster_and_each_can_go_while_people_draw() {
    let this = program::built("ENFILADE_BIN", "enfilade");
    let (Some(this), Some(_)) = (this, program::built("ENFILADE_LOADTEST_BIN", "enfilade-loadtest")) else {
        return eprintln!("skipped: the node or the load tester is not built");
    };
    let Some(previous) = program::previous(&this) else {
        return eprintln!(
            "skipped: there is no node of the release before this one; tools/previous builds it"
        );
    };
    let folder = temporary_folder().unwrap();
    let plan = Plan {
        binary: previous.clone(),
        folder: folder.path().to_owned(),
        ports: Ports::free(2).unwrap(),
        shape: Shape::Together,
        network: Network::Direct,
        drain_seconds: 1,
        disk_megabytes: None,
        memory_groups: false,
        roles: Vec::new(),
        flags: Vec::new(),
    };
    let mut theatre = Theatre { cluster: Cluster::start(&plan).await.unwrap(), folder, prometheus: None };
    let asked = theatre.cluster.nodes[0].settings.admin;

    // The newer one joins the older one, on the older one's schema.
    start_as(&mut theatre.cluster.nodes[1], &this).await;
    both_have_a_share(asked).await;
    let crowd = Crowd { session: SAMPLE.into(), clients: 12, rooms: 4, speed: 2.0, lasts: Some(DRAWN) };
    let (load, _) = theatre.fill(&crowd).await.unwrap();
    more_is_drawn(&load).await;
    let drawn_on = nodes_of(&load);
    assert_eq!(drawn_on.len(), 2, "people are on both nodes: {drawn_on:?}");

    // Forward: the older one leaves, and everything is the newer one's; then it comes back, on the newer one's schema.
    leave(&mut theatre.cluster.nodes[0]).await;
    more_is_drawn(&load).await;
    start_as(&mut theatre.cluster.nodes[0], &previous).await;
    both_have_a_share(asked).await;
    more_is_drawn(&load).await;

    // Back: the newer one leaves, and everything is the older one's.
    leave(&mut theatre.cluster.nodes[1]).await;
    more_is_drawn(&load).await;

    load.interrupt().unwrap();
    let (replayed, journal) = load.finish().await.unwrap();
    let marks = Marks::create(&theatre.folder.path().join("marks.ndjson")).unwrap();
    let audit = theatre.audit(&this, &journal, &marks).await.unwrap();
    let always = Window { to: u64::MAX, ..Window::default() };
    let felt = observe(&journal, always).unwrap();
    let lost = felt.lost;
    let outcome = Outcome { replayed, audit, felt, legs: Vec::new(), done: Done::default(), patience: 1.0 };
    assert_eq!(report::judge_delivery(&outcome), Vec::<String>::new());
    assert_eq!(lost, 0, "people who were not told to move lost their connection");

    // What the older one says of the rooms, the newer one says as well.
    let rooms = rooms_of(&[journal]).unwrap();
    let told = states(&theatre.cluster.nodes[0], &rooms).await;
    assert_eq!(told.len(), 4);
    start_as(&mut theatre.cluster.nodes[1], &this).await;
    both_have_a_share(asked).await;
    leave(&mut theatre.cluster.nodes[0]).await;
    assert_eq!(states(&theatre.cluster.nodes[1], &rooms).await, told);
    theatre.close(None).await;
}

async fn start_as(node: &mut Node, program: &Path) {
    if node.is_running() {
        leave(node).await;
    }
    node.install(program);
    node.start().await.unwrap();
}

async fn leave(node: &mut Node) {
    assert!(node.stop(PATIENCE).await, "{} leaves by itself", node.name());
}

/// Waits until a node of either version owns its part of the shards.
async fn both_have_a_share(admin: SocketAddr) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shares = shares(admin).await;
        if shares.len() == 2
            && shares.values().all(|shards| *shards > 1_500)
            && shares.values().sum::<u64>() == 4_096
        {
            return;
        }
        assert!(Instant::now() < deadline, "{shares:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The shards of each version, as a node sees it.
async fn shares(admin: SocketAddr) -> BTreeMap<String, u64> {
    let Ok(answer) = admin::get(admin, "/admin/cluster").await else { return BTreeMap::new() };
    let cluster: serde_json::Value = answer.json().unwrap();
    let nodes = cluster["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| (node["version"].as_str().unwrap().to_owned(), node["shards"].as_u64().unwrap()))
        .collect()
}

async fn more_is_drawn(load: &Load) {
    let accepted = || journal::progress(&load.journal).map_or(0, |progress| progress.accepted);
    let (before, deadline) = (accepted(), Instant::now() + PATIENCE);
    while accepted() < before + OPS {
        assert!(Instant::now() < deadline, "{} of {OPS} ops", accepted() - before);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The nodes that people are or were connected to.
fn nodes_of(load: &Load) -> BTreeSet<String> {
    let mut nodes = BTreeSet::new();
    journal::each(&load.journal, |_, entry| {
        if let Entry::Welcome { node, .. } = entry {
            nodes.insert(node.clone());
        }
    })
    .unwrap();
    nodes
}

/// How far each room is and what it shows, according to a node.
async fn states(node: &Node, rooms: &BTreeMap<RoomId, Option<String>>) -> BTreeMap<RoomId, (u64, StateHash)> {
    let target: Target = node.url().parse().unwrap();
    let mut states = BTreeMap::new();
    for (room, link) in rooms {
        let shown = http::snapshot(&target, *room, link.as_deref()).await.unwrap();
        let elements = shown.snapshot.elements.as_ref().map_or(&[][..], |elements| &elements.0);
        let Position { seq, .. } = shown.position;
        states.insert(*room, (seq.0, StateHash::of(elements)));
    }
    states
}
