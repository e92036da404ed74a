//! The operators' port of a node, as operators and their machines use it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use enfilade_testbed::node::{Node, NodeSettings};
use enfilade_testbed::ports;
use pprof::protos::Message as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TOKEN: &str = "open sesame";

async fn start(folder: &TempDir, flags: &[&str]) -> Node {
    start_in(folder, flags, &[]).await
}

/// The same by way of another program.
async fn start_in(folder: &TempDir, flags: &[&str], wrapper: &[&str]) -> Node {
    let [listen, admin] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], ports::free().unwrap())));
    let settings = NodeSettings {
        name: "node".to_owned(),
        listen,
        admin,
        data: folder.path().join("data"),
        cluster: None,
        trusted_proxies: String::new(),
        wrapper: wrapper.iter().map(Into::into).collect(),
        flags: flags.iter().map(Into::into).collect(),
    };
    let mut node = Node::new(Path::new(env!("CARGO_BIN_EXE_enfilade")), folder.path(), settings);
    node.start().await.unwrap();
    node
}

async fn ask(server: SocketAddr, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    exchange(
        server,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    )
    .await
}

async fn send(server: SocketAddr, method: &str, path: &str, json: &str) -> (u16, String) {
    let length = json.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    exchange(server, &(head + json)).await
}

/// The status of the answer, and all of it.
async fn exchange(server: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    (text[9..12].parse().unwrap(), text)
}

#[tokio::test]
async fn everything_that_is_counted_is_there_from_the_start_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &[]).await;
    let (status, text) = ask(node.settings.admin, "GET", "/metrics", None).await;
    assert_eq!(status, 200);
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")).unwrap();
    let listed: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .map(|line| (line.split('`').next().unwrap(), line.split(" | ").nth(1).unwrap()))
        .collect();
    assert!(listed.len() > 40);
    // What only a cluster or only a limited node has, and what is there when it is first looked at.
    let elsewhere = [
        "enfilade_bus_connected",
        "enfilade_bus_reconnects_total",
        "enfilade_bus_round_trip_seconds",
        "enfilade_bus_waiting_bytes",
        "enfilade_bus_waiting_messages",
        "enfilade_database_waiting",
        "enfilade_memory_limit_bytes",
        "enfilade_tls_certificate_expires_seconds",
    ];
    for (name, kind) in listed.into_iter().filter(|(name, _)| !elsewhere.contains(name)) {
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} is not told:\n{text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
}

#[tokio::test]
async fn openmetrics_names_traced_ops_as_examples() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &["--trace-one-in", "1"]).await;
    let NodeSettings { listen, admin, .. } = node.settings;
    let (_, made) = send(listen, "POST", "/api/v1/rooms", r#"{"kind":"board"}"#).await;
    let made: Value = serde_json::from_str(made.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let op = json!({ "client": "0b63bd0c-8d0f-4c5a-9e1a-0d8f5c1d2e3f", "op_id": 1, "op": { "type": "add_stroke", "data": {
        "element": "a", "color": "#1a1a1a", "width": 4, "points": [[10, 10], [11.5, 12]]
    } } });
    let op = op.to_string();
    let head = format!(
        "POST /api/v1/rooms/{}/ops HTTP/1.1\r\nHost: x\r\nEnfilade-Link: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        made["id"].as_str().unwrap(),
        made["link"].as_str().unwrap(),
        op.len()
    );
    let (status, text) = exchange(listen, &(head + &op)).await;
    assert_eq!(status, 200, "{text}");

    let metrics = async |accept: &str| {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        exchange(admin, &request).await.1
    };
    let text = metrics("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(
        text.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{text}"
    );
    assert!(text.contains("# TYPE enfilade_commits counter\n") && text.ends_with("\n# EOF\n"), "{text}");
    let example = |line: &str| {
        let trace = line.strip_prefix("enfilade_commit_seconds_bucket{le=")?.split_once(" # {trace_id=\"")?.1;
        Some(trace.split_once("\"} 0.")?.0.to_owned())
    };
    let examples: Vec<String> = text.lines().filter_map(example).collect();
    assert_eq!(examples.len(), 1, "{text}");
    let text = metrics("*/*").await;
    assert!(text.contains("content-type: text/plain; version=0.0.4") && !text.contains("trace_id"), "{text}");
    // Without a collector the steps are in the log.
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let steps = log.lines().filter(|line| line.contains(&examples[0]));
    let steps: Vec<Value> = steps.map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = steps.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(names, ["mailbox", "room", "commit", "op"], "{log}");
}

#[tokio::test]
async fn operators_know_the_token_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let node = start(&folder, &["--admin-token", &format!("@{}", file.display())]).await;
    let admin = node.settings.admin;
    for token in [None, Some(""), Some("open"), Some("open sesame!")] {
        for (method, path) in [("GET", "/admin/cluster"), ("POST", "/admin/drain")] {
            assert_eq!(ask(admin, method, path, token).await.0, 401, "{method} {path} {token:?}");
        }
    }
    assert_eq!(ask(admin, "GET", "/admin/cluster", Some(TOKEN)).await.0, 200);
    assert_eq!(ask(admin, "GET", "/admin/nothing", Some(TOKEN)).await.0, 404);
    // Machines look after the node without it.
    for page in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(ask(admin, "GET", page, None).await.0, 200, "{page}");
    }
    let room = "/admin/rooms/00000000-0000-0000-0000-000000000000/restart";
    assert_eq!(ask(admin, "POST", room, Some(TOKEN)).await.0, 202);
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let audited: Vec<&str> = log.lines().filter(|line| line.contains("enfilade::audit")).collect();
    assert!(
        audited.iter().any(|line| line.contains("\"status\":401") && line.contains("/admin/drain")),
        "{log}"
    );
    assert!(audited.iter().any(|line| line.contains("\"status\":202") && line.contains(room)), "{log}");
    assert!(!log.contains(TOKEN));
}

