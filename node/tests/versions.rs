//! The release before this one beside this one, and before and after it on the same file: what people do on one happens on the other.
//! `tools/previous` builds it; where it cannot, these tests are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;
use std::time::Duration;

use enfilade_node::Partial;
use enfilade_proto::{CloseCode, Codec, Hello, Seq, ServerFrame, ServerMessage};
use enfilade_testbed::nats::NatsServer;
use enfilade_testbed::node::{Membership, Node as Process, NodeSettings};
use enfilade_testbed::ports::{self, loopback};
use enfilade_testbed::{Postgres, program};
use serde_json::{Value, json};
use support::{Board, Client, Door, TestNode};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node of the release before this one, which does not run yet.
fn previous(data: &Path, cluster: Option<Membership>) -> Option<Process> {
    let Some(binary) = program::previous(Path::new(env!("CARGO_BIN_EXE_enfilade"))) else {
        eprintln!("skipped: there is no node of the release before this one; tools/previous builds it");
        return None;
    };
    let port = || loopback(ports::free().unwrap());
    let settings = NodeSettings {
        name: "previous".to_owned(),
        listen: port(),
        admin: port(),
        data: data.to_owned(),
        cluster,
        trusted_proxies: String::new(),
        wrapper: Vec::new(),
        flags: Vec::new(),
    };
    Some(Process::new(&binary, data, settings))
}

async fn wait(what: &str, reached: impl Fn() -> bool) {
    let patience = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, patience).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Both versions in one cluster.
struct Pair {
    previous: Process,
    this: TestNode,
    _nats: NatsServer,
    _logs: tempfile::TempDir,
}

impl Pair {
    /// First there is the older one, on a schema of its own making.
    async fn start() -> Option<Self> {
        let logs = tempfile::tempdir().unwrap();
        let nats = NatsServer::start().await.unwrap();
        let database_url = Postgres::shared().unwrap().create_database().unwrap();
        let membership = Membership {
            database_url: database_url.clone(),
            nats_url: nats.url(),
            roles: "edge,host".to_owned(),
            drain_seconds: 0,
        };
        let mut previous = previous(logs.path(), Some(membership))?;
        previous.start().await.unwrap();
        let given = Partial {
            database_url: Some(database_url),
            nats_url: Some(nats.url()),
            node_name: Some("this".to_owned()),
            drain_seconds: Some(0),
            ..Partial::default()
        };
        let this = TestNode::start_with(tempfile::tempdir().unwrap(), given).await;
        let pair = Self { previous, this, _nats: nats, _logs: logs };
        pair.shares(1_500..2_600).await;
        Some(pair)
    }

    /// Waits until so many shards, of 4,096, are this version's.
    async fn shares(&self, expected: std::ops::Range<usize>) {
        let host = self.this.node.host().unwrap();
        wait(&format!("{expected:?} shards"), || expected.contains(&host.owned().len())).await;
    }

    fn before(&self) -> Door {
        Door::at(self.previous.settings.listen)
    }

    async fn is_owned_by_this(&self, board: &Board) -> bool {
        self.this.node.host().unwrap().inspect(board.id).await.is_some()
    }

    /// A board, made and joined on the older node, that one or the other owns, and somebody on it on each node.
    async fn meeting(&self, owned_by_this: bool) -> Meeting {
        loop {
            let board = self.before().board().await;
            let ada = self.before().member("Ada", &board).await;
            if self.is_owned_by_this(&board).await == owned_by_this {
                let bob = self.this.member("Bob", &board).await;
                return Meeting { board, ada, bob, drawn: 0 };
            }
        }
    }
}

/// Ada on the node of the release before, Bob on that of this one.
struct Meeting {
    board: Board,
    ada: Client,
    bob: Client,
    drawn: u64,
}

impl Meeting {
    async fn draw_in_turn(&mut self) {
        let seen = Seq(self.drawn);
        for round in 1..=3 {
            for client in [&mut self.ada, &mut self.bob] {
                self.drawn += 1;
                assert_eq!(client.draw(self.board.id, round).await, Seq(self.drawn));
            }
        }
        for client in [&mut self.ada, &mut self.bob] {
            client.ops_through(seen, Seq(self.drawn)).await;
        }
    }

    async fn signal_both_ways(&mut self) {
        let (ada, bob) = (self.ada.id, self.bob.id);
        let shows = |sender| {
            move |frame: &ServerFrame| {
                matches!(&frame.message, ServerMessage::Signals(signals)
                    if signals.signals.iter().any(|signal| signal.client == sender))
            }
        };
        self.ada.signal(self.board.id, "cursor", json!({"x": 1})).await;
        self.bob.until("Ada's cursor", shows(ada)).await;
        self.bob.signal(self.board.id, "cursor", json!({"x": 2})).await;
        self.ada.until("Bob's cursor", shows(bob)).await;
    }

    /// Somebody who comes in by a door sees everything that was ever drawn.
    async fn is_whole_at(&self, door: &Door) -> Client {
        let mut late = door.guest("late").await;
        let joined = late.join(self.board.id, &self.board.link, None).await;
        assert_eq!(joined.position.seq, Seq(self.drawn));
        late
    }
}

