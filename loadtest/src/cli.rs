//! The commands, each as thin as it can be.

use std::fs::File;
use std::io::{BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use enfilade_loadtest::probe::Probe;
use enfilade_loadtest::quickdraw::{self, Drawings};
use enfilade_loadtest::record::{self, RecordError};
use enfilade_loadtest::replay::{Options, Progress, ReplayError, RoomChoice, replay};
use enfilade_loadtest::report::{EXIT_UNREACHABLE, EXIT_USAGE};
use enfilade_loadtest::session::{Recorded, SessionWriter, Title, read_session};
use enfilade_loadtest::target::Target;
use enfilade_loadtest::time::duration;
use enfilade_proto::{Codec, RoomId};

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
  1  delivery was faultless, but ops were refused for good
  2  the oracle found a violation
  3  the generator was too slow for the run: its figures are invalid
  4  the server cannot be reached
  5  the command or its input is wrong

The format of sessions is described in FORMAT.md.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Replay a session against a running server as N people and check delivery for every one of them
    Replay(ReplayArgs),
    /// Write steadily in every room, to measure how long rooms stand still while something is done to the server
    Probe(ProbeArgs),
    /// Record what happens in a room as a session
    Record(RecordArgs),
    /// Make a session out of other data
    #[command(subcommand)]
    Import(Import),
}

#[derive(Debug, Subcommand)]
enum Import {
    /// Raw Quick, Draw! drawings: several people on one board, each in a place and time of their own
    Quickdraw(QuickdrawArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecName {
    Msgpack,
    Json,
}

impl From<CodecName> for Codec {
    fn from(name: CodecName) -> Self {
        match name {
            CodecName::Msgpack => Self::MessagePack,
            CodecName::Json => Self::Json,
        }
    }
}

/// What replays and probes have in common.
#[derive(Debug, Args)]
struct LoadArgs {
    /// Where the server is; several nodes, if it is given several times: the clones are spread over them
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "ENFILADE_URL", value_delimiter = ',')]
    url: Vec<Target>,
    /// Over how many new boards the clones are spread
    #[arg(long, default_value_t = 1, value_name = "M", help_heading = "Load")]
    rooms: usize,
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
    /// Write the result as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    json: Option<PathBuf>,
    /// Write what every client was told, for `enfilade-check` (holds the boards' secrets)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    journal: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// The session to replay
    session: PathBuf,
    /// How many people replay it: the session's are cloned, beside each other on the board, as often as needed
    #[arg(long, short = 'n', value_name = "N", help_heading = "Load")]
    clients: Option<usize>,
    /// Times as fast as it was recorded
    #[arg(long, default_value_t = 1.0, value_name = "X", help_heading = "Load")]
    speed: f64,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Debug, Args)]
