//! What the tests against a server share: the real node as a child process, and sessions to replay.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::BufReader;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use enfilade_loadtest::crowd::Crowd;
use enfilade_loadtest::import::quickdraw::{self, Drawings};
use enfilade_loadtest::replay::{Options, Outcome, RoomChoice};
use enfilade_loadtest::session::{Recorded, SessionWriter, Title, read_session};
use enfilade_proto::Codec;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What a command exits with, and what it says on standard output and standard error.
pub(crate) fn run(program: &str, arguments: &[impl AsRef<OsStr>]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The node's binary, if it was built.
pub(crate) fn node_binary() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = || {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        target.join("debug").join("enfilade")
    };
    let binary = std::env::var_os("ENFILADE_BIN").map_or_else(built, PathBuf::from);
    if binary.is_file() {
        return Some(binary);
    }
    eprintln!("skipped: there is no node at {}; build it or name it in ENFILADE_BIN", binary.display());
    None
}

/// A node with a data folder of its own, gone when dropped.
pub(crate) struct Node {
    binary: PathBuf,
    flags: Vec<OsString>,
    ports: [u16; 2],
    data: TempDir,
    child: Child,
}

impl Node {
    pub(crate) async fn start(binary: &Path) -> Self {
        Self::start_with(binary, Vec::new()).await
    }

    pub(crate) async fn start_with(binary: &Path, flags: Vec<OsString>) -> Self {
        let data = tempfile::tempdir().unwrap();
        // Two ports that are free now; a node is started again on the ones that it had.
        let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let child = spawn(binary, &flags, ports, data.path());
        let mut node = Self { binary: binary.to_owned(), flags, ports, data, child };
        node.wait_until_ready().await;
        node
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// The operators' port.
    pub(crate) fn metrics(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// As operators do it: everything is written, and the database is tidy.
    pub(crate) fn stop(&mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same ports and data.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.binary, &self.flags, self.ports, self.data.path());
        self.wait_until_ready().await;
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.is_ready().await.is_none() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended with {status}: {}", self.log());
            }
            assert!(Instant::now() < deadline, "the node is not ready after a minute: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_ready(&self) -> Option<()> {
        let mut admin = TcpStream::connect(("127.0.0.1", self.ports[1])).await.ok()?;
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        admin.write_all(request).await.ok()?;
        let mut answer = String::new();
        admin.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(binary: &Path, flags: &[OsString], ports: [u16; 2], data: &Path) -> Child {
    let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
    Command::new(binary)
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{}", ports[0])])
        .args(["--admin-listen", &format!("127.0.0.1:{}", ports[1])])
        .arg("--data-dir")
        .arg(data)
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Real drawings as a session of ten people, or made-up ones where there are none.
pub(crate) fn session(drawings: usize) -> Recorded {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/quickdraw");
    let mut read = Drawings::default();
    for name in ["cat", "house", "tree"] {
        let Ok(file) = File::open(folder.join(format!("{name}.ndjson"))) else { continue };
        read.read(name, BufReader::new(file), drawings).unwrap();
    }
    if read.drawings.is_empty() {
        eprintln!("no real drawings at {}; made-up ones instead", folder.display());
        read.read("made up", made_up(drawings).as_bytes(), drawings).unwrap();
    }
    let options = quickdraw::Options { people: 10, spread: 600.0, seed: 1, limit: drawings };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut writer = SessionWriter::create(&path).unwrap();
    for event in quickdraw::compose(&read, &options).unwrap() {
        writer.event(&event).unwrap();
    }
    writer.finish(Title::default()).unwrap();
    read_session(BufReader::new(File::open(path).unwrap())).unwrap()
}

/// Spirals of six strokes at the pace of a hand.
pub(crate) fn made_up(drawings: usize) -> String {
    let stroke = |n: u32| {
        let turn = |i: u32| f64::from(i) * 0.3 + f64::from(n);
        let list = |f: &dyn Fn(u32) -> f64| (0..25).map(f).collect::<Vec<_>>();
        let (xs, ys) =
            (list(&|i| turn(i).cos() * f64::from(i) * 8.0), list(&|i| turn(i).sin() * f64::from(i) * 8.0));
        json!([xs, ys, list(&|i| f64::from(n * 1100 + i * 25))])
    };
    let drawing = json!({ "drawing": (0..6).map(stroke).collect::<Vec<_>>() }).to_string();
    vec![drawing; drawings].join("\n")
}

/// Generous with time: the machine may have other things to do.
pub(crate) fn options(url: &str, clones: usize) -> Options {
    Options {
        targets: vec![url.parse().unwrap()],
        clones,
        rooms: RoomChoice::Fresh(1),
        speed: 1.0,
        codec: Codec::MessagePack,
        seed: 1,
        jitter: Duration::from_millis(250),
        crowd: Crowd::default(),
        gather: Duration::from_secs(60),
        settle: Duration::from_secs(60),
        patience: Duration::from_secs(60),
        max_lag: Duration::from_secs(60),
        journal: None,
        pids: vec![],
        thresholds: vec![],
    }
}

#[track_caller]
pub(crate) fn assert_held(report: &Outcome) {
    assert_eq!(report.violations.total(), 0, "{report}");
    assert_eq!(report.verdict.exit_code(), 0, "{report}");
    assert!(report.counts.ops_accepted > 0, "{report}");
    assert_eq!(report.counts.ops_accepted, report.counts.ops_submitted, "{report}");
}
