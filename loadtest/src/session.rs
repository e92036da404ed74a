//! A session: who did what when, as a file. `FORMAT.md` says the same for people.
//!
//! A header line, then a line an event, with the time since the event before. Reading is streaming and bounded; what
//! is wrong is said with its line.

mod local;
mod read;
mod write;

use enfilade_proto::{DisplayName, Op, RoomKind, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub(crate) use local::Local;
pub use read::{Recorded, SessionError, SessionReader, read_session};
pub(crate) use write::seconds;
pub use write::{SessionWriter, Title};

use crate::clock::Micros;
use crate::replica::StateHash;

/// The version of the format, and by its name in the header the mark of such a file.
pub const VERSION: u32 = 1;

/// The usual end of a session's file name.
pub const SUFFIX: &str = ".enfilade.ndjson";

/// More people than this are not one session; clones make a crowd of fewer.
pub const MAX_PEOPLE: u32 = 10_000;
/// A stroke of 20,000 points in JSON fits; so does a frame of any size that a server takes by default.
pub const MAX_LINE_BYTES: usize = 1024 * 1024;
/// Events that are held in memory for a replay: an hour of fifty busy people.
pub const MAX_EVENTS: usize = 5_000_000;
/// A day. Longer pauses are mistakes.
pub const MAX_DURATION: Micros = 86_400 * 1_000_000;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    #[serde(rename = "enfilade_session")]
    pub version: u32,
    pub kind: RoomKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub people: u32,
    /// Seconds from the beginning to the last event.
    pub duration: f64,
    /// The state that all the ops make, as the recording numbers them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_hash: Option<StateHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Since the beginning of the session.
    pub at: Micros,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Part of what was in the room before the session begins.
    Scene(Op),
    Join {
        person: u32,
        name: DisplayName,
    },
    Leave {
        person: u32,
    },
    Op {
        person: u32,
        op: Op,
    },
    Signal {
        person: u32,
        key: String,
        body: Value,
    },
}

/// Who is the author of a person's ops in the state hash of the recording itself.
#[must_use]
pub fn local_author(person: Option<u32>) -> UserId {
    UserId(Uuid::from_u128(person.map_or(0, |person| u128::from(person) + 1)))
}
