//! `enfilade-measure` as it is typed: a row in small, against real programs.

use std::process::Command;

use enfilade_testbed::measure::book::{Book, Record};
use enfilade_testbed::program;

fn measure(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enfilade-measure"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn are_built() -> bool {
    let programs = [("ENFILADE_BIN", "enfilade"), ("ENFILADE_LOADTEST_BIN", "enfilade-loadtest")];
    programs.iter().all(|(variable, name)| program::built(variable, name).is_some())
}

#[test]
fn a_quick_row_is_measured_written_down_and_kept_beside_others() {
    if !are_built() {
        eprintln!("skipped: the node or the load tester is not built");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (json, report) = (folder.path().join("measured.json"), folder.path().join("measured.md"));
    let mut earlier = Book { quick: true, ..Book::default() };
    earlier.rows.insert("slow".into(), Record::default());
    earlier.write(&json).unwrap();
    let mut command = measure(&["--quick", "--only", "quiet-100", "--json"]);
    let output = command.arg(&json).arg("--report").arg(&report).output().unwrap();
    // How good the figures are is not for a small and busy run to say.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
    let book = Book::read(&json).unwrap();
    assert!(book.quick && book.rows.contains_key("slow"));
    let record = &book.rows["quiet-100"];
    assert_eq!((record.rounds.len(), record.commands.len()), (1, 2));
    let round = &record.rounds[0];
    for reading in ["node.deliveries_per_second", "floor.deliveries_per_second"] {
        assert!(round.readings[reading] > 0.0, "{round:?}");
    }
    assert_eq!((round.violations, round.lost_joins), (0, 0), "{round:?}");
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("### quiet-100") && page.contains("| violations | 0 |"), "{page}");
}

#[test]
fn what_cannot_be_carried_out_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("measured.json");
    let mut real = Book::default();
    real.rows.insert("slow".into(), Record::default());
    real.write(&json).unwrap();
    for (arguments, why) in [
        (&["--only", "moon"][..], "there is no row"),
        (&["--rounds", "3", "--quick"], "cannot be used with"),
        (&["--quick"], "do not go into the same file"),
    ] {
        let output = measure(arguments).arg("--json").arg(&json).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
    }
    assert_eq!(Book::read(&json).unwrap(), real);
}

#[test]
fn the_list_names_every_row() {
    let output = measure(&["--list"]).output().unwrap();
    assert!(output.status.success());
    let listed = text(&output.stdout);
    for name in ["memory-signed-in", "quiet-10000", "saturated", "owner-cpu", "disorder"] {
        assert!(listed.lines().any(|line| line.starts_with(name)), "{listed}");
    }
}
