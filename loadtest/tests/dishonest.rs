//! The whole chain against a small server of the test's own, which is honest but for one thing. The oracle must
//! believe it when it is, and convict it of just that when it is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::{assert_held, options, session};
use enfilade_loadtest::oracle::Kind;
use enfilade_loadtest::replay::{Options, RoomChoice, replay};
use enfilade_loadtest::report::Report;
use enfilade_proto::board::AllElements;
use enfilade_proto::limits::Limits;
use enfilade_proto::{
    Accepted, ClientId, Codec, DisplayName, Epoch, Join, Joined, LoggedOp, Op, OpId, Ops, Position, Presence,
    Request, Role, RoomId, RoomKind, Seq, Signal, SignalOut, Signals, Snapshot, Submit, User, UserId,
    Welcome,
};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_websockets::{Message, ServerBuilder};
use uuid::Uuid;

const CODEC: Codec = Codec::MessagePack;
const ROOM: RoomId = RoomId(Uuid::from_u128(7));
/// The op at which the fault happens.
const WHEN: u64 = 20;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Connections break every ten ops, before the answer: honest, and hard on clients.
    Cut,
    /// One member is not shown the op.
    NotShown,
    /// The op is taken twice.
    TakenTwice,
    WrongAnswer,
    NoAnswer,
    /// The op comes back in another colour.
    Altered,
    /// An op that nobody submitted.
    Invented,
    /// The op was acknowledged, and is gone after a crash.
    Forgotten,
    /// The newcomer gets an empty board.
    EmptySnapshot,
}

struct Server {
    fault: Fault,
    log: Vec<LoggedOp>,
    taken: HashMap<(ClientId, OpId), u64>,
    members: HashMap<ClientId, UnboundedSender<Out>>,
}

enum Out {
    Frame(Vec<u8>),
    Cut,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    async fn start(fault: Fault) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { fault, log: Vec::new(), taken: HashMap::new(), members: HashMap::new() };
        let server = Arc::new(Mutex::new(server));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, server.clone()));
            }
        });
        url
    }

    fn show(&self, first: u64) {
        let ops = Ops {
            room: ROOM,
            epoch: Epoch(1),
            first_seq: Seq(first),
            ops: self.log[first as usize - 1..].to_vec(),
        };
        let frame = CODEC.encode(None, "ops", &ops);
        // The same one is always left out, whoever it is.
        let left_out = self.members.keys().min().filter(|_| self.fault == Fault::NotShown && first == WHEN);
        for (_, member) in self.members.iter().filter(|(client, _)| Some(*client) != left_out) {
            let _ = member.send(Out::Frame(frame.clone()));
        }
    }

    fn cut_all(&mut self) {
        for (_, member) in self.members.drain() {
            let _ = member.send(Out::Cut);
        }
    }

    /// The answer, if there is one.
    fn submit(&mut self, client: ClientId, author: UserId, submit: Submit) -> Option<Accepted> {
        let name = (client, submit.op_id);
        if let Some(seq) = self.taken.get(&name) {
            return Some(Accepted { seq: Seq(*seq) });
        }
        let mut op = LoggedOp { author, client, op_id: submit.op_id, at: 1, op: submit.op };
        let seq = self.log.len() as u64 + 1;
        let now = seq == WHEN;
        if let (Fault::Altered, true, Op::AddStroke(stroke)) = (self.fault, now, &mut op.op) {
            stroke.color = enfilade_proto::board::Color::from_rgba(0x1234_56ff);
        }
        self.taken.insert(name, seq);
        self.log.push(op.clone());
        match self.fault {
            Fault::TakenTwice if now => self.log.push(op),
            Fault::Invented if now => self.log.push(LoggedOp { client: ClientId(Uuid::from_u128(66)), ..op }),
            _ => {}
        }
        self.show(seq);
        match self.fault {
            Fault::NoAnswer if now => None,
            Fault::WrongAnswer if now => Some(Accepted { seq: Seq(seq + 1) }),
            Fault::Cut if seq.is_multiple_of(10) => {
                self.cut_all();
                None
            }
            Fault::Forgotten if seq == WHEN + 1 => {
                self.log.truncate(WHEN as usize - 5);
                self.cut_all();
                None
            }
            _ => Some(Accepted { seq: Seq(seq) }),
        }
    }

    fn join(&mut self, client: ClientId, newcomer: bool, join: &Join, out: UnboundedSender<Out>) -> Joined {
        self.members.insert(client, out);
        let head = Seq(self.log.len() as u64);
        let since = join.since.map_or(0, |since| since.seq.0.min(head.0));
        let empty = newcomer && self.fault == Fault::EmptySnapshot;
        Joined {
            room: ROOM,
            kind: RoomKind::Board,
            title: DisplayName::new("Fake").unwrap(),
            role: Role::Editor,
            position: Position { epoch: Epoch(1), seq: head },
            snapshot: empty.then(|| Snapshot { seq: head, elements: Some(AllElements(vec![])) }),
            ops: (!empty).then(|| self.log[since as usize..].to_vec()),
            presence: Presence::default(),
        }
    }

    fn signal(&self, client: ClientId, author: UserId, signal: Signal) {
        let signal = SignalOut { author, client, key: signal.key, body: signal.body };
        let frame = CODEC.encode(None, "signals", &Signals { room: ROOM, signals: vec![signal] });
        self.members.values().for_each(|member| {
            let _ = member.send(Out::Frame(frame.clone()));
        });
    }
}

