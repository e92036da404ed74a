//! What must hold, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I11,
    I12,
    /// Of boards alone.
    B1,
}

impl Invariant {
    pub const ALL: [Self; 13] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I11,
        Self::I12,
        Self::B1,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I3 => "I3",
            Self::I4 => "I4",
            Self::I5 => "I5",
            Self::I6 => "I6",
            Self::I7 => "I7",
            Self::I8 => "I8",
            Self::I9 => "I9",
            Self::I10 => "I10",
            Self::I11 => "I11",
            Self::I12 => "I12",
            Self::B1 => "B1",
        }
    }

    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::I1 => "a room's seqs are 1, 2, 3, no gap, no repeat",
            Self::I2 => "what was acknowledged is in the log, at the acknowledged seq",
            Self::I3 => "a join begun after an acknowledgement is answered with its seq or a later one",
            Self::I4 => "an op of a client is in the log at most once",
            Self::I5 => "after a takeover no earlier owner wrote past the tail that the new one read",
            Self::I6 => "epochs never fall along the log, and none acknowledges what it does not hold",
            Self::I7 => "each client is shown a room's ops in order, no gap, no repeat, over all connections",
            Self::I8 => "every state that was shown or stored is what the ops make",
            Self::I9 => "nothing was shown that is not in the log",
            Self::I10 => "who is said to be in a room is who is in it",
            Self::I11 => "a fault makes a room stand still no longer than it may",
            Self::I12 => "nothing grows beyond its bound",
            Self::B1 => "a room never replaces a stroke that its author finished",
        }
    }

    /// What is missing if there was nothing to check it on.
    #[must_use]
    pub fn needs(self) -> &'static str {
        match self {
            Self::I1 | Self::I4 => "rows of the log",
            Self::I2 => "acknowledgements in a journal, and the log of their rooms",
            Self::I3 => "acknowledgements and, after them, joins of the same room in journals",
            Self::I5 => "takeovers with the tails that were read, in an export of the log",
            Self::I6 => "rows with epochs, in an export of the log",
            Self::I7 => "joins and ops in a journal",
            Self::I8 => {
                "snapshots or states in a journal or checkpoints with hashes, and the log of their rooms"
            }
            Self::I9 => "ops in a journal, and the log of their rooms",
            Self::I10 => "who is in a room, in a journal",
            Self::I11 => "faults, and acknowledgements after them, in journals",
            Self::I12 => "samples of bounds",
            Self::B1 => "strokes in the log",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Invariant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Invariant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|invariant| invariant.as_str().eq_ignore_ascii_case(text));
        named.ok_or_else(|| format!("{text:?} is no invariant; there are I1 to I12 and B1"))
    }
}
