//! What was measured, row by row and round by round, as it is kept in a file: rows that are not measured again keep
//! their figures.
//!
//! Pure, but for reading and writing the file.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::faults::setup::Setup;

/// Everything that was measured so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// Small counts, which show that the commands work and nothing else.
    pub quick: bool,
    /// By the row's name.
    pub rows: BTreeMap<String, Record>,
}

/// A row's last measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub setup: Setup,
    /// What was typed in a round.
    pub commands: Vec<String>,
    pub rounds: Vec<Round>,
}

/// A row once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Round {
    /// By `shot.figure`.
    pub readings: BTreeMap<String, f64>,
    /// What the oracle, or the checker, found in the node's runs.
    pub violations: u64,
    /// Connections that never came into their room.
    pub lost_joins: u64,
    /// Why it could not be carried to its end: somebody did not come in, a server ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Why the figures mean nothing, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invalid: Vec<String>,
    /// What else is to be told, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum BookError {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path} is no book of measurements: {source}")]
    Json { path: String, source: serde_json::Error },
}

impl Book {
    /// An empty one if there is no such file yet.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(path: &Path) -> Result<Self, BookError> {
        let named = || path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| BookError::Json { path: named(), source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(BookError::File { path: named(), source }),
        }
    }

    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), BookError> {
        let named = || path.display().to_string();
        let mut json =
            serde_json::to_vec_pretty(self).map_err(|source| BookError::Json { path: named(), source })?;
        json.push(b'\n');
        std::fs::write(path, json).map_err(|source| BookError::File { path: named(), source })
    }
}

impl Record {
    /// The rounds whose figures mean something.
    pub fn valid(&self) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(|round| round.invalid.is_empty() && round.failed.is_none())
    }

    /// Whether a round could not be carried to its end. That is never chance: it spoils the row.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.rounds.iter().any(|round| round.failed.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_outlives_the_run_that_wrote_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("book.json");
        let mut book = Book::read(&path).unwrap();
        assert_eq!(book, Book::default());
        let round = Round { readings: [("node.x".to_owned(), 1.5)].into(), ..Round::default() };
        let late = Round { invalid: vec!["It was late.".into()], ..Round::default() };
        let record = Record { rounds: vec![round.clone(), late], ..Record::default() };
        book.rows.insert("quiet-100".into(), record);
        book.write(&path).unwrap();
        assert_eq!(Book::read(&path).unwrap(), book);
        assert!(book.rows["quiet-100"].valid().eq([&round]));
        std::fs::write(&path, "[").unwrap();
        assert!(Book::read(&path).unwrap_err().to_string().contains("is no book"));
    }
}
