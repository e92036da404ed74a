//! The capacity model against what is measured: a small run of a real node, the figures of the last `make measure`, the defaults of the
//! Helm chart, and the page that is written from it.
//!
//! `BLESS=1 cargo test -p enfilade-loadtest --test capacity page` writes the page's tables anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use enfilade_loadtest::capacity::check::{Comparison, Tolerance, check};
use enfilade_loadtest::capacity::{Constants, Database, Demand, Limits, Needs, NodeSize, Plan, page};
use enfilade_loadtest::median::median;
use enfilade_loadtest::result::RunResult;
use serde_json::Value;

const TESTER: &str = env!("CARGO_BIN_EXE_enfilade-loadtest");

/// Wide enough for an unoptimised node on a busy machine, whose CPU is not judged at all, and not wider than three.
const GENEROUS: Tolerance = Tolerance {
    memory_factor: 2.5,
    byte_factor: 1.5,
    write_factor: 2.5,
    commit_factor: 3.0,
    cpu_factor: f64::INFINITY,
};

fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(file)
}

/// Runs a scenario against a node.
fn measured(node: &common::Node, scenario: &[&str]) -> RunResult {
    let file = node.data().join("result.json");
    let json = file.display().to_string();
    let (url, metrics, pid) = (node.url(), node.metrics(), node.pid().to_string());
    let subject = ["--url", &url, "--metrics", &metrics, "--pid", &pid, "--json", &json];
    // Times are not judged: the machine may be busy.
    let patient = ["--max-lag", "1m", "--may-saturate", "--patience", "2m", "--drain", "1m"];
    let arguments = [&["run"], scenario, &subject, &patient].concat();
    let (code, output, errors) = common::run(TESTER, &arguments);
    assert_eq!(code, 0, "{output}{errors}");
    RunResult::read(fs::File::open(file).unwrap()).unwrap()
}

/// Every figure that is expected, each within its factor.
#[track_caller]
fn assert_predicted(result: &RunResult, figures: &[&str]) {
    let compared = check(result, &Constants::MEASURED, &GENEROUS).unwrap();
    for figure in figures {
        assert!(
            compared.iter().any(|comparison| comparison.figure == *figure),
            "no {figure} in {compared:?}"
        );
    }
    let wrong: Vec<&Comparison> = compared.iter().filter(|comparison| !comparison.holds()).collect();
    assert!(wrong.is_empty(), "{wrong:#?} of {:?}", result.figures);
}

fn database_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let of_database = files.filter(|file| file.file_name().to_string_lossy().contains(".db"));
    of_database.map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn silent_connections_take_the_memory_and_the_bytes_that_are_predicted() {
    let Some(binary) = common::node_binary() else { return };
    let node = common::Node::start(&binary).await;
    let idle = ["idle", "--rooms", "4", "--members", "1000", "--measure", "27s"];
    assert_predicted(&measured(&node, &idle), &["memory per connection", "bytes sent", "bytes received"]);
}

#[tokio::test]
async fn signals_cost_the_writes_and_the_bytes_that_are_predicted() {
    let Some(binary) = common::node_binary() else { return };
    let node = common::Node::start(&binary).await;
    for codec in ["msgpack", "json"] {
        let fanout = ["fanout", "--members", "50", "--rate", "20", "--measure", "5s", "--codec", codec];
        assert_predicted(
            &measured(&node, &fanout),
            &["bytes sent", "bytes received", "deliveries", "writes"],
        );
    }
}

#[tokio::test]
async fn ops_cost_the_bytes_and_the_rows_that_are_predicted() {
    let Some(binary) = common::node_binary() else { return };
    let mut node = common::Node::start(&binary).await;
    node.stop();
    let empty = database_bytes(node.data());
    node.restart().await;
    let rooms =
        ["rooms", "--rooms", "20", "--members", "5", "--rate", "300", "--speech", "ops", "--measure", "6s"];
    let result = measured(&node, &rooms);
    assert_predicted(&result, &["bytes sent", "bytes received", "deliveries", "writes", "commits"]);
    node.stop();
    let grown = (database_bytes(node.data()) - empty) as f64 / result.count("ops_accepted") as f64;
    let predicted = Constants::MEASURED.sqlite_op_bytes + 100.0;
    assert!((0.5..2.0).contains(&(predicted / grown)), "{predicted} B an op predicted, {grown} measured");
}

