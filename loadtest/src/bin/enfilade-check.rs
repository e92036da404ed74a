//! The command line of the checker.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use enfilade_loadtest::checker::files::{rooms_of, scan_exports, scan_journals};
use enfilade_loadtest::checker::remote::scan_room;
use enfilade_loadtest::checker::{Invariant, LogScan, Report, Trust, Verdict};
use enfilade_loadtest::clock::micros;
use enfilade_loadtest::http::ApiError;
use enfilade_loadtest::result::{EXIT_UNREACHABLE, EXIT_USAGE};
use enfilade_loadtest::target::Target;
use enfilade_loadtest::time::duration;

/// Checks whether a cluster kept what it promised: its log and the journals of its clients against I1 to I12.
#[derive(Debug, Parser)]
#[command(name = "enfilade-check", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Arguments {
    /// Journals: of replays and probes, of whoever injected faults, samples of bounds
    #[arg(long, num_args = 1.., value_name = "FILE")]
    journal: Vec<PathBuf>,
    /// The log, as `enfilade export` writes it
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with = "url")]
    log: Vec<PathBuf>,
    /// Read the log of the journals' rooms from this server instead (it does not tell epochs)
    #[arg(long)]
    url: Option<Target>,
    /// The secret of a share link, for rooms whose journal has none
    #[arg(long, value_name = "SECRET", requires = "url")]
    link: Option<String>,
    /// By how much the clocks of the journals' machines may differ
    #[arg(long, default_value = "0s", value_parser = duration, value_name = "TIME")]
    clock_skew: Duration,
    /// Check only these
    #[arg(long, value_delimiter = ',', value_name = "INVARIANTS")]
    only: Vec<Invariant>,
    /// It is not enough that nothing is violated: these have to be checked
    #[arg(long, value_delimiter = ',', value_name = "INVARIANTS")]
    require: Vec<Invariant>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  whatever could be checked holds
  1  nothing is violated, but something that is required could not be checked
  2  something is violated
  4  the server cannot be reached
  5  the command or its input is wrong, or there is nothing to check

The formats of journals and of the log are described in FORMAT.md.";
const EXIT_INCOMPLETE: u8 = 1;
const EXIT_VIOLATED: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(run(&arguments))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("enfilade-check: {error:#}");
            let unreachable = error.downcast_ref().is_some_and(|e| matches!(e, ApiError::Unreachable(..)));
            ExitCode::from(if unreachable { EXIT_UNREACHABLE } else { EXIT_USAGE })
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut scan = LogScan::new(Trust { clock_skew: micros(arguments.clock_skew) });
    if !arguments.only.is_empty() {
        scan = scan.only(&arguments.only);
    }
    scan_exports(&mut scan, &arguments.log)?;
    if let Some(target) = &arguments.url {
        let rooms = rooms_of(&arguments.journal)?;
        anyhow::ensure!(!rooms.is_empty(), "the journals name no room");
        for (room, link) in rooms {
            let link = link.as_deref().or(arguments.link.as_deref());
            scan_room(&mut scan, target, room, link).await?;
        }
    }
    let mut scan = scan.end_of_log();
    scan_journals(&mut scan, &arguments.journal)?;
    let report = scan.finish();
    print!("{report}");
    if let Some(path) = &arguments.json {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report)?;
    }
    Ok(exit_code(&report, &arguments.require))
}

fn exit_code(report: &Report, required: &[Invariant]) -> u8 {
    let unchecked = report.unchecked();
    match report.verdict {
        Verdict::Violated => EXIT_VIOLATED,
        Verdict::Unchecked => EXIT_USAGE,
        Verdict::Held if required.iter().any(|required| unchecked.contains(required)) => EXIT_INCOMPLETE,
        Verdict::Held => 0,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_is_consistent() {
        Arguments::command().debug_assert();
    }
}
