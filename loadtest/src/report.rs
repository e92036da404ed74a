//! The result of a replay: the figures, the verdict, and the exit code that follows from it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::latency::{Latencies, NodeTimes, Times};
use crate::oracle::Violations;
use crate::replica::StateHash;
use crate::room::Counts;

/// How a run ends, and the code it exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Held,
    /// Delivery was faultless, but not everything was delivered: ops were refused for good.
    Threshold,
    Violated,
    /// The generator was late: its figures mean nothing.
    Invalid,
}

/// Exit codes that no verdict has.
pub const EXIT_UNREACHABLE: u8 = 4;
pub const EXIT_USAGE: u8 = 5;

impl Verdict {
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Threshold => 1,
            Self::Violated => 2,
            Self::Invalid => 3,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Threshold => "THRESHOLD",
            Self::Violated => "VIOLATED",
            Self::Invalid => "INVALID",
        }
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_str().to_lowercase())
    }
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    pub servers: Vec<String>,
    pub title: Option<String>,
    pub people: usize,
    pub clones: usize,
    pub rooms: usize,
    pub speed: f64,
    pub codec: &'static str,
    pub seed: u64,
    pub max_lag_ms: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RoomResult {
    pub room: String,
    pub seq: u64,
    pub state_hash: StateHash,
}

/// What came by one node.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct NodeResult {
    pub connections: u64,
    pub ops_accepted: u64,
    pub accepted_p50_ms: f64,
    pub accepted_p99_ms: f64,
    pub accepted_max_ms: f64,
}

impl NodeResult {
    #[must_use]
    pub fn all(times: &Latencies) -> BTreeMap<String, Self> {
        let result = |NodeTimes { connections, accepted }: &NodeTimes| Self {
            connections: *connections,
            ops_accepted: accepted.count(),
            accepted_p50_ms: accepted.percentile(50.0),
            accepted_p99_ms: accepted.percentile(99.0),
            accepted_max_ms: accepted.max(),
        };
        times.nodes().iter().map(|(name, times)| (name.clone(), result(times))).collect()
    }
}

/// What the generator itself used.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Seconds of CPU during the run, both modes.
    pub cpu_seconds: f64,
    pub memory_bytes: u64,
    /// The share of frames that equalled one read before.
    pub frames_shared: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub setup: Setup,
    /// From the start of the clock to the last op everywhere.
    pub seconds: f64,
    pub counts: Counts,
    #[serde(serialize_with = "percentiles")]
    pub latency_ms: Latencies,
    pub nodes: BTreeMap<String, NodeResult>,
    pub violations: Violations,
    pub rooms: Vec<RoomResult>,
    pub generator: Usage,
    /// Cut short by whoever ran it.
    pub interrupted: bool,
}

impl Report {
    #[must_use]
    pub fn verdict(violations: &Violations, counts: &Counts, times: &Latencies, max_lag_ms: f64) -> Verdict {
        if violations.total() > 0 {
            Verdict::Violated
        } else if times.lag.percentile(99.0) > max_lag_ms {
            Verdict::Invalid
        } else if counts.ops_refused_total() > 0 {
            Verdict::Threshold
        } else {
            Verdict::Held
        }
    }

    fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99_9", 99.9)];

fn percentiles<S: Serializer>(latencies: &Latencies, serializer: S) -> Result<S::Ok, S::Error> {
    let row = |times: &Times| -> BTreeMap<&str, f64> {
        let mut row: BTreeMap<&str, f64> =
            PERCENTILES.iter().map(|(name, percentile)| (*name, times.percentile(*percentile))).collect();
        row.extend([("count", times.count() as f64), ("max", times.max()), ("mean", times.mean())]);
        row
    };
    serializer.collect_map(latencies.classes().into_iter().map(|(name, times)| (name, row(times))))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setup, counts) = (&self.setup, &self.counts);
        let title = setup.title.as_deref().unwrap_or("a session");
        writeln!(
            f,
            "\n{title}: {} people as {} clones in {} room{}, speed {}, {}, seed {}, {:.1} s",
            setup.people,
            setup.clones,
            setup.rooms,
            plural(setup.rooms as u64),
            setup.speed,
            setup.codec,
            setup.seed,
            self.seconds
        )?;
        self.write_counts(f)?;
        self.write_latencies(f)?;
        writeln!(
            f,
            "generator  {:.2} cores busy, {:.0} MB, {:.1} % of the frames shared",
            self.generator.cpu_seconds / self.seconds.max(0.001),
            self.generator.memory_bytes as f64 / 1e6,
            self.generator.frames_shared * 100.0
        )?;
        for (name, node) in &self.nodes {
            writeln!(
                f,
                "node       {name}: {} connections, {} ops accepted, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
                node.connections,
                node.ops_accepted,
                node.accepted_p50_ms,
                node.accepted_p99_ms,
                node.accepted_max_ms
            )?;
        }
        for room in self.rooms.iter().take(3) {
            writeln!(f, "room       {} at {}, state {}", room.room, room.seq, room.state_hash)?;
        }
        write_violations(f, &self.violations)?;
        let why = match self.verdict {
            Verdict::Held => {
                String::from("every op seen exactly once, in order, by everybody; all states equal")
            }
            Verdict::Threshold => format!("{} ops were refused for good", counts.ops_refused_total()),
            Verdict::Violated => format!("{} violations", self.violations.total()),
            Verdict::Invalid => {
                format!("the generator was late (p99 above {} ms): no figures", setup.max_lag_ms)
            }
        };
        writeln!(
            f,
            "\n{}{}: {why}",
            self.verdict.as_str(),
            if self.interrupted { " (interrupted)" } else { "" }
        )
    }
}

impl Report {
    fn write_counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        writeln!(
            f,
            "ops        {} submitted, {} accepted ({:.1}/s), {} shown to members ({:.0}/s)",
            counts.ops_submitted,
            counts.ops_accepted,
            self.rate(counts.ops_accepted),
            counts.ops_seen,
            self.rate(counts.ops_seen)
        )?;
        writeln!(
            f,
            "           {} sent again after a reconnect, {} after \"later\", {} left out, refused: {}",
            counts.ops_resent,
            counts.ops_retried,
            counts.ops_left_out,
            codes(&counts.ops_refused)
        )?;
        writeln!(
            f,
            "signals    {} sent ({:.0}/s), {} shown to members ({:.0}/s), {} dropped while offline, refused: {}",
            counts.signals_sent,
            self.rate(counts.signals_sent),
            counts.signals_seen,
            self.rate(counts.signals_seen),
            counts.signals_dropped,
            codes(&counts.signals_refused)
        )?;
        writeln!(
            f,
            "network    {} connections, {} lost, {} attempts failed, {} told to move, {} snapshots, {} resets",
            counts.connections_opened,
            counts.connections_lost,
            counts.connections_failed,
            counts.moves_told,
            counts.snapshots,
            counts.resets
        )?;
        writeln!(
            f,
            "           {} frames in ({:.0}/s, {:.1} MB/s), {} frames out ({:.0}/s, {:.2} MB/s)",
            counts.frames_received,
            self.rate(counts.frames_received),
            self.rate(counts.bytes_received) / 1e6,
            counts.frames_sent,
            self.rate(counts.frames_sent),
            self.rate(counts.bytes_sent) / 1e6
        )
    }

    fn write_latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["p50", "p90", "p99", "p99.9", "max"];
        write!(f, "\n{:<30}{:>10}", "ms, from the planned time", "count")?;
        names.iter().try_for_each(|name| write!(f, "{name:>10}"))?;
        writeln!(f)?;
        for (name, times) in self.latency_ms.classes().into_iter().filter(|(_, times)| times.count() > 0) {
            write!(f, "{:<30}{:>10}", describe(name), times.count())?;
            for (_, percentile) in PERCENTILES {
                write!(f, "{:>10.2}", times.percentile(percentile))?;
            }
            writeln!(f, "{:>10.2}", times.max())?;
        }
        writeln!(f)
    }
}

