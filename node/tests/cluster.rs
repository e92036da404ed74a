//! Three nodes on one PostgreSQL and one NATS: what happens on one is what happens on all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use enfilade_node::Partial;
use enfilade_proto::{CloseCode, Codec, ErrorCode, Hello, RoomId, Seq, ServerFrame, ServerMessage};
use enfilade_testbed::Postgres;
use enfilade_testbed::nats::NatsServer;
use serde_json::json;
use support::{Board, Client, TestNode};

struct TestCluster {
    nodes: Vec<TestNode>,
    _nats: NatsServer,
}

impl TestCluster {
    async fn start() -> Self {
        Self::with_roles(&["edge,host", "edge,host", "edge,host"]).await
    }

    async fn with_roles(roles: &[&str]) -> Self {
        Self::with(roles, Partial::default()).await
    }

    async fn with(roles: &[&str], settings: Partial) -> Self {
        let nats = NatsServer::start().await.unwrap();
        let database_url = Postgres::shared().unwrap().create_database().unwrap();
        let mut nodes = Vec::new();
        for (number, roles) in roles.iter().enumerate() {
            let given = Partial {
                database_url: Some(database_url.clone()),
                nats_url: Some(nats.url()),
                node_name: Some(format!("node-{number}")),
                roles: Some(roles.parse().unwrap()),
                drain_seconds: Some(0),
                ..settings.clone()
            };
            nodes.push(TestNode::start_with(tempfile::tempdir().unwrap(), given).await);
        }
        let cluster = Self { nodes, _nats: nats };
        cluster.balanced().await;
        cluster
    }

    /// Waits until every node sees every other, and each host has its share.
    async fn balanced(&self) {
        let hosts = self.nodes.iter().filter(|node| node.node.host().is_some()).count();
        wait("shares", || {
            let owned = |node: &TestNode| node.node.host().map_or(0, |host| host.owned().len());
            let sum: usize = self.nodes.iter().map(owned).sum();
            let fair = |node: &TestNode| node.node.host().is_none() || owned(node) > 4_096 / hosts / 2;
            let seen = |node: &TestNode| node.node.cluster().nodes().len() == self.nodes.len();
            sum == 4_096 && self.nodes.iter().all(|node| fair(node) && seen(node))
        })
        .await;
    }

    /// The place of the node on which a room is awake.
    async fn owner(&self, room: RoomId) -> usize {
        for (place, node) in self.nodes.iter().enumerate() {
            if let Some(host) = node.node.host()
                && host.inspect(room).await.is_some()
            {
                return place;
            }
        }
        panic!("the room is not awake anywhere");
    }

    async fn stop(self) {
        for node in self.nodes {
            node.node.stop().await;
        }
    }
}

