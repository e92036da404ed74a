//! A node on ports of its own, and clients that speak the protocol through an independent WebSocket library.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "shared by tests; each uses another part, and one that cannot go on has failed"
)]

use std::net::SocketAddr;
use std::time::Duration;

use enfilade_node::{Config, Node, Partial};
use enfilade_proto::board::{Color, Elements, Some1, Stroke, Width};
use enfilade_proto::{
    ClientId, Codec, Coord, ElementId, Guest, Hello, Join, Joined, Op, OpId, Points, Position, Request,
    RoomId, Seq, ServerFrame, ServerMessage, Signal, Submit, Welcome,
};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};
use uuid::Uuid;

/// No wait is longer; what it waited for is in the panic.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct TestNode {
    pub node: Node,
    door: Door,
    folder: TempDir,
}

/// Where people come in to a node, whoever runs it.
pub struct Door(Option<SocketAddr>);

pub struct Board {
    pub id: RoomId,
    /// The owner's link.
    pub link: String,
}

impl TestNode {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        Self::start_with(folder, Partial::default()).await
    }

    /// Starts one with settings besides those that every test needs.
    pub async fn start_with(folder: TempDir, given: Partial) -> Self {
        let given = Partial {
            listen: Some("127.0.0.1:0".parse().unwrap()),
            admin_listen: Some("127.0.0.1:0".parse().unwrap()),
            data_dir: Some(folder.path().to_owned()),
            ..given
        };
        let (config, _) = Config::load(given, None).unwrap();
        let node = Node::start(&config, None).await.unwrap();
        Self { door: Door(node.address), node, folder }
    }

    /// Stops it gracefully and starts another one on the same data.
    pub async fn restart(self) -> Self {
        self.restart_after(|| ()).await
    }

    /// The same, with something done to the data between.
    pub async fn restart_after(self, meanwhile: impl FnOnce()) -> Self {
        let folder = self.stop().await;
        meanwhile();
        Self::start_in(folder).await
    }

    /// Stops it gracefully and leaves the data.
    pub async fn stop(self) -> TempDir {
        self.node.stop().await;
        self.folder
    }
}

impl std::ops::Deref for TestNode {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl Door {
    pub fn at(address: SocketAddr) -> Self {
        Self(Some(address))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.expect("this node is an edge")
    }

    /// Status and body of a request. `headers` are lines without their end.
    pub async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[String],
        body: Option<Value>,
    ) -> (u16, Value) {
        let (head, body) = self.answer(method, path, headers, body).await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Head and body of the answer to a request.
    pub async fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &[String],
        body: Option<Value>,
    ) -> (String, Vec<u8>) {
        let socket = TcpStream::connect(self.address()).await.unwrap();
        self.answer_on(socket, method, path, headers, body).await
    }

    /// The same on a connection of whatever kind.
    pub async fn answer_on(
        &self,
        mut socket: impl Io,
        method: &str,
        path: &str,
        headers: &[String],
        body: Option<Value>,
    ) -> (String, Vec<u8>) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let extra: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{extra}\r\n",
            self.address(),
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap(), body)
    }

    pub async fn board(&self) -> Board {
        let (status, made) = self.http("POST", "/api/v1/rooms", &[], Some(json!({"kind": "board"}))).await;
        assert_eq!(status, 201, "{made}");
        let id = made["id"].as_str().unwrap().parse().unwrap();
        Board { id, link: made["link"].as_str().unwrap().to_owned() }
    }

    /// A link of a role to a board: its id and its secret.
    pub async fn link(&self, board: &Board, role: &str) -> (String, String) {
        let path = format!("/api/v1/rooms/{}/links", board.id);
        let header = format!("enfilade-link: {}", board.link);
        let (status, made) = self.http("POST", &path, &[header], Some(json!({"role": role}))).await;
        assert_eq!(status, 201, "{made}");
        (made["id"].as_str().unwrap().to_owned(), made["link"].as_str().unwrap().to_owned())
    }

    pub async fn connect(&self, codec: Codec) -> Client {
        Client::connect(self, codec).await
    }

    /// A guest who has said hello.
    pub async fn guest(&self, name: &str) -> Client {
        self.guest_in(name, Codec::MessagePack).await
    }

    pub async fn guest_in(&self, name: &str, codec: Codec) -> Client {
        let mut client = self.connect(codec).await;
        client.greet(name).await;
        client
    }

    /// A guest who has joined a board with a link.
    pub async fn member(&self, name: &str, board: &Board) -> Client {
        let mut client = self.guest(name).await;
        client.join(board.id, &board.link, None).await;
        client
    }
}

