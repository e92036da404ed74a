//! What waits until it is on disk: one batch is being written, everything that comes meanwhile is the next.

use enfilade_proto::{Position, Seq};

use super::exchange::{Effect, Token};
use super::{EDGES_APART, Room};
use crate::bus::{Attached, RoomEvent};
use crate::kind::Contents;
use crate::refusal::Refusal;

/// Wait before a failed commit is tried again: doubled each time, up to the latter.
pub(super) const RETRY_MS: u64 = 50;
pub(super) const RETRY_MOST_MS: u64 = 2_000;

/// What is told from the state alone would be wrong if another owner had changed it. So it waits until the fence was asked,
/// and was asked later than the room.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) readers: Vec<Reader>,
    pub(super) refusals: Vec<(Token, Refusal)>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.refusals.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) seq: Seq,
    pub(super) token: Token,
    pub(super) contents: Option<Contents>,
    /// Whether the edge was attached before.
    pub(super) known: bool,
}

#[derive(Debug)]
pub(super) struct Retry {
    pub(super) at_ms: u64,
    wait_ms: u64,
}

impl Room {
    /// Keeps the queue in the order of seqs: a resent op may wait for one that is further ahead than the newest.
    pub(super) fn await_seq(&mut self, seq: Seq, token: Token) {
        let place = self.submitters.partition_point(|(waiting, _)| *waiting <= seq);
        self.submitters.insert(place, (seq, token));
    }

    pub(super) fn committed(&mut self, effects: &mut Vec<Effect>) {
        self.retry = None;
        let Some(ops) = self.in_flight.take() else { return };
        let first = self.committed.next();
        self.committed = Seq(self.committed.0 + ops.len() as u64);
        if !ops.is_empty() {
            self.publish(RoomEvent::Ops { first, ops: ops.into(), traces: Vec::new() }, effects);
        }
        while let Some((seq, token)) = self.submitters.pop_front_if(|(seq, _)| *seq <= self.committed) {
            effects.push(Effect::Accept { token, seq });
        }
        let Waiting { readers, refusals } = std::mem::take(&mut self.riding);
        for reader in readers {
            let attached = Attached {
                kind: self.kind_name,
                position: Position { epoch: self.epoch, seq: reader.seq },
                contents: reader.contents,
                presence: self.presence.full(),
                edges: self.edges.keys().copied().collect(),
                multicast: self.edges.len() > EDGES_APART,
                known: reader.known,
            };
            effects.push(Effect::Attached { token: reader.token, attached });
        }
        effects.extend(refusals.into_iter().map(|(token, refusal)| Effect::Refuse { token, refusal }));
    }

    pub(super) fn commit_failed(&mut self, now_ms: u64) {
        let wait_ms = self.retry.as_ref().map_or(RETRY_MS, |retry| (retry.wait_ms * 2).min(RETRY_MOST_MS));
        self.retry = Some(Retry { at_ms: now_ms + wait_ms, wait_ms });
    }

    /// Commits what is waiting as soon as nothing is being committed. No timer: the batch is what came meanwhile.
    pub(super) fn commit_next(&mut self, effects: &mut Vec<Effect>) {
        let wanted = !self.pending.is_empty() || !self.waiting.is_empty();
        if self.in_flight.is_none() && wanted {
            let ops = std::mem::take(&mut self.pending);
            effects.push(Effect::Commit { first: self.committed.next(), ops: ops.clone() });
            self.in_flight = Some(ops);
            self.riding = std::mem::take(&mut self.waiting);
        }
    }

    pub(super) fn retry_commit(&mut self, now_ms: u64, effects: &mut Vec<Effect>) {
        if let (Some(retry), Some(ops)) = (&mut self.retry, &self.in_flight)
            && retry.at_ms <= now_ms
        {
            // Not again before this try has been answered.
            retry.at_ms = u64::MAX;
            effects.push(Effect::Commit { first: self.committed.next(), ops: ops.clone() });
        }
    }
}
