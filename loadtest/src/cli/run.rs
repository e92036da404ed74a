//! `run`: very many connections in a scenario.

use anyhow::anyhow;
use clap::Args;
use enfilade_loadtest::scenario::Scenario;
use enfilade_loadtest::swarm::rounds::{Round, combine};

use super::Failure;
use super::subject::{Bench, SubjectArgs, brief};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How often; figures are the medians
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    subject: SubjectArgs,
}

pub(super) async fn run(args: RunArgs) -> Result<u8, Failure> {
    let RunArgs { rounds, mut subject } = args;
    let scenario = Scenario::new(subject.take_settings()?)?;
    let bench = Bench::new(&subject).await?;
    let mut all = Vec::new();
    for number in 1..=rounds {
        let server = bench.server(&scenario).await?;
        let floor = if subject.floor { Some(bench.floor(&scenario).await?) } else { None };
        if rounds > 1 {
            eprintln!("{number} of {rounds}: {}", brief(&server));
        }
        all.push(Round { server, floor });
    }
    let result = combine(all).ok_or_else(|| anyhow!("nothing was run"))?;
    subject.result.conclude(result, &scenario.thresholds)
}
