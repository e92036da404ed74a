//! `replay`: sessions played by many people at once.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::crowd::CrowdArgs;
use super::load::{LoadArgs, play};

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The session to replay; several are a mix
    #[arg(required = true)]
    sessions: Vec<PathBuf>,
    /// How many people replay it: the session's are cloned, beside each other on the board, as often as needed
    #[arg(long, short = 'n', value_name = "N", help_heading = "Load")]
    clients: Option<usize>,
    /// Times as fast as it was recorded
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Load")]
    speed: f64,
    #[command(flatten)]
    crowd: CrowdArgs,
    #[command(flatten)]
    load: LoadArgs,
}

pub(super) async fn run(args: ReplayArgs) -> Result<u8, Failure> {
    let mix = args.crowd.mix(&args.sessions)?;
    let clones = args.clients.unwrap_or(mix.people());
    play(mix, clones, args.speed, args.crowd.crowd(), args.load).await
}
