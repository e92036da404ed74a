//! Nodes that write down what they hear, servers, and things to say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use enfilade_actors::bus::{
    Attached, Bus, Endpoint, Message, NatsBus, NatsOptions, Submission, Ticket, Writer,
};
use enfilade_actors::kind::Contents;
use enfilade_actors::trace::Kept;
use enfilade_proto::board::Element;
use enfilade_proto::{
    ClientId, Epoch, Op, OpId, Position, Presence, Role, RoomId, RoomKind, Seq, SignalOut, TraceParent,
    UserId,
};
use enfilade_store::Incarnation;
use enfilade_testbed::nats::{NatsServer, NatsServerError, NatsServerOptions};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// The machine may be busy: how long something may take that takes milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const CLUSTER: &str = "test";

#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Message(Incarnation, Box<Message>),
    Unreachable(Incarnation),
    Disrupted,
}

#[derive(Debug)]
pub(crate) struct Ear(mpsc::UnboundedSender<Heard>);

impl Endpoint for Ear {
    fn hear(&self, from: Incarnation, message: Message) {
        let _ = self.0.send(Heard::Message(from, Box::new(message)));
    }

    fn unreachable(&self, node: Incarnation) {
        let _ = self.0.send(Heard::Unreachable(node));
    }

    fn disrupted(&self) {
        let _ = self.0.send(Heard::Disrupted);
    }
}

/// A node that writes down what it hears.
pub(crate) struct Node {
    pub me: Incarnation,
    pub bus: NatsBus,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    pub kept: Kept,
    _ear: Arc<Ear>,
}

