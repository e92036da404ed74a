//! How people come in: by which ways a socket becomes a connection, and what those are told who do not get that far.

use enfilade_node::Partial;
use enfilade_proto::{
    CloseCode, Codec, ErrorCode, Guest, Hello, OpId, Request, Seq, ServerMessage, Submit, Welcome,
};
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::raw::{HELLO, RawSocket, TEXT, handshake, masked};
use crate::support::{Board, Client, TestNode, stroke};

/// A plain request that keeps its connection.
fn plain(node: &TestNode, board: &Board) -> String {
    format!(
        "GET /api/v1/rooms/{} HTTP/1.1\r\nhost: {}\r\nenfilade-link: {}\r\n\r\n",
        board.id,
        node.address(),
        board.link
    )
}

async fn is_served(socket: &mut RawSocket, board: &Board) {
    let (status, head, body) = socket.response().await;
    assert_eq!(status, 200, "{head}");
    let room: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(room["id"], board.id.to_string());
}

/// The body of a refused handshake, which is named by the trace that it asked for or by a new one.
fn problem(head: &str, body: &[u8]) -> Value {
    assert!(head.contains("content-type: application/problem+json\r\n"), "{head}");
    let problem: Value = serde_json::from_slice(body).unwrap();
    let name = problem["trace_id"].as_str().unwrap();
    assert!(name.len() == 32 && name.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name}");
    problem
}