struct ProbeArgs {
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

#[derive(Debug, Args)]
struct RecordArgs {
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

#[derive(Debug, Args)]
struct QuickdrawArgs {
    /// Files of raw drawings, one JSON object a line
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Over how many people the drawings are spread
    #[arg(long, default_value_t = 10, value_name = "N")]
    people: u32,
    /// How far apart the drawings lie on the board, in units
    #[arg(long, default_value_t = 600.0, value_name = "UNITS")]
    spread: f64,
    /// Take no more drawings than this
    #[arg(long, default_value_t = 2000, value_name = "N")]
    limit: usize,
    /// Seed of the offsets in time, the pauses and the pens
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the session goes
    #[arg(long, short, default_value = "quickdraw.enfilade.ndjson", value_name = "SESSION")]
    out: PathBuf,
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
        Command::Replay(args) => run_replay(args).await,
        Command::Probe(args) => run_probe(args).await,
        Command::Record(args) => run_record(args).await,
        Command::Import(Import::Quickdraw(args)) => run_quickdraw(&args),
    }
}

async fn run_replay(args: ReplayArgs) -> Result<u8, Failure> {
    let session = load(&args.session)?;
    let clones = args.clients.unwrap_or(session.header.people as usize);
    play(session, clones, args.speed, args.load).await
}

async fn run_probe(args: ProbeArgs) -> Result<u8, Failure> {
    let ProbeArgs { rate, duration, watchers, load } = args;
    let session = Probe { rate, duration, watchers }.session()?;
    let clones = load.rooms.saturating_mul(session.header.people as usize);
    play(session, clones, 1.0, load).await
}

async fn play(session: Recorded, clones: usize, speed: f64, args: LoadArgs) -> Result<u8, Failure> {
    let options = Options {
        targets: args.url,
        clones,
        rooms: match args.room {
            Some(room) => RoomChoice::Existing { room, link: args.link },
            None => RoomChoice::Fresh(args.rooms),
        },
        speed,
        codec: args.codec.into(),
        seed: args.seed,
        jitter: args.jitter,
        gather: args.gather,
        settle: args.settle,
        patience: args.patience,
        max_lag: args.max_lag,
        journal: args.journal,
    };
    let every = if std::io::stderr().is_terminal() { 1 } else { 10 };
    let mut told = 0u64;
    let progress = |progress: &Progress| {
        if told.is_multiple_of(every) {
            eprintln!("{}", line(progress));
        }
        told += 1;
    };
    let report = replay(session, &options, interrupted(), progress).await.map_err(|error| match error {
        ReplayError::Api(_) | ReplayError::NotGathered { .. } => Failure::unreachable(error),
        ReplayError::Usage(_) | ReplayError::Journal(_) => error.into(),
    })?;
    print!("{report}");
    if let Some(path) = args.json {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        serde_json::to_writer_pretty(file, &report)?;
    }
    Ok(report.verdict.exit_code())
}

async fn run_record(args: RecordArgs) -> Result<u8, Failure> {
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
    let mut told = std::time::Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let progress = |ops: u64, signals: u64| {
        if terminal && told.elapsed() >= Duration::from_secs(1) {
            told = std::time::Instant::now();
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

fn run_quickdraw(args: &QuickdrawArgs) -> Result<u8, Failure> {
    let mut drawings = Drawings::default();
    for path in &args.files {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        drawings.read(&name, BufReader::new(file), args.limit)?;
    }
    for reason in &drawings.reasons {
        eprintln!("skipped {reason}");
    }
    if drawings.skipped > 0 {
        eprintln!("{} lines skipped", drawings.skipped);
    }
    if drawings.cut {
        eprintln!("there are more drawings than --limit {}", args.limit);
    }
    let options =
        quickdraw::Options { people: args.people, spread: args.spread, seed: args.seed, limit: args.limit };
    let events = quickdraw::compose(&drawings, &options)?;
    let write = |path: &Path| -> std::io::Result<_> {
        let mut writer = SessionWriter::create(path)?;
        events.iter().try_for_each(|event| writer.event(event))?;
        writer.finish(Title {
            title: Some(format!("{} drawings by {} people", drawings.drawings.len(), args.people)),
            licence: Some("CC BY 4.0".into()),
            source: Some("Quick, Draw! by Google, raw drawings, laid out on one board".into()),
        })
    };
    let header = write(&args.out).with_context(|| format!("cannot write {}", args.out.display()))?;
    println!(
        "{}: {} drawings, {} people, {:.1} s, {} events",
        args.out.display(),
        drawings.drawings.len(),
        header.people,
        header.duration,
        events.len()
    );
    Ok(0)
}

fn load(path: &Path) -> anyhow::Result<Recorded> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let session = read_session(BufReader::new(file)).with_context(|| path.display().to_string())?;
    if session.skipped > 0 {
        eprintln!("{} events of unknown kinds skipped", session.skipped);
    }
    Ok(session)
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Nobody can interrupt then; it ends by itself.
        std::future::pending::<()>().await;
    }
}

fn line(progress: &Progress) -> String {
    let counts = &progress.counts;
    format!(
        "{:>5.0}/{:.0} s {:<9} {}/{} in  ops {} → {} ok, {} shown  signals {} → {} shown  ack p99 {:.1} ms  lag p99 {:.1} ms{}{}",
        progress.seconds,
        progress.of_seconds,
        progress.stage,
        progress.inside,
        progress.clones,
        counts.ops_submitted,
        counts.ops_accepted,
        counts.ops_seen,
        counts.signals_sent,
        counts.signals_seen,
        progress.accepted_p99_ms,
        progress.lag_p99_ms,
        if counts.connections_lost > 0 {
            format!("  {} connections lost", counts.connections_lost)
        } else {
            String::new()
        },
        if progress.violations > 0 { format!("  {} VIOLATIONS", progress.violations) } else { String::new() },
    )
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
