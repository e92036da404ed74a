//! People who are in a room at the same time see and order everything alike.

use std::time::Duration;

use enfilade_proto::{Accepted, Codec, Op, OpId, Request, Role, Seq, ServerFrame, ServerMessage, Submit};
use serde_json::json;
use tokio_websockets::Message;
use uuid::Uuid;

use crate::support::{TestNode, delete, stroke};

#[tokio::test(flavor = "multi_thread")]
async fn two_people_draw_together_in_both_codecs() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.guest_in("Bob", Codec::Json).await;
    let joined = bob.join(board.id, &board.link, None).await;
    assert_eq!((joined.role, joined.position.seq, joined.presence.count), (Role::Owner, Seq(0), 2));
    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    assert_eq!(bob.draw(board.id, 1).await, Seq(2));
    for client in [&mut ada, &mut bob] {
        let ops = client.ops_through(Seq(0), Seq(2)).await;
        assert_eq!(ops.len(), 2);
    }
    ada.signal(board.id, "cursor", json!({"x": 1, "y": 2})).await;
    let signals = bob.until("signals", |frame| matches!(frame.message, ServerMessage::Signals(_))).await;
    let ServerMessage::Signals(signals) = signals.message else { unreachable!() };
    assert_eq!((signals.signals[0].client, &signals.signals[0].body), (ada.id, &json!({"x": 1, "y": 2})));
    // Bob hears that Ada was there, and Ada that Bob came.
    let came = |frame: &ServerFrame| {
        matches!(&frame.message, ServerMessage::Presence(presence)
            if presence.joined.iter().flatten().any(|member| member.name.as_str() == "Bob"))
    };
    ada.until("Bob came", came).await;
}

/// Nobody waits for a tick, or for the hub to look around once a second: sixty signals, each an answer to the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_signalled_in_a_quiet_room_is_told_at_once() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (mut ada, mut bob) = (node.member("Ada", &board).await, node.member("Bob", &board).await);
    let conversation = async {
        for turn in 0..60 {
            let (speaker, listener) = if turn % 2 == 0 { (&mut ada, &mut bob) } else { (&mut bob, &mut ada) };
            speaker.signal(board.id, "turn", json!(turn)).await;
            let said = |frame: &ServerFrame| matches!(&frame.message, ServerMessage::Signals(it) if it.signals.iter().any(|it| it.body == json!(turn)));
            listener.until("the next turn", said).await;
        }
    };
    // A second for each would be a minute.
    tokio::time::timeout(Duration::from_secs(25), conversation).await.expect("they understood each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_of_one_client_stay_in_order() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    // A delete that overtook its add would be refused.
    let mut requests = Vec::new();
    for n in 0..100u64 {
        for (op_id, op) in [(2 * n + 1, stroke(&format!("e{n}"))), (2 * n + 2, delete(&format!("e{n}")))] {
            requests.push(Request::Submit(Submit { room: board.id, op_id: OpId(op_id), op }));
        }
    }
    for (id, request) in (1_000..).zip(&requests) {
        ada.send(Some(id), request).await;
    }
    for (id, seq) in (1_000..).zip(1..=200) {
        let reply = ada.until("a reply", |frame| frame.id == Some(id)).await.message;
        assert_eq!(reply, ServerMessage::Accepted(Accepted { seq: Seq(seq) }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_sockets_see_the_same_room() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    ada.draw(board.id, 1).await;
    let header = [format!("enfilade-link: {}", board.link)];
    let path = format!("/api/v1/rooms/{}", board.id);
    let op = json!({"client": Uuid::new_v4(), "op_id": 1, "op": {"type": "add_stroke",
        "data": {"element": "rest", "color": "#1a1a1a", "width": 4, "points": [[0, 0], [10, 10]]}}});
    for _ in 0..2 {
        let (status, answer) = node.http("POST", &format!("{path}/ops"), &header, Some(op.clone())).await;
        assert_eq!((status, &answer["seq"]), (200, &json!(2)), "{answer}");
    }
    ada.ops_through(Seq(0), Seq(2)).await;
    let (_, snapshot) = node.http("GET", &format!("{path}/snapshot"), &header, None).await;
    assert_eq!(snapshot["position"]["seq"], 2);
    assert_eq!(snapshot["snapshot"]["elements"].as_array().unwrap().len(), 2);
    let (_, history) = node.http("GET", &format!("{path}/ops?after=1"), &header, None).await;
    assert_eq!(
        (&history["first_seq"], &history["ops"][0]["op"]["data"]["element"]),
        (&json!(2), &json!("rest"))
    );
    let (status, refused) = node.http("GET", &format!("{path}/snapshot"), &[], None).await;
    assert_eq!((status, &refused["code"]), (404, &json!("room_not_found")));
}

/// An id of a client is no secret: it stands beside every op. Whoever uses another's must not touch their ops.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_answer_for_anothers_ops() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    let mut eve = node.connect(Codec::MessagePack).await;
    eve.id = ada.id;
    eve.greet("Eve").await;
    eve.join(board.id, &board.link, None).await;
    for (op_id, element) in [(1, "eve-1"), (2, "eve-2")] {
        let accepted = eve.submit(board.id, op_id, stroke(element)).await;
        assert!(matches!(accepted, ServerMessage::Accepted(accepted) if accepted.seq == Seq(1 + op_id)));
    }
    assert_eq!(ada.draw(board.id, 2).await, Seq(4), "her own, and not Eve's");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_vanishes_leaves_the_stroke_that_arrived() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut bob = node.member("Bob", &board).await;
    let mut ada = node.member("Ada", &board).await;
    let piece =
        json!({"element": "unfinished", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80, 80, 0]});
    ada.signal(board.id, "stroke.0", piece).await;
    bob.until("the piece", |frame| matches!(frame.message, ServerMessage::Signals(_))).await;
    ada.vanish();
    let ops = bob.ops_through(Seq(0), Seq(1)).await;
    assert!(matches!(&ops[0].op, Op::AddStroke(stroke) if stroke.element.as_str() == "unfinished"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stroke_is_closed_when_its_writer_signals_and_leaves_at_once() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut bob = node.member("Bob", &board).await;
    let mut ada = node.guest_in("Ada", Codec::Json).await;
    ada.join(board.id, &board.link, None).await;
    let room = board.id;
    let piece =
        json!({"element": "unfinished", "color": "#1a1a1a", "width": 4, "at": 0, "points": [80, 80, 80, 0]});
    let frame = json!([
        {"type": "signal", "data": {"room": room, "key": "stroke.0", "body": piece}},
        {"type": "leave", "data": {"room": room}},
    ]);
    ada.send_raw(Message::text(frame.to_string())).await;
    bob.ops_through(Seq(0), Seq(1)).await;
}

/// The latest per key wins, and stays the latest.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_signal_comes_after_what_was_said_in_between() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (mut ada, mut bob) = (node.member("Ada", &board).await, node.member("Bob", &board).await);
    let signal =
        |key: &str, body: u8| json!({"type": "signal", "data": {"room": board.id, "key": key, "body": body}});
    let said = [signal("pen", 1), signal("cursor", 2), signal("pen", 3)];
    // In one frame, so that the hub takes them in before it tells of any.
    ada.send_raw(Message::text(json!(said).to_string())).await;
    let told = bob.until("signals", |frame| matches!(frame.message, ServerMessage::Signals(_))).await;
    let ServerMessage::Signals(told) = told.message else { unreachable!() };
    let told: Vec<_> = told.signals.iter().map(|signal| (&*signal.key, &signal.body)).collect();
    assert_eq!(told, [("cursor", &json!(2)), ("pen", &json!(3))]);
}
