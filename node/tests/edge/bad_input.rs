//! What makes no sense gets its code, and the others notice nothing.

use enfilade_proto::{CloseCode, Codec, ErrorCode, Read, Request, Seq, ServerMessage};
use tokio_websockets::Message;
use uuid::Uuid;

use crate::raw::{HELLO, RawSocket, handshake, masked};
use crate::support::TestNode;

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
    let elsewhere = Uuid::new_v4();
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
        assert!(matches!(bob.ask(&Request::Read(Read { room, seq: Seq(0) })).await, ServerMessage::Done(_)));
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
    let hello = HELLO.as_bytes();
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
        let mut socket = RawSocket::connect(&node).await;
        socket.write(&[handshake(&node).as_bytes(), &fragments, &bad].concat()).await;
        let answer = socket.read_to_the_end().await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 101"), "{text}");
        assert!(text.contains("\"welcome\""), "the hello came in fragments: {text}");
        let mut close = vec![0x88, 2 + code.reason().len() as u8];
        close.extend_from_slice(&code.code().to_be_bytes());
        close.extend_from_slice(code.reason().as_bytes());
        assert!(answer.ends_with(&close), "{text}");
    }
}