async fn wait(what: &str, reached: impl Fn() -> bool) {
    let patience = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), patience).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn members(cluster: &TestCluster, board: &Board) -> Vec<Client> {
    let mut clients = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        clients.push(node.member(&format!("person {number}"), board).await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_counted_over_all_nodes_and_goes_with_its_node() {
    let mut cluster = TestCluster::start().await;
    let board = cluster.nodes[0].board().await;
    let mut ada = cluster.nodes[0].member("Ada", &board).await;
    let mut watchers = Vec::new();
    for (node, count) in cluster.nodes.iter().zip([1, 2, 4]) {
        for _ in 0..count {
            let mut watcher = node.connect(Codec::MessagePack).await;
            watcher.hello(Hello { audience: true, ..Hello::new(watcher.id) }).await;
            watcher.join(board.id, &board.link, None).await;
            watchers.push(watcher);
        }
    }
    let watched_by = |audience| move |frame: &ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.audience == audience);
    ada.until("all are counted", watched_by(7)).await;
    for watcher in &mut watchers {
        watcher.until("all are counted, everywhere", watched_by(7)).await;
    }
    // Its rooms move, and those who watched through it are gone.
    cluster.nodes.remove(2).node.stop().await;
    ada.until("four are gone", watched_by(3)).await;
    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    for watcher in &mut watchers[..3] {
        assert_eq!(watcher.ops_through(Seq(0), Seq(1)).await.len(), 1);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_on_three_nodes_draw_together() {
    let cluster = TestCluster::start().await;
    let board = cluster.nodes[0].board().await;
    let mut clients = members(&cluster, &board).await;
    let mut seq = Seq(0);
    for round in 1..=5 {
        for client in &mut clients {
            seq = seq.next();
            assert_eq!(client.draw(board.id, round).await, seq);
        }
    }
    for client in &mut clients {
        assert_eq!(client.ops_through(Seq(0), seq).await.len(), 15);
    }
    let sender = clients[0].id;
    clients[0].signal(board.id, "cursor", json!({"x": 1, "y": 2})).await;
    for client in &mut clients {
        let came = |frame: &enfilade_proto::ServerFrame| {
            matches!(&frame.message, ServerMessage::Signals(signals)
                if signals.signals.iter().any(|signal| signal.client == sender))
        };
        client.until("a cursor", came).await;
    }
    // Whoever comes now sees all three, and everything that was acknowledged.
    let mut late = cluster.nodes[2].guest("late").await;
    let joined = late.join(board.id, &board.link, None).await;
    assert_eq!((joined.position.seq, joined.presence.count), (seq, 4));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_outlives_its_owner_and_nobody_elsewhere_notices() {
    let mut cluster = TestCluster::start().await;
    let board = cluster.nodes[0].board().await;
    let mut clients = members(&cluster, &board).await;
    for client in &mut clients {
        client.draw(board.id, 1).await;
    }
    let owner = cluster.owner(board.id).await;
    let leaving = cluster.nodes.remove(owner);
    drop(clients.remove(owner));
    let (id, mut drawing) = (board.id, clients.remove(0));
    // Ops that are under way while the owner leaves arrive at the next one.
    let drawn = tokio::spawn(async move {
        for op_id in 2..=100 {
            drawing.draw(id, op_id).await;
        }
        drawing
    });
    leaving.node.stop().await;
    let mut drawing = drawn.await.unwrap();
    for client in [&mut drawing, &mut clients[0]] {
        client.ops_through(Seq(0), Seq(102)).await;
    }
    assert_ne!(cluster.nodes.len(), 3);
    let position = clients[0].join(board.id, &board.link, None).await.position;
    assert_eq!(position.seq, Seq(102));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_sends_its_people_elsewhere_and_keeps_nothing() {
    let cluster = TestCluster::start().await;
    let board = cluster.nodes[0].board().await;
    let mut ada = cluster.nodes[0].member("Ada", &board).await;
    ada.draw(board.id, 1).await;
    let draining = cluster.nodes[0].node.drain();
    let moving = async {
        let told = ada.until("reconnect", |frame| matches!(frame.message, ServerMessage::Reconnect(_))).await;
        let ServerMessage::Reconnect(told) = told.message else { unreachable!() };
        // The old connection works until the new one does.
        ada.draw(board.id, 2).await;
        let mut again = cluster.nodes[1].connect(enfilade_proto::Codec::MessagePack).await;
        again.id = ada.id;
        let hello = Hello { resume: told.resume, ..Hello::new(ada.id) };
        assert_eq!(again.hello(hello).await.node, "node-1");
        let joined = again.join(board.id, &board.link, None).await;
        assert_eq!(
            (joined.position.seq, joined.presence.count),
            (Seq(2), 1),
            "one person, for a while twice"
        );
        again.draw(board.id, 3).await;
        ada.ops_through(Seq(0), Seq(3)).await;
        ada.vanish();
        again
    };
    let ((), mut again) = tokio::join!(draining, moving);
    assert_eq!(cluster.nodes[0].node.host().unwrap().owned(), []);
    again.draw(board.id, 4).await;
    // Who comes to it all the same is sent away at once.
    let mut late = cluster.nodes[0].connect(enfilade_proto::Codec::Json).await;
    let guest = Some(enfilade_proto::Guest { name: "late".to_owned() });
    let hello = Hello { guest, ..Hello::new(late.id) };
    late.send(Some(1), &enfilade_proto::Request::Hello(hello)).await;
    assert_eq!(late.close_code().await, CloseCode::Drained.code());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_been_on_a_node_for_long_moves_on_unless_they_are_drawing() {
    let settings = Partial { connection_age_seconds: Some(2), ..Partial::default() };
    let cluster = TestCluster::with(&["edge,host", "edge,host"], settings).await;
    let board = cluster.nodes[0].board().await;
    let mut ada = cluster.nodes[0].member("Ada", &board).await;
    let mut bob = cluster.nodes[0].member("Bob", &board).await;
    let moves = |frame: &ServerFrame| matches!(frame.message, ServerMessage::Reconnect(_));
    let told = ada.until("it is time to go", moves);
    // Twice as long as he may stay.
    let drawing = async {
        let mut every = tokio::time::interval(Duration::from_millis(200));
        for _ in 0..20 {
            every.tick().await;
            bob.signal(board.id, "stroke.1", json!({"points": []})).await;
        }
        bob.draw(board.id, 1).await;
    };
    let (told, ()) = tokio::join!(told, drawing);
    assert!(!bob.kept(moves), "he draws");
    let ServerMessage::Reconnect(told) = told.message else { unreachable!() };
    let mut again = cluster.nodes[1].connect(Codec::MessagePack).await;
    again.id = ada.id;
    let hello = Hello { resume: told.resume, ..Hello::new(ada.id) };
    assert_eq!(again.hello(hello).await.node, "node-1");
    // He has put the pen down.
    bob.until("it is his time, too", moves).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_and_hosts_can_live_apart() {
    let cluster = TestCluster::with_roles(&["edge", "host", "edge"]).await;
    assert!(cluster.nodes[1].node.address.is_none());
    let board = cluster.nodes[0].board().await;
    let mut ada = cluster.nodes[0].member("Ada", &board).await;
    let mut bob = cluster.nodes[2].member("Bob", &board).await;
    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    bob.ops_through(Seq(0), Seq(1)).await;
    assert_eq!(cluster.owner(board.id).await, 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_on_one_node_is_gone_on_all() {
    let cluster = TestCluster::start().await;
    let board = cluster.nodes[0].board().await;
    let (link, secret) = cluster.nodes[0].link(&board, "editor").await;
    let mut ada = cluster.nodes[1].guest("Ada").await;
    ada.join(board.id, &secret, None).await;
    let mut bob = cluster.nodes[2].member("Bob", &board).await;
    let header = [format!("enfilade-link: {}", board.link)];
    let path = format!("/api/v1/rooms/{}/links/{link}", board.id);
    let (status, _) = cluster.nodes[0].http("DELETE", &path, &header, None).await;
    assert_eq!(status, 204);
    assert_eq!(ada.close_code().await, CloseCode::AccessRevoked.code());
    bob.draw(board.id, 1).await;
    let (status, _) =
        cluster.nodes[0].http("DELETE", &format!("/api/v1/rooms/{}", board.id), &header, None).await;
    assert_eq!(status, 204);
    assert_eq!(bob.close_code().await, CloseCode::AccessRevoked.code());
    let mut late = cluster.nodes[1].guest("late").await;
    let join = enfilade_proto::Join { room: board.id, link: Some(board.link.clone()), since: None };
    match late.ask(&enfilade_proto::Request::Join(join)).await {
        ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::RoomNotFound),
        other => panic!("{other:?}"),
    }
    cluster.stop().await;
}
