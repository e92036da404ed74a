//! The log as a server exports it, for a checker: one line per row of the log, per checkpoint and per takeover.
//! `FORMAT.md` describes the lines for whoever writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::sync::Arc;

use enfilade_proto::{Epoch, LoggedOp, RoomId, Seq};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::journal::{Bound, Moment};
use crate::replica::StateHash;

pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLine {
    /// The first line.
    Export(Export),
    Row(Row),
    Checkpoint(Checkpoint),
    Takeover(Takeover),
    Bound(Bound),
    /// The last line: without it, the export was cut off.
    End(End),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    pub version: u32,
    /// When it was begun, in milliseconds since 1970.
    pub at_ms: u64,
    /// Absent: all rooms that there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<BTreeSet<RoomId>>,
}

/// A row of the log: a batch of one room's ops that was committed together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub room: RoomId,
    pub first: Seq,
    pub last: Seq,
    /// Of the owner that wrote it; the HTTP history does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// When it was committed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    pub ops: Vec<LoggedOp>,
}

/// A room's snapshot in the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub room: RoomId,
    pub seq: Seq,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The state hash of the board in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<StateHash>,
}

/// A node became the owner of a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Takeover {
    pub shard: u16,
    pub epoch: Epoch,
    pub incarnation: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// The last seq that the new owner read of rooms that it loaded; 0 of an empty one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tails: BTreeMap<RoomId, Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many rows there were.
    pub rows: u64,
}

impl Row {
    /// A row of consecutive ops from `first` on.
    #[must_use]
    pub fn new(room: RoomId, epoch: Option<Epoch>, first: Seq, ops: Vec<LoggedOp>) -> Self {
        let last = Seq((first.0 + ops.len() as u64).saturating_sub(1));
        Self { room, first, last, epoch, at_ms: None, ops }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("cannot read {file}: {source}")]
    Io { file: Arc<str>, source: io::Error },
    #[error("{file}:{line}: {problem}")]
    Line { file: Arc<str>, line: u64, problem: String },
    #[error("{file} was cut off: it does not end with `end`, or has not as many rows as that says")]
    CutOff { file: Arc<str> },
}

/// Hands over the lines of an export.
///
/// # Errors
/// When it cannot be read, is none, or was cut off.
pub fn read_export(
    input: impl BufRead,
    file: &str,
    mut take: impl FnMut(&Moment, LogLine),
) -> Result<(), ExportError> {
    let file: Arc<str> = file.into();
    let (mut rows, mut end) = (0, None);
    for (text, line) in input.lines().zip(1..) {
        let text = text.map_err(|source| ExportError::Io { file: file.clone(), source })?;
        let wrong = |problem: String| ExportError::Line { file: file.clone(), line, problem };
        if text.trim().is_empty() {
            continue;
        }
        let parsed: LogLine = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        match &parsed {
            LogLine::Export(export) if export.version != VERSION => {
                return Err(wrong(format!("version {} is not known here", export.version)));
            }
            _ if line == 1 && !matches!(parsed, LogLine::Export(_)) => {
                return Err(wrong("an export begins with `export`".into()));
            }
            LogLine::Row(_) => rows += 1,
            LogLine::End(last) => end = Some(last.rows),
            _ => {}
        }
        take(&Moment { at: None, file: Some(file.clone()), line }, parsed);
    }
    if end == Some(rows) { Ok(()) } else { Err(ExportError::CutOff { file }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_read_line_by_line_and_one_that_was_cut_off_is_refused() {
        let room = RoomId(Uuid::from_u128(1));
        let op = r#"{"author":"00000000-0000-0000-0000-000000000001","client":"00000000-0000-0000-0000-000000000002","op_id":1,"at":5,"op":{"type":"clear","data":{}}}"#;
        let lines = [
            r#"{"export":{"version":1,"at_ms":5}}"#.to_owned(),
            format!(r#"{{"row":{{"room":"{room}","first":1,"last":1,"epoch":3,"at_ms":4,"ops":[{op}]}}}}"#),
            format!(r#"{{"checkpoint":{{"room":"{room}","seq":1,"epoch":3}}}}"#),
            format!(
                r#"{{"takeover":{{"shard":7,"epoch":3,"incarnation":"{}","tails":{{"{room}":0}}}}}}"#,
                room.0
            ),
            r#"{"bound":{"at":1,"node":"a","metric":"mailbox_bytes","value":1,"bound":2}}"#.to_owned(),
            r#"{"end":{"rows":1}}"#.to_owned(),
        ];
        let mut read = Vec::new();
        read_export(lines.join("\n").as_bytes(), "log", |_, line| read.push(line)).unwrap();
        assert_eq!(read.len(), 6);
        assert!(matches!(&read[1], LogLine::Row(row) if row.ops.len() == 1 && row.epoch == Some(Epoch(3))));
        assert!(matches!(&read[3], LogLine::Takeover(takeover) if takeover.tails[&room] == Seq(0)));
        for (kept, problem) in [(&lines[..5], "log was cut off"), (&lines[1..], "log:1: an export begins")] {
            let error = read_export(kept.join("\n").as_bytes(), "log", |_, _| {}).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
