//! The edge through real sockets: what people get, what strangers get, and that neither notices the other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use enfilade_proto::{CloseCode, Codec, ErrorCode, Join, Leave, Position, Request, Role, Seq, ServerMessage};
use serde_json::json;
use support::{TestNode, delete, stroke};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_websockets::Message;

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
    let came = |frame: &enfilade_proto::ServerFrame| {
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
            let said = |frame: &enfilade_proto::ServerFrame| matches!(&frame.message, ServerMessage::Signals(it) if it.signals.iter().any(|it| it.body == json!(turn)));
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
            requests.push(Request::Submit(enfilade_proto::Submit {
                room: board.id,
                op_id: enfilade_proto::OpId(op_id),
                op,
            }));
        }
    }
    for (id, request) in (1_000..).zip(&requests) {
        ada.send(Some(id), request).await;
    }
    for (id, seq) in (1_000..).zip(1..=200) {
        let reply = ada.until("a reply", |frame| frame.id == Some(id)).await.message;
        assert_eq!(reply, ServerMessage::Accepted(enfilade_proto::Accepted { seq: Seq(seq) }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_and_a_returner_have_everything() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    for op_id in 1..=10 {
        ada.draw(board.id, op_id).await;
    }
    let mut newcomer = node.guest("New").await;
    let joined = newcomer.join(board.id, &board.link, None).await;
    let snapshot = joined.snapshot.unwrap();
    let after = joined.ops.unwrap_or_default().len() as u64;
    assert_eq!(snapshot.seq.0 + after, 10);
    assert_eq!(snapshot.elements.unwrap().0.len() as u64 + after, 10);
    assert_eq!(joined.position.seq, Seq(10));

    let since = Position { seq: Seq(4), ..joined.position };
    let mut returner = node.guest("Back").await;
    let joined = returner.join(board.id, &board.link, Some(since)).await;
    assert!(joined.snapshot.is_none());
    assert_eq!((joined.ops.unwrap().len(), joined.position.seq), (6, Seq(10)));

    // Somebody who knows of a future that never came starts over.
    let since = Position { seq: Seq(1_000), ..since };
    let joined = node.guest("Lost").await.join(board.id, &board.link, Some(since)).await;
    assert!(joined.snapshot.is_some());
    assert_eq!(joined.position.seq, Seq(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_while_others_draw_misses_nothing() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let (id, link) = (board.id, board.link.clone());
    let drawing = tokio::spawn(async move {
        for op_id in 1..=300 {
            ada.draw(id, op_id).await;
        }
        ada
    });
    let mut joiners = Vec::new();
    for n in 0..30 {
        let mut client = node.guest(&format!("J{n}")).await;
        let joined = client.join(id, &link, None).await;
        joiners.push((client, joined.position.seq));
    }
    let _ada = drawing.await.unwrap();
    for (client, seen) in &mut joiners {
        client.ops_through(*seen, Seq(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_has_everything_and_knows_its_people() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.guest("Ada").await;
    let welcome = ada.until("nothing", |_| true);
    drop(welcome);
    let mut ada = node.connect(Codec::MessagePack).await;
    let welcome = ada.greet("Ada").await;
    ada.join(board.id, &board.link, None).await;
    ada.draw(board.id, 1).await;
    let client = ada.id;
    let node = node.restart().await;
    assert_eq!(ada.close_code().await, CloseCode::GoingAway.code());
    assert_eq!(ada.closing(), Some(CloseCode::GoingAway.code()));
    let mut again = node.connect(Codec::MessagePack).await;
    let hello = enfilade_proto::Hello { resume: welcome.resume, ..enfilade_proto::Hello::new(client) };
    assert_eq!(again.hello(hello).await.user, welcome.user);
    again.id = client;
    let joined = again.join(board.id, &board.link, None).await;
    assert_eq!(joined.position.seq, Seq(1));
    assert_eq!(again.draw(board.id, 1).await, Seq(1), "recognised");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_room_loses_no_member() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.member("Bob", &board).await;
    ada.draw(board.id, 1).await;
    for round in 0..3 {
        node.node.host().unwrap().kill(board.id);
        // As a client does: the same op again while the room is busy restarting.
        let op_id = 2 + round;
        loop {
            match ada.submit(board.id, op_id, stroke(&format!("r{round}"))).await {
                ServerMessage::Accepted(accepted) => break assert_eq!(accepted.seq, Seq(op_id)),
                ServerMessage::Error(error) => assert_eq!(error.code, ErrorCode::Busy),
                other => panic!("{other:?}"),
            }
        }
    }
    bob.ops_through(Seq(0), Seq(4)).await;
    let joined = node.guest("New").await.join(board.id, &board.link, None).await;
    assert_eq!((joined.position.seq, joined.presence.count), (Seq(4), 3));
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
    assert!(
        matches!(&ops[0].op, enfilade_proto::Op::AddStroke(stroke) if stroke.element.as_str() == "unfinished")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_see_and_do_not_draw() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (_, link) = node.link(&board, "viewer").await;
    let mut viewer = node.guest("Vi").await;
    assert_eq!(viewer.join(board.id, &link, None).await.role, Role::Viewer);
    let refused = viewer.submit(board.id, 1, stroke("x")).await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::Forbidden));
    viewer.signal(board.id, "cursor", json!({"x": 1, "y": 1})).await;
    viewer.until("forbidden", |frame| matches!(&frame.message, ServerMessage::Error(error) if error.code == ErrorCode::Forbidden)).await;
    let mut ada = node.member("Ada", &board).await;
    ada.draw(board.id, 1).await;
    viewer.ops_through(Seq(0), Seq(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_link_closes_its_sockets_within_a_second_and_no_others() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let (link_id, secret) = node.link(&board, "editor").await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.guest("Bob").await;
    bob.join(board.id, &secret, None).await;
    let header = format!("enfilade-link: {}", board.link);
    let path = format!("/api/v1/rooms/{}/links/{link_id}", board.id);
    let start = Instant::now();
    assert_eq!(node.http("DELETE", &path, &[header], None).await.0, 204);
    assert_eq!(bob.close_code().await, CloseCode::AccessRevoked.code());
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    assert_eq!(bob.closing(), Some(CloseCode::AccessRevoked.code()));
    ada.draw(board.id, 1).await;
    let refused = node
        .guest("Bob")
        .await
        .ask(&Request::Join(Join { room: board.id, link: Some(secret), since: None }))
        .await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::LinkInvalid));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_closes_the_sockets_of_the_login_within_a_second() {
    let node = TestNode::start().await;
    let person = json!({"username": "ada", "password": "a good long password"});
    let (status, session) = node.http("POST", "/api/v1/auth/sign-up", &[], Some(person)).await;
    assert_eq!(status, 201, "{session}");
    let token = session["access_token"].as_str().unwrap().to_owned();
    let mut ada = node.connect(Codec::MessagePack).await;
    let hello = enfilade_proto::Hello { token: Some(token.clone()), ..enfilade_proto::Hello::new(ada.id) };
    assert!(!ada.hello(hello.clone()).await.user.unwrap().guest);
    let bearer = format!("authorization: Bearer {token}");
    assert_eq!(node.http("POST", "/api/v1/auth/sign-out", &[bearer], Some(json!({}))).await.0, 204);
    assert_eq!(ada.close_code().await, CloseCode::SignedOut.code());
    // The token is no good any more, although it has not run out.
    let mut again = node.connect(Codec::MessagePack).await;
    let refused = again.ask(&Request::Hello(hello)).await;
    assert!(matches!(refused, ServerMessage::Error(error) if error.code == ErrorCode::Unauthenticated));
    assert_eq!(again.close_code().await, CloseCode::Unauthenticated.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_pays_for_itself() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.member("Bob", &board).await;
    let mut slow = node.guest("Slow").await;
    let seen = slow.join(board.id, &board.link, None).await.position.seq;
    let mut late = None;
    // Ops of 50 KB each, which the slow one does not read: far more than sockets and the ring hold.
    for op_id in 1..=300 {
        let op = large_stroke(&format!("big{op_id}"));
        assert!(matches!(ada.submit(board.id, op_id, op).await, ServerMessage::Accepted(_)));
        bob.ops_through(Seq(op_id - 1), Seq(op_id)).await;
        if op_id == 150 {
            late = Some(node.member("Late", &board).await);
        }
    }
    // Reading again, it gets what fitted, then a reset, and then goes on as everybody else.
    let (mut at, mut was_reset) = (seen, false);
    while at < Seq(300) {
        let frame = slow
            .until("ops or a reset", |frame| {
                matches!(frame.message, ServerMessage::Ops(_) | ServerMessage::Reset(_))
            })
            .await;
        match frame.message {
            ServerMessage::Ops(ops) => {
                assert_eq!(ops.first_seq, at.next());
                at = Seq(at.0 + ops.ops.len() as u64);
            }
            ServerMessage::Reset(reset) => {
                was_reset = true;
                assert!(reset.position.seq > at);
                assert_eq!(
                    reset.snapshot.unwrap().seq.0 + reset.ops.map_or(0, |ops| ops.len() as u64),
                    reset.position.seq.0
                );
                at = reset.position.seq;
            }
            _ => unreachable!(),
        }
    }
    assert!(was_reset);
    let knows_late = |frame: &enfilade_proto::ServerFrame| {
        matches!(&frame.message, ServerMessage::Presence(presence)
            if presence.members.iter().flatten().any(|member| member.name.as_str() == "Late"))
    };
    slow.until("it hears of those who came meanwhile", knows_late).await;
    drop(late);
    ada.draw(board.id, 1_000).await;
    slow.ops_through(at, Seq(301)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_its_code_and_the_others_notice_nothing() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.guest_in("Bob", Codec::Json).await;
    bob.join(board.id, &board.link, None).await;
    let room = board.id;
    let stroke_of = |points: &str| {
        format!(
            r##"{{"id":77,"type":"submit","data":{{"room":"{room}","op_id":9,"op":{{"type":"add_stroke","data":{{"element":"e","color":"#1a1a1a","width":4,"points":{points}}}}}}}}}"##
        )
    };
    let elsewhere = uuid::Uuid::new_v4();
    let cases = [
        ("nonsense".to_owned(), None, ErrorCode::MalformedFrame),
        ("{\"id\":77".to_owned(), None, ErrorCode::MalformedFrame),
        (r#"{"id":77,"type":"dance"}"#.to_owned(), Some(77), ErrorCode::UnknownType),
        (r#"{"id":77,"type":"join","data":{"room":5}}"#.to_owned(), Some(77), ErrorCode::InvalidRequest),
        (stroke_of("[[1e999,0]]"), Some(77), ErrorCode::InvalidRequest),
        (stroke_of("[[NaN,0]]"), None, ErrorCode::MalformedFrame),
        (stroke_of("[[2000000,0]]"), Some(77), ErrorCode::InvalidRequest),
        (stroke_of("[]"), Some(77), ErrorCode::InvalidRequest),
        (format!(r#"{{"id":77,"type":"join","data":{{"room":"{elsewhere}"}}}}"#), Some(77), ErrorCode::RoomNotFound),
        (format!(r#"{{"id":77,"type":"join","data":{{"room":"{room}","link":"wrong"}}}}"#), Some(77), ErrorCode::LinkInvalid),
        (format!(r#"{{"id":77,"type":"leave","data":{{"room":"{elsewhere}"}}}}"#), Some(77), ErrorCode::NotJoined),
        (format!(r#"{{"id":77,"type":"signal","data":{{"room":"{room}","key":"a b","body":1}}}}"#), Some(77), ErrorCode::InvalidRequest),
        (format!(r#"{{"id":77,"type":"signal","data":{{"room":"{room}","key":"k","body":"{}"}}}}"#, "x".repeat(5_000)), Some(77), ErrorCode::InvalidRequest),
        (format!(r#"{{"id":77,"type":"message","data":{{"room_id":"{room}","content":"hi"}}}}"#), Some(77), ErrorCode::WrongKind),
        (r#"{"id":77,"type":"refresh","data":{"token":"stale"}}"#.to_owned(), Some(77), ErrorCode::Unauthenticated),
        (r#"{"id":77,"type":"hello","data":{"client":"0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f","guest":{"name":"x"}}}"#.to_owned(), Some(77), ErrorCode::HelloRepeated),
    ];
    for (text, id, code) in cases {
        bob.send_raw(Message::text(text.clone())).await;
        let frame = bob
            .until(&format!("the error for {text:.100}"), |frame| {
                matches!(frame.message, ServerMessage::Error(_))
            })
            .await;
        let ServerMessage::Error(error) = frame.message else { unreachable!() };
        assert_eq!((frame.id, error.code), (id, code), "{text:.200}");
        // One that makes sense in between, so that it is not too many in a row.
        assert!(matches!(
            bob.ask(&Request::Read(enfilade_proto::Read { room, seq: Seq(0) })).await,
            ServerMessage::Done(_)
        ));
    }
    assert_eq!(bob.draw(room, 1).await, Seq(1));
    ada.ops_through(Seq(0), Seq(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_hello_ends_the_connection_with_a_code() {
    let node = TestNode::start().await;
    let client = "0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f";
    let cases = [
        (r#"{"id":1,"type":"pong"}"#.to_owned(), ErrorCode::HelloRequired, CloseCode::Malformed),
        ("nonsense".to_owned(), ErrorCode::MalformedFrame, CloseCode::Malformed),
        (r#"{"id":1,"type":"hello","data":{}}"#.to_owned(), ErrorCode::InvalidRequest, CloseCode::Malformed),
        (
            format!(
                r#"{{"id":1,"type":"hello","data":{{"client":"{client}","guest":{{"name":"a\u0007b"}}}}}}"#
            ),
            ErrorCode::InvalidName,
            CloseCode::Unauthenticated,
        ),
        (
            format!(r#"{{"id":1,"type":"hello","data":{{"client":"{client}"}}}}"#),
            ErrorCode::Unauthenticated,
            CloseCode::Unauthenticated,
        ),
        (
            format!(r#"{{"id":1,"type":"hello","data":{{"client":"{client}","token":"stale"}}}}"#),
            ErrorCode::Unauthenticated,
            CloseCode::Unauthenticated,
        ),
        (
            format!(r#"{{"id":1,"type":"hello","data":{{"client":"{client}","resume":"old"}}}}"#),
            ErrorCode::ResumeExpired,
            CloseCode::Unauthenticated,
        ),
    ];
    for (text, code, close) in cases {
        let mut stranger = node.connect(Codec::Json).await;
        stranger.send_raw(Message::text(text.clone())).await;
        assert_eq!(stranger.close_code().await, close.code(), "{text}");
        assert_eq!(stranger.errors().first().map(|(_, code)| *code), Some(code), "{text}");
        assert_eq!(stranger.closing(), Some(close.code()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_never_comes_is_not_waited_for() {
    let node = TestNode::start().await;
    let mut silent = node.connect(Codec::Json).await;
    assert_eq!(silent.close_code().await, CloseCode::HelloTimeout.code());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_against_the_rules_closes_only_its_sender() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let mut bob = node.member("Bob", &board).await;
    bob.send_raw(Message::binary(vec![0xc0; 70_000])).await;
    assert_eq!(bob.close_code().await, CloseCode::FrameTooLarge.code());
    let mut many = node.guest_in("Many", Codec::Json).await;
    for _ in 0..16 {
        many.send_raw(Message::text("nonsense".to_owned())).await;
    }
    assert_eq!(many.close_code().await, CloseCode::Malformed.code());
    ada.draw(board.id, 1).await;
}

/// Frames that no client library would write.
#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rfc_are_answered_with_a_close() {
    let node = TestNode::start().await;
    let hello = br#"{"id":1,"type":"hello","data":{"client":"0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f","guest":{"name":"Raw"}}}"#;
    let masked = |first: u8, payload: &[u8]| {
        let mut frame = vec![first, 0x80 | 126];
        frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    };
    let handshake = format!(
        "GET /ws HTTP/1.1\r\nhost: {}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        node.address()
    );
    let fragments =
        [masked(0x01, &hello[..20]), masked(0x00, &hello[20..50]), masked(0x80, &hello[50..])].concat();
    let cases = [
        (vec![0x81, 1, b'x'], CloseCode::ProtocolError),
        (masked(0xc1, b"x"), CloseCode::ProtocolError),
        (masked(0x80, b"x"), CloseCode::ProtocolError),
        (masked(0x81, &[0xff]), CloseCode::ProtocolError),
        (vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], CloseCode::FrameTooLarge),
    ];
    for (bad, code) in cases {
        // The handshake, a hello in three fragments and the bad frame, all in one write.
        let mut socket = TcpStream::connect(node.address()).await.unwrap();
        socket.write_all(&[handshake.as_bytes(), &fragments, &bad].concat()).await.unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 101"), "{text}");
        assert!(text.contains("\"welcome\""), "the hello came in fragments: {text}");
        let mut close = vec![0x88, 2 + code.reason().len() as u8];
        close.extend_from_slice(&code.code().to_be_bytes());
        close.extend_from_slice(code.reason().as_bytes());
        assert!(answer.ends_with(&close), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_at_a_time_is_refused_and_told_when_to_come_back() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    for _ in 0..1_000 {
        ada.signal(board.id, "cursor", json!(null)).await;
    }
    let frame = ada.until("rate_limited", |frame| matches!(&frame.message, ServerMessage::Error(_))).await;
    let ServerMessage::Error(error) = frame.message else { unreachable!() };
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(error.retry_after_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_so_many_rooms() {
    let node = TestNode::start().await;
    let mut ada = node.guest("Ada").await;
    let mut boards = Vec::new();
    for _ in 0..enfilade_proto::limits::ROOMS_PER_CONNECTION {
        let board = node.board().await;
        ada.join(board.id, &board.link, None).await;
        boards.push(board);
    }
    let one_more = node.board().await;
    let join = Request::Join(Join { room: one_more.id, link: Some(one_more.link.clone()), since: None });
    assert!(
        matches!(ada.ask(&join).await, ServerMessage::Error(error) if error.code == ErrorCode::TooManyRooms)
    );
    assert!(matches!(ada.ask(&Request::Leave(Leave { room: boards[0].id })).await, ServerMessage::Done(_)));
    ada.join(one_more.id, &one_more.link, None).await;
    let gone = ada.submit(boards[0].id, 1, stroke("x")).await;
    assert!(matches!(gone, ServerMessage::Error(error) if error.code == ErrorCode::NotJoined));
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_sockets_see_the_same_room() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    ada.draw(board.id, 1).await;
    let header = [format!("enfilade-link: {}", board.link)];
    let path = format!("/api/v1/rooms/{}", board.id);
    let op = json!({"client": uuid::Uuid::new_v4(), "op_id": 1, "op": {"type": "add_stroke",
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

/// Prints how long it took: `cargo test --release -p enfilade-node --test edge hundred_thousand -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_a_hundred_thousand_strokes_is_joined_and_drawn_on() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut waiting = std::collections::VecDeque::new();
    for op_id in 1..=100_000 {
        let submission = large_board_stroke(op_id);
        // As many at a time as a room lets wait.
        if waiting.len() == 2_000 {
            let answer: enfilade_actors::cluster::Answer = waiting.pop_front().unwrap();
            answer.wait().await.unwrap();
        }
        waiting.push_back(node.node.cluster().submit(board.id, submission).unwrap());
    }
    for answer in waiting {
        answer.wait().await.unwrap();
    }
    let mut first = node.guest("First").await;
    let start = Instant::now();
    let joined = first.join(board.id, &board.link, None).await;
    let first_join = start.elapsed();
    assert_eq!(joined.position.seq, Seq(100_000));
    let snapshot = joined.snapshot.unwrap();
    assert_eq!(snapshot.elements.as_ref().unwrap().0.len() + joined.ops.unwrap().len(), 100_000);
    let bytes = Codec::MessagePack.encode_value(&snapshot).len();
    assert!(bytes < 15_000_000, "a snapshot of {bytes} bytes");
    let start = Instant::now();
    node.guest("Second").await.join(board.id, &board.link, None).await;
    let next_join = start.elapsed();
    let start = Instant::now();
    assert_eq!(first.draw(board.id, 1).await, Seq(100_001));
    println!(
        "100,000 strokes: snapshot {bytes} B, first join {first_join:?}, next join {next_join:?}, op {:?}",
        start.elapsed()
    );
}

fn large_board_stroke(n: u64) -> enfilade_actors::bus::Submission {
    let (x, y) = ((n % 400) as f64 * 25.0, (n / 400) as f64 * 25.0);
    let points: Vec<_> = (0..22)
        .map(|i| f64::from(i) * 0.3)
        .map(|t| {
            [x + 8.0 * t.cos() + t, y + 8.0 * (t * 1.3).sin()]
                .map(|it| enfilade_proto::Coord::from_units(it).unwrap())
        })
        .collect();
    let enfilade_proto::Op::AddStroke(small) = stroke(&format!("element-{n:08}")) else { unreachable!() };
    enfilade_actors::bus::Submission {
        writer: enfilade_actors::bus::Writer {
            author: enfilade_proto::UserId(uuid::Uuid::from_u128(7)),
            client: enfilade_proto::ClientId(uuid::Uuid::from_u128(8)),
        },
        role: Role::Editor,
        op_id: enfilade_proto::OpId(n),
        op: enfilade_proto::Op::AddStroke(enfilade_proto::board::Stroke {
            points: enfilade_proto::Points::encode(&points),
            ..small
        }),
        weight: 100,
        trace: None,
    }
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

/// Large and not to be simplified: about 50 KB.
fn large_stroke(element: &str) -> enfilade_proto::Op {
    let points: Vec<_> = (0..12_000)
        .map(|n| [f64::from(n % 1_009 * (n % 1_009) % 1_009), f64::from(n % 97 * (n % 89) * (n % 83) % 997)])
        .map(|point| point.map(|it| enfilade_proto::Coord::from_units(it).unwrap()))
        .collect();
    let enfilade_proto::Op::AddStroke(small) = stroke(element) else { unreachable!() };
    enfilade_proto::Op::AddStroke(enfilade_proto::board::Stroke {
        points: enfilade_proto::Points::encode(&points),
        ..small
    })
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

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_nobody_is_told_that_the_room_is_empty() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let _bob = node.member("Bob", &board).await;
    let told = |count| move |frame: &enfilade_proto::ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.count == count);
    ada.until("both are there", told(2)).await;
    node.node.host().unwrap().kill(board.id);
    let whole = |frame: &enfilade_proto::ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.members.is_some());
    let ServerMessage::Presence(presence) = ada.until("who is there", whole).await.message else {
        unreachable!()
    };
    assert_eq!((presence.count, presence.members.unwrap().len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_that_are_not_read_are_not_piled_up() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    for op_id in 1..=60 {
        assert!(matches!(
            ada.submit(board.id, op_id, large_stroke(&format!("b{op_id}"))).await,
            ServerMessage::Accepted(_)
        ));
    }
    let mut eve = node.guest("Eve").await;
    let since = Position { seq: Seq(0), ..eve.join(board.id, &board.link, None).await.position };
    let join = Request::Join(Join { room: board.id, link: Some(board.link.clone()), since: Some(since) });
    for id in 1_000..1_100 {
        eve.send(Some(id), &join).await;
    }
    ada.draw(board.id, 1_000).await;
    // 100 answers of 3 MB: what was not read is not kept for her.
    let answered = eve.replies_to_the_end().await;
    assert!(answered < 100, "all {answered} joins were answered");
    ada.draw(board.id, 1_001).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_has_a_next_page() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    for op_id in 1..=120 {
        let accepted = ada.submit(board.id, op_id, large_stroke(&format!("b{op_id}"))).await;
        assert!(matches!(accepted, ServerMessage::Accepted(_)));
    }
    let header = [format!("enfilade-link: {}", board.link)];
    let (mut after, mut count) = (json!(0), 0);
    while !after.is_null() {
        let path = format!("/api/v1/rooms/{}/ops?after={after}&limit=1000", board.id);
        let (status, page) = node.http("GET", &path, &header, None).await;
        assert_eq!((status, &page["first_seq"]), (200, &json!(count + 1)));
        count += page["ops"].as_array().unwrap().len();
        after = page["next"].clone();
    }
    assert_eq!(count, 120);
}
