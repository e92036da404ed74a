//! The commands, each as thin as it can be.

mod capacity;
mod compare;
mod crowd;
mod display;
mod door;
mod files;
mod floor;
mod import;
mod load;
mod people;
mod probe;
mod record;
mod replay;
mod report;
mod run;
mod search;
mod subject;

use clap::{Parser, Subcommand};
use enfilade_loadtest::result::{EXIT_UNREACHABLE, EXIT_USAGE};
use enfilade_loadtest::swarm::worker;

/// Records drawing sessions, replays them as many people at once, and checks that every one of them saw every op.
#[derive(Debug, Parser)]
#[command(name = "enfilade-loadtest", version, max_term_width = 110, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything held
  1  delivery was faultless, but a threshold was missed, or ops were refused for good
  2  the oracle found a violation
  3  the generator was too slow for the run: its figures are invalid
  4  the server cannot be reached
  5  the command or its input is wrong

The format of sessions is described in FORMAT.md.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay sessions against a running server as N people and check delivery for every one of them
    Replay(replay::ReplayArgs),
    /// Write steadily in every room, to measure how long rooms stand still while something is done to the server
    Probe(probe::ProbeArgs),
    /// Bring very many connections to a server in a scenario, and judge every delivery
    Run(Box<run::RunArgs>),
    /// Find the highest rate, or the most members, that hold
    Search(Box<search::SearchArgs>),
    /// Sign up people for `run --people`
    People(people::PeopleArgs),
    /// Serve as the least that a server can do, to measure others against
    Floor(floor::FloorArgs),
    /// What `run` starts: connections that do as they are told over standard input
    #[command(hide = true)]
    Worker,
    /// Record what happens in a room as a session
    Record(record::RecordArgs),
    /// Render the result of an earlier run
    Report(report::ReportArgs),
    /// Hold results against each other, and tell what got worse beyond chance
    Compare(compare::CompareArgs),
    /// Say what so many people need, or hold that against what runs measured
    #[command(subcommand)]
    Capacity(capacity::Capacity),
    /// Make a session out of other data
    #[command(subcommand)]
    Import(import::Import),
}

/// What went wrong and what the process exits with.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) const USAGE: u8 = EXIT_USAGE;

    fn unreachable(error: impl Into<anyhow::Error>) -> Self {
        Self { error: error.into(), code: EXIT_UNREACHABLE }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), code: EXIT_USAGE }
    }
}

pub(crate) async fn run(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Replay(args) => replay::run(args).await,
        Command::Probe(args) => probe::run(args).await,
        Command::Run(args) => run::run(*args).await,
        Command::Search(args) => search::run(*args).await,
        Command::People(args) => people::run(args).await,
        Command::Floor(args) => floor::run(&args),
        Command::Worker => Ok(worker::work().map(|()| 0)?),
        Command::Record(args) => record::run(args).await,
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Capacity(command) => capacity::run(command),
        Command::Import(import) => import::run(&import),
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Nobody can interrupt then; it ends by itself.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }
}
