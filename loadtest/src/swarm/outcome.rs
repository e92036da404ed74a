//! What came of a run: its figures, and the verdict on them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use super::lead::{Judgement, Lead, Told};
use super::metrics::Counters;
use super::run::Subject;
use super::tally::Tally;
use super::times::{Class, Times};
use super::wire::{Counts, Speech};
use crate::clock::{MILLISECOND, Micros, SECOND};
use crate::result::{
    FORMAT, Fault, GeneratorUsage, LatencyResult, OracleResult, RunResult, ScenarioSummary, Second,
    ServerUsage, Verdict,
};
use crate::scenario::{Kind, Scenario};
use crate::usage::Usage;

/// A worker that is busier than this is the bottleneck itself.
const BUSY: f64 = 0.95;

/// The measured part.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub from: Micros,
    pub until: Micros,
    pub seconds: f64,
    /// What the servers had used at its beginning and its end.
    pub before: Usage,
    pub after: Usage,
    /// What the node counted meanwhile.
    pub counted: Counters,
    /// CPU of each worker.
    pub workers: Vec<Micros>,
}

/// What is known so far.
#[derive(Debug)]
pub struct Outcome<'a> {
    scenario: &'a Scenario,
    subject: &'a Subject,
    started: SystemTime,
    figures: BTreeMap<String, f64>,
    memory_before: u64,
    memory_after: u64,
    measured: Measured,
    judgement: Judgement,
    faults: Vec<Fault>,
}

impl<'a> Outcome<'a> {
    #[must_use]
    pub fn new(scenario: &'a Scenario, subject: &'a Subject, started: SystemTime) -> Self {
        Self {
            scenario,
            subject,
            started,
            figures: BTreeMap::new(),
            memory_before: 0,
            memory_after: 0,
            measured: Measured::default(),
            judgement: Judgement::default(),
            faults: Vec::new(),
        }
    }

