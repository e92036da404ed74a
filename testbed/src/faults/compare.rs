//! The same replay on three nodes and on one, both behind HAProxy: what the cluster costs.

use enfilade_loadtest::result::RunResult;

use super::inject::Done;
use super::load::Crowd;
use super::marks::Marks;
use super::measure::{Spread, Window};
use super::report::{self, Comparison, Figures, Measured};
use super::trial::{self, Outcome, Scenery, Stage, Theatre, TrialError};
use crate::cluster::{Network, Shape};

/// What is called in the table what takes an op until it is acknowledged.
pub const ACK: &str = "op → on disk and acknowledged";

/// What the load tester measures, and what it is called in the table.
const CLASSES: [(&str, &str); 6] = [
    ("join", "join → joined"),
    ("ack", ACK),
    ("median", "op → visible to the median of the others"),
    ("last", "op → visible to the last of the others"),
    ("signal", "signal → visible to each of the others"),
    ("lag", "the generator's own lag"),
];

/// # Errors
/// When one of the two could not be run to its end.
pub async fn run(stage: &Stage, crowd: &Crowd) -> Result<Comparison, TrialError> {
    let single = measure(stage, crowd, Shape::Alone).await?;
    let cluster = measure(stage, crowd, Shape::Together).await?;
    let what = format!(
        "{} clients in {} rooms replay `{}` at {} times its speed through HAProxy, without faults. Load tester, servers and load \
         balancer share the machine.",
        crowd.clients,
        crowd.rooms,
        crowd.session.file_name().unwrap_or_default().to_string_lossy(),
        crowd.speed,
    );
    Ok(Comparison { what, cluster, single })
}

async fn measure(stage: &Stage, crowd: &Crowd, shape: Shape) -> Result<Measured, TrialError> {
    let theatre = Theatre::open(stage, Scenery::plain(shape, Network::Direct)).await?;
    let result = play(stage, crowd, &theatre).await;
    let clean = result.as_ref().is_ok_and(|measured| measured.figures.wrong.is_empty());
    theatre.close((!clean).then_some("comparison")).await;
    result
}

async fn play(stage: &Stage, crowd: &Crowd, theatre: &Theatre) -> Result<Measured, TrialError> {
    let (load, _) = theatre.fill(crowd).await?;
    let (replayed, journal) = load.finish().await?;
    let marks = Marks::create(&theatre.folder.path().join("marks.ndjson"))?;
    let audit = theatre.audit(&stage.binary, &journal, &marks).await?;
    // Nothing is broken: everything that happened counts.
    let felt = trial::observe(&journal, Window { to: u64::MAX, ..Window::default() })?;
    let latency = latency(&replayed);
    let outcome =
        Outcome { replayed, audit, felt, legs: Vec::new(), done: Done::default(), patience: stage.patience };
    let wrong = report::judge_delivery(&outcome);
    Ok(Measured { figures: Figures::of(&outcome, wrong), latency })
}

fn latency(replayed: &RunResult) -> Vec<(String, Spread)> {
    let spread = |class: &str| {
        let times = replayed.latency.get(class)?.corrected;
        Some(Spread { count: times.count as usize, p50: times.p50, p99: times.p99, max: times.max })
    };
    CLASSES.iter().filter_map(|(class, name)| Some(((*name).to_owned(), spread(class)?))).collect()
}

#[cfg(test)]
mod tests {
    use enfilade_loadtest::result::{LatencyResult, Percentiles};

    use super::*;

    #[test]
    fn what_was_measured_is_found_by_its_name() {
        let corrected = Percentiles { count: 7, p50: 1.0, p99: 2.0, max: 3.0, ..Percentiles::default() };
        let ack = LatencyResult { corrected, ..LatencyResult::default() };
        let replayed = RunResult { latency: [("ack".to_owned(), ack)].into(), ..RunResult::default() };
        let expected = Spread { count: 7, p50: 1.0, p99: 2.0, max: 3.0 };
        assert_eq!(latency(&replayed), [(ACK.to_owned(), expected)]);
    }
}
