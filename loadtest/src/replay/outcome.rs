//! What a replay found, in the types of the parts that found it; [`Outcome::result`] makes of it what is written and shown.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::seconds::Seconds;
use crate::crowd::Crowd;
use crate::latency::{Latencies, NodeTimes};
use crate::oracle::{Kind, Violations};
use crate::replica::StateHash;
use crate::report::text;
use crate::result::{
    FORMAT, GeneratorUsage, LatencyResult, NodeResult, OracleResult, RoomResult, RunResult, ScenarioSummary,
    ServerUsage, Verdict,
};
use crate::room::Counts;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Setup {
    pub servers: Vec<String>,
    pub title: Option<String>,
    pub people: usize,
    pub clones: usize,
    pub rooms: usize,
    pub speed: f64,
    pub codec: &'static str,
    pub seed: u64,
    pub crowd: Crowd,
    pub max_lag_ms: f64,
}

/// How a room was left.
#[derive(Clone, Debug)]
pub struct RoomState {
    pub room: String,
    pub seq: u64,
    pub state_hash: StateHash,
}

/// What the generator itself used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    /// Seconds of CPU during the run, both modes.
    pub cpu_seconds: f64,
    /// The most that it ever had.
    pub memory_bytes: u64,
    /// The share of frames that equalled one read before.
    pub frames_shared: f64,
}

#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Verdict,
    pub setup: Setup,
    /// RFC 3339.
    pub started: String,
    /// From the start of the clock to the last op everywhere.
    pub seconds: f64,
    pub counts: Counts,
    pub times: Latencies,
    pub violations: Violations,
    pub rooms: Vec<RoomState>,
    pub series: Seconds,
    pub generator: Generator,
    pub servers: Vec<ServerUsage>,
    /// None of them ended, so that what they used is all that was used.
    pub servers_stayed: bool,
    /// Why it was ended before everything was played.
    pub hopeless: Option<String>,
    /// Cut short by whoever ran it.
    pub interrupted: bool,
}

impl Outcome {
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

    /// The form that all runs have in common.
    #[must_use]
    pub fn result(&self) -> RunResult {
        let counts = self.counts.by_name();
        let mut result = RunResult {
            format: FORMAT,
            scenario: self.setup.summary(),
            servers: self.setup.servers.clone(),
            started: self.started.clone(),
            seconds: self.seconds,
            verdict: self.verdict,
            interrupted: self.interrupted,
            reasons: self.reasons(),
            oracle: oracle(&self.violations),
            latency: latency(&self.times),
            series: self.series.seconds().to_vec(),
            generator: self.generator(),
            server_usage: self.servers.clone(),
            nodes: self.times.nodes().iter().map(|(name, times)| (name.clone(), node(times))).collect(),
            rooms: self.rooms.iter().map(RoomState::result).collect(),
            ..RunResult::default()
        };
        let rates = ["sent", "deliveries", "ops_accepted"].map(|name| {
            (format!("{name}_per_second"), result.per_second(counts.get(name).copied().unwrap_or(0)))
        });
        result.figures.extend(rates);
        result.figures.insert("frames_shared".into(), self.generator.frames_shared);
        let server_cpu: f64 = self.servers.iter().map(|server| server.cpu_seconds).sum();
        if self.servers_stayed && server_cpu > 0.0 {
            let per_cpu_second = self.counts.delivered() as f64 / server_cpu;
            result.figures.insert("deliveries_per_cpu_second".into(), per_cpu_second);
        }
        result.counts = counts;
        result
    }