#[tokio::test]
async fn a_node_takes_the_files_that_it_may_have_and_lets_in_no_more_people_than_they_are_enough_for() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = ["bash", "-c", "ulimit -Sn 100 && ulimit -Hn 1000 && exec \"$@\"", "runtime"];
    let mut node = start_in(&folder, &[], &runtime).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.process().unwrap().pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["1000", "1000"]);
    let (_, metrics) = ask(node.settings.admin, "GET", "/metrics", None).await;
    assert!(metrics.lines().any(|line| line == "enfilade_connections_limit 625"), "{metrics}");
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    assert!(log.contains("\"open_files\":1000") && log.contains("\"wanted\":16384"), "{log}");
}

#[tokio::test]
async fn without_a_token_this_machine_is_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &[]).await;
    assert_eq!(ask(node.settings.admin, "GET", "/admin/cluster", None).await.0, 200);
}

#[tokio::test]
async fn what_is_logged_and_traced_changes_while_the_node_runs() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &["--log", "warn", "--trace-one-in", "7"]).await;
    let admin = node.settings.admin;
    let told = |text: String| serde_json::from_str::<Value>(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let (_, text) = ask(admin, "GET", "/admin/telemetry", None).await;
    assert_eq!(told(text), json!({ "log": "warn", "trace_one_in": 7, "heap_profile": false }));
    let (status, text) =
        send(admin, "PATCH", "/admin/telemetry", r#"{"log":"enfilade_node=debug,warn"}"#).await;
    assert_eq!((status, &told(text)["log"]), (200, &json!("enfilade_node=debug,warn")));
    let (status, text) = send(admin, "PATCH", "/admin/telemetry", r#"{"trace_one_in":1}"#).await;
    assert_eq!((status, told(text)["trace_one_in"].as_u64()), (200, Some(1)));
    for nonsense in [r#"{"log":"enfilade=loud"}"#, r#"{"logs":"info"}"#, r#"{"trace_one_in":-1}"#, "{"] {
        let (status, text) = send(admin, "PATCH", "/admin/telemetry", nonsense).await;
        assert_eq!((status, &told(text)["code"]), (400, &json!("invalid_request")), "{nonsense}");
    }
    let (_, text) = ask(admin, "GET", "/admin/telemetry", None).await;
    assert_eq!(told(text)["log"], "enfilade_node=debug,warn");
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let audited =
        |what: &str| log.lines().any(|line| line.contains("enfilade::audit") && line.contains(what));
    assert!(audited("\"log\":\"enfilade_node=debug,warn\"") && audited("\"trace_one_in\":1"), "{log}");
}

/// The body of an answer that came in one piece.
fn body(answer: &[u8]) -> &[u8] {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    &answer[end + 4..]
}

async fn download(server: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, body(&answer).to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_tell_where_cpu_and_memory_go() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &[]).await;
    let (admin, listen) = (node.settings.admin, node.settings.listen);
    let (status, said) = download(admin, "/admin/profile/heap").await;
    assert_eq!((status, String::from_utf8(said).unwrap().contains("not_sampled")), (409, true));
    let (status, _) = send(admin, "PATCH", "/admin/telemetry", r#"{"heap_profile":true}"#).await;
    assert_eq!(status, 200);
    // Passwords are made slow on purpose: this is what is seen.
    let work = async {
        for number in 0..20 {
            let person =
                format!(r#"{{"username":"person{number}","password":"correct horse battery {number}"}}"#);
            assert_eq!(send(listen, "POST", "/api/v1/auth/sign-up", &person).await.0, 201);
        }
    };
    let look = || download(admin, "/admin/profile/cpu?seconds=2");
    let ((), one, other) = tokio::join!(work, look(), look());
    let ((busy, _), (status, cpu)) = if one.0 == 200 { (other, one) } else { (one, other) };
    assert_eq!((status, busy), (200, 409), "one at a time");
    let cpu = pprof::protos::Profile::decode(cpu.as_slice()).unwrap();
    let names: Vec<&str> = cpu.string_table.iter().map(String::as_str).collect();
    assert!(names.iter().any(|name| name.contains("argon2")), "{names:?}");
    let (status, heap) = download(admin, "/admin/profile/heap").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&heap));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(heap.as_slice()).read_to_end(&mut unpacked).unwrap();
    let heap = pprof::protos::Profile::decode(unpacked.as_slice()).unwrap();
    assert!(!heap.sample.is_empty() && heap.string_table.iter().any(|name| name == "inuse_space"));
    let (status, _) = send(admin, "PATCH", "/admin/telemetry", r#"{"heap_profile":false}"#).await;
    assert_eq!((status, download(admin, "/admin/profile/heap").await.0), (200, 409));
}

#[tokio::test]
async fn operators_look_inside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let token = format!("@{}", file.display());
    let node = start(&folder, &["--admin-token", &token]).await;
    let (status, text) =
        send(node.settings.listen, "POST", "/api/v1/rooms", r#"{"kind":"board","title":"x"}"#).await;
    assert_eq!(status, 201, "{text}");
    let room: Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let (room, admin) = (room["id"].as_str().unwrap().to_owned(), node.settings.admin.to_string());
    let look = |arguments: Vec<String>| {
        let (admin, token) = (admin.clone(), token.clone());
        tokio::task::spawn_blocking(move || {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_enfilade"))
                .args(arguments)
                .args(["--admin", &admin, "--admin-token", &token])
                .output()
                .unwrap();
            (
                output.status.success(),
                String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
            )
        })
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (good, top) = look(words(&["top", "--once", "--every", "0.1"])).await.unwrap();
    let line = top.lines().find(|line| line.starts_with("node ")).unwrap();
    assert!(good && line.contains("alive") && line.contains("4096"), "{top}");
    assert!(top.contains("SLOWEST"), "{top}");
    let (good, said) = look(words(&["room", &room])).await.unwrap();
    assert!(good && said.contains("owner   node at") && said.contains("asleep"), "{said}");
    let (good, said) = look(words(&["shard", "4095"])).await.unwrap();
    assert!(good && said.contains("rooms awake"), "{said}");
    let (good, said) = look(words(&["shard", "4096"])).await.unwrap();
    assert!(!good && said.contains("shards are numbered from 0 to 4095"), "{said}");
}

#[tokio::test]
async fn a_health_check_says_what_the_node_says() {
    let folder = tempfile::tempdir().unwrap();
    let node = start(&folder, &[]).await;
    let admin = node.settings.admin;
    let probe = |question: &'static str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_enfilade"));
        command.args(["probe", question, "--admin", &admin.to_string()]);
        async {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
        }
    };
    for (question, answer) in [("started", "started\n"), ("ready", "ready\n"), ("live", "alive\n")] {
        assert_eq!(probe(question).await, (true, answer.to_owned()));
    }
    assert_eq!(ask(admin, "POST", "/admin/drain?wait=true", None).await.0, 200);
    let (good, said) = probe("ready").await;
    assert!(!good && said.contains("503"), "{said}");
    assert!(probe("live").await.0);
    let log = std::fs::read_to_string(folder.path().join("node.log")).unwrap();
    let told = |message: &str| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut found = lines.filter(|line| line["message"] == message);
        let line = found.next().unwrap_or_else(|| panic!("no {message:?} in {log}"));
        (line["level"].clone(), line["connections"].clone(), line["shards"].clone(), line["seconds"].is_f64())
    };
    // There is nobody to take them.
    assert_eq!(told("the node begins to leave"), (json!("INFO"), json!(0), json!(4096), false));
    assert_eq!(told("the node has left"), (json!("INFO"), json!(0), json!(4096), true));
    drop(node);
    assert!(!probe("live").await.0);
}
