//! Holds results against each other.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use enfilade_loadtest::compare::{compare, html, text};
use enfilade_loadtest::result::RunResult;

use super::report::read;
use super::{Failure, files};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Two results: what was, and what is
    #[arg(num_args = 2, value_names = ["A", "B"], required_unless_present_all = ["base", "with"], conflicts_with_all = ["base", "with"])]
    results: Vec<PathBuf>,
    /// Results of what was
    #[arg(long, num_args = 1.., value_name = "RESULT", requires = "with")]
    base: Vec<PathBuf>,
    /// Results of what is
    #[arg(long, num_args = 1.., value_name = "RESULT", requires = "base")]
    with: Vec<PathBuf>,
    /// A change for the worse up to this, in per cent, is no regression
    #[arg(long, default_value_t = 5.0, value_name = "PERCENT")]
    tolerance: f64,
    /// Write it as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &CompareArgs) -> Result<u8, Failure> {
    if !(0.0..=1000.0).contains(&args.tolerance) {
        return Err(anyhow!("a tolerance is 0 to 1000 per cent").into());
    }
    let read_all =
        |paths: &[PathBuf]| paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<RunResult>>>();
    let (base, with) = match args.results.as_slice() {
        [base, with] => (vec![read(base)?], vec![read(with)?]),
        _ => (read_all(&args.base)?, read_all(&args.with)?),
    };
    let comparison = compare(&base, &with, args.tolerance / 100.0)?;
    print!("{}", text::render(&comparison));
    if let Some(path) = &args.html {
        files::write(path, html::render(&comparison))?;
    }
    Ok(comparison.exit_code())
}
