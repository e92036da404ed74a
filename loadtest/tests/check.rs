//! The checker as it is run, on files: what it says, what it exits with, and that it never calls nothing "held".

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

const ROOM: &str = "00000000-0000-0000-0000-000000000046";
const CLIENT: &str = "00000000-0000-0000-0000-000000000001";

fn run(arguments: &[&str]) -> (i32, String, String) {
    common::run(env!("CARGO_BIN_EXE_enfilade-check"), arguments)
}

/// An export of two rows, written as `FORMAT.md` says.
fn export(folder: &Path, epochs: [u64; 2]) -> String {
    let op = |n| {
        format!(
            r#"{{"author":"{CLIENT}","client":"{CLIENT}","op_id":{n},"at":1,"op":{{"type":"clear","data":{{}}}}}}"#
        )
    };
    let row = |n, epoch| {
        format!(
            r#"{{"row":{{"room":"{ROOM}","first":{n},"last":{n},"epoch":{epoch},"at_ms":1,"ops":[{}]}}}}"#,
            op(n)
        )
    };
    let text = [
        r#"{"export":{"version":1,"at_ms":1}}"#.to_owned(),
        row(1, epochs[0]),
        row(2, epochs[1]),
        format!(r#"{{"takeover":{{"shard":4,"epoch":2,"incarnation":"{CLIENT}","tails":{{"{ROOM}":1}}}}}}"#),
        r#"{"end":{"rows":2}}"#.to_owned(),
    ];
    let path = folder.join("log.ndjson");
    std::fs::write(&path, text.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn journal(folder: &Path, op_id: u64) -> String {
    let text = format!(
        "{{\"enfilade_journal\":2,\"wall_us\":1000000}}\n\
         {{\"t\":5,\"k\":\"submit\",\"client\":\"{CLIENT}\",\"room\":\"{ROOM}\",\"op_id\":{op_id}}}\n\
         {{\"at\":1000.007,\"fault\":\"kill owner\",\"phase\":\"inject\",\"limit_ms\":2000}}\n\
         {{\"t\":2009,\"k\":\"accepted\",\"client\":\"{CLIENT}\",\"room\":\"{ROOM}\",\"op_id\":{op_id},\"seq\":2}}\n"
    );
    let path = folder.join("journal.ndjson");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_was_kept_is_held_and_what_was_not_looked_at_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (log, journal) = (export(folder.path(), [1, 2]), journal(folder.path(), 2));
    let json = folder.path().join("report.json");
    let json_path = json.to_str().unwrap();
    let (code, text, stderr) = run(&["--log", &log, "--journal", &journal, "--json", json_path]);
    assert_eq!(code, 0, "{text}{stderr}");
    assert!(
        text.contains("I2   held") && text.contains("kill owner: 1 rooms stood still for 2 ms"),
        "{text}"
    );
    assert!(text.ends_with("HELD: no violation; not checked: I3, I7, I8, I9, I10, I12, B1\n"), "{text}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((&report["verdict"], &report["invariants"][1]["facts"]), (&"held".into(), &1.into()));
    // It is not enough that nothing speaks against it.
    assert_eq!(run(&["--log", &log, "--journal", &journal, "--require", "i2,I3"]).0, 1);
    assert_eq!(run(&["--log", &log, "--journal", &journal, "--require", "I2,I5"]).0, 0);
}

#[test]
fn what_was_not_kept_is_2_and_the_evidence_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (log, journal) = (export(folder.path(), [1, 1]), journal(folder.path(), 9));
    let (code, text, _) = run(&["--log", &log, "--journal", &journal]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("op 9 was acknowledged at 2, but it is not in the log"), "{text}");
    assert!(text.contains("epoch 2 took over at 1, and then epoch 1 wrote 2 to 2"), "{text}");
    assert!(text.contains("journal.ndjson:4]") && text.contains("log.ndjson:4]"), "{text}");
    assert_eq!(run(&["--log", &log, "--journal", &journal, "--only", "I1,I4"]).0, 0);
}

#[test]
fn wrong_input_and_no_input_are_5() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text, _) = run(&[]);
    assert_eq!((code, text.contains("UNCHECKED")), (5, true), "{text}");
    assert_eq!(run(&["--only", "I13"]).0, 5);
    assert_eq!(run(&["--journal", "/nowhere"]).0, 5);
    let cut = folder.path().join("cut");
    std::fs::write(&cut, "{\"export\":{\"version\":1,\"at_ms\":1}}\n").unwrap();
    let (code, _, stderr) = run(&["--log", cut.to_str().unwrap()]);
    assert!(code == 5 && stderr.contains("was cut off"), "{stderr}");
    let (code, _, stderr) = run(&["--url", "http://127.0.0.1:1", "--journal", &journal(folder.path(), 2)]);
    assert!(code == 5 && stderr.contains("the journals name no room"), "{stderr}");
}

#[test]
fn help_explains_the_exit_codes() {
    let (code, help, _) = run(&["--help"]);
    assert!(code == 0 && help.contains("Exit codes:") && help.contains("--clock-skew"), "{help}");
}
