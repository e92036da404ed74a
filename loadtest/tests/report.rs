//! What is done with results on the command line: rendered, judged, compared.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use enfilade_loadtest::result::RunResult;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/paused-node.result.json");

fn run(arguments: &[impl AsRef<OsStr>]) -> (i32, String, String) {
    common::run(env!("CARGO_BIN_EXE_enfilade-loadtest"), arguments)
}

/// The sample, changed, as a file.
fn changed(folder: &Path, name: &str, change: impl FnOnce(&mut RunResult)) -> PathBuf {
    let mut result = RunResult::read(File::open(SAMPLE).unwrap()).unwrap();
    change(&mut result);
    let path = folder.join(name);
    result.write(File::create(&path).unwrap()).unwrap();
    path
}

#[test]
fn a_result_is_rendered_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (page, junit, json) = (path("r.html"), path("r.xml"), path("r.json"));
    let (code, text, stderr) = run(&["report", SAMPLE, "--html", &page, "--junit", &junit, "--json", &json]);
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("HELD"), "{text}");
    assert!(fs::read_to_string(page).unwrap().starts_with("<!DOCTYPE html>"));
    let junit = fs::read_to_string(junit).unwrap();
    assert!(junit.contains("tests=\"6\" failures=\"0\""), "{junit}");
    assert_eq!(fs::read_to_string(json).unwrap(), fs::read_to_string(SAMPLE).unwrap());
}

#[test]
fn a_missed_threshold_is_1_and_a_wrong_one_is_5() {
    let (code, text, _) = run(&["report", SAMPLE, "--threshold", "ack.p99 < 1us"]);
    assert_eq!(code, 1);
    assert!(text.contains("MISSED ack.p99 < 1us") && text.contains("THRESHOLD: The threshold"), "{text}");
    let (code, text, _) = run(&["report", SAMPLE, "--threshold", "moon.p99 < 1ms"]);
    assert_eq!(code, 1);
    assert!(text.contains("not measured"), "{text}");
    let (code, _, stderr) = run(&["report", SAMPLE, "--threshold", "ack.p99 <"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("  ack.p99 <\n") && stderr.contains("^ a number, a name"), "{stderr}");
}

#[test]
fn faults_are_drawn_from_their_marks() {
    let folder = tempfile::tempdir().unwrap();
    let (marks, page) = (folder.path().join("marks"), folder.path().join("r.html"));
    fs::write(&marks, "{\"at\":0,\"fault\":\"the network was slow\",\"phase\":\"inject\"}\n").unwrap();
    let (marks, page) = (marks.to_str().unwrap(), page.to_str().unwrap());
    let (code, text, stderr) = run(&["report", SAMPLE, "--faults", marks, "--html", page]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        text.contains("the network was slow")
            && fs::read_to_string(page).unwrap().contains("the network was slow")
    );
    assert_eq!(run(&["report", SAMPLE, "--faults", SAMPLE]).0, 5);
}

#[test]
fn a_run_is_no_worse_than_itself_and_worse_when_it_is_slower() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text, stderr) = run(&["compare", SAMPLE, SAMPLE]);
    assert_eq!(code, 0, "{stderr}");
    assert!(text.contains("Nothing got worse"), "{text}");

    let hungry = changed(folder.path(), "hungry", |result| {
        result.server_usage.iter_mut().for_each(|server| server.cpu_seconds *= 2.0);
    });
    let (hungry, page) = (hungry.to_str().unwrap(), folder.path().join("c.html"));
    let (code, text, _) = run(&["compare", SAMPLE, hungry, "--html", page.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("WORSE") && text.contains("server CPU seconds"), "{text}");
    assert!(fs::read_to_string(page).unwrap().contains("What changed"));
    assert_eq!(run(&["compare", SAMPLE, hungry, "--tolerance", "150"]).0, 0);
    let sides = ["compare", "--base", SAMPLE, SAMPLE, SAMPLE, "--with", hungry, hungry, hungry];
    let (code, text, _) = run(&sides);
    assert_eq!(code, 1);
    assert!(text.contains("3 runs against 3"), "{text}");
}

#[test]
fn what_cannot_be_compared_or_read_is_5() {
    for wrong in [
        vec!["report", "/nowhere"],
        vec!["report", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
        vec!["compare", SAMPLE],
        vec!["compare"],
        vec!["compare", "--base", SAMPLE],
        vec!["compare", SAMPLE, SAMPLE, "--tolerance", "-1"],
    ] {
        let (code, _, stderr) = run(&wrong);
        assert_eq!(code, 5, "{wrong:?}: {stderr}");
    }
}
