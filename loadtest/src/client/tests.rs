//! A clone against a server that the test plays by hand. No clock runs and nothing is sent.

mod absence;
mod moving;

use std::sync::Arc;

use enfilade_proto::limits::Limits;
use enfilade_proto::{
    Accepted, Closing, Epoch, Error, Head, Incoming, Joined, LoggedOp, OpId, Ops, Ping, Position, Presence,
    Reset, Role, RoomKind, Seq, Snapshot, Submit, User, UserId, Welcome,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::crowd::Crowd;
use crate::ensemble::{Layout, cast};
use crate::mix::Mix;
use crate::oracle::Kind;
use crate::score::Fate;
use crate::session::read_session;

const CODEC: Codec = Codec::Json;
const ROOM: RoomId = RoomId(Uuid::from_u128(70));
const USER: UserId = UserId(Uuid::from_u128(1));

const EVENTS: &str = r##"{"enfilade_session":1,"kind":"board","people":2,"duration":9}
[0,"join",0,{"name":"Ada"}]
[0,"join",1,{"name":"Bob"}]
[1,"op",0,{"type":"add_stroke","data":{"element":"a","color":"#000000","width":1,"points":[[1,2],[3,4]]}}]
[0,"signal",0,{"key":"cursor","body":{"x":1,"y":2}}]
[1,"op",1,{"type":"delete","data":{"elements":["a"]}}]
[1,"op",0,{"type":"clear","data":{}}]
[1,"leave",0]"##;

/// One clone of the first person and its server.
struct Table {
    client: Client,
    room: Room,
    now: Micros,
    log: Vec<LoggedOp>,
    /// The connection that is spoken of.
    wire: u32,
}

impl Table {
    fn of(events: &str, person: usize) -> Self {
        Self::living(events, person, Life::default())
    }

    fn living(events: &str, person: usize, life: Life) -> Self {
        let mix: Arc<Mix> = Arc::new(read_session(events.as_bytes()).unwrap().into());
        let layout = Layout {
            clones: 2,
            rooms: 1,
            speed: 1.0,
            jitter: 0,
            seed: 1,
            nonce: "run".into(),
            crowd: Crowd::default(),
        };
        let part = cast(&mix, &layout).swap_remove(person);
        let mut room = Room::new(ROOM, Some("secret".into()), Arc::default(), None);
        let manner = Manner { codec: CODEC, seed: 1, patience: 60 * SECOND };
        let client = Client::new(ClientId(Uuid::from_u128(5)), part, life, manner, &mut room);
        Self { client, room, now: 0, log: Vec::new(), wire: 0 }
    }

    /// In the room, with the clock about to start.
    fn seated() -> Self {
        Self::of(EVENTS, 0).seat()
    }

    fn seat(self) -> Self {
        let mut table = self;
        table.connect();
        table.welcome();
        table.join(None);
        table.client.start(table.now);
        table
    }

    fn tick_at(&mut self, now: Micros) {
        self.now = now;
        self.client.tick(now, &mut self.room);
    }

    /// Waits as long as the clone likes, then connects it.
    fn connect(&mut self) {
        if self.wishes().is_empty() {
            self.tick_at(self.client.alarm().unwrap().max(self.now));
        }
        let wishes = self.wishes();
        let (wire, _) = wishes.iter().find(|(_, wish)| *wish == Wish::Connect).expect("a wish to connect");
        self.wire = *wire;
        self.client.connected(self.now, self.wire, 7, &mut self.room);
    }

    fn wishes(&self) -> Vec<(u32, Wish)> {
        self.client.wires().map(|wire| (wire, self.client.wish(wire))).collect()
    }

    fn is_connected(&self) -> bool {
        self.client.wish(self.wire) == Wish::Keep
    }

    fn welcome(&mut self) {
        let Request::Hello(hello) = self.said().remove(0).1 else { panic!("no hello") };
        assert_eq!(hello.guest.unwrap().name.as_str(), "Ada");
        let name = DisplayNameOf("Ada").get();
        let user = Some(User { id: USER, name, guest: true });
        let (limits, resume) = (Limits::default(), Some("again".into()));
        let welcome = Welcome { user, node: "n".into(), ping_ms: 25_000, resume, limits };
        self.hear(Some(HELLO), "welcome", &welcome);
    }

    fn welcome_again(&mut self) {
        self.said();
        self.welcome_as("again");
    }

    fn welcome_as(&mut self, resume: &str) {
        let user = json!({"id": USER, "name": "Ada"});
        let limits = Limits::default();
        let welcome =
            json!({"user": user, "node": "n", "ping_ms": 25000, "resume": resume, "limits": limits});
        self.hear(Some(HELLO), "welcome", &welcome);
    }

    /// Answers the open join.
    fn join(&mut self, since: Option<u64>) {
        let (id, Request::Join(join)) = self.said().remove(0) else { panic!("no join") };
        assert_eq!((join.link.as_deref(), join.since.map(|since| since.seq.0)), (Some("secret"), since));
        let ops = self.log[since.unwrap_or_default() as usize..].to_vec();
        self.hear(id, "joined", &self.joined(ops, None));
    }

    fn joined(&self, ops: Vec<LoggedOp>, snapshot: Option<Snapshot>) -> Joined {
        Joined {
            room: ROOM,
            kind: RoomKind::Board,
            title: DisplayNameOf("T").get(),
            role: Role::Editor,
            position: Position { epoch: Epoch(1), seq: Seq(self.log.len() as u64) },
            snapshot,
            snapshot_deflate: None,
            ops: (!ops.is_empty()).then_some(ops),
            presence: Presence::default(),
        }
    }

    fn hear<T: Serialize>(&mut self, id: Option<u32>, message_type: &str, data: &T) {
        let frame = CODEC.encode(id, message_type, data);
        self.client.received(self.now, self.wire, &frame, &mut self.room);
    }

    /// What the clone has said since.
    fn said(&mut self) -> Vec<(Option<u32>, Request)> {
        let frames = std::iter::from_fn(|| self.client.next_outgoing(self.wire));
        frames
            .flat_map(|frame| CODEC.decode_requests(&frame).unwrap())
            .map(|request| request.unwrap())
            .map(|Incoming { id, request }| (id, request))
            .collect()
    }

    fn submits(&mut self) -> Vec<(u32, Submit)> {
        let submits = self.said().into_iter().filter_map(|(id, request)| match request {
            Request::Submit(submit) => Some((id.unwrap(), submit)),
            _ => None,
        });
        submits.collect()
    }

    /// The server takes the op and shows it; the answer is the test's business.
    fn commit(&mut self, submit: &Submit) {
        let client = ClientId(Uuid::from_u128(5));
        let (op_id, op) = (submit.op_id, submit.op.clone());
        self.log.push(LoggedOp { author: USER, client, op_id, at: 1, op });
    }

    fn show_last(&mut self) {
        let first_seq = Seq(self.log.len() as u64);
        let ops = vec![self.log.last().unwrap().clone()];
        self.hear(None, "ops", &Ops { room: ROOM, epoch: Epoch(1), first_seq, ops });
    }

    fn accept(&mut self, id: u32, seq: u64) {
        self.hear(Some(id), "accepted", &Accepted { seq: Seq(seq) });
    }

    fn refuse(&mut self, id: Option<u32>, code: ErrorCode, retry_after_ms: Option<u64>) {
        self.hear(id, "error", &Error { retry_after_ms, ..Error::new(code, "no") });
    }

    fn lose(&mut self, code: Option<u16>) {
        self.client.lost(self.now, self.wire, code, &mut self.room);
    }

    fn violations(&self) -> Vec<Kind> {
        self.room.oracle.violations.counts.keys().copied().collect()
    }
}

struct DisplayNameOf(&'static str);

impl DisplayNameOf {
    fn get(&self) -> enfilade_proto::DisplayName {
        enfilade_proto::DisplayName::new(self.0).unwrap()
    }
}

#[test]
fn a_clone_plays_its_part_at_the_planned_times_and_goes() {
    let mut table = Table::seated();
    assert!(table.client.status().ready && !table.client.status().done);
    assert_eq!(table.client.alarm(), Some(SECOND));
    table.tick_at(SECOND + 3_000);
    let said = table.said();
    let [(Some(id), Request::Submit(submit)), (None, Request::Signal(signal))] = &said[..] else {
        panic!("{said:?}")
    };
    assert_eq!((submit.op_id, submit.room), (OpId(1), ROOM));
    assert_eq!(signal.body, json!({"x": 1, "y": 2, "replay": 0}));
    assert_eq!(table.room.times().lag.count(), 2);
    table.commit(submit);
    table.show_last();
    table.now += 5_000;
    table.accept(*id, 1);
    assert_eq!(table.room.times().accepted.max().round() as u64, 8, "from the planned time");
    table.tick_at(4 * SECOND);
    let (id, clear) = table.submits().remove(0);
    table.commit(&clear);
    table.show_last();
    assert_eq!(table.client.alarm(), Some(4 * SECOND + 35 * SECOND), "it does not leave with an op open");
    assert!(table.is_connected());
    table.accept(id, 2);
    assert_eq!(table.client.wish(table.wire), Wish::HangUp);
    assert!(matches!(table.said()[..], [(None, Request::Leave(_))]));
    table.lose(None);
    assert_eq!((table.wishes(), table.client.alarm(), table.client.status().done), (vec![], None, true));
    assert_eq!((table.violations(), table.room.counts.connections_lost), (vec![], 0));
}

#[test]
fn an_unanswered_op_is_sent_again_unchanged_after_the_join() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.commit(&submit);
    table.lose(None);
    let until = table.client.alarm().unwrap();
    assert!((SECOND..=SECOND + BACKOFF).contains(&until));
    table.connect();
    let Request::Hello(hello) = table.said().remove(0).1 else { panic!() };
    assert_eq!(hello.resume.as_deref(), Some("again"));
    table.welcome_as("r2");
    table.join(Some(0));
    let again = table.submits();
    assert_eq!(again, [(id, submit)], "the same id, the same op");
    table.accept(id, 1);
    assert_eq!(table.room.counts.ops_resent, 1);
    assert_eq!(table.room.oracle.position(0).seq, Seq(1));
    assert_eq!(table.violations(), []);
}

#[test]
fn ops_that_come_due_while_offline_wait_and_signals_do_not() {
    let mut table = Table::seated();
    table.lose(None);
    table.tick_at(SECOND);
    assert_eq!((table.said().len(), table.room.counts.signals_dropped), (0, 1));
    table.connect();
    table.welcome();
    table.join(Some(0));
    assert_eq!(table.submits().len(), 1);
    assert_eq!((table.room.counts.ops_submitted, table.room.counts.ops_resent), (1, 0));
}

#[test]
fn the_backoff_grows_and_ends_with_a_success() {
    let mut table = Table::of(EVENTS, 0);
    let mut longest = 0;
    for attempt in 0..40 {
        assert_eq!(table.wishes(), []);
        let until = table.client.alarm().unwrap();
        let waits = until.saturating_sub(table.now);
        assert!(waits <= BACKOFF_MAX.min(BACKOFF << attempt));
        longest = longest.max(waits);
        table.tick_at(until);
        let [(wire, Wish::Connect)] = table.wishes()[..] else { panic!("{:?}", table.wishes()) };
        table.client.connect_failed(table.now, wire, &mut table.room);
    }
    assert!(longest > 10 * SECOND);
    table.connect();
    table.welcome();
    table.join(None);
    table.lose(None);
    assert!(table.client.alarm().is_some_and(|until| until <= table.now + BACKOFF));
}

#[test]
fn an_op_refused_for_now_is_sent_again_under_its_id() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.refuse(Some(id), ErrorCode::RateLimited, Some(300));
    assert_eq!(table.submits(), []);
    table.tick_at(SECOND + 450 * MILLISECOND);
    assert_eq!(table.submits(), [(id, submit)]);
    assert_eq!((table.room.counts.ops_retried, table.room.counts.ops_refused_total()), (1, 0));
}

