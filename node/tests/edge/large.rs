//! Large boards and long histories.

use std::collections::VecDeque;
use std::time::Instant;

use enfilade_actors::bus::{Submission, Writer};
use enfilade_actors::cluster::Answer;
use enfilade_proto::board::Stroke;
use enfilade_proto::{ClientId, Codec, Coord, Op, OpId, Points, Role, Seq, ServerMessage, UserId};
use serde_json::json;
use uuid::Uuid;

use crate::support::{TestNode, stroke};

/// Prints how long it took: `cargo test --release -p enfilade-node --test edge hundred_thousand -- --nocapture`.
#[tokio::test(flavor = "multi_thread")]
async fn a_board_of_a_hundred_thousand_strokes_is_joined_and_drawn_on() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let mut waiting = VecDeque::new();
    for op_id in 1..=100_000 {
        let submission = large_board_stroke(op_id);
        // As many at a time as a room lets wait.
        if waiting.len() == 2_000 {
            let answer: Answer = waiting.pop_front().unwrap();
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

fn large_board_stroke(n: u64) -> Submission {
    let (x, y) = ((n % 400) as f64 * 25.0, (n / 400) as f64 * 25.0);
    let points: Vec<_> = (0..22)
        .map(|i| f64::from(i) * 0.3)
        .map(|t| [x + 8.0 * t.cos() + t, y + 8.0 * (t * 1.3).sin()].map(|it| Coord::from_units(it).unwrap()))
        .collect();
    let Op::AddStroke(small) = stroke(&format!("element-{n:08}")) else { unreachable!() };
    Submission {
        writer: Writer { author: UserId(Uuid::from_u128(7)), client: ClientId(Uuid::from_u128(8)) },
        role: Role::Editor,
        op_id: OpId(n),
        op: Op::AddStroke(Stroke { points: Points::encode(&points), ..small }),
        weight: 100,
        trace: None,
    }
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

/// Large and not to be simplified: about 50 KB.
pub(crate) fn large_stroke(element: &str) -> Op {
    let points: Vec<_> = (0..12_000)
        .map(|n| [f64::from(n % 1_009 * (n % 1_009) % 1_009), f64::from(n % 97 * (n % 89) * (n % 83) % 997)])
        .map(|point| point.map(|it| Coord::from_units(it).unwrap()))
        .collect();
    let Op::AddStroke(small) = stroke(element) else { unreachable!() };
    Op::AddStroke(Stroke { points: Points::encode(&points), ..small })
}