    fn reasons(&self) -> Vec<String> {
        let (violations, refused) = (self.violations.total(), self.counts.ops_refused_total());
        let late = self.times.lag.percentile(99.0) > self.setup.max_lag_ms;
        [
            self.hopeless.clone(),
            (violations > 0).then(|| format!("The oracle found {violations} violations.")),
            late.then(|| {
                format!("The generator was late: its lag (p99) is above {} ms.", self.setup.max_lag_ms)
            }),
            (refused > 0).then(|| format!("{refused} ops were refused for good.")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn generator(&self) -> GeneratorUsage {
        let Generator { cpu_seconds, memory_bytes, .. } = self.generator;
        GeneratorUsage {
            cpu_seconds,
            cores: cpu_seconds / self.seconds.max(0.001),
            memory_bytes,
            lag_p99_ms: self.times.lag.percentile(99.0),
            workers: 1,
        }
    }
}

impl Setup {
    fn summary(&self) -> ScenarioSummary {
        let parameters = [
            ("people", json!(self.people)),
            ("clones", json!(self.clones)),
            ("rooms", json!(self.rooms)),
            ("speed", json!(self.speed)),
            ("codec", json!(self.codec)),
            ("max_lag_ms", json!(self.max_lag_ms)),
        ];
        ScenarioSummary {
            name: self.title.clone().unwrap_or_else(|| "A session".into()),
            kind: "replay".into(),
            parameters: parameters
                .into_iter()
                .chain(self.crowd.parameters())
                .map(|(name, value): (&str, Value)| (name.into(), value))
                .collect(),
            seed: self.seed,
            command: String::new(),
        }
    }
}

impl RoomState {
    fn result(&self) -> RoomResult {
        RoomResult { room: self.room.clone(), seq: self.seq, state_hash: self.state_hash.to_string() }
    }
}

/// Gaps and ops that some never saw are losses; every kind is among the violations besides.
fn oracle(violations: &Violations) -> OracleResult {
    let example = |violation: &crate::oracle::Violation| format!("{}: {}", violation.kind, violation.detail);
    OracleResult {
        violations: violations.counts.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        lost_prefix: 0,
        lost_middle: violations.count(Kind::Gap),
        lost_postfix: violations.count(Kind::Behind) + violations.count(Kind::LostOp),
        examples: violations.first.iter().take(OracleResult::EXAMPLES).map(example).collect(),
    }
}

fn latency(times: &Latencies) -> BTreeMap<String, LatencyResult> {
    let measured = times.classes().into_iter().filter(|(_, times)| times.count() > 0);
    measured.map(|(name, times)| (name.to_owned(), LatencyResult::of(times.histogram(), None))).collect()
}

fn node(NodeTimes { connections, accepted }: &NodeTimes) -> NodeResult {
    NodeResult {
        connections: *connections,
        ops_accepted: accepted.count(),
        accepted_p50_ms: accepted.percentile(50.0),
        accepted_p99_ms: accepted.percentile(99.0),
        accepted_max_ms: accepted.max(),
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::render(&self.result()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html;

    fn outcome() -> Outcome {
        Outcome {
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
                crowd: Crowd::default(),
                max_lag_ms: 20.0,
            },
            started: String::new(),
            seconds: 2.0,
            counts: Counts { ops_accepted: 10, ..Counts::default() },
            times: Latencies::default(),
            violations: Violations::default(),
            rooms: vec![],
            series: Seconds::default(),
            generator: Generator::default(),
            servers: vec![],
            servers_stayed: true,
            hopeless: None,
            interrupted: false,
        }
    }

    #[test]
    fn the_worst_finding_decides() {
        let mut violations = Violations::default();
        let mut counts = Counts::default();
        let mut times = Latencies::default();
        let verdict = |v: &Violations, c: &Counts, t: &Latencies| Outcome::verdict(v, c, t, 20.0);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Held);
        counts.ops_refused.insert("forbidden".into(), 1);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Threshold);
        times.lag.record(30_000);
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Invalid);
        violations.add(Kind::Gap, || "x".into());
        assert_eq!(verdict(&violations, &counts, &times), Verdict::Violated);
    }

    #[test]
    fn what_a_crowd_was_and_did_is_told() {
        let mut outcome = outcome();
        outcome.setup.crowd = Crowd { churn: 5.0, slow: 0.1, ..Crowd::default() };
        let Counts { absences, successions, ops_abandoned, .. } = &mut outcome.counts;
        (*absences, *successions, *ops_abandoned) = (41, 42, 43);
        let result = outcome.result();
        let told = ["absences", "successions", "ops_abandoned"].map(|name| result.count(name));
        assert_eq!(told, [41, 42, 43]);
        let parameters = &result.scenario.parameters;
        assert_eq!((&parameters["churn_per_minute"], &parameters["slow"]), (&json!(5.0), &json!(0.1)));
        assert!(!parameters.contains_key("mobile"), "{parameters:?}");
        let (text, page) = (text::render(&result), html::render(&result));
        for count in ["41", "42", "43"] {
            assert!(text.contains(&format!(" {count} ")) && page.contains(&format!(">{count}<")), "{text}");
        }
    }

    #[test]
    fn the_text_and_the_result_say_the_same() {
        let mut outcome = outcome();
        outcome.times.accepted.record(5_000);
        outcome.violations.add(Kind::LostOp, || "op 3".into());
        let text = outcome.to_string();
        assert!(
            text.contains("10 accepted (5.0/s)") && text.contains("1 lost_op") && text.contains("op 3"),
            "{text}"
        );
        let result = outcome.result();
        assert_eq!(result.oracle.violations["lost_op"], 1);
        assert_eq!(result.oracle.lost(), 1);
        assert_eq!(result.latency["ack"].corrected.count, 1);
        assert_eq!((result.count("ops_accepted"), result.figures["ops_accepted_per_second"]), (10, 5.0));
    }
}
