//! The sessions that come with the project, recorded in its own page: each reads, and each replays.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use common::{Node, assert_held, node_binary, options};
use enfilade_loadtest::replay::{Options, replay};
use enfilade_loadtest::session::{SUFFIX, read_session};

#[tokio::test]
async fn every_sample_replays_and_holds() {
    let Some(binary) = node_binary() else { return };
    let node = Node::start(&binary).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let samples: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(SUFFIX)).collect();
    assert!(!samples.is_empty());
    for sample in samples {
        let session = read_session(BufReader::new(File::open(&sample).unwrap())).unwrap();
        // Twice as many people as were recorded, so that some are clones.
        let options = Options { speed: 4.0, ..options(&node.url(), 4) };
        let report = replay(session, &options, std::future::pending(), |_| {}).await.unwrap();
        assert_held(&report);
    }
}
