//! `record`: a session out of what happens in a room.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use enfilade_loadtest::record::{self, RecordError};
use enfilade_loadtest::scenario::CodecName;
use enfilade_loadtest::target::Target;
use enfilade_loadtest::time::duration;
use enfilade_proto::RoomId;

use super::{Failure, interrupted};

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Where the server is
    #[arg(long, default_value = "ws://127.0.0.1:8080", env = "ENFILADE_URL")]
    url: Target,
    /// The room to record
    #[arg(long, value_name = "ID")]
    room: RoomId,
    /// The secret of a share link of that room
    #[arg(long, value_name = "SECRET")]
    link: Option<String>,
    /// Where the session goes
    #[arg(long, short, value_name = "SESSION")]
    out: PathBuf,
    /// For how long; without it until Ctrl-C
    #[arg(long = "for", value_parser = duration, value_name = "TIME")]
    duration: Option<Duration>,
    /// The session's title; without it the room's
    #[arg(long)]
    title: Option<String>,
    /// The codec to speak
    #[arg(long, value_enum, default_value_t = CodecName::Msgpack)]
    codec: CodecName,
}

pub(super) async fn run(args: RecordArgs) -> Result<u8, Failure> {
    let options = record::Options {
        target: args.url,
        room: args.room,
        link: args.link,
        codec: args.codec.into(),
        title: args.title,
    };
    let enough = async {
        match args.duration {
            Some(duration) => tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = interrupted() => {}
            },
            None => interrupted().await,
        }
    };
    eprintln!("recording; Ctrl-C ends it");
    let mut told = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let progress = |ops: u64, signals: u64| {
        if terminal && told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            eprintln!("{ops} ops, {signals} signals");
        }
    };
    let recording =
        record::record(&options, &args.out, enough, progress).await.map_err(|error| match error {
            RecordError::Connect(_) => Failure::unreachable(error),
            RecordError::Io(_) => error.into(),
        })?;
    println!(
        "{}: {} people, {:.1} s, {} ops, {} signals{}",
        args.out.display(),
        recording.header.people,
        recording.header.duration,
        recording.ops,
        recording.signals,
        if recording.left_out > 0 { format!(", {} left out", recording.left_out) } else { String::new() }
    );
    match recording.ended {
        None => Ok(0),
        Some(why) => Err(Failure::unreachable(anyhow!("it ended too early: {why}"))),
    }
}