#[test]
fn ops_behind_one_that_was_refused_for_now_wait_for_it() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (first, _) = table.submits().remove(0);
    table.refuse(Some(first), ErrorCode::Busy, Some(5_000));
    table.tick_at(3 * SECOND);
    assert_eq!(table.submits(), [], "the next one is due, and held back");
    table.tick_at(6 * SECOND + 150 * MILLISECOND);
    assert_eq!(table.submits().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [first, first + 1]);
}

#[test]
fn an_op_that_overtook_the_one_it_builds_upon_is_sent_again_behind_it() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let first = table.submits().remove(0);
    table.tick_at(3 * SECOND);
    let second = table.submits().remove(0);
    table.refuse(Some(first.0), ErrorCode::Busy, Some(300));
    table.refuse(Some(second.0), ErrorCode::UnknownElement, None);
    table.tick_at(3 * SECOND + 450 * MILLISECOND);
    assert_eq!(table.submits(), [first, second.clone()]);
    assert_eq!(table.room.counts.ops_refused_total(), 0);
    table.refuse(Some(second.0), ErrorCode::UnknownElement, None);
    assert_eq!(table.room.counts.ops_refused_total(), 1, "now it is its own fault");
}

#[test]
fn an_op_refused_for_good_is_counted_and_over() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, _) = table.submits().remove(0);
    table.refuse(Some(id), ErrorCode::BoardFull, None);
    assert_eq!(table.room.counts.ops_refused["board_full"], 1);
    table.refuse(Some(id), ErrorCode::BoardFull, None);
    assert_eq!(table.violations(), [Kind::ExtraReply]);
}

