//! The checker's report: one judgement per invariant, on how many facts, and what could not be judged.

use std::collections::BTreeMap;
use std::fmt;

use enfilade_proto::{RoomId, Seq};
use serde::Serialize;

use super::finding::{Outcome, Status};
use super::invariant::Invariant;
use super::record::Record;
use crate::replica::StateHash;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub verdict: Verdict,
    pub invariants: Vec<Outcome>,
    pub rooms: BTreeMap<RoomId, RoomSummary>,
}

/// What the log has of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RoomSummary {
    pub ops: u64,
    pub head: Seq,
    /// Of the board after the last op; none if ops are missing.
    pub state_hash: Option<StateHash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that could be judged held.
    Held,
    Violated,
    /// Nothing could be judged at all.
    Unchecked,
}

impl Report {
    pub(super) fn new(invariants: Vec<Outcome>, record: &Record) -> Self {
        let any = |status| invariants.iter().any(|outcome| outcome.status == status);
        let verdict = match (any(Status::Violated), any(Status::Held)) {
            (true, _) => Verdict::Violated,
            (false, true) => Verdict::Held,
            (false, false) => Verdict::Unchecked,
        };
        let rooms = record.rooms().iter().map(|(room, log)| {
            let (ops, head) = (log.ops(), log.head());
            (*room, RoomSummary { ops, head, state_hash: log.state(head) })
        });
        Self { verdict, rooms: rooms.collect(), invariants }
    }

    #[must_use]
    pub fn of(&self, invariant: Invariant) -> Option<&Outcome> {
        self.invariants.iter().find(|outcome| outcome.invariant == invariant)
    }

    /// Those that were violated.
    #[must_use]
    pub fn violated(&self) -> Vec<Invariant> {
        self.with(Status::Violated)
    }

    /// Those that there was nothing to judge on.
    #[must_use]
    pub fn unchecked(&self) -> Vec<Invariant> {
        self.with(Status::Unchecked)
    }

    fn with(&self, status: Status) -> Vec<Invariant> {
        let outcomes = self.invariants.iter().filter(|outcome| outcome.status == status);
        outcomes.map(|outcome| outcome.invariant).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ops: u64 = self.rooms.values().map(|room| room.ops).sum();
        writeln!(f, "{ops} ops of {} rooms in the log", self.rooms.len())?;
        for (id, room) in self.rooms.iter().take(3) {
            let state = room.state_hash.map_or("unknown".into(), |hash| hash.to_string());
            writeln!(f, "  {id} at {}, state {state}", room.head)?;
        }
        writeln!(f)?;
        self.invariants.iter().try_for_each(|outcome| write_outcome(f, outcome))?;
        let unchecked = self.unchecked().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let unchecked =
            if unchecked.is_empty() { String::new() } else { format!("; not checked: {unchecked}") };
        match self.verdict {
            Verdict::Held => writeln!(f, "\nHELD: no violation{unchecked}"),
            Verdict::Violated => {
                let violations: u64 = self.invariants.iter().map(|outcome| outcome.violations).sum();
                writeln!(f, "\nVIOLATED: {violations} violations{unchecked}")
            }
            Verdict::Unchecked => writeln!(f, "\nUNCHECKED: there was nothing to judge on"),
        }
    }
}

fn write_outcome(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    let status = match outcome.status {
        Status::Held => "held",
        Status::Violated => "VIOLATED",
        Status::Unchecked => "unchecked",
    };
    let on = match outcome.missing {
        Some(missing) => format!("needs {missing}"),
        None => format!("on {} facts", outcome.facts),
    };
    let skipped = match outcome.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} not: their rooms are not in the log"),
    };
    let name = outcome.invariant.as_str();
    writeln!(f, "{name:<4} {status:<10}{} ({on}{skipped})", outcome.invariant.meaning())?;
    for recovery in &outcome.recoveries {
        writeln!(
            f,
            "       {}: {} rooms stood still for {:.0} ms (median), {:.0} ms (longest); {:.0} are allowed",
            recovery.fault, recovery.rooms, recovery.median_ms, recovery.max_ms, recovery.limit_ms
        )?;
    }
    if outcome.violations > 0 {
        writeln!(f, "     {} violations, the first:", outcome.violations)?;
    }
    for violation in &outcome.first {
        write!(f, "       {}", violation.detail)?;
        let evidence = [
            violation.room.map(|room| format!("room {room}")),
            violation.client.map(|client| format!("client {client}")),
            violation.at_ms.map(|at| format!("at {at} ms")),
            violation.file.as_ref().map(|file| format!("{file}:{}", violation.line)),
        ];
        let evidence: Vec<String> = evidence.into_iter().flatten().collect();
        writeln!(
            f,
            "{}",
            if evidence.is_empty() { String::new() } else { format!(" [{}]", evidence.join(", ")) }
        )?;
    }
    Ok(())
}
