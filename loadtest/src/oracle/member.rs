//! What the oracle knows of one client: where each of its connections stands, and what became of its ops.

use std::collections::BTreeMap;

use enfilade_proto::{ClientId, Op, Position, Seq, UserId};

use super::Who;
use crate::clock::Micros;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) client: ClientId,
    pub(super) authors: Vec<UserId>,
    /// The furthest that any of its connections came.
    pub(super) position: Position,
    /// Connections that are in the room, or asked to come in.
    pub(super) streams: BTreeMap<u32, Standing>,
    /// By op id, which starts at 1.
    pub(super) ops: Vec<Submitted>,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) phase: Phase,
    pub(super) position: Position,
    /// Where the client stood when it asked to join.
    pub(super) asked: Option<Position>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Outside,
    Inside,
    /// It missed something and has asked to join again.
    Healing,
}

#[derive(Debug)]
pub(super) struct Submitted {
    /// None: not to be measured.
    pub(super) planned: Option<Micros>,
    /// Until it is seen for the first time.
    pub(super) op: Option<Box<Op>>,
    pub(super) fate: Fate,
    pub(super) seen: Option<Seq>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Unanswered,
    Accepted(Seq),
    Refused,
    /// Its client went without waiting for the answer.
    Abandoned,
}

impl Member {
    pub(super) fn inside(&self) -> impl Iterator<Item = &Standing> {
        self.streams.values().filter(|standing| standing.phase != Phase::Outside)
    }

    pub(super) fn advance(&mut self, to: Position) {
        self.position.epoch = self.position.epoch.max(to.epoch);
        self.position.seq = self.position.seq.max(to.seq);
    }
}

/// How many of so many ops from `first` on lie at or before `stood`.
pub(super) fn already(stood: Seq, first: Seq, ops: usize) -> usize {
    usize::try_from(stood.next().0.saturating_sub(first.0)).unwrap_or(usize::MAX).min(ops)
}

pub(super) fn record(members: &mut [Member], who: Who, op_id: u64) -> Option<&mut Submitted> {
    let index = usize::try_from(op_id).ok()?.checked_sub(1)?;
    members[who].ops.get_mut(index)
}
