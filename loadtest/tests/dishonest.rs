//! The whole chain against a small server of the test's own, which is honest but for one thing. The oracle must
//! believe it when it is, and convict it of just that when it is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use common::{assert_held, options, session};
use enfilade_loadtest::checker::files::scan_journals;
use enfilade_loadtest::checker::{self, Invariant, LogScan};
use enfilade_loadtest::client::Reason;
use enfilade_loadtest::export::Row;
use enfilade_loadtest::journal::Moment;
use enfilade_loadtest::oracle::Kind;
use enfilade_loadtest::replay::{Options, Outcome, RoomChoice, replay};
use enfilade_proto::board::AllElements;
use enfilade_proto::limits::Limits;
use enfilade_proto::{
    Accepted, ClientId, Codec, DisplayName, Epoch, Error, ErrorCode, Incoming, Join, Joined, LoggedOp, Op,
    OpId, Ops, Position, Presence, Reconnecting, Request, Role, RoomId, RoomKind, Seq, Signal, SignalOut,
    Signals, Snapshot, Submit, User, UserId, Welcome,
};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::io::AsyncWriteExt as _;
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
    /// A load balancer finds no node for the first connections, and they are busy when it does: honest.
    Unavailable,
    /// Everybody is told to move every twenty ops, and the old connections go on for a while: honest.
    Moves,
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
    /// By client and connection.
    members: BTreeMap<(ClientId, u64), UnboundedSender<Out>>,
    connections: u64,
    attempts: u64,
}

