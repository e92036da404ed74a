//! The swarm against the floor: an honest one holds, and whatever a dishonest one does is found out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;

use enfilade_loadtest::floor::{Floor, Mischief};
use enfilade_loadtest::result::{RunResult, Verdict};
use enfilade_loadtest::scenario::{Scenario, Settings};
use enfilade_loadtest::swarm::run::{Generator, RunError, Subject, run};
use tokio::sync::watch;

/// A floor in a thread of its own, gone when dropped.
struct Running {
    url: String,
    leash: Option<UnixStream>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Running {
    fn start(coalesce: bool, mischief: Option<Mischief>) -> Self {
        let floor = Floor::bind("127.0.0.1:0".parse().unwrap(), coalesce, mischief).unwrap();
        let url = format!("http://{}", floor.address().unwrap());
        let (leash, end) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || floor.serve(Some(end.as_fd())));
        Self { url, leash: Some(leash), thread: Some(thread) }
    }

    async fn run(&self, toml: &str) -> Result<RunResult, RunError> {
        // Nothing is said of times: the machine may be busy.
        let usual = "warm_up = \"100ms\"\nmeasure = \"1s\"\nramp = \"100ms\"\ndrain = \"30s\"\nmax_lag = \"1m\"\nmay_saturate = true";
        let mut settings: Settings = toml::from_str(toml).unwrap();
        settings = settings.or(toml::from_str(usual).unwrap());
        let subject = Subject {
            targets: vec![self.url.parse().unwrap()],
            pids: vec![std::process::id()],
            metrics: None,
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_enfilade-loadtest"));
        run(
            &Scenario::new(settings).unwrap(),
            &subject,
            &Generator { program, cpus: vec![], moments: watch::Sender::default() },
        )
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.leash.take());
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

fn assert_held(result: &RunResult) {
    assert_eq!(result.verdict, Verdict::Held, "{:?} {:?} {:?}", result.reasons, result.oracle, result.counts);
}

#[tokio::test]
async fn everybody_hears_everything_of_an_honest_floor() {
    for coalesce in [false, true] {
        let floor = Running::start(coalesce, None);
        let result =
            floor.run("kind = \"fanout\"\nmembers = 50\nrate = 200.0\narrivals = \"poisson\"").await.unwrap();
        assert_held(&result);
        let (sent, delivered) = (result.count("sent_measured"), result.count("deliveries_measured"));
        assert!(sent > 50, "{sent}");
        assert_eq!(delivered, sent * 50);
        assert_eq!(result.figures["delivered"], 1.0);
        assert_eq!(result.latency["signal"].corrected.count, delivered);
        assert!(result.latency["signal"].raw.is_some() && result.figures["deliveries_per_cpu_second"] > 0.0);
        assert_eq!(result.latency["join"].corrected.count, 50);
        // Nearly everybody gets what somebody got before.
        assert!(result.figures["frames_known"] > 0.9, "{:?}", result.figures);
    }
}

#[tokio::test]
async fn workers_share_one_room_and_many() {
    let floor = Running::start(false, None);
    for (toml, connections) in [
        ("kind = \"fanout\"\nmembers = 21\nrate = 100.0\nworkers = 2", 21),
        ("kind = \"rooms\"\nrooms = 9\nmembers = 3\nrate = 100.0\nworkers = 2\ncodec = \"json\"", 27),
    ] {
        let result = floor.run(toml).await.unwrap();
        assert_held(&result);
        assert_eq!((result.count("joined"), result.generator.workers), (connections, 2));
        assert!(result.count("deliveries_measured") > 0);
    }
}

#[tokio::test]
async fn ops_are_answered_and_seen_by_all() {
    let floor = Running::start(false, None);
    let result =
        floor.run("kind = \"rooms\"\nrooms = 4\nmembers = 5\nrate = 100.0\nspeech = \"ops\"").await.unwrap();
    assert_held(&result);
    assert_eq!(result.count("ops_accepted"), result.count("sent"));
    assert_eq!(result.count("deliveries"), result.count("sent") * 5);
    assert!(result.latency.contains_key("ack"));
}

#[tokio::test]
async fn a_storm_brings_everybody_back() {
    let floor = Running::start(false, None);
    let result = floor.run("kind = \"storm\"\nrooms = 10\nmembers = 10\nrate = 100.0").await.unwrap();
    assert_held(&result);
    assert_eq!((result.count("connections"), result.count("joined")), (200, 200));
    assert!(result.figures["storm_seconds"] > 0.0);
    let result = floor.run("kind = \"idle\"\nrooms = 3\nmembers = 10").await.unwrap();
    assert_held(&result);
    assert_eq!((result.count("joined"), result.count("deliveries")), (30, 0));
}

#[tokio::test]
async fn people_come_and_go_while_others_speak() {
    let floor = Running::start(false, None);
    let result = floor.run("kind = \"churn\"\nrooms = 10\nchurn = 50.0").await.unwrap();
    assert_held(&result);
    assert!(result.count("joined") > 110, "{:?}", result.counts);
    let result = floor
        .run("kind = \"churn\"\nrooms = 10\nspeakers = 2\nrate = 50.0\nchurn = 50.0\nmin_delivered = 0.5")
        .await
        .unwrap();
    assert_held(&result);
    assert!(result.count("deliveries") > 0 && result.count("joined") > 110, "{:?}", result.counts);
}

#[tokio::test]
async fn those_who_stop_reading_are_told_apart_from_the_others() {
    let floor = Running::start(false, None);
    let result = floor
        .run("kind = \"slow\"\nmembers = 20\nspeakers = 2\nrate = 100.0\nslow_share = 0.2\nmeasure = \"3s\"")
        .await
        .unwrap();
    assert_held(&result);
    assert_eq!(result.count("deaf"), 4);
    assert_eq!(result.figures["delivered"], 1.0);
    assert!(result.figures["signal_p99_before_ms"] > 0.0 && result.figures["signal_p99_during_ms"] > 0.0);
    assert_eq!(result.faults.len(), 1);
    let audience = floor.run("kind = \"audience\"\nmembers = 40\nrate = 20.0").await.unwrap();
    assert_held(&audience);
    let [first, median, last] = ["first", "median", "last"].map(|class| audience.latency[class].corrected);
    assert_eq!(last.count, audience.count("sent_measured"));
    assert!(first.p50 <= median.p50 && median.p50 <= last.p50);
}

#[tokio::test]
async fn whatever_a_dishonest_floor_does_is_found_out() {
    for (mischief, kind) in [
        (Mischief::Lose(10), "lost_middle"),
        (Mischief::Double(10), "doubled"),
        (Mischief::Swap(10), "overtaken"),
    ] {
        let floor = Running::start(false, Some(mischief));
        let result = floor
            .run("kind = \"fanout\"\nmembers = 10\nspeakers = 1\nrate = 100.0\ndrain = \"500ms\"")
            .await
            .unwrap();
        assert_eq!(result.verdict, Verdict::Violated, "{mischief:?} {:?}", result.oracle);
        assert!(result.oracle.violations[kind] > 0, "{mischief:?} {:?}", result.oracle);
        assert!(!result.oracle.examples.is_empty());
    }
}

#[tokio::test]
async fn losses_may_be_allowed_up_to_a_share() {
    let floor = Running::start(false, Some(Mischief::Lose(10)));
    let fanout = "kind = \"fanout\"\nmembers = 10\nspeakers = 1\nrate = 100.0\ndrain = \"500ms\"";
    let result = floor.run(&format!("{fanout}\nmin_delivered = 0.9")).await.unwrap();
    assert_held(&result);
    let result = floor.run(&format!("{fanout}\nmin_delivered = 0.999")).await.unwrap();
    assert_eq!(result.verdict, Verdict::Threshold, "{:?}", result.figures);
}

#[tokio::test]
async fn who_is_not_there_is_not_measured() {
    let floor = Running::start(false, None);
    let gone = Running { url: floor.url.clone(), leash: None, thread: Some(std::thread::spawn(|| Ok(()))) };
    drop(floor);
    assert!(matches!(gone.run("kind = \"idle\"\npatience = \"200ms\"").await, Err(RunError::Rooms(_))));
}

#[test]
fn a_search_ends_with_what_holds_and_a_run_measures_the_floor_too() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("result.json");
    let floor = Running::start(false, None);
    let run = |arguments: &[&str]| {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_enfilade-loadtest"))
            .args(arguments)
            .args(["--url", &floor.url, "--json", json.to_str().unwrap()])
            .args(["--warm-up", "100ms", "--measure", "500ms", "--ramp", "10ms", "--may-saturate"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&command.stderr).into_owned();
        assert!(command.status.success(), "{said}");
        RunResult::read(std::fs::File::open(&json).unwrap()).unwrap()
    };
    let pid = std::process::id().to_string();
    let result = run(&[
        "run",
        "fanout",
        "--members",
        "100",
        "--rate",
        "500",
        "--pid",
        &pid,
        "--floor",
        "--rounds",
        "2",
    ]);
    for figure in ["ratio_to_floor", "floor_deliveries_per_cpu_second", "rate_ratio_to_floor"] {
        assert!(result.figures[figure] > 0.0, "{figure} {:?}", result.figures);
    }
    assert_eq!(result.figures["rounds"], 2.0);
    // Any server loses what is sent faster than it can be: far more is asked for in the end than a machine can do.
    let search =
        ["search", "fanout", "--members", "200", "--start", "20000", "--precision", "1.1", "--confirm", "0"];
    let result = run(&[&search[..], &["--max-p99", "1s", "--drain", "500ms", "--speakers", "20"]].concat());
    assert!(result.figures["highest_rate"] > 0.0, "{:?}", result.figures);
}

#[test]
fn the_floor_says_where_it_is_and_ends_with_its_input() {
    let program = env!("CARGO_BIN_EXE_enfilade-loadtest");
    let mut child = std::process::Command::new(program)
        .args(["floor", "--until-stdin-closes"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["pid"], child.id());
    assert!(said["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn a_run_that_misses_a_threshold_for_too_long_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hasty.toml");
    let threshold = "signal.p99 < 1us";
    let in_file = format!("{{ expression = \"{threshold}\", abort = true, grace = \"500ms\" }}");
    let floor = Running::start(false, None);
    let scenario = "kind = \"fanout\"\nmembers = 5\nrate = 20.0\nmeasure = \"10m\"\nmax_lag = \"1m\"\n";
    for (thresholds, flags) in
        [(in_file.as_str(), &[][..]), ("", &["--threshold", threshold, "--abort-after", "500ms"][..])]
    {
        std::fs::write(&file, format!("{scenario}thresholds = [{thresholds}]\n")).unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_enfilade-loadtest"))
            .args(["run", file.to_str().unwrap(), "--url", &floor.url])
            .args(flags)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&command.stdout);
        assert_eq!(command.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&command.stderr));
        assert!(said.contains(&format!("Ended early: the threshold {threshold} was missed")), "{said}");
    }
}
