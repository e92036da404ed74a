//! What a person notices of faults: how long they were not in the room, and how long their ops waited for an answer.

use crate::clock::Micros;
use crate::latency::Latencies;

/// Why a connection ended, or an op had to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server asked to move.
    Told,
    /// The server closed with a code.
    Closed,
    /// The connection broke, or fell silent.
    Lost,
}

impl Reason {
    pub const ALL: [Self; 3] = [Self::Told, Self::Closed, Self::Lost];
}

/// The longest times of one client.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Not connected and joined.
    outside: [Option<Micros>; 3],
    /// Between submitting and the answer, of ops that were disturbed.
    waited: [Option<Micros>; 3],
    waited_undisturbed: Option<Micros>,
}

impl Gaps {
    pub(super) fn outside(&mut self, reason: Reason, time: Micros) {
        let longest = &mut self.outside[reason as usize];
        *longest = (*longest).max(Some(time));
    }

    pub(super) fn waited(&mut self, disturbed: Option<Reason>, time: Micros) {
        let longest = match disturbed {
            Some(reason) => &mut self.waited[reason as usize],
            None => &mut self.waited_undisturbed,
        };
        *longest = (*longest).max(Some(time));
    }

    /// Hands over the longest of each kind, so that the figures are over clients and not over ops.
    pub(super) fn record(&self, times: &mut Latencies) {
        for reason in Reason::ALL {
            let record = |longest: Option<Micros>, times: &mut crate::latency::Times| {
                longest.into_iter().for_each(|time| times.record(time));
            };
            record(self.outside[reason as usize], &mut times.outside[reason as usize]);
            record(self.waited[reason as usize], &mut times.waited[reason as usize]);
        }
        self.waited_undisturbed.into_iter().for_each(|time| times.waited_undisturbed.record(time));
    }
}