#[test]
fn what_a_plan_says_stands_in_its_json_and_impossible_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("plan.json");
    let json_argument = json.display().to_string();
    let arguments = ["capacity", "plan", "--connections", "100000", "--ops", "500", "--json", &json_argument];
    let (code, text, errors) = common::run(TESTER, &arguments);
    assert_eq!(code, 0, "{errors}");
    assert!(
        text.contains("100,000 connections in 10,000 rooms of 10") && text.contains("Breaks first: "),
        "{text}"
    );
    let plan: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(
        plan["nodes"].as_u64().unwrap() >= 7 && plan["needs"]["user_memory"].as_f64().unwrap() > 1e8,
        "{plan}"
    );
    let alone = ["capacity", "plan", "--connections", "30000", "--database", "sqlite"];
    assert_eq!(common::run(TESTER, &alone).0, 1);
    let (code, _, errors) =
        common::run(TESTER, &["capacity", "plan", "--connections", "50", "--audience", "2"]);
    assert_eq!((code, errors.contains("audience is out of bounds")), (5, true), "{errors}");
}

#[test]
fn a_result_that_the_model_does_not_explain_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("result.json");
    let judged = |bytes_sent: f64, kind: &str| {
        let parameters = serde_json::json!({
            "members": 1000, "rooms": 1, "speakers": 10, "rate": 20.0, "speech": "signals", "arrivals": "constant",
            "payload": 100, "codec": "msgpack", "audience": false
        });
        let result = serde_json::json!({
            "format": 1, "seconds": 10.0, "servers": ["http://127.0.0.1:1"],
            "scenario": { "name": "made up", "kind": kind, "parameters": parameters },
            "server_usage": [{ "bytes_sent": bytes_sent as u64 }]
        });
        fs::write(&file, result.to_string()).unwrap();
        common::run(TESTER, &["capacity", "check", &file.display().to_string()])
    };
    let wire = Constants::MEASURED.wire(enfilade_loadtest::scenario::CodecName::Msgpack);
    let sent = 10.0 * (20_000.0 * (wire.signal + 100.0 + wire.signals) + 40.0 * wire.ping);
    let (code, text, errors) = judged(sent, "fanout");
    assert_eq!((code, text.contains("1.00")), (0, true), "{text}{errors}");
    let (code, text, _) = judged(sent * 2.0, "fanout");
    assert_eq!((code, text.contains("WRONG")), (1, true), "{text}");
    let (code, _, errors) = judged(sent, "storm");
    assert_eq!((code, errors.contains("\"storm\" are not predicted")), (5, true), "{errors}");
}

/// Medians of a row of the last `make measure`.
struct Row(Vec<Value>);

impl Row {
    fn all() -> impl Fn(&str) -> Self {
        let text = fs::read_to_string(project("docs/measured.json")).unwrap();
        let book: Value = serde_json::from_str(&text).unwrap();
        move |row| {
            let rounds = book["rows"][row]["rounds"].as_array().unwrap_or_else(|| panic!("no row {row}"));
            let valid = |round: &&Value| round.get("failed").is_none() && round.get("invalid").is_none();
            Self(rounds.iter().filter(valid).map(|round| round["readings"].clone()).collect())
        }
    }

    fn median(&self, reading: &str) -> f64 {
        let values: Vec<f64> = self.0.iter().filter_map(|readings| readings[reading].as_f64()).collect();
        assert!(!values.is_empty(), "no reading {reading}");
        median(values)
    }
}

#[track_caller]
fn assert_explains(what: &str, predicted: f64, measured: f64, factor: f64) {
    let ratio = predicted / measured;
    assert!(
        (1.0 / factor..=factor).contains(&ratio),
        "{what}: the model says {predicted:.6}, `make measure` {measured:.6} ({ratio:.2} times). What changed? If the node did, \
         measure its constants anew as docs/capacity.md says, change loadtest/src/capacity/constants.rs, and `make bless`."
    );
}

