//! A hub breaks, and another one takes its place.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use enfilade_actors::cluster::Edge;
use enfilade_actors::host::Offload;
use enfilade_proto::{CloseCode, Codec, RoomKind};
use serde_json::json;

use super::Command;
use crate::access::Announcer;
use crate::config::{Config, Partial};
use crate::edge::arrival::{Arrival, Switched};
use crate::edge::{Allowances, EdgeNode, EdgeSettings};
use crate::node::open_offline;
use crate::people::{self, NewRoomRequest, People, SystemClock};

/// An edge with one hub and one board.
struct World {
    edge: Arc<EdgeNode>,
    join: serde_json::Value,
}

impl World {
    async fn begin(folder: &Path) -> Self {
        let given = Partial { data_dir: Some(folder.to_owned()), ..Partial::default() };
        let (config, _) = Config::load(given, None).unwrap();
        let (store, cluster) = open_offline(&config).await.unwrap();
        let clock = Arc::new(SystemClock);
        let announcer = Announcer { cluster: cluster.clone(), directory: store.directory.clone() };
        let settings = people::Settings::default();
        let people = People::open(store.directory.clone(), Arc::new(announcer), clock.clone(), &settings);
        let people = Arc::new(people.await.unwrap());
        let address = Ipv4Addr::LOCALHOST.into();
        let request = NewRoomRequest { kind: RoomKind::Board, title: None, owner: None, address };
        let made = people.create_room(&request).await.unwrap();
        let settings = EdgeSettings {
            hubs: 1,
            linger: Duration::from_secs(3_600),
            allowed_origins: Vec::new(),
            max_connections: 10,
            connection_age_s: 0,
            hellos_per_second: 1_000,
            allowances: Allowances::default(),
            sampling: Arc::default(),
            offload: Offload::Inline,
        };
        let edge =
            EdgeNode::start("node".into(), cluster.clone(), store.log.clone(), people, clock, settings);
        let edge = Arc::new(edge.unwrap());
        let ends: Arc<dyn Edge> = edge.clone();
        cluster.connect(Arc::downgrade(&ends));
        Self { edge, join: json!({"room": made.id, "link": made.link.unwrap().reveal()}) }
    }

    /// Somebody comes to watch the board. Returns as soon as they are alone there.
    async fn watch(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let slot = self.edge.0.slot().expect("there is a place");
        let switched = Switched { socket, early: Vec::new(), codec: Some(Codec::Json), slot };
        self.edge.0.arrived([Arrival::Switched(Box::new(switched))]);
        let client_id = uuid::Uuid::new_v4();
        client
            .write_all(&frame(&json!([
                {"id": 1, "type": "hello", "data": {"client": client_id, "audience": true}},
                {"id": 2, "type": "join", "data": self.join},
            ])))
            .unwrap();
        tokio::task::spawn_blocking(move || {
            until_alone(&mut client);
            client
        })
        .await
        .unwrap()
    }
}

/// A frame as a client sends it, masked with zeros.
fn frame(message: &serde_json::Value) -> Vec<u8> {
    let text = message.to_string();
    let mut frame = vec![0x81, 0xfe];
    frame.extend((text.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Reads until it is said that nobody else watches.
fn until_alone(client: &mut TcpStream) {
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut said = String::new();
    while !said.contains("\"audience\":1,") && !said.contains("\"audience\":1}") {
        let mut some = [0; 4_096];
        let read = client.read(&mut some).unwrap();
        assert!(read > 0, "closed after {said}");
        said.push_str(&String::from_utf8_lossy(&some[..read]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_breaks_is_replaced_and_nobody_is_left_in_a_room() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::begin(folder.path()).await;
    let mut ada = world.watch().await;
    world.edge.0.hubs[0].tell(Command::Break).await;
    // Until the end, however it comes.
    let _ = tokio::task::spawn_blocking(move || ada.read_to_end(&mut Vec::new())).await.unwrap();
    let _bob = world.watch().await;
    assert_eq!(world.edge.connections(), 1);
    assert_eq!(world.edge.stop(CloseCode::Drained).await, 1);
}
