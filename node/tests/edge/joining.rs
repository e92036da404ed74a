//! Whoever comes or comes back has everything, whatever happened to the room meanwhile.

use enfilade_proto::{CloseCode, Codec, ErrorCode, Hello, Position, Seq, ServerFrame, ServerMessage};

use crate::support::{TestNode, stroke};

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
    let mut ada = node.connect(Codec::MessagePack).await;
    let welcome = ada.greet("Ada").await;
    ada.join(board.id, &board.link, None).await;
    ada.draw(board.id, 1).await;
    let client = ada.id;
    let node = node.restart().await;
    assert_eq!(ada.close_code().await, CloseCode::GoingAway.code());
    assert_eq!(ada.closing(), Some(CloseCode::GoingAway.code()));
    let mut again = node.connect(Codec::MessagePack).await;
    let hello = Hello { resume: welcome.resume, ..Hello::new(client) };
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
async fn after_a_crash_nobody_is_told_that_the_room_is_empty() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut ada = node.member("Ada", &board).await;
    let _bob = node.member("Bob", &board).await;
    let told = |count| move |frame: &ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.count == count);
    ada.until("both are there", told(2)).await;
    node.node.host().unwrap().kill(board.id);
    let whole =
        |frame: &ServerFrame| matches!(&frame.message, ServerMessage::Presence(it) if it.members.is_some());
    let ServerMessage::Presence(presence) = ada.until("who is there", whole).await.message else {
        unreachable!()
    };
    assert_eq!((presence.count, presence.members.unwrap().len()), (2, 2));
}