impl Node {
    pub(crate) async fn start(url: &str, cluster: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1000);
        let me = Incarnation(Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into()));
        let kept = Kept::default();
        let (url, cluster) = (url.into(), cluster.into());
        let options = NatsOptions { url, cluster, tracer: kept.tracer(), ..NatsOptions::default() };
        let bus = NatsBus::connect(me, &options).await.unwrap();
        let (sender, heard) = mpsc::unbounded_channel();
        let ear = Arc::new(Ear(sender));
        let weak: Weak<dyn Endpoint> = Arc::<Ear>::downgrade(&ear);
        bus.open(weak);
        Self { me, bus, heard, kept, _ear: ear }
    }

    pub(crate) async fn next(&mut self) -> Heard {
        timeout(SOON, self.heard.recv()).await.expect("nothing was heard").unwrap()
    }

    /// The next message and its sender, whatever else is heard before.
    pub(crate) async fn message(&mut self) -> (Incarnation, Message) {
        loop {
            match self.next().await {
                Heard::Message(from, message) if *message != Message::Heartbeat => return (from, *message),
                Heard::Message(..) | Heard::Unreachable(_) | Heard::Disrupted => {}
            }
        }
    }

    /// The numbers of the next messages that [`number`] made.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.extend(number_of(&self.message().await.1));
        }
        numbers
    }

    pub(crate) async fn hear(&mut self, wanted: Heard) {
        while self.next().await != wanted {}
    }

    pub(crate) async fn connected(&self, wanted: bool, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        while self.bus.is_connected() != wanted {
            assert!(Instant::now() < deadline, "connected is not {wanted} after {at_most:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A server of this test's own; `None` where there is none.
pub(crate) async fn server() -> Option<NatsServer> {
    server_with(NatsServerOptions::default()).await
}

pub(crate) async fn server_with(options: NatsServerOptions) -> Option<NatsServer> {
    match NatsServer::start_with(options).await {
        Err(NatsServerError::Missing) => {
            eprintln!("skipped: there is no nats-server");
            None
        }
        started => Some(started.unwrap()),
    }
}

/// Nodes that have heard of each other.
pub(crate) async fn nodes<const N: usize>(server: &NatsServer) -> [Node; N] {
    let mut nodes = Vec::new();
    for _ in 0..N {
        nodes.push(Node::start(&server.url(), CLUSTER).await);
    }
    let mut nodes: [Node; N] = nodes.try_into().ok().unwrap();
    meet(&mut nodes).await;
    nodes
}

/// Everybody says something until everybody has heard everybody.
pub(crate) async fn meet(nodes: &mut [Node]) {
    let everybody: Vec<_> = nodes.iter().map(|node| node.me).collect();
    let deadline = Instant::now() + SOON;
    for listener in 0..nodes.len() {
        let me = nodes[listener].me;
        let mut missing: Vec<_> = everybody.iter().copied().filter(|node| *node != me).collect();
        while !missing.is_empty() {
            assert!(Instant::now() < deadline, "{me} never heard {missing:?}");
            for node in nodes.iter() {
                node.bus.send(me, Message::Heartbeat);
                node.bus.broadcast(Message::Heartbeat);
            }
            let pause = Duration::from_millis(20);
            while let Ok(Some(heard)) = timeout(pause, nodes[listener].heard.recv()).await {
                if let Heard::Message(from, _) = heard {
                    missing.retain(|node| *node != from);
                }
            }
        }
    }
}

/// Says number 0 to a room until it is heard: subscriptions take a while.
pub(crate) async fn multicast_until_heard(from: &Node, to: u128, listener: &mut Node) {
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "nobody listens");
        from.bus.multicast(room(to), number(0));
        if timeout(Duration::from_millis(50), listener.message()).await.is_ok() {
            return;
        }
    }
}

pub(crate) fn number(number: u64) -> Message {
    Message::Answer { room: room(1), ticket: Ticket(number), result: Ok(Seq(number)) }
}

pub(crate) fn number_of(message: &Message) -> Option<u64> {
    match message {
        Message::Answer { ticket, .. } => Some(ticket.0),
        _ => None,
    }
}

pub(crate) fn room(number: u128) -> RoomId {
    RoomId(Uuid::from_u128(number))
}

pub(crate) fn writer() -> Writer {
    Writer { author: UserId(Uuid::from_u128(3)), client: ClientId(Uuid::from_u128(4)) }
}

pub(crate) fn element() -> Element {
    let text = "word ".repeat(800);
    serde_json::from_value(json!({
        "element": "note-1", "type": "text", "author": Uuid::from_u128(3), "z": 1, "color": "#1a1a1a",
        "size": 16, "from": [10, 10], "text": text,
    }))
    .unwrap()
}

pub(crate) fn bulky(ticket: u64, bytes: usize) -> Message {
    let element = Arc::new(element());
    let elements = vec![element; bytes / 4_000].into();
    let result = Ok(Attached { contents: Some(Contents::Board(elements)), ..attached() });
    let message = Message::Attached { ticket: Ticket(ticket), result };
    assert!(message.is_bulky());
    message
}

pub(crate) fn attached() -> Attached {
    let presence: Presence = serde_json::from_value(json!({ "count": 0 })).unwrap();
    Attached {
        kind: RoomKind::Board,
        position: Position { epoch: Epoch(1), seq: Seq(7) },
        contents: None,
        presence,
        edges: vec![Incarnation(Uuid::from_u128(9))],
        multicast: true,
        known: false,
    }
}

pub(crate) fn op() -> Op {
    serde_json::from_value(json!({ "type": "add_stroke", "data": {
        "element": "stroke-1", "color": "#1a1a1a", "width": 4, "points": [[10, 10], [11.5, 12]]
    } }))
    .unwrap()
}

pub(crate) fn submission(trace: Option<TraceParent>) -> Message {
    let submission =
        Submission { writer: writer(), role: Role::Editor, op_id: OpId(5), op: op(), weight: 99, trace };
    Message::Submit { room: room(1), ticket: Ticket(1), after: None, submission }
}

pub(crate) fn signals(body_bytes: usize) -> Message {
    let Writer { author, client } = writer();
    let body = json!({ "x": 1.5, "name": "x".repeat(body_bytes), "list": [null, true, -1] });
    Message::Signals {
        room: room(1),
        signals: vec![SignalOut { author, client, key: "cursor".into(), body }],
    }
}

/// A frame as another node would send it, made by hand.
pub(crate) fn frame(from: u128, seq: u64, previous: u64, messages: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&[1, 0]);
    out.put_u128(from);
    out.put_u64(seq);
    out.put_u64(previous);
    for message in messages {
        out.put_u32(message.len() as u32);
        out.put_slice(message);
    }
    out.freeze()
}

pub(crate) fn coded(message: &Message) -> Vec<u8> {
    rmp_serde::to_vec_named(message).unwrap()
}

pub(crate) fn inbox(node: &Node) -> String {
    format!("enfilade.{CLUSTER}.n.{}", node.me)
}

/// What travels on a subject.
pub(crate) async fn sniff(server: &NatsServer, subject: String) -> async_nats::Subscriber {
    let sniffer = async_nats::connect(server.url()).await.unwrap();
    let frames = sniffer.subscribe(subject).await.unwrap();
    // The server's own answer comes after it took the subscription.
    sniffer.request("nobody", Bytes::new()).await.unwrap_err();
    frames
}