fn describe(class: &str) -> &str {
    match class {
        "connect" => "connect",
        "hello" => "hello → welcome",
        "join" => "join → joined",
        "op_accepted" => "op → accepted",
        "op_visible_first" => "op → visible, first other",
        "op_visible_median" => "op → visible, median other",
        "op_visible_last" => "op → visible, last other",
        "op_visible_each" => "op → visible, each other",
        "signal_visible" => "signal → visible, each other",
        "gap_told" => "longest gap, told to move",
        "gap_closed" => "longest gap, closed",
        "gap_lost" => "longest gap, connection lost",
        "wait_told" => "longest wait, told to move",
        "wait_closed" => "longest wait, closed",
        "wait_lost" => "longest wait, connection lost",
        "wait_undisturbed" => "longest wait, undisturbed",
        "room_standstill" => "longest standstill of a room",
        "send_lag" => "the generator's own lag",
        other => other,
    }
}

fn codes(codes: &BTreeMap<String, u64>) -> String {
    if codes.is_empty() {
        return "none".into();
    }
    codes.iter().map(|(code, count)| format!("{count} {code}")).collect::<Vec<_>>().join(", ")
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The counts by kind and the first few in detail.
///
/// # Errors
/// When it cannot be written.
pub fn write_violations(f: &mut impl fmt::Write, violations: &Violations) -> fmt::Result {
    if violations.total() == 0 {
        return writeln!(f, "oracle     no violations");
    }
    let counts: Vec<String> =
        violations.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    writeln!(f, "oracle     {}", counts.join(", "))?;
    for violation in violations.first.iter().take(20) {
        writeln!(f, "           {}: {}", violation.kind, violation.detail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Kind;

    fn report() -> Report {
        Report {
            verdict: Verdict::Held,
            setup: Setup {
                servers: vec![],
                title: None,
                people: 1,
                clones: 2,
                rooms: 1,
                speed: 1.0,
                codec: "json",
                seed: 1,
                max_lag_ms: 20.0,
            },
            seconds: 2.0,
            counts: Counts { ops_accepted: 10, ..Counts::default() },
            latency_ms: Latencies::default(),
            nodes: BTreeMap::new(),
            violations: Violations::default(),
            rooms: vec![],
            generator: Usage::default(),
            interrupted: false,
        }
    }

    #[test]
    fn the_worst_finding_decides() {
        let mut violations = Violations::default();
        let mut counts = Counts::default();
        let mut times = Latencies::default();
        let verdict = |v: &Violations, c: &Counts, t: &Latencies| Report::verdict(v, c, t, 20.0);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Held);
        counts.ops_refused.insert("forbidden".into(), 1);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Threshold);
        times.lag.record(30_000);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Invalid);
        violations.add(Kind::Gap, || "x".into());
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Violated);
        let codes =
            [Verdict::Held, Verdict::Threshold, Verdict::Violated, Verdict::Invalid].map(Verdict::exit_code);
        assert_eq!(codes, [0, 1, 2, 3]);
    }

    #[test]
    fn the_text_and_the_json_say_the_same() {
        let mut report = report();
        report.latency_ms.accepted.record(5_000);
        report.violations.add(Kind::LostOp, || "op 3".into());
        let text = report.to_string();
        assert!(
            text.contains("10 accepted (5.0/s)") && text.contains("1 lost_op") && text.contains("op 3"),
            "{text}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["violations"]["counts"]["lost_op"], 1);
        assert_eq!(json["latency_ms"]["op_accepted"]["count"], 1.0);
        assert_eq!(json["verdict"], "held");
    }
}