async fn serve(tcp: TcpStream, server: Shared) {
    let protocol = HeaderValue::from_static(CODEC.subprotocol());
    let builder = ServerBuilder::new().add_header(SEC_WEBSOCKET_PROTOCOL, protocol).unwrap();
    let Ok((_, mut socket)) = builder.accept(tcp).await else { return };
    let (out, mut outgoing) = unbounded_channel();
    let mut visitor = None;
    loop {
        let frame = tokio::select! {
            frame = outgoing.recv() => match frame {
                Some(Out::Frame(frame)) => {
                    if socket.send(Message::binary(frame)).await.is_err() {
                        return;
                    }
                    continue;
                }
                Some(Out::Cut) | None => return,
            },
            frame = socket.next() => frame,
        };
        let Some(Ok(frame)) = frame else { return };
        if !frame.is_binary() {
            continue;
        }
        for request in CODEC.decode_requests(frame.as_payload()).unwrap() {
            let request = request.unwrap();
            let reply = answer(&server, &mut visitor, &out, request.id, request.request);
            if let Some(reply) = reply {
                out.send(Out::Frame(reply)).unwrap();
            }
        }
    }
}

type Visitor = (ClientId, UserId, bool);

fn answer(
    server: &Shared,
    visitor: &mut Option<Visitor>,
    out: &UnboundedSender<Out>,
    id: Option<u32>,
    request: Request,
) -> Option<Vec<u8>> {
    let mut server = server.lock().unwrap();
    match (request, *visitor) {
        (Request::Hello(hello), None) => {
            let name = DisplayName::new(&hello.guest.unwrap().name).unwrap();
            // A person's id is made of their client's, so that it survives the connection.
            let user = UserId(Uuid::from_u128(hello.client.0.as_u128() + 1));
            *visitor = Some((hello.client, user, name.as_str() == "Newcomer"));
            let user = User { id: user, name, guest: true };
            let limits = Limits::default();
            let welcome = Welcome { user, node: "fake".into(), ping_ms: 25_000, resume: "r".into(), limits };
            Some(CODEC.encode(id, "welcome", &welcome))
        }
        (Request::Join(join), Some((client, _, newcomer))) => {
            Some(CODEC.encode(id, "joined", &server.join(client, newcomer, &join, out.clone())))
        }
        (Request::Submit(submit), Some((client, user, _))) => {
            Some(CODEC.encode(id, "accepted", &server.submit(client, user, submit)?))
        }
        (Request::Signal(signal), Some((client, user, _))) => {
            server.signal(client, user, signal);
            None
        }
        _ => None,
    }
}

async fn judged(fault: Fault) -> Report {
    let url = Server::start(fault).await;
    let options = Options {
        rooms: RoomChoice::Existing { room: ROOM, link: None },
        speed: 6.0,
        settle: std::time::Duration::from_secs(5),
        ..options(&url, 8)
    };
    replay(session(8), &options, std::future::pending(), |_| {}).await.unwrap()
}

fn kinds(report: &Report) -> Vec<Kind> {
    report.violations.counts.keys().copied().collect()
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    assert_held(&judged(Fault::None).await);
}

#[tokio::test]
async fn an_honest_server_is_believed_however_often_connections_break() {
    let report = judged(Fault::Cut).await;
    assert_held(&report);
    assert!(report.counts.connections_lost > 8 && report.counts.ops_resent > 0, "{report}");
}

#[tokio::test]
async fn an_op_that_one_member_was_not_shown_is_a_gap() {
    assert_eq!(kinds(&judged(Fault::NotShown).await), [Kind::Gap]);
}

#[tokio::test]
async fn an_op_taken_twice_is_found() {
    let report = judged(Fault::TakenTwice).await;
    assert!(kinds(&report).contains(&Kind::Doubled), "{report}");
}

#[tokio::test]
async fn a_wrong_answer_is_found() {
    let report = judged(Fault::WrongAnswer).await;
    assert!(kinds(&report).contains(&Kind::WrongSeq), "{report}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_found() {
    assert_eq!(kinds(&judged(Fault::NoAnswer).await), [Kind::LostReply]);
}

#[tokio::test]
async fn an_altered_op_is_found() {
    assert_eq!(kinds(&judged(Fault::Altered).await), [Kind::Altered]);
}

#[tokio::test]
async fn an_invented_op_is_found() {
    assert_eq!(kinds(&judged(Fault::Invented).await), [Kind::Phantom]);
}

#[tokio::test]
async fn acknowledged_ops_that_a_crash_lost_are_found() {
    let report = judged(Fault::Forgotten).await;
    assert!(kinds(&report).contains(&Kind::Rewound), "{report}");
    assert_eq!(report.verdict.exit_code(), 2);
}

#[tokio::test]
async fn a_board_that_lacks_what_was_drawn_is_found() {
    assert_eq!(kinds(&judged(Fault::EmptySnapshot).await), [Kind::Snapshot]);
}
