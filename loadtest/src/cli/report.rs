//! What is done with a result: judged by thresholds, shown, written; and `report`, which does it later.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use enfilade_loadtest::report::{command_line, html, junit, text};
use enfilade_loadtest::result::RunResult;
use enfilade_loadtest::threshold::{self, Expression, Threshold};
use enfilade_loadtest::time::duration;

use super::{Failure, files};

/// What every command that ends with a result takes about it.
#[derive(Debug, Args)]
pub(super) struct ResultArgs {
    /// What the run has to reach, e.g. `signal.p99 < 50ms`, `oracle.lost == 0` or `counts.sent >= 1000`
    #[arg(long = "threshold", value_name = "EXPRESSION", help_heading = "Limits")]
    thresholds: Vec<Expression>,
    /// Write the result as JSON, for `report` and `compare`
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Write a page that one can send to somebody
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// Write what a build server reads
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    junit: Option<PathBuf>,
}

/// What a command takes about its result that makes the run itself.
#[derive(Debug, Args)]
pub(super) struct RunResultArgs {
    /// End the run early when a threshold was missed for so long without a break
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "thresholds", help_heading = "Limits")]
    abort_after: Option<Duration>,
    #[command(flatten)]
    result: ResultArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// What a run wrote with `--json`
    #[arg(value_name = "RESULT")]
    file: PathBuf,
    /// What was done to the server meanwhile: marks of faults, as `FORMAT.md` describes them
    #[arg(long, value_name = "MARKS")]
    faults: Option<PathBuf>,
    #[command(flatten)]
    result: ResultArgs,
}

impl ResultArgs {
    fn thresholds(&self, abort_after: Option<Duration>) -> Vec<Threshold> {
        let threshold = |expression: &Expression| Threshold { expression: expression.clone(), abort_after };
        self.thresholds.iter().map(threshold).collect()
    }

    fn tell(&self, mut result: RunResult, thresholds: &[Threshold]) -> Result<u8, Failure> {
        threshold::judge(&mut result, thresholds);
        print!("{}", text::render(&result));
        self.write(&result)?;
        Ok(result.verdict.exit_code())
    }

    fn write(&self, result: &RunResult) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            let mut json = Vec::new();
            result.write(&mut json)?;
            files::write(path, json)?;
        }
        if let Some(path) = &self.html {
            files::write(path, html::render(result))?;
        }
        if let Some(path) = &self.junit {
            files::write(path, junit::render(result))?;
        }
        Ok(())
    }
}

impl RunResultArgs {
    /// What was asked for, and whether it ends the run.
    pub(super) fn thresholds(&self) -> Vec<Threshold> {
        self.result.thresholds(self.abort_after)
    }

    /// Judges, shows and writes the result of the run that this command was, and says what to exit with.
    pub(super) fn conclude(&self, mut result: RunResult, thresholds: &[Threshold]) -> Result<u8, Failure> {
        result.scenario.command = command_line(std::env::args());
        self.result.tell(result, thresholds)
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<RunResult> {
    RunResult::read(files::open(path)?).with_context(|| path.display().to_string())
}

pub(super) fn run(args: &ReportArgs) -> Result<u8, Failure> {
    let mut result = read(&args.file)?;
    if let Some(path) = &args.faults {
        result.mark_faults(files::open(path)?).with_context(|| path.display().to_string())?;
    }
    args.result.tell(result, &args.result.thresholds(None))
}
