//! `make measure`: measures every row of the table beside the floor, and writes `docs/measured.md`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use enfilade_testbed::faults::setup::Setup;
use enfilade_testbed::measure::book::{Book, Record};
use enfilade_testbed::measure::catalogue;
use enfilade_testbed::measure::judge;
use enfilade_testbed::measure::play::Player;
use enfilade_testbed::measure::report::{Page, commands, number};
use enfilade_testbed::measure::row::{How, Row};
use enfilade_testbed::measure::stage::{Programs, Stage};
use enfilade_testbed::program;

/// Measures what a node is good for, in turns with the least that a server can do, and says whether that is enough.
#[derive(Debug, Parser)]
#[command(name = "enfilade-measure", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    /// How often each row is measured; figures are the medians
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only these rows (see `--list`); the others keep the figures that the JSON file has of them
    #[arg(long, value_name = "ROW", value_parser = catalogue::named)]
    only: Vec<Row>,
    /// Say what rows there are
    #[arg(long)]
    list: bool,
    /// Write the page there
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the readings of all rounds there, and those of rows that are not measured now
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Small counts and one round: whether it works, not how well
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// How many people sign up for the rows that bring people; each of them is several connections if there are more of those
    #[arg(long, default_value_t = 3_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    people: u32,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every target was met
  1  one was not
  2  the command is wrong, or cannot be carried out";

const WRONG: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("start the runtime").and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                outcome = run(cli) => outcome,
                // Whatever runs ends as its handles are dropped; what is finished is written.
                _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
            }
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("enfilade-measure: {error:#}");
            ExitCode::from(WRONG)
        }
    }
}

/// True if every target of the rows that were measured was met.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let all = catalogue::all();
    if cli.list {
        all.iter().for_each(|row| println!("{:<18} {}", row.name, row.title));
        return Ok(true);
    }
    let mut book = match &cli.json {
        Some(path) => Book::read(path)?,
        None => Book::default(),
    };
    anyhow::ensure!(
        book.rows.is_empty() || book.quick == cli.quick,
        "quick measurements and real ones do not go into the same file; name another with --json"
    );
    book.quick = cli.quick;
    let programs = programs()?;
    let mut stage = Stage::new(programs, cli.quick, cli.people).context("make a folder")?;
    let rows = if cli.only.is_empty() { all.clone() } else { cli.only.clone() };
    let mut met = true;
    for row in rows.iter().filter(|row| !matches!(row.how, How::Sum)) {
        met &= measure(&cli, row, &mut stage, &mut book).await;
        write(&cli, &all, &book)?;
    }
    let sum = catalogue::named(catalogue::DISORDER).map_err(anyhow::Error::msg)?;
    if cli.report.is_none() {
        println!("{}", Page { rows: &all, book: &book });
    }
    Ok(met && judge::is_met(&sum, &judge::sum(&book)))
}

fn programs() -> anyhow::Result<Programs> {
    let node = program::built("ENFILADE_BIN", "enfilade");
    let tester = program::built("ENFILADE_LOADTEST_BIN", "enfilade-loadtest");
    Ok(Programs {
        node: node.context("there is no node: build it, or name it in $ENFILADE_BIN")?,
        tester: tester.context("there is no load tester: build it, or name it in $ENFILADE_LOADTEST_BIN")?,
    })
}

/// Takes a row through its rounds, and into the book.
async fn measure(cli: &Cli, row: &Row, stage: &mut Stage, book: &mut Book) -> bool {
    let begun = Instant::now();
    eprintln!("{}: {}", row.name, row.title);
    let mut record = Record {
        setup: Setup::of_this_machine(command_line(), &stage.programs.node),
        commands: commands(row, |load| stage.sized(load), cli.people),
        rounds: Vec::new(),
    };
    let mut player = Player::new(stage, row);
    let rounds = if cli.quick { 1 } else { cli.rounds };
    for number in 1..=rounds {
        let round = player.round().await;
        if let Some(why) = &round.failed {
            eprintln!("  round {number} failed: {why}");
        }
        for reason in &round.invalid {
            eprintln!("  round {number} does not count: {reason}");
        }
        record.rounds.push(round);
    }
    for (line, judged) in row.lines.iter().zip(judge::judge(row, &record)) {
        let value = judged.value.map_or("–".to_owned(), |value| number(value.median, line.unit));
        eprintln!("  {}: {value} {:?}", line.name, judged.verdict);
    }
    eprintln!("  ({:.0} s)", begun.elapsed().as_secs_f64());
    let met = judge::is_met(row, &record);
    book.rows.insert(row.name.to_owned(), record);
    met
}

/// After every row: what is finished survives an interruption.
fn write(cli: &Cli, rows: &[Row], book: &Book) -> anyhow::Result<()> {
    if let Some(path) = &cli.json {
        book.write(path)?;
    }
    if let Some(path) = &cli.report {
        let page = Page { rows, book }.to_string();
        std::fs::write(path, page).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn command_line() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
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
