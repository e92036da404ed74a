//! The owner killed again and again in one cluster under one load: how long its rooms stand still, and whether anybody else
//! notices.

use std::io;
use std::time::Duration;

use enfilade_loadtest::checker::Invariant;
use enfilade_loadtest::journal::Phase;

use super::catalogue::Fault;
use super::inject::{Done, Tormentor};
use super::load::Crowd;
use super::marks::Marks;
use super::measure::Window;
use super::report::{self, Failover, Figures};
use super::trial::{self, Outcome, Scenery, Stage, Theatre, TrialError};

/// From one kill to the next, at most: the node is down, starts, and gets its share back.
const ROUND: Duration = Duration::from_secs(12);
/// For the cluster to share its rooms again among all nodes.
const SHARE: Duration = Duration::from_secs(4);

/// # Errors
/// When it could not be run to its end.
pub async fn run(stage: &Stage, fault: &Fault, times: u32) -> Result<Failover, TrialError> {
    let mut theatre = Theatre::open(stage, Scenery::plain(fault.shape(), fault.network())).await?;
    let result = play(stage, fault, times, &mut theatre).await;
    let clean = result.as_ref().is_ok_and(|failover| failover.figures.wrong.is_empty());
    theatre.close((!clean).then_some("failover")).await;
    result
}

async fn play(
    stage: &Stage,
    fault: &Fault,
    times: u32,
    theatre: &mut Theatre,
) -> Result<Failover, TrialError> {
    let crowd = Crowd {
        session: stage.session.clone(),
        clients: stage.clients,
        rooms: stage.rooms,
        speed: stage.speed,
        lasts: Some(ROUND * times),
    };
    let (load, progress) = theatre.fill(&crowd).await?;
    let room = *progress.rooms.first().ok_or_else(|| io::Error::other("the crowd has no room"))?;
    let mut marks = Marks::create(&theatre.folder.path().join("marks.ndjson"))?;
    let mut dones = Vec::new();
    for _ in 0..times {
        tokio::time::sleep(SHARE).await;
        let tormentor = Tormentor::new(&mut theatre.cluster, &mut marks, room, stage);
        dones.push(tormentor.perform(fault).await?);
    }
    let (replayed, journal) = load.finish().await?;
    let audit = theatre.audit(&stage.binary, &journal, &marks).await?;
    let mut failover = Failover::default();
    for window in windows(&marks, &dones) {
        let felt = trial::observe(&journal, window)?;
        failover.reconnected += felt.lost;
        failover.bystanders += felt.bystanders_lost;
    }
    let recoveries = audit.of(Invariant::I11).map_or(&[][..], |outcome| &outcome.recoveries);
    failover.stood_ms = recoveries.iter().map(|recovery| recovery.max_ms).collect();
    // Over all of it, whoever was struck at some time is no bystander.
    let all = Done {
        struck: dones.iter().flat_map(|done| done.struck.clone()).collect(),
        restarts: dones.iter().map(|done| done.restarts).sum(),
        ..Done::default()
    };
    let felt = trial::observe(&journal, trial::window(&marks, &all))?;
    let outcome = Outcome { replayed, audit, felt, legs: Vec::new(), done: all, patience: stage.patience };
    let mut wrong = report::judge_delivery(&outcome);
    wrong.extend(report::judge_waits(fault, &outcome));
    if failover.bystanders > 0 {
        wrong.push(format!("{} clients of other nodes lost their connection", failover.bystanders));
    }
    failover.figures = Figures::of(&outcome, wrong);
    Ok(failover)
}

/// One window per kill, each to the next.
fn windows(marks: &Marks, dones: &[Done]) -> Vec<Window> {
    let at =
        |phase| marks.all().iter().filter(move |mark| mark.phase == phase).map(|mark| (mark.at * 1e3) as u64);
    let ends = at(Phase::Inject).skip(1).map(|next| next - 1).chain(at(Phase::Heal).next_back());
    let windows = at(Phase::Inject).zip(ends).zip(dones);
    windows.map(|((from, to), done)| Window { from, to, struck: done.struck.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_has_a_window_up_to_the_next_and_its_own_victim() {
        let folder = tempfile::tempdir().unwrap();
        let mut marks = Marks::create(&folder.path().join("marks")).unwrap();
        for _ in 0..2 {
            marks.inject("kill", Duration::from_secs(1)).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            marks.heal("kill").unwrap();
        }
        let done = |name: &str| Done { struck: [name.to_owned()].into(), ..Done::default() };
        let windows = windows(&marks, &[done("a"), done("b")]);
        assert_eq!(windows.len(), 2);
        assert!(windows[0].from < windows[0].to && windows[0].to < windows[1].from);
        assert!(windows[1].from < windows[1].to);
        assert!(windows[0].struck.contains("a") && windows[1].struck.contains("b"));
    }
}
