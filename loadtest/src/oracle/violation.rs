//! What a server can be convicted of. Counted by kind; the first few are told in detail.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A client was not shown an op between two that it was shown.
    Gap,
    /// A client was shown an op again.
    Repeated,
    /// Two clients were shown different ops at one seq.
    Diverged,
    /// An op that nobody here submitted.
    Phantom,
    /// One `(client, op id)` at two seqs.
    Doubled,
    /// Accepted at one seq, seen at another.
    WrongSeq,
    /// Refused, and in the history all the same.
    RefusedSeen,
    /// Not what was submitted, or not by whom.
    Altered,
    /// A finished stroke was replaced by what the room thought was left of it.
    Overwritten,
    /// A client was put back to an earlier position or epoch.
    Rewound,
    /// A snapshot is not what the ops make.
    Snapshot,
    /// Accepted and never seen by anybody.
    LostOp,
    /// Submitted and never answered.
    LostReply,
    /// A reply to no open request.
    ExtraReply,
    /// Ops for a client that is not in the room.
    OutOfTurn,
    /// A client that never got to the end.
    Behind,
    /// A frame that is none of the protocol's.
    Malformed,
    /// A client was told never to come back.
    Dismissed,
    /// A client could not come back for longer than its patience.
    Stranded,
    /// A state that could not be compared with anything.
    Unproven,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::Repeated => "repeated",
            Self::Diverged => "diverged",
            Self::Phantom => "phantom",
            Self::Doubled => "doubled",
            Self::WrongSeq => "wrong_seq",
            Self::RefusedSeen => "refused_seen",
            Self::Altered => "altered",
            Self::Overwritten => "overwritten",
            Self::Rewound => "rewound",
            Self::Snapshot => "snapshot",
            Self::LostOp => "lost_op",
            Self::LostReply => "lost_reply",
            Self::ExtraReply => "extra_reply",
            Self::OutOfTurn => "out_of_turn",
            Self::Behind => "behind",
            Self::Malformed => "malformed",
            Self::Dismissed => "dismissed",
            Self::Stranded => "stranded",
            Self::Unproven => "unproven",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub kind: Kind,
    pub detail: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Violations {
    pub counts: BTreeMap<Kind, u64>,
    pub first: Vec<Violation>,
}

impl Violations {
    /// Told in detail, of each kind: one loss can bring ten thousand others with it.
    const DETAILS: u64 = 4;

    pub fn add(&mut self, kind: Kind, detail: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= Self::DETAILS {
            self.first.push(Violation { kind, detail: detail() });
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        self.first.extend(other.first);
    }

    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}
