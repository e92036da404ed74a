//! What every run ends with, whatever made the load: the one form that is written as JSON, judged by thresholds,
//! rendered as a report and compared with another.
//!
//! Times are in milliseconds, sizes in bytes, unless a name says otherwise. Readers skip fields that they do not know
//! and take the default for those that are missing, so that a result outlives the version that wrote it.

mod faults;
mod latency;
mod verdict;

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

pub use self::faults::MarksError;
pub use self::latency::{HistogramError, LatencyResult, Percentiles, decode, encode};
pub use self::verdict::{EXIT_UNREACHABLE, EXIT_USAGE, Verdict};

/// What is written. A higher one is not read.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunResult {
    pub format: u32,
    pub scenario: ScenarioSummary,
    /// Addresses.
    pub servers: Vec<String>,
    /// RFC 3339, UTC.
    pub started: String,
    /// Of the measured part.
    pub seconds: f64,
    pub verdict: Verdict,
    /// Cut short by whoever ran it.
    #[serde(skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// Why it did not hold, in sentences.
    pub reasons: Vec<String>,
    pub thresholds: Vec<ThresholdResult>,
    /// Whatever is counted: `connections`, `joined`, `sent`, `deliveries`, `ops_accepted`, …
    pub counts: BTreeMap<String, u64>,
    /// Whatever follows from it: `deliveries_per_second`, `memory_per_connection_bytes`, `ratio_to_floor`, …
    #[serde(serialize_with = "finite")]
    pub figures: BTreeMap<String, f64>,
    pub oracle: OracleResult,
    /// By class: `connect`, `hello`, `join`, `ack`, `first`, `median`, `last`, `each`, `signal`, …
    pub latency: BTreeMap<String, LatencyResult>,
    pub series: Vec<Second>,
    pub generator: GeneratorUsage,
    pub server_usage: Vec<ServerUsage>,
    pub faults: Vec<Fault>,
    /// What came by each node, by the name that it gives itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeResult>,
    /// How the rooms were left, where an oracle kept the state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<RoomResult>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScenarioSummary {
    pub name: String,
    pub kind: String,
    pub parameters: BTreeMap<String, Value>,
    pub seed: u64,
    /// What was typed to run it; empty if that is not known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThresholdResult {
    pub expression: String,
    /// None: the run has no such figure.
    pub value: Option<f64>,
    pub held: bool,
}

/// What the server is convicted of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OracleResult {
    /// By kind.
    pub violations: BTreeMap<String, u64>,
    /// Messages that somebody never got: before the first that they got, between two, after the last.
    pub lost_prefix: u64,
    pub lost_middle: u64,
    pub lost_postfix: u64,
    pub examples: Vec<String>,
}

/// One second of the measured part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Its end, in seconds since the beginning of the measured part.
    pub at: f64,
    pub sent: u64,
    pub delivered: u64,
    pub connections: u64,
    /// Median and 99th percentile of that second, by class.
    pub latency: BTreeMap<String, [f64; 2]>,
    /// Cores.
    pub server_cpu: f64,
    pub server_memory: u64,
    /// Cores.
    pub generator_cpu: f64,
}

/// What the load tester itself used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GeneratorUsage {
    /// Of both modes.
    pub cpu_seconds: f64,
    /// How many were busy on average.
    pub cores: f64,
    pub memory_bytes: u64,
    /// How late it was itself: from the planned time to the actual one.
    pub lag_p99_ms: f64,
    pub workers: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerUsage {
    pub name: String,
    pub cpu_seconds: f64,
    pub memory_before: u64,
    pub memory_peak: u64,
    pub memory_after: u64,
    pub bytes_sent: Option<u64>,
    pub bytes_received: Option<u64>,
}

/// Something that was done to the server on purpose, in seconds since the beginning of the measured part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    pub from: f64,
    pub to: f64,
    pub label: String,
}

/// What came by one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeResult {
    pub connections: u64,
    pub ops_accepted: u64,
    pub accepted_p50_ms: f64,
    pub accepted_p99_ms: f64,
    pub accepted_max_ms: f64,
}

/// How one room was left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomResult {
    pub room: String,
    pub seq: u64,
    /// The same for everybody, or the oracle says so.
    pub state_hash: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no result of a run: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is of format {0}; this program reads up to {FORMAT}")]
    Format(u32),
}

