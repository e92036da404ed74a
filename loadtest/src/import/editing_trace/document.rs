//! A trace as a session in a document. `FORMAT.md` describes it; such a session cannot be replayed yet.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use enfilade_proto::RoomKind;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Trace, TraceError, Transaction};
use crate::clock::{Micros, SECOND};
use crate::import::TooMuch;
use crate::replica::StateHash;
use crate::session::{Header, MAX_DURATION, MAX_LINE_BYTES, Title, VERSION, seconds};

/// How fast a text is typed anew.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Longer pauses are made as short as this: texts are written over weeks, sessions last a day at most.
    pub longest_pause: Micros,
    /// Between two edits of a trace that has no times.
    pub without_times: Micros,
}

/// Writes the session.
///
/// # Errors
/// When it cannot be written, or lasts too long.
pub fn write(trace: &Trace, pace: Pace, path: &Path, title: Title) -> Result<Header, TraceError> {
    let times = pace.times(trace);
    let last = times.last().copied().unwrap_or(0);
    if last > MAX_DURATION {
        return Err(TooMuch::Duration.into());
    }
    let header = Header {
        version: VERSION,
        kind: RoomKind::Document,
        title: title.title,
        people: trace.agents,
        duration: last as f64 / SECOND as f64,
        final_hash: Some(StateHash::of_text(&trace.end)),
        licence: title.licence,
        source: title.source,
    };
    let mut out = BufWriter::new(File::create(path)?);
    line(&mut out, &header)?;
    if !trace.start.is_empty() {
        line(&mut out, &json!([0, "scene", null, { "text": trace.start }]))?;
    }
    for agent in 0..trace.agents {
        line(&mut out, &json!([0, "join", agent, { "name": format!("Writer {}", agent + 1) }]))?;
    }
    let mut now = 0;
    for (i, (txn, at)) in trace.transactions.iter().zip(times).enumerate() {
        if txn.patches.is_empty() {
            continue;
        }
        write!(out, "[{},\"edit\",{},", seconds(at - now), txn.agent)?;
        now = at;
        let edit = edit(i, txn).to_string();
        if edit.len() > MAX_LINE_BYTES - 64 {
            return Err(TraceError::LongEdit);
        }
        writeln!(out, "{edit}]")?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(header)
}

/// Only the last transaction may be empty, so edits have the numbers of transactions, counted from 1.
fn edit(i: usize, txn: &Transaction) -> Value {
    let patches: Vec<_> = txn.patches.iter().map(|patch| (patch.at, patch.delete, &patch.insert)).collect();
    let follows = i.checked_sub(1);
    if txn.parents.iter().copied().eq(follows) {
        return json!({ "patches": patches });
    }
    let parents: Vec<usize> = txn.parents.iter().map(|parent| parent + 1).collect();
    json!({ "patches": patches, "parents": parents })
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

impl Pace {
    /// When each transaction is played; never back in time, whatever the writers' clocks did.
    fn times(self, trace: &Trace) -> Vec<Micros> {
        let mut now = 0;
        let mut before = 0;
        let next = |txn: &Transaction| {
            let pause =
                txn.at.map_or(self.without_times, |at| at.saturating_sub(before).min(self.longest_pause));
            before = txn.at.unwrap_or(0).max(before);
            now += pause;
            now
        };
        trace.transactions.iter().map(next).collect()
    }
}
