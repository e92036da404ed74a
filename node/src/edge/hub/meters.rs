//! How much of each kind a client may send, and has sent.

use enfilade_proto::limits::{
    Limits, OPS_BURST, OPS_PER_SECOND, ROOMS_PER_CONNECTION, SIGNALS_BURST, SIGNALS_PER_SECOND,
};

use crate::edge::meter::{Allowance, Meter};

/// What every connection may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowances {
    pub(crate) ops: Allowance,
    pub(crate) signals: Allowance,
    pub(crate) joins: Allowance,
}

impl Default for Allowances {
    fn default() -> Self {
        Self {
            ops: Allowance { per_second: OPS_PER_SECOND, burst: OPS_BURST },
            signals: Allowance { per_second: SIGNALS_PER_SECOND, burst: SIGNALS_BURST },
            // A join may bring a whole board: all rooms of a connection at once, and then a few a second.
            joins: Allowance { per_second: 20, burst: 2 * ROOMS_PER_CONNECTION as u32 },
        }
    }
}

impl Allowances {
    /// The bounds that a client is told.
    pub(crate) fn told(&self) -> Limits {
        Limits {
            ops_per_second: self.ops.per_second,
            signals_per_second: self.signals.per_second,
            ..Limits::default()
        }
    }
}

/// The meters of a connection. Each takes one, or says how many milliseconds to wait for it.
#[derive(Debug, Default)]
pub(super) struct Meters {
    ops: Meter,
    signals: Meter,
    joins: Meter,
}

impl Meters {
    pub(super) fn op(&mut self, allowed: &Allowances, now_ms: u64) -> Result<(), u64> {
        self.ops.take(allowed.ops, now_ms)
    }

    pub(super) fn signal(&mut self, allowed: &Allowances, now_ms: u64) -> Result<(), u64> {
        self.signals.take(allowed.signals, now_ms)
    }

    pub(super) fn join(&mut self, allowed: &Allowances, now_ms: u64) -> Result<(), u64> {
        self.joins.take(allowed.joins, now_ms)
    }

    /// Whether they are as good as new ones.
    pub(super) fn are_unused(&self, allowed: &Allowances, now_ms: u64) -> bool {
        let meters =
            [(&self.ops, allowed.ops), (&self.signals, allowed.signals), (&self.joins, allowed.joins)];
        meters.iter().all(|(meter, allowance)| meter.is_unused(*allowance, now_ms))
    }
}