    fn figure(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_owned(), value);
    }

    /// Everybody came in.
    pub fn gathered(&mut self, from: Micros, until: Micros, before: Usage, after: Usage) {
        let connections = self.scenario.connections() as f64;
        let seconds = until.saturating_sub(from) as f64 / SECOND as f64;
        self.figure("gather_seconds", seconds);
        self.figure("joins_per_second", connections / seconds.max(1e-6));
        (self.memory_before, self.memory_after) = (before.memory, after.memory);
        if !self.subject.pids.is_empty() {
            self.figure("join_cpu_us", after.cpu_seconds_since(before) * SECOND as f64 / connections);
            let grown = after.memory.saturating_sub(before.memory) as f64;
            self.figure("memory_per_connection_bytes", grown / connections);
        }
    }

    /// Everybody vanished and came back.
    pub fn stormed(&mut self, at: Micros, back: Micros, before: Usage, after: Usage, busiest: Micros) {
        let connections = self.scenario.connections() as f64;
        let seconds = back.saturating_sub(at) as f64 / SECOND as f64;
        self.figure("storm_seconds", seconds);
        self.figure("storm_busiest_worker_seconds", busiest as f64 / SECOND as f64);
        self.figure("rejoins_per_second", connections / seconds.max(1e-6));
        if !self.subject.pids.is_empty() {
            self.figure(
                "storm_cpu_us_per_connection",
                after.cpu_seconds_since(before) * SECOND as f64 / connections,
            );
        }
    }

    pub fn measured(&mut self, measured: Measured) {
        self.memory_after = self.memory_after.max(measured.after.memory);
        self.measured = measured;
    }

    pub fn judged(&mut self, judgement: Judgement) {
        self.judgement = judgement;
    }

    /// So many left and came back in the measured time.
    pub fn churned(&mut self, joined: u64) {
        self.figure("rejoins_per_second", joined as f64 / self.measured.seconds.max(1e-6));
        if !self.subject.pids.is_empty() {
            let cpu = self.measured.after.cpu_seconds_since(self.measured.before) * SECOND as f64;
            self.figure("churn_cpu_us_per_connection", cpu / (joined as f64).max(1.0));
        }
    }

    /// Some did not read from `stops` on. The seconds at both ends are left out: what was told in them is of both.
    pub fn slowed(&mut self, told: &BTreeMap<u64, Told>, measured: Micros, stops: Micros, until: Micros) {
        let p99 = |from: Micros, until: Micros| {
            let mut times = Times::default();
            let seconds = from / SECOND + 1..until / SECOND;
            told.range(seconds).for_each(|(_, told)| times.add(&told.times));
            milliseconds(&times, Class::Signal, 0.99)
        };
        let (before, during) = (p99(measured, stops), p99(stops, until));
        self.figure("signal_p99_before_ms", before);
        self.figure("signal_p99_during_ms", during);
        self.figure("signal_p99_during_to_before", during / before.max(1e-3));
        self.figure("lost_by_slow", self.judgement.deaf.lost() as f64);
        let seconds = |at: Micros| (at - measured) as f64 / SECOND as f64;
        let label = format!("{:.0} % stop reading", self.scenario.slow_share * 100.0);
        self.faults.push(Fault { from: seconds(stops), to: seconds(until), label });
    }

    pub(super) fn subject(&self) -> &Subject {
        self.subject
    }

    /// All of it.
    #[must_use]
    pub fn result(mut self, lead: &Lead) -> RunResult {
        let (counts, times) = lead.total();
        self.derive(&counts);
        let mut result = RunResult {
            format: FORMAT,
            scenario: self.summary(),
            servers: self.subject.targets.iter().map(ToString::to_string).collect(),
            started: humantime::format_rfc3339_seconds(self.started).to_string(),
            seconds: self.measured.seconds,
            counts: all_counts(&counts),
            oracle: oracle(&self.judgement.tally),
            latency: latency(&times, self.scenario.speech),
            series: self.series(lead.seconds()),
            generator: self.generator(lead, &times),
            server_usage: self.server_usage(lead),
            figures: std::mem::take(&mut self.figures),
            faults: std::mem::take(&mut self.faults),
            ..RunResult::default()
        };
        self.judge(&mut result, &counts, &times);
        if let Some(reason) = lead.hopeless() {
            result.blame(Verdict::Threshold, reason);
        }
        result
    }

    fn derive(&mut self, counts: &Counts) {
        let seconds = self.measured.seconds.max(1e-6);
        let cpu = self.measured.after.cpu_seconds_since(self.measured.before);
        let delivered = counts.deliveries_measured as f64;
        if !self.subject.pids.is_empty() {
            self.figure("server_cores", cpu / seconds);
        }
        for (name, grown) in self.measured.counted.clone() {
            self.figure(&format!("counted_{name}"), grown);
        }
        if counts.sent_measured == 0 {
            return;
        }
        self.figure("messages_per_second", counts.sent_measured as f64 / seconds);
        self.figure("deliveries_per_second", delivered / seconds);
        let listening =
            f64::from(self.scenario.members) - counts.deaf as f64 / f64::from(self.scenario.rooms);
        let expected = counts.sent_measured as f64 * listening;
        self.figure("delivered", delivered / expected);
        if cpu > 0.0 && !self.subject.pids.is_empty() {
            self.figure("deliveries_per_cpu_second", delivered / cpu);
        }
        self.figure("bytes_per_delivery", counts.bytes_received as f64 / (counts.deliveries as f64).max(1.0));
        self.figure("frames_known", counts.frames_known as f64 / (counts.frames as f64).max(1.0));
    }

    fn judge(&self, result: &mut RunResult, counts: &Counts, times: &Times) {
        let scenario = self.scenario;
        let Judgement { tally, deaf, complete } = &self.judgement;
        let (disorder, lost) = (tally.disorder() + deaf.disorder(), tally.lost());
        if disorder > 0 {
            result.blame(
                Verdict::Violated,
                format!("{disorder} messages came doubled, out of order, or from nowhere."),
            );
        }
        let delivered = result.figures.get("delivered").copied().unwrap_or(1.0);
        if lost > 0 && scenario.min_delivered >= 1.0 {
            result.blame(Verdict::Violated, format!("{lost} messages were lost."));
        } else if delivered < scenario.min_delivered {
            let reason = format!("Only {:.2} % of the messages arrived.", delivered * 100.0);
            result.blame(Verdict::Threshold, reason);
        }
        if !complete && lost == 0 {
            result.blame(Verdict::Threshold, "Some ops were not answered.");
        }
        let p99 = milliseconds(times, Class::Signal, 0.99);
        if let Some(max) = scenario.max_p99.filter(|max| p99 > max.0.as_secs_f64() * 1e3) {
            result.blame(Verdict::Threshold, format!("The 99th percentile is {p99:.1} ms, above {max}."));
        }
        let unexpected: u64 = counts.closed.values().sum();
        if unexpected > 0 && scenario.kind != Kind::Storm {
            result.blame(
                Verdict::Threshold,
                format!("{unexpected} connections were lost ({:?}).", counts.closed),
            );
        }
        self.judge_generator(result);
    }

    fn judge_generator(&self, result: &mut RunResult) {
        let lag = result.generator.lag_p99_ms;
        let busiest = self.busiest();
        let mut saturated = Vec::new();
        if lag > self.scenario.max_lag.0.as_secs_f64() * 1e3 {
            saturated.push(format!("The generator was late: {lag:.1} ms at the 99th percentile."));
        }
        if busiest > BUSY {
            saturated.push(format!("A worker used {:.0} % of its core.", busiest * 100.0));
        }
        for reason in saturated {
            if self.scenario.may_saturate {
                result.reasons.push(format!("{reason} The figures are lower bounds."));
            } else {
                result.blame(Verdict::Invalid, reason);
            }
        }
    }

    /// The share of a core that the busiest worker used.
    fn busiest(&self) -> f64 {
        let busiest = self.measured.workers.iter().max().copied().unwrap_or(0) as f64;
        busiest / SECOND as f64 / self.measured.seconds.max(1e-6)
    }

    fn summary(&self) -> ScenarioSummary {
        let parameters = match serde_json::to_value(self.scenario) {
            Ok(Value::Object(parameters)) => {
                let said_elsewhere = |name: &str| matches!(name, "kind" | "name" | "seed");
                parameters
                    .into_iter()
                    .filter(|(name, value)| !value.is_null() && !said_elsewhere(name))
                    .collect()
            }
            _ => BTreeMap::new(),
        };
        ScenarioSummary {
            name: self.scenario.name.clone(),
            kind: self.scenario.kind.as_str().to_owned(),
            parameters,
            seed: self.scenario.seed,
            ..ScenarioSummary::default()
        }
    }

    fn generator(&self, lead: &Lead, times: &Times) -> GeneratorUsage {
        let cpu = self.measured.workers.iter().sum::<Micros>() as f64 / SECOND as f64;
        GeneratorUsage {
            cpu_seconds: cpu,
            cores: cpu / self.measured.seconds.max(1e-6),
            memory_bytes: lead.memory(),
            lag_p99_ms: milliseconds(times, Class::Lag, 0.99),
            workers: self.scenario.workers,
        }
    }

    fn server_usage(&self, lead: &Lead) -> Vec<ServerUsage> {
        if self.subject.pids.is_empty() {
            return Vec::new();
        }
        let peak = lead.seconds().values().map(|told| told.server_memory).max().unwrap_or(0);
        let counted = |name: &str| self.measured.counted.get(name).map(|bytes| *bytes as u64);
        vec![ServerUsage {
            name: self.subject.targets.first().map(ToString::to_string).unwrap_or_default(),
            cpu_seconds: self.measured.after.cpu_seconds_since(self.measured.before),
            memory_before: self.memory_before,
            memory_peak: peak.max(self.memory_after),
            memory_after: self.memory_after,
            bytes_sent: counted("sent_bytes"),
            bytes_received: counted("received_bytes"),
        }]
    }

    /// The seconds that lie within the measured part.
    fn series(&self, told: &BTreeMap<u64, Told>) -> Vec<Second> {
        let (first, last) = (self.measured.from / SECOND, self.measured.until / SECOND);
        let mut before = told.range(..first).next_back().map_or(0, |(_, told)| told.server_cpu);
        let mut series = Vec::new();
        for (second, told) in told.range(first..=last) {
            let at = ((second + 1) * SECOND).saturating_sub(self.measured.from) as f64 / SECOND as f64;
            let cpu = told.server_cpu.saturating_sub(before) as f64 / SECOND as f64;
            before = told.server_cpu.max(before);
            series.push(Second {
                at,
                sent: told.counts.sent,
                delivered: told.counts.deliveries,
                connections: told.inside,
                latency: percentiles(&told.times, self.scenario.speech),
                server_cpu: cpu,
                server_memory: told.server_memory,
                generator_cpu: told.cpu as f64 / SECOND as f64,
            });
        }
        series
    }
}

