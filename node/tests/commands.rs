//! The commands as an operator types them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_enfilade"));
    command.args(arguments).env_clear().env("ENFILADE_DATA_DIR", folder.path());
    command
}

fn enfilade(folder: &TempDir, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn seed(folder: &TempDir, what: &[&str]) -> Output {
    let mut command = command(folder, &[&["seed"], what].concat());
    command.env("ENFILADE_SEED_PASSWORD", "a good long password").output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_schema_goes_up_and_down_and_up_with_data_in_it() {
    let folder = tempfile::tempdir().unwrap();
    assert!(said(&enfilade(&folder, &["migrate", "status"])).contains("pending"));
    assert!(said(&enfilade(&folder, &["migrate", "up"])).contains("applied"));
    let status = said(&enfilade(&folder, &["migrate", "status"]));
    assert!(!status.contains("pending"), "{status}");
    let some = ["--people", "2", "--boards", "2"];
    for _ in 0..2 {
        assert_eq!(said(&seed(&folder, &some)), "2 people and 2 boards are there\n");
    }
    assert!(said(&enfilade(&folder, &["migrate", "down", "--to", "0"])).contains("pending"));
    assert!(!said(&enfilade(&folder, &["migrate", "status"])).contains("applied"));
    assert!(said(&enfilade(&folder, &["migrate", "up", "--to", "1"])).contains("0001"));
    said(&enfilade(&folder, &["migrate", "up"]));
    said(&seed(&folder, &some));
}

#[test]
fn a_node_that_is_not_to_migrate_refuses_a_schema_that_is_not_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    said(&enfilade(&folder, &["migrate", "up", "--to", "1"]));
    let mut command =
        command(&folder, &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let refused = command.env("ENFILADE_MIGRATE_ON_START", "false").output().unwrap();
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && error.contains("migrate up"), "{error}");
    let status = said(&enfilade(&folder, &["migrate", "status"]));
    assert!(status.contains("pending"), "nothing was changed: {status}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let unfilled = [&["serve", "--advertise-admin", "$(POD_IP):9090"], &free[..]].concat();
    let cases: [&[&str]; 6] = [
        &unfilled,
        &["migrate", "up", "--to", "99"],
        &["migrate", "up", "--database-url", "mysql://somewhere"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--config", "/there/is/no/such/file.toml"],
        &["seed"],
    ];
    for arguments in cases {
        let output = enfilade(&folder, arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn config_shows_every_setting_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("enfilade.toml");
    std::fs::write(&file, "room_idle_seconds = 7\n[limits]\nsign_ups_per_address = \"60/minute\"\n").unwrap();
    let file = file.to_str().unwrap();
    let shown = said(&enfilade(&folder, &["config", "--config", file, "--listen", "127.0.0.1:1234"]));
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("listen").contains("127.0.0.1:1234") && line("listen").ends_with("# flag"));
    assert!(line("data_dir").ends_with("# environment"));
    assert!(line("room_idle_seconds").contains("= 7") && line("room_idle_seconds").ends_with("# file"));
    // Limits have a table of their own, in which those are, too, that may stand outside of it.
    let limits = &shown[shown.find("\n[limits]\n").unwrap()..];
    assert!(
        limits.contains("\nmax_connections = 16384 ")
            && limits.contains("\nsign_ups_per_address = \"60/minute\" ")
    );
    assert!(
        line("log_retention_days").contains("\"forever\"")
            && line("log_retention_days").ends_with("# default")
    );
    // What is shown is a file that can be used.
    let copy = folder.path().join("copy.toml");
    std::fs::write(&copy, &shown).unwrap();
    said(&enfilade(&folder, &["config", "--config", copy.to_str().unwrap()]));
}

#[test]
fn a_limit_that_makes_no_sense_is_refused_by_its_name_wherever_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |output: &Output| {
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let flag = refused(&enfilade(&folder, &["config", "--sign-ups-per-address", "often"]));
    assert!(flag.contains("--sign-ups-per-address") && flag.contains("a rate is like 6/minute"), "{flag}");
    let variable = Command::new(env!("CARGO_BIN_EXE_enfilade"))
        .arg("config")
        .env("ENFILADE_OPS_PER_CONNECTION", "1/minute")
        .output()
        .unwrap();
    assert!(refused(&variable).contains("ops_per_connection is 1/minute"), "{}", refused(&variable));
}

#[test]
fn secrets_are_not_said_in_flags_and_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    for flags in [
        ["--admin-token", "open sesame"],
        ["--database-url", "postgres://ada:lovelace@nowhere/x"],
        ["--nats-url", "nats://ada:lovelace@nowhere"],
        ["--otlp-headers", "authorization=lovelace"],
    ] {
        let output = enfilade(&folder, &[&["config"][..], &flags].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("a secret in a flag"), "{error}");
    }
    let output = enfilade(&folder, &["seed", "--password", "lovelace"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("ENFILADE_SEED_PASSWORD"));
    let file = folder.path().join("url");
    std::fs::write(&file, "postgres://ada:lovelace@nowhere/x\n").unwrap();
    let shown = said(&enfilade(&folder, &["config", "--database-url", &format!("@{}", file.display())]));
    assert!(shown.contains("postgres://ada:…@nowhere/x"), "{shown}");
    let output = enfilade(&folder, &["config", "--admin-token", "@/there/is/no/such/file"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("admin_token"));
    for command in ["serve", "top"] {
        let help = Command::new(env!("CARGO_BIN_EXE_enfilade"))
            .args([command, "--help"])
            .env("ENFILADE_ADMIN_TOKEN", "open sesame")
            .env("ENFILADE_DATABASE_URL", "postgres://ada:lovelace@nowhere/x")
            .output()
            .unwrap();
        let help = said(&help);
        assert!(help.contains("ENFILADE_ADMIN_TOKEN"), "{help}");
        assert!(!help.contains("sesame") && !help.contains("lovelace"), "{help}");
    }
}

#[test]
fn a_secret_for_a_collector_that_nobody_named_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    std::fs::write(&file, "authorization=Bearer%20open%20sesame\n").unwrap();
    let headers = format!("@{}", file.display());
    let free = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let output = enfilade(&folder, &[&["serve", "--otlp-headers", &headers], &free[..]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("otlp_headers are for a collector"), "{error}");
    assert!(!error.contains("sesame"), "{error}");
}

#[test]
fn what_is_on_record_is_exported_whole() {
    let folder = tempfile::tempdir().unwrap();
    said(&seed(&folder, &["--boards", "2"]));
    let exported = enfilade(&folder, &["export", "--all"]);
    assert!(exported.status.success(), "{}", said(&exported));
    let text = String::from_utf8(exported.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["export"]["version"], 1);
    let rows: Vec<&Value> = lines.iter().filter_map(|line| line.get("row")).collect();
    assert_eq!(lines.last().unwrap(), &serde_json::json!({ "end": { "rows": rows.len() } }));
    let mut next = std::collections::BTreeMap::new();
    for row in &rows {
        let (first, last) = (row["first"].as_u64().unwrap(), row["last"].as_u64().unwrap());
        let expected = next.insert(row["room"].to_string(), last + 1).unwrap_or(1);
        assert_eq!((first, row["ops"].as_array().unwrap().len() as u64), (expected, last + 1 - first));
    }
    assert_eq!(next.len(), 2, "two boards");
    let room = rows[0]["room"].as_str().unwrap();
    let one = String::from_utf8(enfilade(&folder, &["export", "--room", room]).stdout).unwrap();
    assert!(one.lines().all(|line| !line.contains("\"row\"") || line.contains(room)));
    assert!(one.contains(&format!("\"rooms\":[\"{room}\"]")));
    assert!(!enfilade(&folder, &["export"]).status.success(), "which?");
}

#[test]
fn the_cluster_can_be_looked_at_without_a_node() {
    let folder = tempfile::tempdir().unwrap();
    said(&seed(&folder, &["--boards", "1"]));
    let status = enfilade(&folder, &["cluster", "status"]);
    assert!(
        said(&status).contains("4096 shards belong to dead nodes, 0 never had an owner"),
        "{}",
        said(&status)
    );
}
