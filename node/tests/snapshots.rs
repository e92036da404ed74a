//! Snapshots over HTTP, before a join and in place of one's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::Read as _;

use enfilade_proto::{Epoch, OpId, Position, Request, Seq, ServerMessage, Snapshot, Submit};
use flate2::read::GzDecoder;
use support::{Board, TestNode, stroke};

/// Where the head of an answer sends its reader.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(it, value)| (it == name).then_some(value))
}

fn position(place: &str) -> Position {
    let (_, name) = place.split('?').next().unwrap().rsplit_once('/').unwrap();
    let (epoch, seq) = name.split_once('-').unwrap();
    Position { epoch: Epoch(epoch.parse().unwrap()), seq: Seq(seq.parse().unwrap()) }
}

/// Draws so many strokes, by as many people as may draw them at once.
async fn draw(node: &TestNode, board: &Board, strokes: usize) {
    const EACH: usize = 220;
    for first in (0..strokes).step_by(EACH) {
        let mut artist = node.member("Ada", board).await;
        let ids: Vec<u32> = (1_000..).take(EACH.min(strokes - first)).collect();
        for id in &ids {
            let op = stroke(&format!("{}-{id}", &artist.id.to_string()[..8]));
            let submit = Submit { room: board.id, op_id: OpId(u64::from(*id)), op };
            artist.send(Some(*id), &Request::Submit(submit)).await;
        }
        for id in ids {
            let reply = artist.until("an answer", |frame| frame.id == Some(id)).await.message;
            assert!(matches!(reply, ServerMessage::Accepted(_)), "{reply:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_fetches_the_snapshot_and_joins_from_there() {
    let node = TestNode::start().await;
    let board = node.board().await;
    draw(&node, &board, 300).await;
    let node = node.restart().await;

    let latest = format!("/api/v1/rooms/{}/snapshots/latest", board.id);
    let (head, _) = node.answer("GET", &latest, &[format!("enfilade-link: {}", board.link)], None).await;
    assert!(head.starts_with("HTTP/1.1 307"), "{head}");
    let place = header(&head, "location").unwrap().to_owned();
    assert_eq!(position(&place).seq, Seq(300));

    let wanted = ["accept: application/msgpack", "accept-encoding: gzip"].map(str::to_owned);
    let (head, body) = node.answer("GET", &place, &wanted, None).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(header(&head, "content-encoding"), Some("gzip"));
    let mut plain = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    let snapshot: Snapshot = rmp_serde::from_slice(&plain).unwrap();
    assert_eq!((snapshot.seq, snapshot.elements.unwrap().0.len()), (Seq(300), 300));

    let mut bob = node.guest("Bob").await;
    let joined = bob.join(board.id, &board.link, Some(position(&place))).await;
    assert!(joined.snapshot.is_none() && joined.ops.unwrap_or_default().is_empty());
    assert_eq!(joined.position.seq, Seq(300));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_for_those_who_have_its_key_or_may_read_the_room() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let link = format!("enfilade-link: {}", board.link);
    let latest = format!("/api/v1/rooms/{}/snapshots/latest", board.id);
    let (head, _) = node.answer("GET", &latest, std::slice::from_ref(&link), None).await;
    let place = header(&head, "location").unwrap().to_owned();
    let (bare, key) = place.split_once("?key=").unwrap();
    assert!(!place.contains(&board.link), "the secret of the link stays out of URLs");
    let last = if key.ends_with('A') { 'B' } else { 'A' };
    let wrong = format!("{bare}?key={}{last}", &key[..key.len() - 1]);
    let other = node.board().await;
    let elsewhere = place.replace(&board.id.to_string(), &other.id.to_string());

    for refused in [bare, &format!("{bare}?key="), &wrong, &format!("{place}{place}"), &elsewhere, &latest] {
        let (status, problem) = node.http("GET", refused, &[], None).await;
        assert_eq!((status, &problem["code"]), (404, &"room_not_found".into()), "{refused}");
    }
    assert_eq!(node.http("GET", &place, &[], None).await.0, 200);
    // Whoever may read the room needs no key, and a wrong one does them no harm.
    for read in [bare, &wrong] {
        assert_eq!(node.http("GET", read, std::slice::from_ref(&link), None).await.0, 200, "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_much_has_come_after_a_snapshot_there_is_a_new_one() {
    let node = TestNode::start().await;
    let board = node.board().await;
    let link = format!("enfilade-link: {}", board.link);
    let latest = format!("/api/v1/rooms/{}/snapshots/latest", board.id);
    let mut places = Vec::new();
    for _ in 0..3 {
        let (head, _) = node.answer("GET", &latest, std::slice::from_ref(&link), None).await;
        places.push(header(&head, "location").unwrap().to_owned());
        draw(&node, &board, 1_100).await;
    }
    let seqs: Vec<u64> = places.iter().map(|place| position(place).seq.0).collect();
    assert_eq!(seqs, [0, 1_100, 2_200]);
    let mut statuses = Vec::new();
    for place in places.iter().rev() {
        statuses.push(node.http("GET", place, &[], None).await.0);
    }
    assert_eq!(statuses, [200, 200, 404], "the newest and the one before it");

    let mut bob = node.guest("Bob").await;
    let joined = bob.join(board.id, &board.link, None).await;
    assert_eq!((joined.snapshot.unwrap().seq, joined.ops.unwrap_or_default().len()), (Seq(3_300), 0));
}
