//! What `replay` and `probe` have in common: clones that play something, and what comes of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use enfilade_loadtest::crowd::Crowd;
use enfilade_loadtest::door::Address;
use enfilade_loadtest::mix::Mix;
use enfilade_loadtest::replay::{Options, Progress, ReplayError, RoomChoice, replay};
use enfilade_loadtest::scenario::CodecName;
use enfilade_loadtest::time::duration;
use enfilade_proto::RoomId;

use super::door::DoorArgs;
use super::report::RunResultArgs;
use super::{Failure, display, interrupted};

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// Where the server is; several nodes, if it is given several times: the clones are spread over them
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "ENFILADE_URL", value_delimiter = ',')]
    url: Vec<Address>,
    #[command(flatten)]
    door: DoorArgs,
    /// Over how many new boards the clones are spread
    #[arg(long, default_value_t = 1, value_name = "M", help_heading = "Load")]
    pub(super) rooms: usize,
    /// The server's processes on this machine: their CPU and memory are measured
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,
    /// The codec that the clones speak
    #[arg(long, value_enum, default_value_t = CodecName::Msgpack, help_heading = "Load")]
    codec: CodecName,
    /// How late clones may start, at most, so that they do not move in step
    #[arg(long, default_value = "250ms", value_parser = duration, value_name = "TIME", help_heading = "Load")]
    jitter: Duration,
    /// Seed of everything that is left to chance
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    seed: u64,
    /// Work in this room instead of on a new board
    #[arg(long, value_name = "ID", conflicts_with = "rooms", help_heading = "Room")]
    room: Option<RoomId>,
    /// The secret of a share link of that room
    #[arg(long, value_name = "SECRET", requires = "room", help_heading = "Room")]
    link: Option<String>,
    /// How long the clones may take to come in
    #[arg(long, default_value = "30s", value_parser = duration, value_name = "TIME", help_heading = "Limits")]
    gather: Duration,
    /// How long it may take, after the last event, until everybody has seen everything
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Limits")]
    settle: Duration,
    /// How long whoever was thrown out tries to come back
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME", help_heading = "Limits")]
    patience: Duration,
    /// The run is invalid if the generator itself is later than this (99th percentile)
    #[arg(long, default_value = "20ms", value_parser = duration, value_name = "TIME", help_heading = "Limits")]
    max_lag: Duration,
    /// Write what every client was told, for `enfilade-check` (holds the boards' secrets)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    result: RunResultArgs,
}

pub(super) async fn play(
    mix: Mix,
    clones: usize,
    speed: f64,
    crowd: Crowd,
    args: LoadArgs,
) -> Result<u8, Failure> {
    let options = Options {
        targets: args.door.open(&args.url).await?,
        clones,
        rooms: match args.room {
            Some(room) => RoomChoice::Existing { room, link: args.link },
            None => RoomChoice::Fresh(args.rooms),
        },
        speed,
        codec: args.codec.into(),
        seed: args.seed,
        jitter: args.jitter,
        crowd,
        gather: args.gather,
        settle: args.settle,
        patience: args.patience,
        max_lag: args.max_lag,
        journal: args.journal,
        pids: args.pid,
        thresholds: args.result.thresholds(),
    };
    let mut screen = display::screen();
    let progress = |progress: &Progress| screen.show(display::moment(progress));
    let outcome = replay(mix, &options, interrupted(), progress).await.map_err(|error| match error {
        ReplayError::Api(_) | ReplayError::NotGathered { .. } => Failure::unreachable(error),
        ReplayError::Usage(_) | ReplayError::Journal(_) => error.into(),
    })?;
    args.result.conclude(outcome.result(), &args.result.thresholds())
}
