//! How much of each kind a client may send, and has sent.

use enfilade_proto::limits::{
    OPS_BURST, OPS_PER_SECOND, ROOMS_PER_CONNECTION, SIGNALS_BURST, SIGNALS_PER_SECOND,
};

use crate::edge::meter::{Allowance, Meter};

const OPS: Allowance = Allowance { per_second: OPS_PER_SECOND, burst: OPS_BURST };
const SIGNALS: Allowance = Allowance { per_second: SIGNALS_PER_SECOND, burst: SIGNALS_BURST };
/// A join may bring a whole board: all rooms of a connection at once, and then a few a second.
const JOINS: Allowance = Allowance { per_second: 20, burst: 2 * ROOMS_PER_CONNECTION as u32 };

/// The meters of a connection. Each takes one, or says how many milliseconds to wait for it.
#[derive(Debug, Default)]
pub(super) struct Meters {
    ops: Meter,
    signals: Meter,
    joins: Meter,
}

impl Meters {
    pub(super) fn op(&mut self, now_ms: u64) -> Result<(), u64> {
        self.ops.take(OPS, now_ms)
    }

    pub(super) fn signal(&mut self, now_ms: u64) -> Result<(), u64> {
        self.signals.take(SIGNALS, now_ms)
    }

    pub(super) fn join(&mut self, now_ms: u64) -> Result<(), u64> {
        self.joins.take(JOINS, now_ms)
    }

    /// Whether they are as good as new ones.
    pub(super) fn are_unused(&self, now_ms: u64) -> bool {
        let meters = [(&self.ops, OPS), (&self.signals, SIGNALS), (&self.joins, JOINS)];
        meters.iter().all(|(meter, allowance)| meter.is_unused(*allowance, now_ms))
    }
}
