//! I12: mailboxes, buffers and queues stay within their bounds, whatever is done to the cluster.

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::journal::Moment;

#[derive(Debug)]
pub(super) struct Bounds;

impl Check for Bounds {
    fn invariant(&self) -> Invariant {
        Invariant::I12
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let Fact::Bound(sample) = fact else { return };
        tally.fact();
        // Not the other way round: a value that is no number is not within anything.
        let within = sample.value <= sample.bound;
        if !within {
            tally.violated(|| {
                let detail = format!(
                    "{} of node {:?} is {}, and may be {}",
                    sample.metric, sample.node, sample.value, sample.bound
                );
                Violation::new(moment, detail)
            });
        }
    }
}
