//! What a check found: on how many facts it judged, and what was wrong, with the evidence.

use enfilade_proto::{ClientId, RoomId, Seq};
use serde::Serialize;

use super::invariant::Invariant;
use crate::clock::MILLISECOND;
use crate::journal::Moment;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientId>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub line: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(line: &u64) -> bool {
    *line == 0
}

impl Violation {
    #[must_use]
    pub fn new(moment: &Moment, detail: String) -> Self {
        Self {
            detail,
            room: None,
            seq: None,
            client: None,
            at_ms: moment.at.map(|at| at / MILLISECOND),
            file: moment.file.as_ref().map(ToString::to_string),
            line: moment.line,
        }
    }

    #[must_use]
    pub fn of(self, room: RoomId) -> Self {
        Self { room: Some(room), ..self }
    }

    #[must_use]
    pub fn at(self, seq: Seq) -> Self {
        Self { seq: Some(seq), ..self }
    }

    #[must_use]
    pub fn by(self, client: ClientId) -> Self {
        Self { client: Some(client), ..self }
    }
}

/// How long rooms stood still because of a fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    pub fault: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Rooms in which something was acknowledged afterwards.
    pub rooms: usize,
    pub median_ms: f64,
    pub max_ms: f64,
    pub limit_ms: f64,
}

/// Counts what one check looks at.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How often it was judged.
    pub facts: u64,
    /// How often it would have been, had there been something to compare with.
    pub skipped: u64,
    pub violations: u64,
    pub first: Vec<Violation>,
    pub recoveries: Vec<Recovery>,
}

impl Tally {
    /// Told in detail: one loss can bring ten thousand others with it.
    const DETAILS: usize = 10;

    pub fn fact(&mut self) {
        self.facts += 1;
    }

    pub fn violated(&mut self, violation: impl FnOnce() -> Violation) {
        self.violations += 1;
        if self.first.len() < Self::DETAILS {
            self.first.push(violation());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Held,
    Violated,
    /// There was nothing to judge it on.
    Unchecked,
}

/// The judgement on one invariant.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub invariant: Invariant,
    pub status: Status,
    pub facts: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub skipped: u64,
    pub violations: u64,
    pub first: Vec<Violation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<Recovery>,
    /// What it would have needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<&'static str>,
}

impl Outcome {
    #[must_use]
    pub fn new(invariant: Invariant, tally: Tally) -> Self {
        let status = match (tally.violations, tally.facts) {
            (0, 0) => Status::Unchecked,
            (0, _) => Status::Held,
            _ => Status::Violated,
        };
        Self {
            invariant,
            status,
            facts: tally.facts,
            skipped: tally.skipped,
            violations: tally.violations,
            first: tally.first,
            recoveries: tally.recoveries,
            missing: (status == Status::Unchecked).then(|| invariant.needs()),
        }
    }
}
