//! The checker: whether a cluster kept what it promised, judged on its log and on the journals of its clients.
//!
//! The log gives every room a total order, so each invariant is one pass over the evidence and no search. First the log
//! is read ([`LogScan`]), then the journals are held against it ([`JournalScan`]), then there is a [`Report`]. Every
//! invariant is a [`Check`] of its own that sees every [`Fact`] and keeps what it has to remember; it can be run alone.
//!
//! Pure: facts come in, findings go out. [`files`] and [`remote`] bring the facts.

mod acknowledged;
mod bounds;
mod contiguity;
mod delivery;
mod epochs;
pub mod files;
mod finding;
mod freshness;
mod invariant;
mod output_gate;
mod presence;
mod record;
mod recovery;
pub mod remote;
mod report;
mod runs;
mod states;
mod strokes;
mod takeovers;
mod uniqueness;

use enfilade_proto::{Epoch, RoomId};

pub use self::finding::{Outcome, Recovery, Status, Tally, Violation};
pub use self::invariant::Invariant;
pub use self::record::{Record, RoomRecord, Written};
pub use self::report::{Report, RoomSummary, Verdict};
use crate::clock::Micros;
use crate::export::{Checkpoint, Export, LogLine, Row, Takeover};
use crate::journal::{Bound, Entry, Fault, Journaled, Moment};

/// Everything that can be known of a cluster's past, one by one: those of the log first, room by room in seq order.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    Row(&'a Row),
    Checkpoint(&'a Checkpoint),
    Takeover(&'a Takeover),
    /// The log was read to its end; what follows is of the journals.
    LogEnds,
    Entry(&'a Entry),
    Fault(&'a Fault),
    Bound(&'a Bound),
}

/// One invariant, judged fact by fact.
pub trait Check: std::fmt::Debug + Send {
    fn invariant(&self) -> Invariant;

    /// `record` holds what was read of the log so far, this row included.
    fn take(&mut self, moment: &Moment, fact: Fact<'_>, record: &Record, tally: &mut Tally);

    /// There are no more facts.
    fn finish(&mut self, record: &Record, tally: &mut Tally) {
        let _ = (record, tally);
    }
}

/// How clocks are trusted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust {
    /// By how much clocks of the journals' machines may differ.
    pub clock_skew: Micros,
}

fn all_checks(trust: Trust) -> Vec<Box<dyn Check>> {
    vec![
        Box::new(contiguity::Contiguity::default()),
        Box::new(acknowledged::Acknowledged),
        Box::new(freshness::Freshness::new(trust.clock_skew)),
        Box::new(uniqueness::Uniqueness::default()),
        Box::new(takeovers::Takeovers::default()),
        Box::new(epochs::Epochs::default()),
        Box::new(delivery::Delivery::default()),
        Box::new(states::States::default()),
        Box::new(output_gate::OutputGate),
        Box::new(presence::Presence::new(trust.clock_skew)),
        Box::new(recovery::Recoveries::default()),
        Box::new(bounds::Bounds),
        Box::new(strokes::Strokes::default()),
    ]
}

#[derive(Debug)]
struct Checks {
    checks: Vec<(Box<dyn Check>, Tally)>,
    record: Record,
}

impl Checks {
    fn take(&mut self, moment: &Moment, fact: Fact<'_>) {
        for (check, tally) in &mut self.checks {
            check.take(moment, fact, &self.record, tally);
        }
    }
}

/// The first half: the log.
#[derive(Debug)]
pub struct LogScan {
    checks: Checks,
}

impl Default for LogScan {
    fn default() -> Self {
        Self::new(Trust::default())
    }
}

impl LogScan {
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self::of(all_checks(trust))
    }

    fn of(checks: Vec<Box<dyn Check>>) -> Self {
        let checks = checks.into_iter().map(|check| (check, Tally::default())).collect();
        Self { checks: Checks { checks, record: Record::default() } }
    }

    /// Judges these invariants and no others.
    #[must_use]
    pub fn only(mut self, invariants: &[Invariant]) -> Self {
        self.checks.checks.retain(|(check, _)| invariants.contains(&check.invariant()));
        self
    }

    /// The log has every op of these rooms, or of all that there are: what is not in it is lost.
    pub fn has_all_of(&mut self, rooms: Option<&std::collections::BTreeSet<RoomId>>) {
        self.checks.record.has_all_of(rooms);
    }

    pub fn row(&mut self, moment: &Moment, row: &Row) {
        self.checks.record.add(row);
        self.checks.take(moment, Fact::Row(row));
    }

    pub fn takeover(&mut self, moment: &Moment, takeover: &Takeover) {
        self.checks.take(moment, Fact::Takeover(takeover));
    }

    pub fn checkpoint(&mut self, moment: &Moment, checkpoint: &Checkpoint) {
        self.checks.take(moment, Fact::Checkpoint(checkpoint));
    }

    /// A line of an export.
    pub fn line(&mut self, moment: &Moment, line: &LogLine) {
        match line {
            LogLine::Export(Export { rooms, .. }) => self.has_all_of(rooms.as_ref()),
            LogLine::Row(row) => self.row(moment, row),
            LogLine::Checkpoint(checkpoint) => self.checkpoint(moment, checkpoint),
            LogLine::Takeover(takeover) => self.takeover(moment, takeover),
            LogLine::Bound(bound) => self.checks.take(moment, Fact::Bound(bound)),
            LogLine::End(_) => {}
        }
    }

    /// On to the journals.
    #[must_use]
    pub fn end_of_log(mut self) -> JournalScan {
        self.checks.take(&Moment::default(), Fact::LogEnds);
        JournalScan { checks: self.checks }
    }
}

/// The second half: the journals, in the order of their times.
#[derive(Debug)]
pub struct JournalScan {
    checks: Checks,
}

impl JournalScan {
    pub fn entry(&mut self, moment: &Moment, entry: &Entry) {
        self.checks.take(moment, Fact::Entry(entry));
    }

    pub fn told(&mut self, moment: &Moment, told: &Journaled) {
        let fact = match told {
            Journaled::Entry(entry) => Fact::Entry(entry),
            Journaled::Fault(fault) => Fact::Fault(fault),
            Journaled::Bound(bound) => Fact::Bound(bound),
        };
        self.checks.take(moment, fact);
    }

    #[must_use]
    pub fn finish(mut self) -> Report {
        let record = &self.checks.record;
        let outcomes = self.checks.checks.iter_mut().map(|(check, tally)| {
            check.finish(record, tally);
            Outcome::new(check.invariant(), std::mem::take(tally))
        });
        Report::new(outcomes.collect(), record)
    }
}

/// Epochs are compared only where both are known.
fn falls(from: Option<Epoch>, to: Option<Epoch>) -> bool {
    from.zip(to).is_some_and(|(from, to)| to < from)
}

#[cfg(test)]
mod tests;