async fn is_switched(socket: &mut RawSocket) {
    let (status, head, _) = socket.response().await;
    assert_eq!(status, 101, "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
}

async fn is_welcomed(socket: &mut RawSocket) {
    let reply = socket.message().await;
    assert!(matches!(&reply, ServerMessage::Welcome(Welcome { user: Some(_), .. })), "{reply:?}");
}

/// As proxies do, which keep their connections and send all sorts of requests along them.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_served_requests_becomes_a_websocket() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut socket = RawSocket::connect(&node).await;
    for _ in 0..2 {
        socket.write(plain(&node, &board).as_bytes()).await;
        is_served(&mut socket, &board).await;
    }
    let mut ada = Client::on(socket.socket, &node, Codec::MessagePack).await;
    ada.greet("Ada").await;
    ada.join(board.id, &board.link, None).await;
    assert_eq!(ada.draw(board.id, 1).await, Seq(1));
    let mut bob = node.member("Bob", &board).await;
    bob.draw(board.id, 1).await;
    ada.ops_through(Seq(0), Seq(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_a_handshake_and_a_hello_may_come_in_one_packet() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut socket = RawSocket::connect(&node).await;
    let requests = plain(&node, &board) + &handshake(&node);
    socket.write(&[requests.as_bytes(), &masked(TEXT, HELLO.as_bytes())].concat()).await;
    is_served(&mut socket, &board).await;
    is_switched(&mut socket).await;
    is_welcomed(&mut socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_wait_for_answers_gets_them_all() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut socket = RawSocket::connect(&node).await;
    let join =
        format!(r#"{{"id":2,"type":"join","data":{{"room":"{}","link":"{}"}}}}"#, board.id, board.link);
    let submit = Request::Submit(Submit { room: board.id, op_id: OpId(1), op: stroke("first") });
    let submit = Codec::Json.encode_request(Some(3), &submit);
    let mut all = handshake(&node).into_bytes();
    for message in [HELLO.as_bytes(), join.as_bytes(), &submit] {
        all.extend(masked(TEXT, message));
    }
    socket.write(&all).await;
    is_switched(&mut socket).await;
    is_welcomed(&mut socket).await;
    let reply = socket.message().await;
    assert!(matches!(&reply, ServerMessage::Joined(joined) if joined.room == board.id), "{reply:?}");
    loop {
        match socket.message().await {
            ServerMessage::Accepted(accepted) => break assert_eq!(accepted.seq, Seq(1)),
            ServerMessage::Ops(_) | ServerMessage::Presence(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_byte_by_byte_is_understood() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut socket = RawSocket::connect(&node).await;
    socket.trickle(plain(&node, &board).as_bytes()).await;
    is_served(&mut socket, &board).await;
    // Both on the way through the HTTP server and on the short one.
    for mut socket in [socket, RawSocket::connect(&node).await] {
        socket.trickle(handshake(&node).as_bytes()).await;
        is_switched(&mut socket).await;
        socket.trickle(&masked(TEXT, HELLO.as_bytes())).await;
        is_welcomed(&mut socket).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_will_not_do_is_refused_on_either_way() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let handshake = handshake(&node);
    let cases = [
        (handshake.replace("upgrade: websocket\r\n", ""), 426, "invalid_request"),
        (handshake.replace("version: 13", "version: 8"), 426, "invalid_request"),
        (handshake.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400, "invalid_request"),
        (handshake.replace("\r\n\r\n", "\r\nsec-websocket-protocol: soap\r\n\r\n"), 400, "invalid_request"),
        (handshake.replace("\r\n\r\n", "\r\norigin: https://evil.example\r\n\r\n"), 403, "cross_site"),
    ];
    for (refused, status, code) in cases {
        let mut fresh = RawSocket::connect(&node).await;
        let mut used = RawSocket::connect(&node).await;
        used.write(plain(&node, &board).as_bytes()).await;
        is_served(&mut used, &board).await;
        for socket in [&mut fresh, &mut used] {
            socket.write(refused.as_bytes()).await;
            let (answered, head, body) = socket.response().await;
            assert_eq!(answered, status, "{refused}{head}");
            let problem = problem(&head, &body);
            assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handshake_belongs_to_the_trace_that_it_asked_for() {
    let node = TestNode::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let refused = handshake(&node)
        .replace("version: 13", "version: 8")
        .replace("\r\n\r\n", &format!("\r\ntraceparent: {parent}\r\n\r\n"));
    let mut socket = RawSocket::connect(&node).await;
    socket.write(refused.as_bytes()).await;
    let (_, head, body) = socket.response().await;
    assert_eq!(problem(&head, &body)["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_none_or_has_no_end_in_sight_is_refused() {
    let node = TestNode::start().await;
    let handshake = handshake(&node);
    let more = |headers: String| handshake.replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
    let cases = [
        (more("no header\r\n".to_owned()), 400),
        (handshake.replace("HTTP/1.1", "HTTP/9"), 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400),
        (more((0..200).map(|n| format!("x-{n}: y\r\n")).collect()), 431),
        (format!("GET /ws HTTP/1.1\r\nx: {}", "y".repeat(1_000_000)), 431),
    ];
    for (head, status) in cases {
        let mut socket = RawSocket::connect(&node).await;
        socket.write(head.as_bytes()).await;
        assert_eq!(socket.response().await.0, status, "{head:.300}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_there_is_no_room_for_another_connection_it_is_refused_until_there_is() {
    let given = Partial { max_connections: Some(1), ..Partial::default() };
    let node = TestNode::start_with(tempdir().unwrap(), given).await;
    let board = node.board().await;
    let ada = node.guest("Ada").await;
    let mut fresh = RawSocket::connect(&node).await;
    let mut used = RawSocket::connect(&node).await;
    used.write(plain(&node, &board).as_bytes()).await;
    is_served(&mut used, &board).await;
    for socket in [&mut fresh, &mut used] {
        socket.write(handshake(&node).as_bytes()).await;
        let (status, head, body) = socket.response().await;
        assert_eq!((status, &problem(&head, &body)["code"]), (503, &json!("busy")));
        assert!(head.contains("retry-after: 5\r\n"), "{head}");
    }
    ada.vanish();
    let patience = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let mut socket = RawSocket::connect(&node).await;
        socket.write(handshake(&node).as_bytes()).await;
        if socket.response().await.0 == 101 {
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "Ada's place is never free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_turnstile_turns_away_is_let_in_when_their_turn_has_come() {
    let given = Partial { hellos_per_second: Some(1), ..Partial::default() };
    let node = TestNode::start_with(tempdir().unwrap(), given).await;
    let hello =
        |client: &Client| Hello { guest: Some(Guest { name: "Ada".to_owned() }), ..Hello::new(client.id) };
    let mut inside = Vec::new();
    let (mut refused, error) = loop {
        let mut client = node.connect(Codec::Json).await;
        match client.ask(&Request::Hello(hello(&client))).await {
            ServerMessage::Welcome(_) => inside.push(client),
            ServerMessage::Error(error) => break (client, error),
            other => panic!("{other:?}"),
        }
        assert!(inside.len() < 50, "everybody is let in");
    };
    assert!(inside.len() >= 2, "so many at once are nothing unusual");
    assert_eq!(error.code, ErrorCode::RateLimited);
    let wait_ms = error.retry_after_ms.expect("when to come back");
    assert!((1..=1_000).contains(&wait_ms), "{wait_ms} ms, and nobody else waits");
    assert_eq!(refused.close_code().await, CloseCode::Overloaded.code());
    assert_eq!(refused.closing(), Some(CloseCode::Overloaded.code()));

    tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    let mut again = node.connect(Codec::Json).await;
    assert!(again.hello(hello(&refused)).await.user.is_some());
}