enum Out {
    Frame(Vec<u8>),
    Cut,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    /// Two nodes of one cluster.
    async fn start(fault: Fault) -> ([String; 2], Shared) {
        let (log, taken, members) = Default::default();
        let server = Arc::new(Mutex::new(Self { fault, log, taken, members, connections: 0, attempts: 0 }));
        let mut urls = Vec::new();
        for node in ["a", "b"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let server = server.clone();
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    tokio::spawn(serve(tcp, server.clone(), node));
                }
            });
        }
        (urls.try_into().unwrap(), server)
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
        for (_, member) in self.members.iter().filter(|(member, _)| Some(*member) != left_out) {
            let _ = member.send(Out::Frame(frame.clone()));
        }
    }

    fn is_unavailable(&mut self) -> bool {
        self.attempts += 1;
        self.fault == Fault::Unavailable && self.attempts <= 12
    }

    /// The first who say hello are asked to come again.
    fn is_busy(&self) -> bool {
        self.fault == Fault::Unavailable && self.attempts <= 16
    }

    fn cut_all(&mut self) {
        for member in std::mem::take(&mut self.members).into_values() {
            let _ = member.send(Out::Cut);
        }
    }

    fn move_all(&self) {
        let elsewhere = Reconnecting { after_ms: 5, resume: Some("elsewhere".into()) };
        let frame = CODEC.encode(None, "reconnect", &elsewhere);
        self.members.values().for_each(|member| {
            let _ = member.send(Out::Frame(frame.clone()));
        });
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
            Fault::Moves if seq.is_multiple_of(20) => {
                self.move_all();
                Some(Accepted { seq: Seq(seq) })
            }
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

    fn join(&mut self, visitor: Visitor, join: &Join, out: UnboundedSender<Out>) -> Joined {
        let Visitor { client, newcomer, connection, .. } = visitor;
        self.members.insert((client, connection), out);
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
            snapshot_deflate: None,
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

async fn serve(mut tcp: TcpStream, server: Shared, node: &'static str) {
    if server.lock().unwrap().is_unavailable() {
        let _ = tcp.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        return;
    }
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
            let reply = answer(&server, node, &mut visitor, &out, request);
            if let Some(reply) = reply {
                out.send(Out::Frame(reply)).unwrap();
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Visitor {
    client: ClientId,
    user: UserId,
    newcomer: bool,
    connection: u64,
}

fn answer(
    server: &Shared,
    node: &str,
    visitor: &mut Option<Visitor>,
    out: &UnboundedSender<Out>,
    request: Incoming,
) -> Option<Vec<u8>> {
    let mut server = server.lock().unwrap();
    let Incoming { id, request } = request;
    match (request, *visitor) {
        (Request::Hello(_), None) if server.is_busy() => {
            let busy = Error { retry_after_ms: Some(10), ..Error::new(ErrorCode::Busy, "later") };
            Some(CODEC.encode(id, "error", &busy))
        }
        (Request::Hello(hello), None) => {
            let name = DisplayName::new(&hello.guest.unwrap().name).unwrap();
            // A person's id is made of their client's, so that it survives the connection.
            let user = UserId(Uuid::from_u128(hello.client.0.as_u128() + 1));
            server.connections += 1;
            let (newcomer, connection) = (name.as_str() == "Newcomer", server.connections);
            *visitor = Some(Visitor { client: hello.client, user, newcomer, connection });
            let user = Some(User { id: user, name, guest: true });
            let (limits, resume) = (Limits::default(), Some("r".into()));
            let welcome = Welcome { user, node: node.into(), ping_ms: 25_000, resume, limits };
            Some(CODEC.encode(id, "welcome", &welcome))
        }
        (Request::Join(join), Some(visitor)) => {
            Some(CODEC.encode(id, "joined", &server.join(visitor, &join, out.clone())))
        }
        (Request::Submit(submit), Some(Visitor { client, user, .. })) => {
            Some(CODEC.encode(id, "accepted", &server.submit(client, user, submit)?))
        }
        (Request::Signal(signal), Some(Visitor { client, user, .. })) => {
            server.signal(client, user, signal);
            None
        }
        _ => None,
    }
}

async fn judged(fault: Fault) -> Outcome {
    judged_twice(fault).await.0
}

/// By the oracle while it happens, and by the checker afterwards.
async fn judged_twice(fault: Fault) -> (Outcome, checker::Report) {
    let (urls, server) = Server::start(fault).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let options = Options {
        targets: urls.iter().map(|url| url.parse().unwrap()).collect(),
        rooms: RoomChoice::Existing { room: ROOM, link: None },
        speed: 6.0,
        settle: std::time::Duration::from_secs(5),
        // It has no history to look back at.
        patience: std::time::Duration::from_secs(1),
        journal: Some(journal.clone()),
        ..options(&urls[0], 8)
    };
    let report = replay(session(8), &options, std::future::pending(), |_| {}).await.unwrap();
    // All that a server without faults keeps; this one never says who is there.
    let kept = Invariant::ALL.iter().copied().filter(|invariant| *invariant != Invariant::I10);
    let mut scan = LogScan::default().only(&kept.collect::<Vec<_>>());
    scan.has_all_of(None);
    let log = server.lock().unwrap().log.clone();
    scan.row(&Moment::default(), &Row::new(ROOM, Some(Epoch(1)), Seq(1), log));
    let mut scan = scan.end_of_log();
    scan_journals(&mut scan, &[journal]).unwrap();
    (report, scan.finish())
}

fn kinds(report: &Outcome) -> Vec<Kind> {
    report.violations.counts.keys().copied().collect()
}

#[tokio::test]
async fn an_honest_server_is_believed() {
    assert_held(&judged(Fault::None).await);
}

#[tokio::test]
async fn an_honest_server_is_believed_however_often_connections_break() {
    let (report, checked) = judged_twice(Fault::Cut).await;
    assert_held(&report);
    assert_eq!(checked.violated(), [], "{checked}");
    assert!(report.counts.connections_lost > 8 && report.counts.ops_resent > 0, "{report}");
}

#[tokio::test]
async fn clients_come_in_when_there_is_a_node_for_them() {
    let (report, checked) = judged_twice(Fault::Unavailable).await;
    assert_held(&report);
    assert_eq!(checked.violated(), [], "{checked}");
    assert!(report.counts.connections_failed >= 12 && report.counts.connections_lost > 0, "{report}");
}

#[tokio::test]
async fn clients_that_are_told_to_move_do_so_without_a_gap() {
    let (report, checked) = judged_twice(Fault::Moves).await;
    assert_held(&report);
    assert_eq!(checked.violated(), [], "{checked}");
    let counts = &report.counts;
    assert!(counts.moves_told > 8 && counts.connections_opened >= 8 + counts.moves_told / 2, "{report}");
    assert_eq!(counts.connections_lost, 0, "{report}");
    let gaps = &report.times.outside[Reason::Told as usize];
    assert_eq!((gaps.count(), gaps.max()), (8, 0.0), "{report}");
    assert_eq!(report.times.nodes().keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test]
async fn an_op_that_one_member_was_not_shown_is_a_gap() {
    let (report, checked) = judged_twice(Fault::NotShown).await;
    assert_eq!(kinds(&report), [Kind::Gap]);
    assert_eq!(checked.violated(), [Invariant::I7], "{checked}");
}

#[tokio::test]
async fn an_op_taken_twice_is_found() {
    let (report, checked) = judged_twice(Fault::TakenTwice).await;
    assert!(kinds(&report).contains(&Kind::Doubled), "{report}");
    assert_eq!(checked.violated(), [Invariant::I4], "{checked}");
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
    let (report, checked) = judged_twice(Fault::Forgotten).await;
    assert!(kinds(&report).contains(&Kind::Rewound), "{report}");
    assert!(checked.violated().contains(&Invariant::I2), "{checked}");
    assert_eq!(report.verdict.exit_code(), 2);
}

#[tokio::test]
async fn a_board_that_lacks_what_was_drawn_is_found() {
    assert_eq!(kinds(&judged(Fault::EmptySnapshot).await), [Kind::Snapshot]);
}
