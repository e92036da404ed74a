//! `make faults`: breaks clusters under load, judges, and writes `docs/faults.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use enfilade_testbed::cluster::Network;
use enfilade_testbed::disk::SmallDisk;
use enfilade_testbed::faults::catalogue::{self, Act, Fault};
use enfilade_testbed::faults::load::Crowd;
use enfilade_testbed::faults::report::{self, Document, Figures, Missing, Row};
use enfilade_testbed::faults::setup::Setup;
use enfilade_testbed::faults::trial::{self, Stage};
use enfilade_testbed::faults::{compare, failover};
use enfilade_testbed::memory::MemoryGroup;
use enfilade_testbed::netns::Bridge;
use enfilade_testbed::program;

const SAMPLE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../loadtest/samples/house-and-garden.enfilade.ndjson");
/// How long the comparison's crowd draws.
const COMPARED: Duration = Duration::from_secs(40);

/// Breaks a cluster in every way while people draw, and judges whether anything was lost.
#[derive(Debug, Parser)]
#[command(name = "enfilade-faults", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything held
  1  something did not, or a fault could not be run to its end
  2  the command is wrong";

#[derive(Debug, Subcommand)]
enum Action {
    /// Run faults
    Run(Run),
    /// Measure only: the owner killed again and again, and three nodes beside one
    Measure(Measure),
    /// Run all faults and measure
    All(Measure),
    /// Say what there is to break
    List,
}

