//! Mixes of sessions, played by crowds that come late, go, come back and read slowly: delivery stays exact.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use common::{Node, assert_held, node_binary, options, session};
use enfilade_loadtest::clock::SECOND;
use enfilade_loadtest::crowd::{Arrival, Crowd};
use enfilade_loadtest::mix::Mix;
use enfilade_loadtest::replay::{Options, RoomChoice, replay};
use enfilade_loadtest::session::{Recorded, read_session};

fn sample() -> Recorded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/house-and-garden.enfilade.ndjson");
    read_session(BufReader::new(File::open(path).unwrap())).unwrap()
}

fn mix() -> Mix {
    Mix::new(vec![sample(), session(6)], &[2, 1]).unwrap()
}

#[tokio::test]
async fn a_mix_goes_on_until_the_time_is_up() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    let length = 8 * SECOND;
    let plain = Options { speed: 20.0, rooms: RoomChoice::Fresh(2), ..options(&node.url(), 14) };
    let once = replay(mix(), &plain, std::future::pending(), |_| {}).await.unwrap();
    for splice in [false, true] {
        let crowd = Crowd { length: Some(length), splice, ..Crowd::default() };
        let report =
            replay(mix(), &Options { crowd, ..plain.clone() }, std::future::pending(), |_| {}).await.unwrap();
        assert_held(&report);
        assert!(report.counts.ops_accepted > once.counts.ops_accepted, "it is played more than once");
        assert!(report.seconds >= 7.0, "{report}");
    }
}

#[tokio::test]
async fn whoever_arrives_during_the_run_finds_everything() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    for within in [0, 3 * SECOND] {
        let crowd = Crowd { arrival: Arrival::Within(within), ..Crowd::default() };
        let options = Options { speed: 10.0, crowd, ..options(&node.url(), 16) };
        let report = replay(mix(), &options, std::future::pending(), |_| {}).await.unwrap();
        assert_held(&report);
        assert_eq!(report.counts.connections_opened, 16);
    }
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_however_many_go_and_come_back_or_do_not() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    let crowd = Crowd {
        length: Some(12 * SECOND),
        churn: 120.0,
        mobile: 0.3,
        away: 2 * SECOND,
        slow: 0.1,
        ..Crowd::default()
    };
    let options = Options { speed: 4.0, rooms: RoomChoice::Fresh(2), crowd, ..options(&node.url(), 20) };
    let report = replay(mix(), &options, std::future::pending(), |_| {}).await.unwrap();
    let counts = &report.counts;
    assert_eq!(report.violations.total(), 0, "{report}");
    assert!(counts.successions > 5 && counts.absences > counts.successions, "{counts:?}");
    assert_eq!(counts.connections_lost, 0, "all of it was the clones' own doing");
    let answered = counts.ops_accepted + counts.ops_refused_total() + counts.ops_abandoned;
    assert_eq!(answered, counts.ops_submitted, "{counts:?}");
}