#[test]
fn the_last_measurement_is_explained() {
    let row = Row::all();
    let alone =
        |connections, members| Demand { database: Database::Sqlite, ..Demand::idle(connections, members) };
    let memory = |demand: &Demand| {
        let constants = Constants::MEASURED;
        (Needs::of(demand, 1, &constants).user_memory - constants.node_memory) / demand.connections
    };
    for (name, audience, signed_in) in
        [("memory-guest", 0.0, 0.0), ("memory-signed-in", 0.0, 1.0), ("memory-audience", 1.0, 0.0)]
    {
        for (shot, members) in [("crowds", 1_000.0), ("small", 10.0)] {
            let predicted = memory(&Demand { audience, signed_in, ..alone(15_000.0, members) });
            let measured = row(name).median(&format!("{shot}.memory_per_connection_bytes"));
            assert_explains(&format!("{name}, {shot}: bytes"), predicted, measured, 1.25);
        }
    }
    let work = |demand: &Demand| {
        let needs = Needs::of(demand, 1, &Constants::MEASURED);
        (demand.ops + demand.signals) * demand.members / needs.cores()
    };
    for (name, members) in
        [("quiet-100", 100.0), ("quiet-1000", 1_000.0), ("quiet-5000", 5_000.0), ("quiet-10000", 10_000.0)]
    {
        let predicted = work(&Demand { signals: 50_000.0 / members, ..alone(members, members) });
        let measured = row(name).median("node.deliveries_per_cpu_second");
        assert_explains(&format!("{name}: deliveries per CPU second"), predicted, measured, 2.0);
    }
    let ops = row("rooms-ops");
    let rate = ops.median("half.deliveries_per_second") / 10.0;
    let cores =
        Needs::of(&Demand { ops: rate, together: 4.0, ..alone(10_000.0, 10.0) }, 1, &Constants::MEASURED)
            .cores();
    assert_explains("rooms-ops: cores", cores, ops.median("half.server_cores"), 2.0);
    let signals = Demand { signals: 5_000.0, together: 4.0, ..alone(10_000.0, 10.0) };
    let measured = row("rooms-signals").median("node.deliveries_per_cpu_second");
    assert_explains("rooms-signals: deliveries per CPU second", work(&signals), measured, 2.0);
}

/// The number after `name:` in the chart's values, in the part that begins with `part`.
fn value<'a>(values: &'a str, part: &str, name: &str) -> &'a str {
    let (_, rest) = values.split_once(part).unwrap();
    let (_, rest) = rest.split_once(&format!("{name}:")).unwrap();
    rest.trim_start().split(['\n', '}', ',']).next().unwrap()
}

#[test]
fn a_full_node_of_the_chart_fits_its_memory_limit() {
    let values = fs::read_to_string(project("helm/enfilade/values.yaml")).unwrap();
    let node = NodeSize::USUAL;
    let max_connections: f64 = value(&values, "\nsettings:", "maxConnections").parse().unwrap();
    assert_eq!(max_connections, node.max_connections);
    assert_eq!(value(&values, "\nnodes:", "limits: {memory"), "1Gi");
    assert_eq!(node.node_memory, f64::from(1 << 30));
    // Signed-in people in small rooms: what takes most.
    let full = |history| Demand { signed_in: 1.0, history, ..Demand::idle(max_connections, 10.0) };
    let memory = |history| Needs::of(&full(history), 1, &Constants::MEASURED).memory();
    assert!(memory(0.0) < 0.25 * node.node_memory, "{}", memory(0.0));
    // The autoscaler asks for another node while one can be lost, and its people find a place on two others.
    let wanted: f64 = value(&values, "\nnodes:", "connectionsPerNode").parse().unwrap();
    assert!(wanted * 1.5 <= max_connections);
    let plan = Plan::new(full(0.0), Limits::USUAL, &Constants::MEASURED).unwrap();
    assert!(plan.demand.connections / f64::from(plan.nodes) <= wanted, "{plan:?}");
}

#[test]
fn the_page_has_the_tables_of_the_model() {
    let path = project("docs/capacity.md");
    let written = fs::read_to_string(&path).unwrap();
    let audiences = page::audiences(&Constants::MEASURED).unwrap();
    let wanted = with_table(&written, "constants", &page::constants(&Constants::MEASURED));
    let wanted = with_table(&wanted, "audiences", &audiences);
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, wanted).unwrap();
    } else {
        assert!(written == wanted, "docs/capacity.md has other tables than the model: `make bless`");
    }
}

/// The page with another table between its markers.
fn with_table(page: &str, name: &str, table: &str) -> String {
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- {edge} {name} -->\n"));
    let (before, rest) = page.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}\n{table}\n{end}{after}")
}
