//! Takes a row through one round: servers, loads, and the readings that came of them.

use std::ffi::OsString;
use std::path::PathBuf;

use enfilade_loadtest::result::{RunResult, Verdict};
use enfilade_loadtest::threshold::Figures as _;

use super::book::Round;
use super::histogram;
use super::load::{Load, Server, Subject};
use super::row::{How, Row, Shot};
use super::stage::{MeasureError, NODE_FLAGS, Opened, Stage};
use crate::admin;
use crate::cluster::{Cluster, Network, Plan, Ports, Shape, temporary_folder};
use crate::faults::compare;
use crate::faults::load::Crowd;
use crate::faults::report::Measured;
use crate::faults::trial;

/// Readings that are kept of every shot, beside those that lines are made of: they explain the others.
const KEPT: [&str; 9] = [
    "deliveries_per_cpu_second",
    "deliveries_per_second",
    "delivered",
    "server_cores",
    "signal.p99",
    "each.p99",
    "ack.p99",
    "generator.cores",
    "generator.lag_p99_ms",
];
/// What a node's commits took, in `/metrics`.
const COMMITS: &str = "enfilade_commit_seconds";
const SAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../loadtest/samples/house-and-garden.enfilade.ndjson");
/// Who replays it.
const CLIENTS: usize = 200;
const ROOMS: usize = 20;

/// Plays a row from round to round.
#[derive(Debug)]
pub struct Player<'a> {
    stage: &'a mut Stage,
    row: &'a Row,
    rounds: u32,
    /// What searches found in earlier rounds, by shot: the next one begins near there.
    found: Vec<(&'static str, f64)>,
}

impl<'a> Player<'a> {
    #[must_use]
    pub fn new(stage: &'a mut Stage, row: &'a Row) -> Self {
        Self { stage, row, rounds: 0, found: Vec::new() }
    }

    /// The next round.
    pub async fn round(&mut self) -> Round {
        let mut round = Round::default();
        let row = self.row;
        let played = match &row.how {
            How::Shots(shots) => self.shots(shots, &mut round).await,
            How::HalfLoad { search, half } => self.half_load(search, half, &mut round).await,
            How::Owner(loads) => self.owner(loads, &mut round).await,
            How::Recording => self.recording(&mut round).await,
            How::Sum => Ok(()),
        };
        round.failed = played.err().map(|error| error.to_string());
        self.rounds += 1;
        round
    }

    async fn shots(&mut self, shots: &[Shot], round: &mut Round) -> Result<(), MeasureError> {
        let mut shots: Vec<&Shot> = shots.iter().collect();
        // Whatever changes slowly on the machine is to the advantage of each in turn.
        if self.rounds % 2 == 1 {
            shots.reverse();
        }
        for shot in shots {
            let load = self.resumed(shot.name, &shot.load);
            let server = self.stage.open(shot.on, &load).await?;
            let result = self.stage.take(&load, &server).await?;
            self.note(shot.name, shot.on.server, &load, &result, round);
        }
        Ok(())
    }

    /// A search begins near where the last one ended.
    fn resumed(&self, shot: &str, load: &Load) -> Load {
        let load = self.stage.sized(load);
        let found = self.found.iter().rev().find(|(name, _)| *name == shot);
        found.map_or(load.clone(), |(_, rate)| load.after(*rate))
    }

    fn note(
        &mut self,
        shot: &'static str,
        server: Server,
        load: &Load,
        result: &RunResult,
        round: &mut Round,
    ) {
        self.found.extend(result.figures.get("highest_rate").map(|rate| (shot, *rate)));
        let of_shot = |reading: &'static str| reading.strip_prefix(shot)?.strip_prefix('.');
        let wanted = self.row.lines.iter().flat_map(|line| line.figure.readings()).filter_map(of_shot);
        for name in wanted.chain(KEPT) {
            round.readings.extend(result.figure(name).map(|value| (format!("{shot}.{name}"), value)));
        }
        absorb(shot, server, load, result, round);
    }

    async fn half_load(&mut self, search: &Load, half: &Load, round: &mut Round) -> Result<(), MeasureError> {
        let on = Subject { server: Server::Node, pinned: false };
        if self.found.is_empty() {
            let load = self.stage.sized(search);
            let server = self.stage.open(on, &load).await?;
            let result = self.stage.take(&load, &server).await?;
            self.note("search", Server::Node, &load, &result, round);
        }
        let highest = self.found.first().map(|(_, rate)| *rate);
        let highest = highest.ok_or(MeasureError::Nothing("no rate of ops holds"))?;
        let load = self.stage.sized(&half.clone().rate(highest / 2.0));
        let server = self.stage.open(on, &load).await?;
        let result = self.stage.take(&load, &server).await?;
        self.note("half", Server::Node, &load, &result, round);
        let commits = commit_p99_ms(&server).await?;
        round.readings.extend(commits.map(|ms| ("commit.p99".to_owned(), ms)));
        Ok(())
    }

