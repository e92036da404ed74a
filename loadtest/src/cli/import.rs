//! `import`: sessions out of other data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use enfilade_loadtest::clock::micros;
use enfilade_loadtest::import::editing_trace::{self, Trace};
use enfilade_loadtest::import::har::{self, Har};
use enfilade_loadtest::import::quickdraw::{self, Drawings};
use enfilade_loadtest::import::{Imported, LeftOut, dprec};
use enfilade_loadtest::session::Title;
use enfilade_loadtest::time::duration;
use enfilade_proto::RoomId;

use super::Failure;
use super::files::open;

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Raw Quick, Draw! drawings: several people on one board, each in a place and time of their own
    Quickdraw(QuickdrawArgs),
    /// HAR files with WebSocket messages (Playwright's recordHar, Chrome's developer tools) of pages on our boards
    Har(HarArgs),
    /// A recording of Drawpile
    Dprec(DprecArgs),
    /// An editing trace (josephg/editing-traces), plain or gzipped: how a text was typed
    EditingTrace(EditingTraceArgs),
}

#[derive(Debug, Args)]
pub(super) struct QuickdrawArgs {
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

#[derive(Debug, Args)]
pub(super) struct HarArgs {
    /// HAR files; several are several browsers in one room
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The room; without it the one in which most was done
    #[arg(long, value_name = "ID")]
    room: Option<RoomId>,
    /// The session's title; without it the first file's name
    #[arg(long)]
    title: Option<String>,
    /// Where the session goes
    #[arg(long, short, value_name = "SESSION")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct DprecArgs {
    /// The recording
    file: PathBuf,
    /// Make pauses in which nobody does anything no longer than this
    #[arg(long, value_parser = duration, value_name = "TIME")]
    longest_pause: Option<Duration>,
    /// The session's title; without it the file's name
    #[arg(long)]
    title: Option<String>,
    /// Where the session goes
    #[arg(long, short, value_name = "SESSION")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct EditingTraceArgs {
    /// The trace
    file: PathBuf,
    /// Make pauses no longer than this: texts are written over weeks
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    longest_pause: Duration,
    /// The time between two edits where the trace has no times
    #[arg(long, default_value = "100ms", value_parser = duration, value_name = "TIME")]
    pace: Duration,
    /// The session's title; without it the file's name
    #[arg(long)]
    title: Option<String>,
    /// Where the session goes; without it, it is only looked at
    #[arg(long, short, value_name = "SESSION")]
    out: Option<PathBuf>,
}

pub(super) fn run(import: &Import) -> Result<u8, Failure> {
    match import {
        Import::Quickdraw(args) => quickdraw(args),
        Import::Har(args) => har(args),
        Import::Dprec(args) => dprec(args),
        Import::EditingTrace(args) => editing_trace(args),
    }
}

fn quickdraw(args: &QuickdrawArgs) -> Result<u8, Failure> {
    let mut drawings = Drawings::default();
    for path in &args.files {
        drawings.read(&name_of(path), open(path)?, args.limit)?;
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
    let title = Title {
        title: Some(format!("{} drawings by {} people", drawings.drawings.len(), args.people)),
        licence: Some("CC BY 4.0".into()),
        source: Some("Quick, Draw! by Google, raw drawings, laid out on one board".into()),
    };
    let imported = Imported { events, left_out: LeftOut::default() };
    write(&imported, &args.out, title, &format!("{} drawings, ", drawings.drawings.len()))
}

fn har(args: &HarArgs) -> Result<u8, Failure> {
    let mut hars = Vec::new();
    for path in &args.files {
        hars.push(Har::read(open(path)?).with_context(|| path.display().to_string())?);
    }
    let imported = har::compose(&hars, args.room)?;
    let title = title(args.title.as_ref(), &args.files[0], "recorded in a browser, imported from HAR");
    write(&imported, &args.out, title, "")
}

fn dprec(args: &DprecArgs) -> Result<u8, Failure> {
    let imported = dprec::read(open(&args.file)?, args.longest_pause.map(micros))
        .with_context(|| args.file.display().to_string())?;
    let title = title(args.title.as_ref(), &args.file, "recorded with Drawpile");
    write(&imported, &args.out, title, "")
}

fn editing_trace(args: &EditingTraceArgs) -> Result<u8, Failure> {
    let trace = Trace::read(open(&args.file)?).with_context(|| args.file.display().to_string())?;
    println!("{}", trace.statistics());
    let Some(out) = &args.out else { return Ok(0) };
    let pace =
        editing_trace::Pace { longest_pause: micros(args.longest_pause), without_times: micros(args.pace) };
    let title = title(args.title.as_ref(), &args.file, "an editing trace");
    let header = editing_trace::write(&trace, pace, out, title)?;
    println!(
        "{}: {} people, {:.1} s, {} edits",
        out.display(),
        header.people,
        header.duration,
        trace.edits()
    );
    Ok(0)
}

/// `of` is what it was made of.
fn write(imported: &Imported, out: &Path, title: Title, of: &str) -> Result<u8, Failure> {
    let header = imported.write(out, title).with_context(|| format!("cannot write {}", out.display()))?;
    println!(
        "{}: {of}{} people, {:.1} s, {} events",
        out.display(),
        header.people,
        header.duration,
        imported.events.len()
    );
    if !imported.left_out.is_empty() {
        eprintln!("left out: {}", imported.left_out);
    }
    Ok(0)
}

fn title(given: Option<&String>, path: &Path, source: &str) -> Title {
    let title = given.cloned().unwrap_or_else(|| name_of(path));
    Title { title: Some(title), licence: None, source: Some(source.to_owned()) }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
