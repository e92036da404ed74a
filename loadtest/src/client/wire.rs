//! One connection of a clone, as the clone sees it. A clone that moves to another node has two for a while.

use std::collections::VecDeque;

use bytes::Bytes;
use enfilade_proto::Position;
use enfilade_proto::limits::PING_MS;

use super::{PING_GRACE, REPLY_TIMEOUT};
use crate::clock::{MILLISECOND, Micros};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Greeting { since: Micros },
    Joining { since: Micros },
    Inside,
}

#[derive(Debug)]
pub(super) struct Wire {
    /// Counts the client's attempts to connect: 1, 2, 3.
    pub(super) id: u32,
    pub(super) phase: Phase,
    pub(super) outgoing: VecDeque<Bytes>,
    heard: Micros,
    pub(super) silence: Micros,
    /// Where the client said it stood when it asked to join.
    pub(super) since: Option<Position>,
    pub(super) join_open: bool,
    pub(super) rejoin_at: Option<Micros>,
    /// What the server said it would close with.
    pub(super) closing: Option<u16>,
    pub(super) node: String,
}

impl Wire {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            phase: Phase::Connecting,
            outgoing: VecDeque::new(),
            heard: 0,
            silence: PING_MS * MILLISECOND + PING_GRACE,
            since: None,
            join_open: false,
            rejoin_at: None,
            closing: None,
            node: String::new(),
        }
    }

    pub(super) fn opened(&mut self, now: Micros) {
        self.heard = now;
        self.phase = Phase::Greeting { since: now };
    }

    pub(super) fn heard(&mut self, now: Micros) {
        self.heard = now;
    }

    pub(super) fn is_inside(&self) -> bool {
        self.phase == Phase::Inside
    }

    /// When it counts as dead. How long connecting may take is its carrier's business.
    pub(super) fn deadline(&self) -> Option<Micros> {
        match self.phase {
            Phase::Connecting => None,
            Phase::Greeting { since } | Phase::Joining { since } => Some(since + REPLY_TIMEOUT),
            Phase::Inside => Some(self.heard + self.silence),
        }
    }

    /// When something is to be done about it.
    pub(super) fn alarm(&self) -> Option<Micros> {
        self.deadline().into_iter().chain(self.rejoin_at).min()
    }
}