/// What a client can speak on: a socket, or something around one.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub struct Client {
    socket: WebSocketStream<Box<dyn Io>>,
    codec: Codec,
    pub id: ClientId,
    next: u32,
    /// Came while something else was waited for.
    kept: Vec<ServerFrame>,
    pub closed: Option<u16>,
}

impl Client {
    async fn connect(node: &Door, codec: Codec) -> Self {
        // A small window, so that a reader that does not read is soon felt by the server.
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(64 * 1024).unwrap();
        Self::on(tcp.connect(node.address()).await.unwrap(), node, codec).await
    }

    /// One that goes on with a connection.
    pub async fn on(connection: impl Io + 'static, node: &Door, codec: Codec) -> Self {
        let connection: Box<dyn Io> = Box::new(connection);
        let uri = format!("ws://{}/ws", node.address()).parse().unwrap();
        let protocol = codec.subprotocol().parse().unwrap();
        let builder =
            ClientBuilder::from_uri(uri).add_header("sec-websocket-protocol".parse().unwrap(), protocol);
        let (socket, _) = builder
            .unwrap()
            .limits(tokio_websockets::Limits::unlimited())
            .connect_on(connection)
            .await
            .unwrap();
        Self { socket, codec, id: ClientId(Uuid::new_v4()), next: 0, kept: Vec::new(), closed: None }
    }

    pub async fn send_raw(&mut self, message: Message) {
        // A server that has hung up is noticed while reading.
        let _ = self.socket.send(message).await;
    }

    pub async fn send(&mut self, id: Option<u32>, request: &Request) {
        let bytes = self.codec.encode_request(id, request);
        let message = match self.codec {
            Codec::Json => Message::text(String::from_utf8(bytes).unwrap()),
            Codec::MessagePack => Message::binary(bytes),
        };
        self.send_raw(message).await;
    }

    /// Sends a request and returns its reply.
    pub async fn ask(&mut self, request: &Request) -> ServerMessage {
        self.next += 1;
        let id = self.next;
        self.send(Some(id), request).await;
        self.until(&format!("the reply to {request:?}"), |frame| frame.id == Some(id)).await.message
    }

    pub async fn greet(&mut self, name: &str) -> Welcome {
        let guest = Some(Guest { name: name.to_owned() });
        self.hello(Hello { guest, ..Hello::new(self.id) }).await
    }

    pub async fn hello(&mut self, hello: Hello) -> Welcome {
        match self.ask(&Request::Hello(hello)).await {
            ServerMessage::Welcome(welcome) => welcome,
            other => panic!("no welcome: {other:?}"),
        }
    }