async fn snapshot(door: &Door, board: &Board) -> Value {
    let header = format!("enfilade-link: {}", board.link);
    let path = format!("/api/v1/rooms/{}/snapshot", board.id);
    let (status, body) = door.http("GET", &path, &[header], None).await;
    assert_eq!(status, 200, "{body}");
    body["snapshot"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_both_versions_are_in_the_same_rooms_whoever_owns_them() {
    let Some(pair) = Pair::start().await else { return };
    for owned_by_this in [false, true] {
        let mut meeting = pair.meeting(owned_by_this).await;
        meeting.draw_in_turn().await;
        meeting.signal_both_ways().await;
        let mut watcher = pair.before().connect(Codec::MessagePack).await;
        watcher.hello(Hello { audience: true, ..Hello::new(watcher.id) }).await;
        watcher.join(meeting.board.id, &meeting.board.link, None).await;
        let both_and_a_watcher = |frame: &ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.count == 2 && it.audience == 1);
        meeting.bob.until("all are counted", both_and_a_watcher).await;
        assert_eq!(
            snapshot(&pair.before(), &meeting.board).await,
            snapshot(&pair.this, &meeting.board).await
        );
        // What is taken away on one node is gone on the other.
        let header = [format!("enfilade-link: {}", meeting.board.link)];
        let path = format!("/api/v1/rooms/{}", meeting.board.id);
        assert_eq!(pair.before().http("DELETE", &path, &header, None).await.0, 204);
        assert_eq!(meeting.bob.close_code().await, CloseCode::AccessRevoked.code());
    }
    pair.this.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_known_to_one_version_is_known_to_the_other() {
    let Some(pair) = Pair::start().await else { return };
    let before = pair.before();
    for (from, to) in [(&before, &*pair.this), (&*pair.this, &before)] {
        let mut client = from.connect(Codec::MessagePack).await;
        let welcome = client.greet("Ada").await;
        let mut again = to.connect(Codec::Json).await;
        again.id = client.id;
        let resumed = again.hello(Hello { resume: welcome.resume.clone(), ..Hello::new(client.id) }).await;
        let person = |welcome: enfilade_proto::Welcome| welcome.user.map(|user| (user.id, user.name));
        let known = person(resumed);
        assert!(known.is_some());
        assert_eq!(known, person(welcome));
    }
    let person = json!({"username": "ada", "password": "a long enough one"});
    assert_eq!(before.http("POST", "/api/v1/auth/sign-up", &[], Some(person.clone())).await.0, 201);
    let (status, signed_in) = pair.this.http("POST", "/api/v1/auth/sign-in", &[], Some(person)).await;
    assert_eq!(status, 200, "{signed_in}");
    let header = format!("authorization: Bearer {}", signed_in["access_token"].as_str().unwrap());
    assert_eq!(before.http("GET", "/api/v1/auth/logins", &[header], None).await.0, 200);
    pair.this.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_go_from_one_version_to_the_other_and_back() {
    let Some(mut pair) = Pair::start().await else { return };
    let mut meetings = [pair.meeting(false).await, pair.meeting(true).await];
    for meeting in &mut meetings {
        meeting.draw_in_turn().await;
    }
    // Forward: the older one leaves, and what it owned goes on here.
    assert!(pair.previous.stop(PATIENCE).await, "it leaves by itself");
    assert_eq!(pair.this.node.host().unwrap().owned().len(), 4_096);
    for meeting in &mut meetings {
        meeting.drawn += 1;
        assert_eq!(meeting.bob.draw(meeting.board.id, 4).await, Seq(meeting.drawn));
        meeting.is_whole_at(&pair.this).await;
    }
    let shown =
        [snapshot(&pair.this, &meetings[0].board).await, snapshot(&pair.this, &meetings[1].board).await];
    // The older one comes back, on the schema that the newer one made, and gets its share.
    pair.previous.start().await.unwrap();
    pair.shares(1_500..2_600).await;
    // Back: the newer one leaves. It goes on answering until it stops.
    pair.this.node.drain().await;
    assert_eq!(pair.this.node.host().unwrap().owned(), []);
    for (meeting, shown) in meetings.iter().zip(shown) {
        assert_eq!(snapshot(&pair.before(), &meeting.board).await, shown);
        let mut late = meeting.is_whole_at(&pair.before()).await;
        assert_eq!(late.draw(meeting.board.id, 1).await, Seq(meeting.drawn + 1));
    }
    pair.this.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_from_one_version_to_the_other_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut previous) = previous(folder.path(), None) else { return };
    previous.start().await.unwrap();
    let door = Door::at(previous.settings.listen);
    let board = door.board().await;
    let mut ada = door.member("Ada", &board).await;
    for number in 1..=20 {
        assert_eq!(ada.draw(board.id, number).await, Seq(number));
    }
    let drawn = snapshot(&door, &board).await;
    assert!(previous.stop(PATIENCE).await);

    let this = TestNode::start_with(folder, Partial::default()).await;
    assert_eq!(snapshot(&this, &board).await, drawn);
    let mut bob = this.member("Bob", &board).await;
    for number in 1..=20 {
        assert_eq!(bob.draw(board.id, number).await, Seq(20 + number));
    }
    let drawn = snapshot(&this, &board).await;
    let _folder = this.stop().await;

    // The way back is open: the newer one left a schema on which the older one works.
    previous.start().await.unwrap();
    assert_eq!(snapshot(&door, &board).await, drawn);
    let mut eve = door.member("Eve", &board).await;
    assert_eq!(eve.draw(board.id, 1).await, Seq(41));
    assert!(previous.stop(PATIENCE).await);
}