#[test]
fn an_op_that_was_put_off_until_the_end_is_refused_and_not_lost() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, _) = table.submits().remove(0);
    table.refuse(Some(id), ErrorCode::Busy, None);
    table.client.finish(&mut table.room);
    table.room.oracle.finish();
    assert_eq!((table.violations(), table.room.counts.ops_refused["busy"]), (vec![], 1));
}

#[test]
fn a_gap_is_convicted_and_healed_by_joining_again() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.commit(&submit);
    let op = serde_json::from_value(json!({"type":"clear","data":{}})).unwrap();
    let own = LoggedOp { client: ClientId::ROOM, op_id: OpId(0), op, ..table.log[0].clone() };
    table.log.push(own);
    table.show_last();
    table.join(Some(0));
    table.accept(id, 1);
    assert_eq!(table.room.oracle.position(0).seq, Seq(2));
    assert_eq!(table.violations(), [Kind::Gap]);
    assert_eq!(table.submits(), [], "the connection is the same, so nothing is sent again");
}

#[test]
fn a_ping_is_answered_and_its_heads_are_believed() {
    let mut table = Table::seated();
    table.hear(None, "ping", &Ping { heads: vec![Head { room: ROOM, seq: Seq(0) }] });
    assert!(matches!(table.said()[..], [(None, Request::Pong(_))]));
    table.hear(None, "ping", &Ping { heads: vec![Head { room: ROOM, seq: Seq(3) }] });
    assert!(matches!(table.said()[..], [_, (Some(JOIN), Request::Join(_))]));
    assert_eq!(table.violations(), [Kind::Gap]);
}

