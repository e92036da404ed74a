//! Everything has a bound, and whoever meets it is told so, or pays for it alone.

use enfilade_node::{Partial, PartialLimits};
use enfilade_proto::{
    Codec, ErrorCode, Join, Leave, OpId, Position, Request, Seq, ServerFrame, ServerMessage, Submit,
};
use serde_json::json;
use tempfile::tempdir;

use crate::large::large_stroke;
use crate::support::{TestNode, stroke};

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
    let knows_late = |frame: &ServerFrame| {
        matches!(&frame.message, ServerMessage::Presence(presence)
            if presence.members.iter().flatten().any(|member| member.name.as_str() == "Late"))
    };
    slow.until("it hears of those who came meanwhile", knows_late).await;
    drop(late);
    ada.draw(board.id, 1_000).await;
    slow.ops_through(at, Seq(301)).await;
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
async fn a_client_is_told_the_rates_to_which_the_node_is_set() {
    let limits = PartialLimits {
        ops_per_connection: Some("2/second burst 3".parse().unwrap()),
        signals_per_connection: Some("600/minute burst 20".parse().unwrap()),
        ..PartialLimits::default()
    };
    let node = TestNode::start_with(tempdir().unwrap(), Partial { limits, ..Partial::default() }).await;
    let board = node.board().await;
    let mut ada = node.connect(Codec::Json).await;
    let told = ada.greet("Ada").await.limits;
    assert_eq!((told.ops_per_second, told.signals_per_second), (2, 10));
    ada.join(board.id, &board.link, None).await;
    for n in 1..=100 {
        let submit = Submit { room: board.id, op_id: OpId(n), op: stroke(&format!("e{n}")) };
        ada.send(Some(100 + n as u32), &Request::Submit(submit)).await;
    }
    let frame = ada.until("a refusal", |frame| matches!(&frame.message, ServerMessage::Error(_))).await;
    let ServerMessage::Error(error) = frame.message else { unreachable!() };
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(error.retry_after_ms.is_some_and(|wait_ms| wait_ms <= 500), "{error:?}");
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
