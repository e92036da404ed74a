//! `kill -9` in the middle of a replay: every acknowledged op is there, none twice, and everybody sees it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Node, assert_held, node_binary, options, session};
use enfilade_loadtest::checker::files::{rooms_of, scan_journals};
use enfilade_loadtest::checker::remote::scan_room;
use enfilade_loadtest::checker::{Invariant, LogScan};
use enfilade_loadtest::client::Reason;
use enfilade_loadtest::probe::Probe;
use enfilade_loadtest::replay::{Options, Outcome, Progress, RoomChoice, replay};
use enfilade_loadtest::session::{Recorded, read_session};
use serde_json::json;
use tokio::sync::watch;

const CLONES: usize = 20;

/// Plays the session, kills the node each time so many ops more were accepted, and audits what is left.
async fn killed_when_accepted(session: Recorded, speed: f64, kills: &[u64]) -> Option<Outcome> {
    let mut node = Node::start(&node_binary()?).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let options = Options { speed, journal: Some(journal.clone()), ..options(&node.url(), CLONES) };

    let (tell, told) = watch::channel(None::<Progress>);
    let playing = replay(session, &options, std::future::pending(), |progress| {
        tell.send_replace(Some(progress.clone()));
    });
    let killing = async {
        for accepted in kills {
            let enough = |progress: &Progress| progress.counts.ops_accepted >= *accepted;
            // Not all of them: after a crash some come back late.
            until(&told, |progress| enough(progress) && progress.inside >= CLONES as u32 / 2).await;
            node.kill();
            until(&told, |progress| progress.inside == 0).await;
            node.restart().await;
        }
    };
    let (report, ()) = tokio::join!(playing, killing);
    let report = report.unwrap();
    assert_held(&report);
    assert!(report.counts.connections_lost >= (kills.len() * CLONES / 2) as u64, "{report}");
    audit(&options, &journal, &report).await;
    Some(report)
}

async fn until(told: &watch::Receiver<Option<Progress>>, test: impl Fn(&Progress) -> bool) {
    let mut told = told.clone();
    let happened = told.wait_for(|progress| progress.as_ref().is_some_and(&test));
    let in_time =
        tokio::time::timeout(Duration::from_secs(60), happened).await.map(|told| told.unwrap().is_some());
    assert_eq!(in_time, Ok(true), "at last: {:?}", told.borrow());
}

async fn audit(options: &Options, journal: &Path, report: &Outcome) {
    let journals = [journal.to_owned()];
    let rooms = rooms_of(&journals).unwrap();
    assert_eq!(rooms.len(), 1);
    let mut scan = LogScan::default();
    for (room, link) in &rooms {
        scan_room(&mut scan, &options.targets[0], *room, link.as_deref()).await.unwrap();
    }
    let mut scan = scan.end_of_log();
    scan_journals(&mut scan, &journals).unwrap();
    let findings = scan.finish();
    assert_eq!(findings.violated(), [], "{findings}");
    // The HTTP history has neither epochs nor takeovers, and nobody marked the faults.
    let unchecked = [Invariant::I5, Invariant::I6, Invariant::I11, Invariant::I12];
    let missing: Vec<Invariant> = findings.unchecked().into_iter().filter(|i| *i != Invariant::B1).collect();
    assert_eq!(missing, unchecked, "{findings}");
    let facts = |invariant| findings.of(invariant).unwrap().facts;
    assert_eq!(facts(Invariant::I2), report.counts.ops_accepted);
    for (room, result) in findings.rooms.values().zip(&report.rooms) {
        assert_eq!(room.state_hash, Some(result.state_hash));
    }
}

#[tokio::test]
async fn a_killed_node_loses_and_doubles_nothing() {
    killed_when_accepted(session(20), 2.0, &[60, 160]).await;
}

/// So many ops that some are always on their way when the node dies: taken or not, answered or not.
#[tokio::test]
async fn ops_on_their_way_when_the_node_dies_are_taken_once() {
    let report = killed_when_accepted(dense(200), 1.0, &[500, 1500]).await;
    assert!(report.is_none_or(|report| report.counts.ops_resent > 0));
}

/// Twenty people who draw a line every 50 ms.
fn dense(lines: u32) -> Recorded {
    let header = json!({"enfilade_session": 1, "kind": "board", "people": CLONES, "duration": 10});
    let mut text = format!("{header}\n");
    for person in 0..CLONES {
        text += &format!("{}\n", json!([0, "join", person, {"name": format!("Person {person}")}]));
    }
    for line in 0..lines {
        for person in 0..CLONES {
            let data = json!({
                "element": format!("p{person}l{line}"), "color": "#1a1a1a", "width": 2,
                "from": [line, person], "to": [line + 5, person],
            });
            let interval = if person == 0 { 0.05 } else { 0.0 };
            text += &format!("{}\n", json!([interval, "op", person, {"type": "add_line", "data": data}]));
        }
    }
    read_session(text.as_bytes()).unwrap()
}

/// One writer in each room: how long the rooms stood still is known to 20 ms.
#[tokio::test]
async fn a_probe_measures_how_long_rooms_stand_still() {
    let Some(binary) = node_binary() else { return };
    let mut node = Node::start(&binary).await;
    let session = Probe { rate: 50.0, duration: Duration::from_secs(4), watchers: 0 }.session().unwrap();
    let (tell, told) = watch::channel(None::<Progress>);
    let options = Options { rooms: RoomChoice::Fresh(2), ..options(&node.url(), 2) };
    let playing = replay(session, &options, std::future::pending(), |progress| {
        tell.send_replace(Some(progress.clone()));
    });
    let killing = async {
        until(&told, |progress| progress.counts.ops_accepted >= 40).await;
        let killed = Instant::now();
        node.kill();
        node.restart().await;
        killed.elapsed()
    };
    let (report, down) = tokio::join!(playing, killing);
    let report = report.unwrap();
    assert_held(&report);
    let stood = &report.times.standstill;
    assert_eq!((stood.count(), report.times.outside[Reason::Lost as usize].count()), (2, 2), "{report}");
    assert!(stood.max() + 20.0 >= down.as_secs_f64() * 1e3 && stood.max() < 60_000.0, "{down:?}: {report}");
}