#[test]
fn a_connection_that_falls_silent_is_given_up() {
    let mut table = Table::seated();
    let dead = table.now + 35 * SECOND;
    table.tick_at(dead - 1);
    assert!(table.is_connected());
    table.tick_at(dead);
    assert_eq!(table.client.wish(table.wire), Wish::HangUp);
    assert_eq!((table.room.inside, table.room.counts.connections_lost), (0, 1));
    assert!(table.client.alarm().is_some_and(|at| at <= dead + BACKOFF), "it comes back");
}

#[test]
fn an_answer_to_hello_that_never_comes_is_not_waited_for() {
    let mut table = Table::of(EVENTS, 0);
    table.connect();
    assert_eq!(table.client.alarm(), Some(table.now + REPLY_TIMEOUT));
    table.tick_at(table.now + REPLY_TIMEOUT);
    assert_eq!(table.client.wish(table.wire), Wish::HangUp);
}

#[test]
fn close_codes_say_what_to_do() {
    let mut table = Table::seated();
    table.lose(Some(4100));
    assert_eq!((table.wishes(), table.client.alarm()), (vec![], Some(table.now)), "at once");

    let mut table = Table::seated();
    table.hear(None, "closing", &Closing { code: 4603, reason: "flooding".into(), trace_id: None });
    table.lose(None);
    assert_eq!((table.client.is_over(), table.violations()), (true, vec![Kind::Dismissed]));

    let mut table = Table::seated();
    table.log.push(LoggedOp {
        author: USER,
        client: ClientId::ROOM,
        op_id: OpId(0),
        at: 0,
        op: serde_json::from_value(json!({"type":"clear","data":{}})).unwrap(),
    });
    table.show_last();
    table.lose(Some(4300));
    table.connect();
    table.welcome();
    table.join(None);
    assert_eq!(table.violations(), []);
}

#[test]
fn a_refused_join_is_tried_again_or_final_as_its_code_says() {
    let mut table = Table::of(EVENTS, 0);
    table.connect();
    table.welcome();
    table.said();
    table.refuse(Some(JOIN), ErrorCode::Busy, Some(50));
    table.tick_at(table.now + 200 * MILLISECOND);
    table.join(None);
    assert!(table.client.status().ready);

    let mut table = Table::of(EVENTS, 0);
    table.connect();
    table.welcome();
    table.refuse(Some(JOIN), ErrorCode::RoomNotFound, None);
    assert!(table.client.is_over());
    assert!(table.client.status().ready && table.client.status().over);
    assert_eq!(table.violations(), [Kind::Dismissed]);
}

