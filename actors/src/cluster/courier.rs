//! A courier: brings the ops of one room from this edge to the room's owner, whoever that is, in order, until each is answered.
//!
//! Ops wait here while the owner is not known. If one is lost or turned away on its way, it and all after it go again (as in
//! go-back-N): each op names the one before it, so an owner does not take the later before the earlier. An op that
//! arrives twice is recognised by its op id.

use std::collections::{BTreeSet, VecDeque};

use enfilade_proto::{ErrorCode, Seq};

use crate::bus::{Refused, Submission, Ticket, Writer};
use crate::refusal::Refusal;

/// Bytes of ops of one room that may wait at an edge.
const BYTES: usize = 4 << 20;
/// What an op takes besides its frame.
const OP_BYTES: usize = 256;
/// How long an answer is waited for until the op goes again,
const OVERDUE_MS: u64 = 2_000;
/// and until the client is told to try later.
const EXPIRED_MS: u64 = 10_000;
/// Wait before ops that were turned away go again: doubled each time, up to the latter.
const WAIT_MS: u64 = 10;
const WAIT_MOST_MS: u64 = 500;

/// `R`: the way back to the client.
#[derive(Debug)]
pub(super) struct Courier<R> {
    queue: VecDeque<Parcel<R>>,
    /// How many at the front of the queue are on their way.
    sent: usize,
    bytes: usize,
    /// The op sent last, if everything since the last pause has gone in order.
    last_sent: Option<Ticket>,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Parcel<R> {
    ticket: Ticket,
    submission: Submission,
    reply: R,
    came_ms: u64,
    sent_ms: u64,
}

#[derive(Debug)]
struct Pause {
    until_ms: u64,
    wait_ms: u64,
}

/// An op that is to be sent now.
#[derive(Debug, PartialEq)]
pub(super) struct Outgoing {
    pub(super) ticket: Ticket,
    /// The op that has to have come before it. None: the first since a pause.
    pub(super) after: Option<Ticket>,
    pub(super) submission: Submission,
}

/// An answer for a client.
#[derive(Debug, PartialEq)]
pub(super) struct Answered<R> {
    pub(super) reply: R,
    pub(super) result: Result<Seq, Refusal>,
}

impl<R> Default for Courier<R> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), sent: 0, bytes: 0, last_sent: None, pause: None }
    }
}

impl<R> Courier<R> {
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes an op. `Err` gives the way back if too much is waiting already.
    pub(super) fn take(
        &mut self,
        now_ms: u64,
        ticket: Ticket,
        submission: Submission,
        reply: R,
    ) -> Result<(), R> {
        let bytes = submission.weight as usize + OP_BYTES;
        if self.bytes + bytes > BYTES {
            return Err(reply);
        }
        self.bytes += bytes;
        self.queue.push_back(Parcel { ticket, submission, reply, came_ms: now_ms, sent_ms: 0 });
        Ok(())
    }

    /// What is to be sent now, in this order.
    pub(super) fn send(&mut self, now_ms: u64) -> Vec<Outgoing> {
        if self.pause.as_ref().is_some_and(|pause| now_ms < pause.until_ms) {
            return Vec::new();
        }
        let mut outgoing = Vec::with_capacity(self.queue.len() - self.sent);
        for parcel in self.queue.iter_mut().skip(self.sent) {
            parcel.sent_ms = now_ms;
            let (ticket, submission) = (parcel.ticket, parcel.submission.clone());
            let after = self.last_sent.replace(ticket);
            outgoing.push(Outgoing { ticket, after, submission });
        }
        self.sent = self.queue.len();
        outgoing
    }

    /// The owner has answered. What it turned away goes again later, with all that came after.
    pub(super) fn answered(
        &mut self,
        now_ms: u64,
        ticket: Ticket,
        result: Result<Seq, Refused>,
    ) -> Option<Answered<R>> {
        // Tickets grow along the queue.
        let place = self.queue.binary_search_by_key(&ticket, |parcel| parcel.ticket).ok()?;
        let result = match result {
            Ok(seq) => Ok(seq),
            // Whoever has too much to do, or no database, is asked again, so that no op overtakes one that came before it.
            Err(Refused::No(refusal)) if refusal.code != ErrorCode::Busy => Err(refusal),
            Err(_) => {
                // The answer to an earlier attempt says nothing of this one.
                if place < self.sent {
                    self.pause(now_ms);
                }
                return None;
            }
        };
        self.pause = None;
        self.sent -= usize::from(place < self.sent);
        let parcel = self.queue.remove(place)?;
        self.bytes -= parcel.submission.weight as usize + OP_BYTES;
        Some(Answered { reply: parcel.reply, result })
    }

    /// The owner cannot be reached: everything goes again after a while.
    pub(super) fn pause(&mut self, now_ms: u64) {
        let wait_ms = self.pause.as_ref().map_or(WAIT_MS, |pause| (pause.wait_ms * 2).min(WAIT_MOST_MS));
        self.pause = Some(Pause { until_ms: now_ms + wait_ms, wait_ms });
        self.sent = 0;
        self.last_sent = None;
    }

    /// There is another owner: everything goes at once.
    pub(super) fn resume(&mut self) {
        self.sent = 0;
        self.last_sent = None;
        self.pause = None;
    }

    /// Time has passed. Gives those back who have waited for too long, with whatever the same writers sent after that: it may
    /// build upon it.
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<R> {
        let expired = self.expire(now_ms);
        let overdue = |parcel: &Parcel<R>| now_ms >= parcel.sent_ms + OVERDUE_MS;
        if self.sent > 0 && self.queue.front().is_some_and(overdue) {
            self.pause(now_ms);
        }
        expired
    }

    fn expire(&mut self, now_ms: u64) -> Vec<R> {
        let is_late = |parcel: &Parcel<R>| now_ms >= parcel.came_ms + EXPIRED_MS;
        if !self.queue.front().is_some_and(is_late) {
            return Vec::new();
        }
        let late = self.queue.iter().filter(|parcel| is_late(parcel)).map(|parcel| parcel.submission.writer);
        let late: BTreeSet<Writer> = late.collect();
        let all = std::mem::take(&mut self.queue);
        let (expired, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|parcel| late.contains(&parcel.submission.writer));
        self.queue = kept.into();
        // What was under way goes again: there are gaps in it now.
        self.sent = 0;
        self.last_sent = None;
        let reply = |parcel: Parcel<R>| {
            self.bytes -= parcel.submission.weight as usize + OP_BYTES;
            parcel.reply
        };
        expired.into_iter().map(reply).collect()
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let front = self.queue.front()?;
        let send = if self.sent == self.queue.len() {
            None
        } else {
            Some(self.pause.as_ref().map_or(0, |it| it.until_ms))
        };
        let overdue = (self.sent > 0).then_some(front.sent_ms + OVERDUE_MS);
        [send, overdue, Some(front.came_ms + EXPIRED_MS)].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
