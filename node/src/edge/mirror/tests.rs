use enfilade_proto::board::Restore;
use enfilade_proto::{ClientId, DisplayName, Op, OpId, Role, ServerMessage};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;

const ROOM: RoomId = RoomId(Uuid::from_u128(1));
const EPOCH: Epoch = Epoch(1);

fn mirror() -> MirrorState {
    let position = Position { epoch: EPOCH, seq: Seq(0) };
    let presence = Presence { members: Some(Vec::new()), ..Presence::default() };
    MirrorState::new(ROOM, RoomKind::Board, position, Contents::Board([].into()), presence)
}

fn ops(count: usize) -> Arc<[Arc<LoggedOp>]> {
    let op = LoggedOp {
        author: UserId(Uuid::from_u128(2)),
        client: ClientId(Uuid::from_u128(3)),
        op_id: OpId(1),
        at: 0,
        op: Op::Restore(Restore { deleted_by: Seq(1) }),
    };
    std::iter::repeat_n(Arc::new(op), count).collect()
}

fn member(n: u128) -> Member {
    Member { id: UserId(Uuid::from_u128(n)), name: DisplayName::new("Ada").unwrap(), role: Role::Editor }
}

fn signal(n: u64) -> Vec<SignalOut> {
    let (author, client) = (UserId(Uuid::from_u128(2)), ClientId(Uuid::from_u128(3)));
    vec![SignalOut { author, client, key: "cursor".into(), body: json!(n) }]
}

/// What a client makes of the bytes: WebSocket headers taken off, messages read.
fn read(bytes: Option<Bytes>, codec: Codec) -> Vec<ServerMessage> {
    let mut messages = Vec::new();
    let mut rest: &[u8] = &bytes.unwrap_or_default();
    while let [_, len, after @ ..] = rest {
        let (len, after) = match len {
            126 => (usize::from(u16::from_be_bytes([after[0], after[1]])), &after[2..]),
            127 => (u64::from_be_bytes(after[..8].try_into().unwrap()) as usize, &after[8..]),
            len => (usize::from(*len), after),
        };
        messages.extend(codec.decode_server(&after[..len]).unwrap().into_iter().map(|frame| frame.message));
        rest = &after[len..];
    }
    messages
}

#[test]
fn what_came_since_is_one_piece_of_bytes_in_order() {
    let mut mirror = mirror();
    let mut cursor = mirror.cursor();
    assert!(mirror.news(&mut cursor).is_empty());
    assert_eq!(mirror.take_ops(EPOCH, Seq(1), &ops(2)), Taken::News);
    assert_eq!(mirror.take_ops(EPOCH, Seq(3), &ops(1)), Taken::News);
    mirror.take_signals(signal(1));
    mirror.take_presence(Presence { count: 1, joined: Some(vec![member(1)]), ..Presence::default() });
    let news = mirror.news(&mut cursor);
    for codec in Codec::ALL {
        let messages = read(news.frames(codec, Want::Everything), codec);
        assert!(
            matches!(&messages[0], ServerMessage::Ops(ops) if ops.first_seq == Seq(1) && ops.ops.len() == 2)
        );
        assert!(matches!(&messages[1], ServerMessage::Ops(ops) if ops.first_seq == Seq(3)));
        assert!(matches!(&messages[2], ServerMessage::Presence(presence) if presence.room == Some(ROOM)));
        assert!(matches!(&messages[3], ServerMessage::Signals(_)));
        assert_eq!(read(news.frames(codec, Want::NoSignals), codec).len(), 3);
    }
    assert!(mirror.news(&mut cursor).is_empty());
}

