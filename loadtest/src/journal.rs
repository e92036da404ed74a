//! The journal of a replay: every acknowledgement as a line, written as it arrives, so that an audit after a crash
//! knows what the server had promised. Lines with `link` say how to get into a room: a journal holds secrets.

use std::fs::File;
use std::io::{self, BufRead, LineWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use enfilade_proto::{ClientId, OpId, RoomId, Seq};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    Accepted(Accepted),
    Room { room: RoomId, link: Option<String> },
}

/// The server said that this op is on disk at this seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub room: RoomId,
    pub client: ClientId,
    pub op_id: OpId,
    pub seq: Seq,
}

#[derive(Debug)]
pub struct Journal {
    file: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    file: LineWriter<File>,
    /// The first that went wrong; the run must not look audited when it is not.
    error: Option<io::Error>,
}

impl Journal {
    /// # Errors
    /// When the file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = LineWriter::new(File::create(path)?);
        Ok(Self { file: Mutex::new(Writing { file, error: None }) })
    }

    pub fn room(&self, room: RoomId, link: Option<String>) {
        self.write(&Line::Room { room, link });
    }

    pub fn accepted(&self, room: RoomId, client: ClientId, op_id: u64, seq: Seq) {
        self.write(&Line::Accepted(Accepted { room, client, op_id: OpId(op_id), seq }));
    }

    fn write(&self, line: &Line) {
        let mut writing = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let written = serde_json::to_string(line)
            .map_err(io::Error::from)
            .and_then(|line| writeln!(writing.file, "{line}"));
        if let Err(error) = written {
            writing.error.get_or_insert(error);
        }
    }

    /// # Errors
    /// When something could not be written at any time.
    pub fn finish(&self) -> io::Result<()> {
        let mut writing = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match writing.error.take() {
            Some(error) => Err(error),
            None => writing.file.flush(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot read the journal: {0}")]
    Io(#[from] io::Error),
    #[error("line {line} of the journal: {problem}")]
    Line { line: usize, problem: String },
}

/// Reads a journal. A last line that was cut off (its writer was killed) is left out.
///
/// # Errors
/// When it cannot be read, or a line is not a journal's.
pub fn read_journal(input: impl BufRead) -> Result<Vec<Line>, JournalError> {
    let mut lines = Vec::new();
    let mut broken = None;
    for (i, text) in input.lines().enumerate() {
        if let Some(error) = broken.take() {
            return Err(error);
        }
        match serde_json::from_str(&text?) {
            Ok(line) => lines.push(line),
            Err(e) => broken = Some(JournalError::Line { line: i + 1, problem: e.to_string() }),
        }
    }
    // One that ends with a line that is none of ours at all is no journal.
    if lines.is_empty() { broken.map_or(Ok(lines), Err) } else { Ok(lines) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written_even_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (room, client) = (RoomId(Uuid::from_u128(1)), ClientId(Uuid::from_u128(2)));
        let journal = Journal::create(&path).unwrap();
        journal.room(room, Some("secret".into()));
        journal.accepted(room, client, 1, Seq(7));
        journal.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = [
            Line::Room { room, link: Some("secret".into()) },
            Line::Accepted(Accepted { room, client, op_id: OpId(1), seq: Seq(7) }),
        ];
        assert_eq!(read_journal(text.as_bytes()).unwrap(), expected);
        let cut = format!("{text}{{\"room\":\"0000");
        assert_eq!(read_journal(cut.as_bytes()).unwrap(), expected);
        let spoilt = format!("{cut}\n{text}");
        assert_eq!(
            read_journal(spoilt.as_bytes()).unwrap_err().to_string().split(':').next(),
            Some("line 3 of the journal")
        );
        assert!(read_journal(&b"nonsense"[..]).is_err());
        assert!(read_journal(&b""[..]).unwrap().is_empty());
    }
}
