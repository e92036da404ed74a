//! Reading a trace, plain or gzipped, and holding it against its own `endContent`.

use std::io::{self, BufRead, Read};
use std::time::SystemTime;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use super::text::{Text, difference};
use super::{Kind, Patch, Trace, TraceError, Transaction, merge, structure};
use crate::clock::{MILLISECOND, Micros, micros};
use crate::import::TooMuch;
use crate::session::{MAX_EVENTS, MAX_PEOPLE};

pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    kind: Option<String>,
    #[serde(default)]
    start_content: String,
    end_content: String,
    num_agents: Option<u32>,
    txns: Vec<Txn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    #[serde(alias = "timestamp")]
    time: Option<String>,
    #[serde(default)]
    agent: u32,
    parents: Option<Vec<usize>>,
    num_children: Option<usize>,
    patches: Vec<(usize, usize, Box<str>)>,
}

impl Trace {
    /// Reads a trace and checks that its patches make its `endContent`, and that its history is one.
    ///
    /// # Errors
    /// When it cannot be read, is no trace, or does not hold.
    pub fn read(mut input: impl BufRead) -> Result<Self, TraceError> {
        let gzipped = input.fill_buf()?.starts_with(GZIP);
        let file = if gzipped { parse(MultiGzDecoder::new(input)) } else { parse(input) }?;
        if file.txns.len() > MAX_EVENTS {
            return Err(TooMuch::Events.into());
        }
        let kind = match file.kind.as_deref() {
            None | Some("sequential") => Kind::Sequential,
            Some("concurrent") => Kind::Concurrent,
            Some(other) => return Err(TraceError::NotATrace(format!("kind {other:?} is not known"))),
        };
        let agents = if kind == Kind::Concurrent { file.num_agents.unwrap_or(1) } else { 1 };
        if !(1..=MAX_PEOPLE).contains(&agents) {
            return Err(TraceError::NotATrace(format!(
                "{agents} agents; a session has 1 to {MAX_PEOPLE} people"
            )));
        }
        let times = times(&file.txns)?;
        let children: Vec<Option<usize>> = file.txns.iter().map(|txn| txn.num_children).collect();
        let transactions = file.txns.into_iter().zip(times).enumerate();
        let transactions = transactions.map(|(i, (txn, at))| transaction(kind, i, txn, at)).collect();
        let trace = Self { kind, agents, start: file.start_content, end: file.end_content, transactions };
        match kind {
            Kind::Sequential => apply_in_turn(&trace)?,
            Kind::Concurrent => {
                let versions = structure::check(&trace, &children)?;
                merge::check(&trace, &versions)?;
            }
        }
        Ok(trace)
    }
}

fn parse(input: impl Read) -> Result<File, TraceError> {
    let mut input = input.take(MAX_BYTES);
    serde_json::from_reader(io::BufReader::new(&mut input)).map_err(|error| match error.io_error_kind() {
        Some(kind) => TraceError::Io(kind.into()),
        None if input.limit() == 0 => TraceError::TooLarge,
        None => TraceError::NotATrace(error.to_string()),
    })
}

fn transaction(kind: Kind, i: usize, txn: Txn, at: Option<Micros>) -> Transaction {
    let patches = txn.patches.into_iter().map(|(at, delete, insert)| Patch { at, delete, insert });
    let (agent, parents) = match kind {
        Kind::Sequential => (0, i.checked_sub(1).into_iter().collect()),
        Kind::Concurrent => (txn.agent, txn.parents.unwrap_or_default().into()),
    };
    Transaction { at, agent, parents, patches: patches.collect() }
}

/// Since the first transaction. None of them counts if they say that all of it took less than a millisecond an edit:
/// then nobody looked at a clock.
fn times(txns: &[Txn]) -> Result<Vec<Option<Micros>>, TraceError> {
    let mut times = Vec::with_capacity(txns.len());
    for (txn, time) in txns.iter().enumerate().filter_map(|(i, txn)| Some((i, txn.time.as_deref()?))) {
        let utc = time.replace("+00:00", "Z");
        let parsed = humantime::parse_rfc3339(&utc);
        let problem = |_| TraceError::Transaction { txn, problem: format!("{time:?} is no time in UTC") };
        times.push(parsed.map_err(problem)?);
    }
    let first = times.iter().min().copied().unwrap_or(SystemTime::UNIX_EPOCH);
    let since = |time: &SystemTime| time.duration_since(first).map_or(0, micros);
    // Traces that begin with a text have it at 1970.
    let begin = times.iter().map(since).filter(|at| *at > 0).min().unwrap_or(0);
    let end = times.iter().map(since).max().unwrap_or(0);
    if times.len() < txns.len() || end - begin < txns.len() as u64 * MILLISECOND {
        return Ok(vec![None; txns.len()]);
    }
    let begin = if begin > YEAR { begin } else { 0 };
    Ok(times.iter().map(|time| Some(since(time).saturating_sub(begin))).collect())
}

/// Nobody pauses that long; the first time was no time.
const YEAR: Micros = 365 * 86_400 * 1_000_000;

fn apply_in_turn(trace: &Trace) -> Result<(), TraceError> {
    let mut text = Text::new(&trace.start);
    for (txn, transaction) in trace.transactions.iter().enumerate() {
        for Patch { at, delete, insert } in &transaction.patches {
            if !text.splice(*at, *delete, insert) {
                let length = text.len();
                let problem = format!("{delete} characters from {at} on, in a text of {length}");
                return Err(TraceError::Transaction { txn, problem });
            }
        }
    }
    difference(text.chars(), &trace.end).map_or(Ok(()), |at| Err(TraceError::EndContent(at)))
}