#[test]
fn a_reset_is_taken_like_a_join() {
    let mut table = Table::seated();
    table.tick_at(SECOND);
    let (id, submit) = table.submits().remove(0);
    table.commit(&submit);
    let snapshot = Snapshot { seq: Seq(1), elements: None };
    let position = Position { epoch: Epoch(1), seq: Seq(1) };
    table.hear(
        None,
        "reset",
        &Reset { room: ROOM, position, snapshot: Some(snapshot), snapshot_deflate: None, ops: None },
    );
    table.accept(id, 1);
    assert_eq!((table.room.counts.resets, table.room.oracle.position(0).seq), (1, Seq(1)));
    assert_eq!(table.room.oracle.hole(), Some(Seq(1)), "nobody was shown the op itself");
}

#[test]
fn what_builds_on_anothers_op_waits_for_it() {
    let mut table = Table::of(EVENTS, 1);
    table.client.start(0);
    table.tick_at(2 * SECOND);
    assert_eq!(table.room.counts.ops_submitted, 0);
    assert!(matches!(table.wishes()[..], [(_, Wish::Connect)]));
    assert_eq!(table.client.alarm(), Some(2 * SECOND + LOOK_AGAIN));
    table.room.fated(0, 1, Fate::Accepted(Seq(9)));
    table.tick_at(2 * SECOND + LOOK_AGAIN);
    assert_eq!(table.room.counts.ops_submitted, 1);
    assert_eq!(table.room.times().lag.count(), 0, "the generator was not late, the other was");
}

#[test]
fn what_builds_on_an_op_that_never_comes_goes_out_all_the_same_in_the_end() {
    let mut table = Table::of(EVENTS, 1);
    table.client.start(0);
    table.tick_at(2 * SECOND + WAIT_FOR_OTHERS - 1);
    assert_eq!(table.room.counts.ops_submitted, 0);
    table.tick_at(2 * SECOND + WAIT_FOR_OTHERS);
    assert_eq!(table.room.counts.ops_submitted, 1);
}

#[test]
fn the_scene_is_set_before_the_start_within_the_bounds() {
    let mut events =
        String::from("{\"enfilade_session\":1,\"kind\":\"board\",\"people\":1,\"duration\":9}\n");
    for n in 0..600 {
        let data = json!({"element":format!("s{n}"),"color":"#000000","width":1,"from":[0,0],"to":[n,1]});
        events += &format!("[0,\"scene\",null,{}]\n", json!({"type":"add_line","data":data}));
    }
    events += "[0,\"join\",0,{\"name\":\"Ada\"}]\n";
    let mut table = Table::of(&events, 0);
    table.connect();
    table.welcome();
    table.join(None);
    let mut set = 0;
    while !table.client.status().ready {
        let submits = table.submits();
        assert!((1..=OPS_IN_FLIGHT).contains(&submits.len()));
        for (id, submit) in submits {
            set += 1;
            table.commit(&submit);
            table.show_last();
            table.accept(id, set);
        }
    }
    assert_eq!((set, table.violations(), table.room.times().accepted.count()), (600, vec![], 0));
}

#[test]
fn more_than_the_bound_is_never_in_flight() {
    let mut events = String::from(
        "{\"enfilade_session\":1,\"kind\":\"board\",\"people\":1,\"duration\":9}\n[0,\"join\",0,{\"name\":\"Ada\"}]\n",
    );
    for _ in 0..300 {
        events += "[0,\"op\",0,{\"type\":\"clear\",\"data\":{}}]\n";
    }
    let mut table = Table::of(&events, 0);
    table.connect();
    table.welcome();
    table.join(None);
    table.client.start(table.now);
    table.tick_at(table.now);
    let first = table.submits();
    assert_eq!(first.len(), OPS_IN_FLIGHT);
    table.accept(first[0].0, 1);
    assert_eq!(table.submits().len(), 1);
}

#[test]
fn frames_that_are_none_convict_the_server_and_not_the_client() {
    let mut table = Table::seated();
    table.client.received(table.now, table.wire, b"{\"type\":", &mut table.room);
    table.hear(
        None,
        "ops",
        &Ops { room: RoomId(Uuid::nil()), epoch: Epoch(1), first_seq: Seq(1), ops: vec![] },
    );
    table.hear(None, "applause", &json!({}));
    assert_eq!(table.room.oracle.violations.count(Kind::Malformed), 2);
    assert!(table.is_connected());
}
