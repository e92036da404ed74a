//! `probe`: a steady writer in every room, to measure standstills.

use std::time::Duration;

use clap::Args;
use enfilade_loadtest::crowd::Crowd;
use enfilade_loadtest::probe::Probe;
use enfilade_loadtest::time::duration;

use super::Failure;
use super::load::{LoadArgs, play};

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    /// Ops per second in each room; a standstill is known to within the time between two of them
    #[arg(long, default_value_t = 50.0, value_name = "N", help_heading = "Load")]
    rate: f64,
    /// For how long
    #[arg(long = "for", default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = "Load")]
    duration: Duration,
    /// People in each room who only look on
    #[arg(long, default_value_t = 1, value_name = "N", help_heading = "Load")]
    watchers: u32,
    #[command(flatten)]
    load: LoadArgs,
}

pub(super) async fn run(args: ProbeArgs) -> Result<u8, Failure> {
    let ProbeArgs { rate, duration, watchers, load } = args;
    let session = Probe { rate, duration, watchers }.session()?;
    let clones = load.rooms.saturating_mul(session.header.people as usize);
    play(session.into(), clones, 1.0, Crowd::default(), load).await
}
