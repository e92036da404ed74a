//! Holds the model against runs: what they asked for is the demand, what they measured has to be what the model says, within a
//! factor.
//!
//! Runs of one node with SQLite: they are what one machine can measure. What a run did not measure is not judged.

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::Needs;
use super::constants::Constants;
use super::demand::{Database, Demand, InvalidDemand};
use super::traffic::Traffic;
use crate::result::RunResult;
use crate::scenario::CodecName;
use crate::swarm::wire::{Arrivals, Speech};

/// With fewer connections than these, what a process takes in pages hides what a connection takes.
const MEMORY_CONNECTIONS: f64 = 1_000.0;
/// The kernel tells hundredths of a second of CPU.
const CPU_SECONDS: f64 = 0.5;
/// Deliveries of a room that come at once wait so long for each other, so many times; then a tick.
const GAP: f64 = 0.002;
const SAVED: f64 = 4.0;

/// How far prediction and measurement may be apart, either way.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// How many times more or less memory may be than predicted
    #[arg(long, value_name = "FACTOR", default_value_t = 1.3)]
    pub memory_factor: f64,
    /// The same for bytes and deliveries
    #[arg(long, value_name = "FACTOR", default_value_t = 1.25)]
    pub byte_factor: f64,
    /// The same for writes, which depend on how events fall together
    #[arg(long, value_name = "FACTOR", default_value_t = 1.5)]
    pub write_factor: f64,
    /// The same for commits, which also depend on how long one takes
    #[arg(long, value_name = "FACTOR", default_value_t = 2.5)]
    pub commit_factor: f64,
    /// The same for CPU, which depends on the machine
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    pub cpu_factor: f64,
}

/// A figure that was both predicted and measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub figure: &'static str,
    pub predicted: f64,
    pub measured: f64,
    pub factor: f64,
}

impl Comparison {
    /// Predicted ÷ measured.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.predicted / self.measured
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        (1.0 / self.factor..=self.factor).contains(&self.ratio())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("runs of the kind {0:?} are not predicted; take idle, fanout, rooms or audience")]
    Kind(String),
    #[error("its parameters are not those of a run: {0}")]
    Parameters(#[from] serde_json::Error),
    #[error(transparent)]
    Demand(#[from] InvalidDemand),
    #[error("it was measured on {0} servers; only one is predicted")]
    Servers(usize),
    #[error("it measured nothing that is predicted: give the run the server's --pid and --metrics")]
    Nothing,
}

/// What a run was asked for.
#[derive(Debug, Deserialize)]
struct Parameters {
    members: f64,
    rooms: f64,
    speakers: f64,
    rate: f64,
    speech: Speech,
    arrivals: Arrivals,
    payload: f64,
    codec: CodecName,
    audience: bool,
    #[serde(default)]
    people: Option<String>,
}

impl Parameters {
    fn demand(&self) -> Demand {
        let (ops, signals) = match self.speech {
            Speech::Ops => (self.rate, 0.0),
            Speech::Signals => (0.0, self.rate),
        };
        Demand {
            audience: if self.audience { 1.0 - self.speakers / self.members } else { 0.0 },
            signed_in: if self.people.is_some() { 1.0 } else { 0.0 },
            ops,
            signals,
            together: self.together(),
            payload: self.payload,
            codec: self.codec,
            database: Database::Sqlite,
            ..Demand::idle(self.members * self.rooms, self.members)
        }
    }

    /// The speakers of a room speak one after the other, and then those of the next.
    fn together(&self) -> f64 {
        if self.rooms < 2.0 || self.rate == 0.0 || self.arrivals == Arrivals::Poisson {
            return 1.0;
        }
        let lasts = self.speakers / self.rate;
        let writes =
            (1.0 + lasts / GAP).min(SAVED + lasts / Constants::MEASURED.member_tick).min(self.speakers);
        self.speakers / writes
    }
}

/// The demand that a run was.
///
/// # Errors
/// When it was none that is predicted.
pub fn demand(result: &RunResult) -> Result<Demand, CheckError> {
    if !["idle", "fanout", "rooms", "audience"].contains(&result.scenario.kind.as_str()) {
        return Err(CheckError::Kind(result.scenario.kind.clone()));
    }
    if result.servers.len() != 1 {
        return Err(CheckError::Servers(result.servers.len()));
    }
    let parameters = Value::Object(result.scenario.parameters.clone().into_iter().collect());
    let demand = serde_json::from_value::<Parameters>(parameters)?.demand();
    demand.check()?;
    Ok(demand)
}

/// # Errors
/// When it is no run that is predicted, or measured nothing that is.
pub fn check(
    result: &RunResult,
    constants: &Constants,
    tolerance: &Tolerance,
) -> Result<Vec<Comparison>, CheckError> {
    let demand = demand(result)?;
    let (needs, traffic) = (Needs::of(&demand, 1, constants), Traffic::of(&demand, 1, constants));
    let mut comparisons = Vec::new();
    let mut compare = |figure, predicted: f64, measured: Option<f64>, factor| {
        let measured = measured.filter(|measured| *measured > 0.0 && predicted > 0.0);
        comparisons.extend(measured.map(|measured| Comparison { figure, predicted, measured, factor }));
    };
    let in_all = |each_second: f64| each_second * result.seconds;
    let figure = |name: &str| result.figures.get(name).copied();

    // Elsewhere what was there before is not known: other kinds do not wait for the node to come to rest.
    if result.scenario.kind == "idle" && demand.connections >= MEMORY_CONNECTIONS {
        let memory = (needs.user_memory - constants.node_memory) / demand.connections;
        compare(
            "memory per connection",
            memory,
            figure("memory_per_connection_bytes"),
            tolerance.memory_factor,
        );
    }
    // Within one interval of pings some have none.
    if result.scenario.kind != "idle" || result.seconds >= constants.ping_interval {
        let usage = result.server_usage.first();
        let sent = usage.and_then(|usage| usage.bytes_sent).map(|bytes| bytes as f64);
        let received = usage.and_then(|usage| usage.bytes_received).map(|bytes| bytes as f64);
        compare("bytes sent", in_all(traffic.bytes_out), sent, tolerance.byte_factor);
        compare("bytes received", in_all(traffic.bytes_in), received, tolerance.byte_factor);
    }
    let delivered = Some(result.count("deliveries_measured") as f64);
    compare("deliveries", in_all(traffic.deliveries), delivered, tolerance.byte_factor);
    compare("writes", in_all(traffic.writes), figure("counted_deliveries"), tolerance.write_factor);
    if demand.ops > 0.0 {
        compare("commits", in_all(needs.commits), figure("counted_commits"), tolerance.commit_factor);
    }
    let cpu = result.server_usage.first().map(|usage| usage.cpu_seconds).filter(|cpu| *cpu >= CPU_SECONDS);
    compare("CPU seconds", in_all(needs.cores()), cpu, tolerance.cpu_factor);
    if comparisons.is_empty() { Err(CheckError::Nothing) } else { Ok(comparisons) }
}
