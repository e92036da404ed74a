//! `capacity`: what so many people need, and whether that is what runs measured.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use enfilade_loadtest::capacity::check::{Comparison, Tolerance, check};
use enfilade_loadtest::capacity::{Constants, Demand, Limits, Plan, text};
use enfilade_loadtest::result::Verdict;

use super::report::read;
use super::{Failure, files};

#[derive(Debug, Subcommand)]
pub(super) enum Capacity {
    /// Say what so many connections, rooms and ops need, and what breaks first
    Plan(Box<PlanArgs>),
    /// Hold the model against results of runs: exit code 1 if it is further off than it may be
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    demand: Demand,
    #[command(flatten)]
    limits: Limits,
    /// Write the plan as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// What runs of a single node wrote with `--json`, measured with --pid and --metrics
    #[arg(value_name = "RESULT", required = true)]
    results: Vec<PathBuf>,
    #[command(flatten)]
    tolerance: Tolerance,
}

pub(super) fn run(command: Capacity) -> Result<u8, Failure> {
    match command {
        Capacity::Plan(args) => plan(*args),
        Capacity::Check(args) => check_all(&args),
    }
}

fn plan(args: PlanArgs) -> Result<u8, Failure> {
    let plan = Plan::new(args.demand, args.limits, &Constants::MEASURED)?;
    print!("{}", text::plan(&plan));
    if let Some(path) = &args.json {
        let mut json = serde_json::to_vec_pretty(&plan).context("write the plan")?;
        json.push(b'\n');
        files::write(path, json)?;
    }
    Ok(exit_code(plan.holds()))
}

fn check_all(args: &CheckArgs) -> Result<u8, Failure> {
    let mut holds = true;
    for path in &args.results {
        let result = read(path)?;
        let compared = check(&result, &Constants::MEASURED, &args.tolerance)
            .with_context(|| path.display().to_string())?;
        println!("{}: {}", path.display(), result.scenario.name);
        print!("{}", text::comparisons(&compared));
        holds &= compared.iter().all(Comparison::holds);
    }
    Ok(exit_code(holds))
}

fn exit_code(holds: bool) -> u8 {
    if holds { Verdict::Held.exit_code() } else { Verdict::Threshold.exit_code() }
}