    async fn owner(&mut self, loads: &[(&'static str, Load)], round: &mut Round) -> Result<(), MeasureError> {
        let folder = temporary_folder()?;
        let mut cluster = Cluster::start(&self.plan(folder.path().to_owned())?).await?;
        let (host, edge) = match cluster.nodes.as_mut_slice() {
            [host, edge] => (host.process().map(|process| process.pid()), edge.url()),
            _ => (None, String::new()),
        };
        let host = host.ok_or(MeasureError::Nothing("the owner does not run"))?;
        let server = Opened::elsewhere(edge, vec![host]);
        for (name, load) in loads {
            let load = self.stage.sized(load);
            let result = self.stage.take(&load, &server).await?;
            self.note(name, Server::Node, &load, &result, round);
            let cpu_us = result.figure("server.cpu_seconds").unwrap_or_default() * 1e6;
            let ops = result.count("sent_measured");
            if ops > 0 {
                round.readings.insert(format!("{name}.cpu_us_per_op"), cpu_us / ops as f64);
            }
            round.readings.insert(format!("{name}.cpu_us_per_second"), cpu_us / result.seconds);
        }
        Ok(())
    }

    /// The first node owns every room, the second has every connection.
    fn plan(&self, folder: PathBuf) -> Result<Plan, MeasureError> {
        Ok(Plan {
            binary: self.stage.programs.node.clone(),
            folder,
            ports: Ports::free(2)?,
            shape: Shape::Together,
            network: Network::Direct,
            drain_seconds: 1,
            disk_megabytes: None,
            memory_groups: false,
            roles: vec!["host".into(), "edge".into()],
            flags: NODE_FLAGS.map(OsString::from).to_vec(),
        })
    }

    async fn recording(&mut self, round: &mut Round) -> Result<(), MeasureError> {
        let (clients, rooms) = if self.stage.quick { (10, 2) } else { (CLIENTS, ROOMS) };
        let crowd = Crowd { session: SAMPLE.into(), clients, rooms, speed: 1.0, lasts: None };
        let stage = trial::Stage {
            binary: self.stage.programs.node.clone(),
            previous: None,
            session: crowd.session.clone(),
            clients,
            rooms,
            speed: crowd.speed,
            patience: 1.0,
        };
        let compared = compare::run(&stage, &crowd).await?;
        for (name, measured) in [("single", &compared.single), ("cluster", &compared.cluster)] {
            replayed(name, measured, round);
        }
        Ok(())
    }
}

/// What is to be said of a run beside its figures.
fn absorb(shot: &str, server: Server, load: &Load, result: &RunResult, round: &mut Round) {
    let told = || result.reasons.iter().map(|reason| format!("{shot}: {reason}"));
    match result.verdict {
        Verdict::Invalid => round.invalid.extend(told()),
        _ => round.remarks.extend(told()),
    }
    // What the floor loses is its own affair.
    if server == Server::Node {
        round.violations += result.oracle.total();
        round.lost_joins += load.joins().saturating_sub(result.count("joined"));
    }
}

fn replayed(name: &str, measured: &Measured, round: &mut Round) {
    let wrong = &measured.figures.wrong;
    round.violations += wrong.len() as u64;
    round.remarks.extend(wrong.iter().map(|what| format!("{name}: {what}")));
    round.readings.insert(format!("{name}.wrong"), wrong.len() as f64);
    round.readings.extend(measured.ack().map(|ack| (format!("{name}.ack.p99"), ack.p99)));
}

async fn commit_p99_ms(server: &Opened) -> Result<Option<f64>, MeasureError> {
    let Some(node) = &server.node else { return Ok(None) };
    let metrics = admin::get(node.settings.admin, "/metrics").await?;
    Ok(histogram::quantile(&metrics.body, COMMITS, 0.99).map(|seconds| seconds * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_lost_counts_and_what_a_floor_lost_does_not() {
        let load = Load::run("fanout", 1, 10);
        let mut result = RunResult::default();
        result.counts.insert("joined".into(), 9);
        result.oracle.violations.insert("lost".into(), 3);
        result.blame(Verdict::Violated, "3 messages were lost.");
        let mut round = Round::default();
        absorb("floor", Server::Floor, &load, &result, &mut round);
        assert_eq!((round.violations, round.lost_joins), (0, 0));
        absorb("node", Server::Node, &load, &result, &mut round);
        assert_eq!((round.violations, round.lost_joins), (3, 1));
        assert_eq!(round.remarks, ["floor: 3 messages were lost.", "node: 3 messages were lost."]);
        assert!(round.invalid.is_empty());
        result.verdict = Verdict::Invalid;
        absorb("node", Server::Node, &load, &result, &mut round);
        assert_eq!(round.invalid, ["node: 3 messages were lost."]);
    }
}
