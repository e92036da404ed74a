//! The command as it is run: what it says and what it exits with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::File;
use std::io::BufReader;

use enfilade_loadtest::session::read_session;

fn run(arguments: &[&str]) -> (i32, String, String) {
    common::run(env!("CARGO_BIN_EXE_enfilade-loadtest"), arguments)
}

#[test]
fn help_explains_the_exit_codes() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("Exit codes:") && help.contains("replay") && help.contains("record"), "{help}");
    assert!(run(&["replay", "--help"]).1.contains("--clients <N>"));
}

#[test]
fn drawings_become_a_session_and_bad_lines_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let (drawings, session) = (folder.path().join("d.ndjson"), folder.path().join("s.enfilade.ndjson"));
    std::fs::write(&drawings, "{\"drawing\":[[[1,2],[3,4],[0,90]]]}\n{\"drawing\":[[[1],[2]]]}\n").unwrap();
    let (drawings, out) = (drawings.to_str().unwrap(), session.to_str().unwrap());
    let (code, stdout, stderr) = run(&["import", "quickdraw", drawings, "--people", "2", "--out", out]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1 drawings, 2 people"), "{stdout}");
    assert!(stderr.contains("skipped d.ndjson:2:") && stderr.contains("simplified format"), "{stderr}");
    let session = read_session(BufReader::new(File::open(&session).unwrap())).unwrap();
    assert_eq!(session.header.licence.as_deref(), Some("CC BY 4.0"));
    assert!(session.header.final_hash.is_some());
}

#[test]
fn data_from_elsewhere_become_sessions_and_documents_are_not_replayed_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/");
    let hars = ["two-pages.har", "another.har"].map(|name| format!("{samples}{name}"));
    let (code, stdout, stderr) =
        run(&["import", "har", &hars[0], &hars[1], "--title", "T", "--out", &path("h")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("3 people"), "{stdout}");
    let session = read_session(BufReader::new(File::open(path("h")).unwrap())).unwrap();
    assert_eq!(session.header.title.as_deref(), Some("T"));
    let (code, _, stderr) = run(&["import", "dprec", &hars[0], "--out", &path("d")]);
    assert_eq!((code, stderr.contains("does not begin with DPREC")), (5, true), "{stderr}");

    let trace = r#"{"startContent":"","endContent":"a","txns":[{"time":"2021-04-19T06:06:58Z","patches":[[0,0,"a"]]}]}"#;
    std::fs::write(path("t"), trace).unwrap();
    let (code, stdout, stderr) = run(&["import", "editing-trace", &path("t"), "--out", &path("e")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("sequential, 1 people, 1 transactions"), "{stdout}");
    let (code, _, stderr) = run(&["replay", &path("e")]);
    assert_eq!((code, stderr.contains("(wrong_kind)")), (5, true), "{stderr}");
}

#[test]
fn wrong_input_is_5_and_an_absent_server_is_4() {
    let folder = tempfile::tempdir().unwrap();
    let session = folder.path().join("s");
    let header = r#"{"enfilade_session":1,"kind":"board","people":1,"duration":0}"#;
    std::fs::write(&session, format!("{header}\n[0,\"join\",0,{{\"name\":\"Ada\"}}]\n")).unwrap();
    let session = session.to_str().unwrap();

    assert_eq!(run(&["replay"]).0, 5);
    assert_eq!(run(&["replay", "/nowhere"]).0, 5);
    assert_eq!(run(&["replay", session, "--url", "https://example.org"]).0, 5);
    assert_eq!(run(&["replay", session, "--clients", "0"]).0, 5);
    assert_eq!(run(&["replay", session, "--jitter", "soon"]).0, 5);
    for wrong in [
        &["--weights", "1,2"][..],
        &["--slow", "60%", "--mobile", "60%"],
        &["--churn", "5/year"],
        &["--splice"],
        &["--for", "10s", "--arrive", "20s"],
    ] {
        let (code, _, stderr) = run(&[&["replay", session], wrong].concat());
        assert_eq!(code, 5, "{wrong:?}: {stderr}");
    }
    // Nobody listens on port 1.
    let (code, _, stderr) = run(&["replay", session, "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("cannot reach http://127.0.0.1:1"), "{stderr}");

    std::fs::write(session, format!("{header}\n[0,\"op\",0,{{}}]\n")).unwrap();
    let (code, _, stderr) = run(&["replay", session]);
    assert_eq!(code, 5);
    assert!(stderr.contains("line 2: op: missing field"), "{stderr}");
}
