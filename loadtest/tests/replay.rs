//! A short replay against the real node, in both codecs and over several rooms; and what is recorded of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::File;
use std::io::BufReader;

use common::{Node, assert_held, node_binary, options, session};
use enfilade_loadtest::http::create_board;
use enfilade_loadtest::record::{self, record};
use enfilade_loadtest::replay::{Options, RoomChoice, replay};
use enfilade_loadtest::session::read_session;
use enfilade_proto::Codec;

#[tokio::test]
async fn a_replay_holds_in_both_codecs() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    for codec in Codec::ALL {
        let options = Options { codec, speed: 4.0, ..options(&node.url(), 15) };
        let report = replay(session(10), &options, std::future::pending(), |_| {}).await.unwrap();
        assert_held(&report);
        assert!(report.counts.signals_seen > report.counts.signals_sent, "{report}");
        assert!(report.times.signal.count() > 0 && report.times.last.count() > 0, "{report}");
    }
}

#[tokio::test]
async fn a_replay_over_several_rooms_holds_in_each() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    let options = Options { speed: 4.0, rooms: RoomChoice::Fresh(4), ..options(&node.url(), 12) };
    let report = replay(session(10), &options, std::future::pending(), |_| {}).await.unwrap();
    assert_held(&report);
    assert_eq!(report.rooms.len(), 4);
    assert!(report.rooms.iter().all(|room| room.seq > 0), "{report}");
}

#[tokio::test]
async fn what_was_recorded_of_a_replay_replays_again() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording.enfilade.ndjson");
    let target = node.url().parse().unwrap();
    let board = create_board(&target, "Recorded").await.unwrap();
    let recorder = record::Options {
        target,
        room: board.id,
        link: board.link.clone(),
        codec: Codec::Json,
        title: Some("Twice".into()),
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let recording = record(&recorder, &path, async { stopped.await.unwrap() }, |_, _| {});
    let rooms = RoomChoice::Existing { room: board.id, link: board.link };
    let first = Options { speed: 4.0, rooms, ..options(&node.url(), 6) };
    let playing = async {
        let report = replay(session(6), &first, std::future::pending(), |_| {}).await.unwrap();
        stop.send(()).unwrap();
        report
    };
    let (recording, report) = tokio::join!(recording, playing);
    let recording = recording.unwrap();
    assert_held(&report);
    assert_eq!((recording.ops, recording.ended), (report.counts.ops_accepted, None));
    assert!(recording.signals > 0);
    assert_eq!(recording.header.people, 6);

    let again = read_session(BufReader::new(File::open(&path).unwrap())).unwrap();
    assert_eq!(again.header.title.as_deref(), Some("Twice"));
    let report = replay(again, &options(&node.url(), 12), std::future::pending(), |_| {}).await.unwrap();
    assert_held(&report);
    assert_eq!(report.counts.ops_accepted, 2 * recording.ops);
}