#[test]
fn a_message_is_written_once_for_everybody() {
    let mut mirror = mirror();
    let (mut one, mut other) = (mirror.cursor(), mirror.cursor());
    mirror.take_ops(EPOCH, Seq(1), &ops(1));
    let first = mirror.news(&mut one).frames(Codec::Json, Want::Everything).unwrap();
    let second = mirror.news(&mut other).frames(Codec::Json, Want::Everything).unwrap();
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[test]
fn only_the_next_ops_are_taken() {
    let mut mirror = mirror();
    mirror.take_ops(EPOCH, Seq(1), &ops(3));
    assert_eq!(mirror.take_ops(EPOCH, Seq(1), &ops(3)), Taken::Nothing, "known");
    assert_eq!(mirror.take_ops(EPOCH, Seq(5), &ops(1)), Taken::Gap, "op 4 is missing");
    let mut cursor = mirror.cursor();
    assert_eq!(mirror.take_ops(EPOCH, Seq(2), &ops(4)), Taken::News, "4 and 5 are new");
    assert_eq!(mirror.position().seq, Seq(5));
    let messages = read(mirror.news(&mut cursor).frames(Codec::Json, Want::Everything), Codec::Json);
    assert!(
        matches!(&messages[..], [ServerMessage::Ops(ops)] if ops.first_seq == Seq(4) && ops.ops.len() == 2)
    );
}

#[test]
fn who_falls_off_the_ring_is_behind() {
    let mut mirror = mirror();
    let start = mirror.cursor();
    for n in 0..100 {
        mirror.take_ops(EPOCH, Seq(n * 100 + 1), &ops(100));
    }
    assert!(mirror.ring_ops <= RING_OPS && mirror.ring_bytes <= RING_BYTES);
    assert!(mirror.news(&mut start.clone()).behind);
    assert!(mirror.snapshot().is_none(), "it lies before the ring");
    assert!(mirror.covers(Seq(10_000 - 4_000)) && !mirror.covers(Seq(10_001)));
    assert_eq!(mirror.ops_after(Seq(9_950)).len(), 50);
    mirror.set_snapshot(mirror.position(), Contents::Board([].into()));
    assert_eq!(mirror.snapshot().unwrap().position.seq, Seq(10_000));
}

#[test]
fn large_ops_shorten_the_ring() {
    let mut mirror = mirror();
    let mut logged = (*ops(1)[0]).clone();
    let points: Vec<_> = (0..20_000i64)
        .map(|n| [n * n % 1_009, n % 997].map(|it| enfilade_proto::Coord::from_quarters(it).unwrap()))
        .collect();
    logged.op = Op::AddStroke(enfilade_proto::board::Stroke {
        element: enfilade_proto::ElementId::new("e").unwrap(),
        color: enfilade_proto::board::Color::parse("#1a1a1a").unwrap(),
        width: enfilade_proto::board::Width::new(1.0).unwrap(),
        points: enfilade_proto::Points::encode(&points),
        pressure: None,
    });
    let large: Arc<[Arc<LoggedOp>]> = vec![Arc::new(logged)].into();
    for seq in 1..=500 {
        mirror.take_ops(EPOCH, Seq(seq), &large);
    }
    assert!(mirror.ring_bytes <= RING_BYTES && mirror.ring.len() < 200, "{} batches", mirror.ring.len());
}

#[test]
fn signals_of_the_past_are_gone_and_presence_is_told_whole() {
    let mut mirror = mirror();
    let mut cursor = mirror.cursor();
    for n in 0..RECENT as u64 * 2 {
        mirror.take_signals(signal(n));
        mirror.take_presence(Presence {
            count: n + 1,
            joined: Some(vec![member(u128::from(n))]),
            ..Presence::default()
        });
    }
    let messages = read(mirror.news(&mut cursor).frames(Codec::Json, Want::Everything), Codec::Json);
    let [ServerMessage::Presence(presence)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(presence.members.as_ref().unwrap().len(), RECENT * 2);
}

#[test]
fn what_was_told_long_ago_is_forgotten_and_what_is_new_is_not() {
    let mut mirror = mirror();
    mirror.take_signals(signal(1));
    mirror.take_presence(Presence { joined: Some(vec![member(1)]), count: 1, ..Presence::default() });
    let before = Cursor::default();
    mirror.forget_past();
    let between = mirror.cursor();
    mirror.take_signals(signal(2));
    assert_eq!(mirror.news_until(before, mirror.cursor()).signals.len(), 2);
    mirror.forget_past();
    let now = mirror.cursor();
    assert_eq!(mirror.news_until(between, now).signals.len(), 1);
    // Who stayed behind is told who is there now; the signals are gone.
    let news = mirror.news_until(before, now);
    assert_eq!(news.signals.len(), 0);
    assert!(news.presence().all(|presence| presence.members.as_ref().is_some_and(|it| it.len() == 1)));
    mirror.forget_past();
    assert!(mirror.signals.is_empty() && mirror.presence.is_empty());
    assert!(mirror.news_until(now, now).is_empty());
}

#[test]
fn a_joiner_is_one_of_those_who_are_there() {
    let mut mirror = mirror();
    mirror.take_presence(Presence { count: 1, joined: Some(vec![member(1)]), ..Presence::default() });
    mirror.here.arrive(member(1));
    let told = mirror.presence();
    assert_eq!((told.count, told.members.unwrap().len()), (1, 1));
    mirror.here.arrive(member(2));
    let told = mirror.presence();
    assert_eq!((told.count, told.members.unwrap().len()), (2, 2));
    mirror.take_presence(Presence { count: 5_000, ..Presence::default() });
    let told = mirror.presence();
    assert_eq!((told.count, told.members), (5_000, None));
}

#[test]
fn a_crowd_is_not_listed_even_if_the_owner_has_not_counted_it_yet() {
    let mut mirror = mirror();
    (0..=ROSTER as u128).for_each(|n| mirror.here.arrive(member(n)));
    let told = mirror.presence();
    assert_eq!((told.count, told.members), (ROSTER as u64 + 1, None));
}

#[test]
fn whoever_watches_is_counted_apart() {
    let mut mirror = mirror();
    mirror.here.watch();
    let told = mirror.presence();
    assert_eq!((told.count, told.audience, told.members), (0, 1, Some(Vec::new())));
    let mut cursor = mirror.cursor();
    mirror.take_presence(Presence { count: 1, joined: Some(vec![member(1)]), ..Presence::default() });
    mirror.take_presence(Presence {
        count: 1,
        audience: 90,
        joined: Some(Vec::new()),
        ..Presence::default()
    });
    let told = mirror.presence();
    assert_eq!((told.count, told.audience, told.members.unwrap().len()), (1, 90, 1));
    let news: Vec<u64> = mirror.news(&mut cursor).presence().map(|presence| presence.audience).collect();
    assert_eq!(news, [0, 90]);
}

proptest! {
    /// Whoever looks now and then, early or late, is told every op once and in order, or that they are behind.
    #[test]
    fn readers_miss_nothing(steps in prop::collection::vec((0usize..400, any::<bool>()), 1..80)) {
        let mut mirror = mirror();
        let (mut eager, mut seen) = (mirror.cursor(), Seq(0));
        for (count, looks) in steps {
            if count > 0 {
                mirror.take_ops(EPOCH, mirror.position().seq.next(), &ops(count));
            }
            if !looks { continue }
            let before = eager;
            let news = mirror.news(&mut eager);
            prop_assert_eq!(news.behind, !mirror.covers(before.seq));
            prop_assert_eq!(eager, mirror.cursor());
            if news.behind {
                seen = eager.seq;
                continue;
            }
            for batch in &news.ops {
                prop_assert_eq!(batch.first, seen.next());
                seen = batch.last();
            }
            prop_assert_eq!(seen, mirror.position().seq);
            prop_assert_eq!(mirror.news_until(before, before).ops.len(), 0);
        }
    }
}