#[derive(Debug, Args)]
struct Run {
    /// Only these (see `list`)
    #[arg(long, value_name = "NAME", value_parser = named)]
    only: Vec<Fault>,
    /// Only those that every change has to survive
    #[arg(long, conflicts_with = "only")]
    short: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Measure {
    /// How often the owner is killed
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    kills: u32,
    /// How many people play on three nodes and on one
    #[arg(long, default_value_t = 300)]
    crowd: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Write the results there
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The recording that is replayed
    #[arg(long, default_value = SAMPLE, value_name = "SESSION", hide_default_value = true)]
    session: PathBuf,
    /// How many people draw while something is broken
    #[arg(long, default_value_t = 40)]
    clients: usize,
    /// In how many rooms
    #[arg(long, default_value_t = 8)]
    rooms: usize,
    /// How many times as fast as it was recorded
    #[arg(long, default_value_t = 2.0)]
    speed: f64,
    /// Limits of time are so many times as long, for machines that have other things to do
    #[arg(long, default_value_t = 1.0, value_parser = patience)]
    patience: f64,
}

fn patience(text: &str) -> Result<f64, String> {
    let times = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (1.0..=100.0).contains(&times) { Ok(times) } else { Err("between 1 and 100".into()) }
}

fn named(name: &str) -> Result<Fault, String> {
    Fault::named(name).ok_or_else(|| format!("there is no fault {name:?}; `list` says what there is"))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The links need a thread that goes on while a server is waited for.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.context("start the runtime").and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                outcome = run(cli.command) => outcome,
                // Whatever runs ends as its handles are dropped.
                _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            }
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("enfilade-faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True if everything held.
async fn run(action: Action) -> anyhow::Result<bool> {
    let (faults, measure, common) = match action {
        Action::List => {
            for fault in catalogue::ALL {
                let short = if fault.short { "short" } else { "" };
                println!("{:<20} {:<6} {}", fault.name, short, fault.title);
            }
            return Ok(true);
        }
        Action::Run(run) => (select(&run), None, run.common),
        Action::Measure(measure) => (Vec::new(), Some((measure.kills, measure.crowd)), measure.common),
        Action::All(measure) => {
            (catalogue::ALL.to_vec(), Some((measure.kills, measure.crowd)), measure.common)
        }
    };
    let stage = common.stage()?;
    let setup = Setup::of_this_machine(command_line(), &stage.binary);
    let mut document = Document {
        setup: setup.beside(stage.previous.as_deref()),
        load: common.describe(),
        ..Document::default()
    };
    for fault in faults {
        document.rows.push(try_fault(&stage, &fault).await);
    }
    if let Some((kills, crowd)) = measure {
        take_measures(&stage, kills, crowd, &mut document).await?;
    }
    match &common.report {
        Some(path) => write(path, &document)?,
        None => println!("\n{document}"),
    }
    Ok(document.all_held())
}

fn select(run: &Run) -> Vec<Fault> {
    match (&run.only[..], run.short) {
        ([], true) => catalogue::ALL.into_iter().filter(|fault| fault.short).collect(),
        ([], false) => catalogue::ALL.to_vec(),
        (only, _) => only.to_vec(),
    }
}

impl Common {
    fn stage(&self) -> anyhow::Result<Stage> {
        let binary = program::built("ENFILADE_BIN", "enfilade");
        let binary = binary.context("there is no node: build it, or name it in $ENFILADE_BIN")?;
        Ok(Stage {
            previous: program::previous(&binary),
            binary,
            session: self.session.clone(),
            clients: self.clients,
            rooms: self.rooms,
            speed: self.speed,
            patience: self.patience,
        })
    }

    fn describe(&self) -> String {
        format!(
            "{} clients in {} rooms (one room for the faults of edges) replay `{}` again and again at {} times its speed",
            self.clients,
            self.rooms,
            self.session.file_name().unwrap_or_default().to_string_lossy(),
            self.speed
        )
    }
}

fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
}

async fn try_fault(stage: &Stage, fault: &Fault) -> Row {
    eprintln!("{}: {}", fault.name, fault.title);
    let begun = Instant::now();
    let result = match forbidden(stage, fault).await {
        Some(why) => Err(Missing::Skipped(why)),
        None => trial::run(stage, fault)
            .await
            .map(|outcome| Figures::of(&outcome, report::judge(fault, &outcome)))
            .map_err(|error| Missing::Failed(error.to_string())),
    };
    match &result {
        Ok(figures) if figures.wrong.is_empty() => eprintln!(
            "  held: {} acknowledged, rooms stood still for {:.0} ms at worst, {} of {} clients reconnected ({:.0} s)",
            figures.acknowledged,
            figures.stood_max_ms,
            figures.reconnected,
            figures.clients,
            begun.elapsed().as_secs_f64()
        ),
        Ok(figures) => eprintln!("  VIOLATED: {}", figures.wrong.join("; ")),
        Err(Missing::Skipped(why)) => eprintln!("  skipped: {why}"),
        Err(Missing::Failed(why)) => eprintln!("  FAILED: {why}"),
    }
    Row { title: fault.title.into(), result }
}

/// Why a fault cannot be done on this machine.
async fn forbidden(stage: &Stage, fault: &Fault) -> Option<String> {
    if fault.act == Act::RollingUpgrade && stage.previous.is_none() {
        return Some("there is no node of the release before this one; tools/previous builds it".to_owned());
    }
    if fault.network() == Network::Namespaces {
        return Bridge::build().err().map(|error| format!("network namespaces: {error}"));
    }
    match fault.act {
        Act::FullDisk(_) | Act::StalledDisk(_) => {
            let folder = tempfile::tempdir().ok()?;
            let place = folder.path().join("disk");
            std::fs::create_dir(&place).ok()?;
            let tried = SmallDisk::mount(&place, 1, folder.path()).await.and_then(|disk| disk.stall());
            tried.err().map(|_| "disks of one's own (loop devices, blkio) are not permitted here".to_owned())
        }
        Act::Starve(_) => {
            let tried = MemoryGroup::make("trial");
            tried.err().map(|error| format!("no control groups of version 1 for memory: {error}"))
        }
        _ => None,
    }
}

async fn take_measures(
    stage: &Stage,
    kills: u32,
    crowd: usize,
    document: &mut Document,
) -> anyhow::Result<()> {
    let fault = Fault::named("kill-owner").context("the catalogue has it")?;
    eprintln!("the owner killed {kills} times");
    document.failover =
        Some(failover::run(stage, &fault, kills).await.context("the owner killed again and again")?);
    eprintln!("{crowd} clients on three nodes and on one");
    let crowd = Crowd {
        session: stage.session.clone(),
        clients: crowd,
        rooms: crowd.div_ceil(10),
        speed: 1.0,
        lasts: Some(COMPARED),
    };
    document.comparison = Some(compare::run(stage, &crowd).await.context("three nodes beside one")?);
    Ok(())
}

fn write(path: &Path, document: &Document) -> anyhow::Result<()> {
    std::fs::write(path, document.to_string()).with_context(|| format!("write {}", path.display()))?;
    eprintln!("written to {}", path.display());
    Ok(())
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
