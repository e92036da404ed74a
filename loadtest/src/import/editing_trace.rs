//! Editing traces (github.com/josephg/editing-traces): how a text was typed, by one person or by several at once.
//!
//! Every trace says what text it makes in the end, and that is checked when it is read: a [`Trace`] is one that holds.
//! Positions count Unicode code points. Documents cannot be replayed yet; the session that [`write`] makes is the one
//! that they will be.

mod document;
mod merge;
mod read;
mod structure;
mod text;

use std::fmt;
use std::io;

pub use self::document::{Pace, write};
use super::TooMuch;
use crate::clock::{Micros, SECOND};

#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("cannot read the trace: {0}")]
    Io(#[from] io::Error),
    #[error("not an editing trace: {0}")]
    NotATrace(String),
    #[error("the trace is larger than {} MiB, unpacked", read::MAX_BYTES >> 20)]
    TooLarge,
    #[error("transaction {txn}: {problem}")]
    Transaction { txn: usize, problem: String },
    #[error("the patches make another text than endContent says: they differ from character {0} on")]
    EndContent(usize),
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error("an edit of more than a megabyte does not fit a line of a session")]
    LongEdit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each transaction follows the one before it.
    Sequential,
    /// Each transaction says which others its author had seen.
    Concurrent,
}

/// Some characters at a place, in code points, replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub at: usize,
    pub delete: usize,
    pub insert: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Since the first one; none if the trace has no times.
    pub at: Option<Micros>,
    pub agent: u32,
    /// The last transactions that its author had seen. Of a sequential trace: the one before.
    pub parents: Box<[usize]>,
    pub patches: Box<[Patch]>,
}

/// A trace whose patches make the text that it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub kind: Kind,
    pub agents: u32,
    pub start: String,
    pub end: String,
    pub transactions: Vec<Transaction>,
}

/// What is in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub kind: Kind,
    pub agents: u32,
    pub transactions: usize,
    pub patches: usize,
    pub inserted: usize,
    pub deleted: usize,
    /// Transactions that merge what was done at the same time.
    pub merges: usize,
    pub characters: usize,
    /// Of them, those that are not ASCII, and those that are two units in UTF-16.
    pub beyond_ascii: usize,
    pub surrogates: usize,
    /// From the first to the last; none if the trace has no times.
    pub duration: Option<Micros>,
    pub longest_pause: Option<Micros>,
}

impl Trace {
    /// How many edits the session has.
    #[must_use]
    pub fn edits(&self) -> usize {
        self.transactions.iter().filter(|txn| !txn.patches.is_empty()).count()
    }

    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let patches = || self.transactions.iter().flat_map(|txn| &txn.patches);
        let times: Vec<Micros> = self.transactions.iter().filter_map(|txn| txn.at).collect();
        Statistics {
            kind: self.kind,
            agents: self.agents,
            transactions: self.transactions.len(),
            patches: patches().count(),
            inserted: patches().map(|patch| patch.insert.chars().count()).sum(),
            deleted: patches().map(|patch| patch.delete).sum(),
            merges: self.transactions.iter().filter(|txn| txn.parents.len() > 1).count(),
            characters: self.end.chars().count(),
            beyond_ascii: self.end.chars().filter(|c| !c.is_ascii()).count(),
            surrogates: self.end.chars().filter(|c| c.len_utf16() > 1).count(),
            duration: times.last().copied(),
            longest_pause: times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max(),
        }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Sequential => "sequential",
            Kind::Concurrent => "concurrent",
        };
        writeln!(
            f,
            "{kind}, {} people, {} transactions, {} patches",
            self.agents, self.transactions, self.patches
        )?;
        writeln!(
            f,
            "  {} characters typed, {} deleted, {} merges",
            self.inserted, self.deleted, self.merges
        )?;
        writeln!(
            f,
            "  the text in the end: {} characters, {} of them not ASCII, {} outside the BMP; the patches make it",
            self.characters, self.beyond_ascii, self.surrogates
        )?;
        match self.duration.zip(self.longest_pause) {
            Some((duration, pause)) => {
                write!(f, "  written in {} s, the longest pause {} s", duration / SECOND, pause / SECOND)
            }
            None => write!(f, "  without times"),
        }
    }
}