fn milliseconds(times: &Times, class: Class, quantile: f64) -> f64 {
    times.of(class).value_at_quantile(quantile) as f64 / MILLISECOND as f64
}

fn percentiles(times: &Times, speech: Speech) -> BTreeMap<String, [f64; 2]> {
    let of = |class: Class| [0.5, 0.99].map(|quantile| milliseconds(times, class, quantile));
    let shown = Class::ALL.into_iter().filter(|class| !times.of(*class).is_empty());
    shown.map(|class| (class.name_of(speech).to_owned(), of(class))).collect()
}

fn latency(times: &Times, speech: Speech) -> BTreeMap<String, LatencyResult> {
    let measured =
        Class::ALL.into_iter().filter(|class| *class != Class::SignalRaw && !times.of(*class).is_empty());
    let result = |class: Class| {
        let raw = (class == Class::Signal).then(|| times.of(Class::SignalRaw));
        (class.name_of(speech).to_owned(), LatencyResult::of(times.of(class), raw))
    };
    measured.map(result).collect()
}

fn all_counts(counts: &Counts) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> =
        counts.named().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    all.extend(counts.refused.iter().map(|(code, count)| (format!("refused_{code}"), *count)));
    all.extend(
        counts.closed.iter().map(|(why, count)| (format!("closed_{}", why.replace(' ', "_")), *count)),
    );
    all
}

fn oracle(tally: &Tally) -> OracleResult {
    let violations = tally.named().into_iter().filter(|(_, count)| *count > 0);
    OracleResult {
        violations: violations.map(|(name, count)| (name.to_owned(), count)).collect(),
        lost_prefix: tally.lost_prefix,
        lost_middle: tally.lost_middle,
        lost_postfix: tally.lost_postfix,
        examples: tally.examples.clone(),
    }
}