impl RunResult {
    /// # Errors
    /// When it is not one, or of a later format.
    pub fn read(reader: impl io::Read) -> Result<Self, ReadError> {
        let result: Self = serde_json::from_reader(io::BufReader::new(reader))?;
        match result.format {
            1..=FORMAT => Ok(result),
            other => Err(ReadError::Format(other)),
        }
    }

    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, mut writer: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut writer, self)?;
        writer.write_all(b"\n")
    }

    /// 0 if nothing of that name was counted.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }

    /// Makes the verdict worse, if it is, and says why.
    pub fn blame(&mut self, verdict: Verdict, reason: impl Into<String>) {
        self.verdict = self.verdict.max(verdict);
        self.reasons.push(reason.into());
    }
}

impl OracleResult {
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_prefix + self.lost_middle + self.lost_postfix
    }

    /// Violations and losses. A loss is usually also counted among the violations, and not twice here.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.violations.values().sum::<u64>().max(self.lost())
    }

    /// How many examples are kept.
    pub const EXAMPLES: usize = 50;

    /// What several workers found.
    pub fn merge(&mut self, other: Self) {
        merge_counts(&mut self.violations, &other.violations);
        self.lost_prefix += other.lost_prefix;
        self.lost_middle += other.lost_middle;
        self.lost_postfix += other.lost_postfix;
        self.examples.extend(other.examples);
        self.examples.truncate(Self::EXAMPLES);
    }
}

/// What several workers counted.
pub fn merge_counts(counts: &mut BTreeMap<String, u64>, others: &BTreeMap<String, u64>) {
    for (name, count) in others {
        *counts.entry(name.clone()).or_default() += count;
    }
}

/// What was divided by nothing is no figure, and JSON has no way to write it.
fn finite<S: Serializer>(figures: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().filter(|(_, value)| value.is_finite()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut result = RunResult { format: FORMAT, seconds: 2.0, ..RunResult::default() };
        result.counts.insert("sent".into(), 10);
        result.scenario.parameters.insert("members".into(), 1000.into());
        result.series.push(Second {
            at: 1.0,
            latency: [("ack".to_owned(), [1.0, 2.5])].into(),
            ..Second::default()
        });
        result.blame(Verdict::Invalid, "The generator was late.");
        let mut written = Vec::new();
        result.write(&mut written).unwrap();
        assert_eq!(RunResult::read(written.as_slice()).unwrap(), result);
        assert_eq!((result.per_second(result.count("sent")), result.count("lost")), (5.0, 0));
    }

    #[test]
    fn figures_that_are_none_are_left_out() {
        let mut result = RunResult { format: FORMAT, ..RunResult::default() };
        result.figures.extend([("ratio".to_owned(), f64::NAN), ("rate".to_owned(), 2.0)]);
        let mut written = Vec::new();
        result.write(&mut written).unwrap();
        assert_eq!(RunResult::read(written.as_slice()).unwrap().figures, [("rate".to_owned(), 2.0)].into());
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_have_their_default() {
        let text = r#"{"format": 1, "verdict": "violated", "moon": {"phase": 3}, "scenario": {"name": "x", "y": 1}}"#;
        let result = RunResult::read(text.as_bytes()).unwrap();
        assert_eq!((result.verdict, result.scenario.name.as_str()), (Verdict::Violated, "x"));
        assert!(result.latency.is_empty() && !result.interrupted);
    }

    #[test]
    fn what_is_no_result_is_told() {
        let told = |text: &str| RunResult::read(text.as_bytes()).unwrap_err().to_string();
        assert!(told("[1, 2").starts_with("it is no result of a run"));
        assert_eq!(told(r#"{"format": 9}"#), "it is of format 9; this program reads up to 1");
        assert!(told("{}").contains("format 0"));
    }

    #[test]
    fn the_worst_verdict_stays() {
        let mut result = RunResult::default();
        result.blame(Verdict::Violated, "Lost.");
        result.blame(Verdict::Threshold, "Slow.");
        assert_eq!((result.verdict, result.reasons.len()), (Verdict::Violated, 2));
    }

    #[test]
    fn what_workers_found_adds_up() {
        let part = || OracleResult {
            violations: [("lost".to_owned(), 3)].into(),
            lost_middle: 3,
            examples: vec!["x".into(); 30],
            ..OracleResult::default()
        };
        let mut whole = part();
        whole.merge(part());
        assert_eq!((whole.total(), whole.lost(), whole.examples.len()), (6, 6, OracleResult::EXAMPLES));
    }
}