    pub async fn join(&mut self, room: RoomId, link: &str, since: Option<Position>) -> Joined {
        match self.ask(&Request::Join(Join { room, link: Some(link.to_owned()), since })).await {
            ServerMessage::Joined(joined) => *joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub async fn submit(&mut self, room: RoomId, op_id: u64, op: Op) -> ServerMessage {
        self.ask(&Request::Submit(Submit { room, op_id: OpId(op_id), op })).await
    }

    /// Draws a stroke and returns its seq.
    pub async fn draw(&mut self, room: RoomId, op_id: u64) -> Seq {
        let element = format!("{}-{op_id}", &self.id.to_string()[..8]);
        match self.submit(room, op_id, stroke(&element)).await {
            ServerMessage::Accepted(accepted) => accepted.seq,
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub async fn signal(&mut self, room: RoomId, key: &str, body: Value) {
        self.send(None, &Request::Signal(Signal { room, key: key.to_owned(), body })).await;
    }

    /// The next frame that is wanted; the others are kept for later.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&ServerFrame) -> bool) -> ServerFrame {
        if let Some(place) = self.kept.iter().position(&wanted) {
            return self.kept.remove(place);
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let read = tokio::time::timeout_at(deadline, self.read()).await;
            let Ok(read) = read else { panic!("never came: {what}; came: {:?}", self.kept) };
            let Some(frames) = read else {
                panic!("closed with {:?} before {what}; came: {:?}", self.closed, self.kept)
            };
            self.kept.extend(frames);
            if let Some(place) = self.kept.iter().position(&wanted) {
                return self.kept.remove(place);
            }
        }
    }

    /// Whether such a frame has been read, and waits for somebody to want it.
    pub fn kept(&self, wanted: impl Fn(&ServerFrame) -> bool) -> bool {
        self.kept.iter().any(wanted)
    }

    /// Reads until all ops through `seq` have come; they must come in order, without gap or repeat, after `seen`.
    pub async fn ops_through(&mut self, seen: Seq, seq: Seq) -> Vec<enfilade_proto::LoggedOp> {
        let (mut next, mut all) = (seen.next(), Vec::new());
        while next <= seq {
            let frame = self.until("ops", |frame| matches!(frame.message, ServerMessage::Ops(_))).await;
            let ServerMessage::Ops(ops) = frame.message else { unreachable!() };
            assert_eq!(ops.first_seq, next, "a gap or a repeat");
            next = Seq(next.0 + ops.ops.len() as u64);
            all.extend(ops.ops);
        }
        all
    }

    /// Reads to the end and returns the close code.
    pub async fn close_code(&mut self) -> u16 {
        let end = async {
            while let Some(frames) = self.read().await {
                self.kept.extend(frames);
            }
        };
        tokio::time::timeout(PATIENCE, end).await.expect("it is never closed");
        self.closed.expect("it was closed without a code")
    }

    /// Reads until the connection ends and counts the replies. What is cut off in the middle counts for nothing.
    pub async fn replies_to_the_end(&mut self) -> usize {
        let mut count = 0;
        let end = async {
            while let Some(frames) = self.read().await {
                count += frames.iter().filter(|frame| frame.id.is_some()).count();
            }
        };
        tokio::time::timeout(PATIENCE, end).await.expect("it is never closed");
        count
    }

    /// The `closing` push that announced the close.
    pub fn closing(&self) -> Option<u16> {
        self.kept.iter().find_map(|frame| match &frame.message {
            ServerMessage::Closing(closing) => Some(closing.code),
            _ => None,
        })
    }

    /// The names of errors and last words that came.
    pub fn names(&self) -> Vec<enfilade_proto::TraceId> {
        let name = |frame: &ServerFrame| match &frame.message {
            ServerMessage::Error(error) => error.trace_id,
            ServerMessage::Closing(closing) => closing.trace_id,
            _ => None,
        };
        self.kept.iter().filter_map(name).collect()
    }

    pub fn errors(&self) -> Vec<(Option<u32>, enfilade_proto::ErrorCode)> {
        let error = |frame: &ServerFrame| match &frame.message {
            ServerMessage::Error(error) => Some((frame.id, error.code)),
            _ => None,
        };
        self.kept.iter().filter_map(error).collect()
    }

    async fn read(&mut self) -> Option<Vec<ServerFrame>> {
        loop {
            let message = self.socket.next().await?.ok()?;
            if let Some((code, _)) = message.as_close() {
                self.closed = Some(code.into());
                continue;
            }
            if message.is_text() || message.is_binary() {
                let codec = if message.is_text() { Codec::Json } else { Codec::MessagePack };
                return Some(codec.decode_server(message.as_payload()).unwrap());
            }
        }
    }

    /// Breaks the connection without a word.
    pub fn vanish(self) {}
}

pub fn stroke(element: &str) -> Op {
    let at = |x: f64| [Coord::from_units(x).unwrap(); 2];
    Op::AddStroke(Stroke {
        element: ElementId::new(element).unwrap(),
        color: Color::parse("#1a1a1a").unwrap(),
        width: Width::new(4.0).unwrap(),
        points: Points::encode(&[at(0.0), at(10.0)]),
        pressure: None,
    })
}

pub fn delete(element: &str) -> Op {
    Op::Delete(Elements { elements: Some1::new(vec![ElementId::new(element).unwrap()]).unwrap() })
}
