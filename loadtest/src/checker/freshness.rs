//! I3: whoever asks to join after seq n was acknowledged to anybody is answered with n or more. So a paused owner must not
//! serve the past.

use std::collections::{HashMap, VecDeque};

use enfilade_proto::{ClientId, RoomId, Seq};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::clock::{Micros, SECOND};
use crate::journal::{Entry, Moment};

#[derive(Debug)]
pub(super) struct Freshness {
    clock_skew: Micros,
    rooms: HashMap<RoomId, Acknowledgements>,
    /// What a join that is not yet answered has to bring, by connection, and since when.
    asked: HashMap<(RoomId, ClientId, u32), (Seq, Micros)>,
}

/// How far a room was acknowledged, as a staircase over time.
#[derive(Debug, Default)]
struct Acknowledgements {
    /// Up to this some while ago.
    before: Seq,
    steps: VecDeque<(Micros, Seq)>,
}

/// Lines may be a little out of order: different threads wrote them.
const DISORDER: Micros = 5 * SECOND;

impl Freshness {
    pub(super) fn new(clock_skew: Micros) -> Self {
        Self { clock_skew, rooms: HashMap::new(), asked: HashMap::new() }
    }

    fn answered(&mut self, name: (RoomId, ClientId, u32), seq: Seq, moment: &Moment, tally: &mut Tally) {
        let Some((floor, asked_at)) = self.asked.remove(&name) else { return };
        tally.fact();
        if seq < floor {
            tally.violated(|| {
                let took = moment.at.unwrap_or_default().saturating_sub(asked_at);
                let detail = format!(
                    "joined at {seq}, although {floor} was acknowledged before it asked, {} ms before the answer",
                    took / 1000
                );
                Violation::new(moment, detail).of(name.0).at(floor).by(name.1)
            });
        }
    }
}

impl Check for Freshness {
    fn invariant(&self) -> Invariant {
        Invariant::I3
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let Fact::Entry(entry) = fact else { return };
        let now = moment.at.unwrap_or_default();
        match entry {
            Entry::Accepted { room, seq, .. } => {
                let window = self.clock_skew + DISORDER;
                self.rooms.entry(*room).or_default().add(now, *seq, window);
            }
            Entry::Join { client, connection, room, .. } => {
                let known = self.rooms.get(room);
                let before = now.saturating_sub(self.clock_skew);
                let floor = known.map_or(Seq(0), |room| room.up_to(before));
                // Without an acknowledgement before it, nothing can be wrong.
                if floor > Seq(0) {
                    self.asked.insert((*room, *client, *connection), (floor, now));
                }
            }
            Entry::Joined { client, connection, room, position, .. } => {
                self.answered((*room, *client, *connection), position.seq, moment, tally);
            }
            Entry::Closed { client, connection, .. } => {
                self.asked.retain(|(_, c, n), _| (c, n) != (client, connection));
            }
            _ => {}
        }
    }
}

impl Acknowledgements {
    fn add(&mut self, at: Micros, seq: Seq, window: Micros) {
        if seq <= self.highest() {
            return;
        }
        // A step that was written too late stands where it belongs only if it is the highest; then it does.
        let at = self.steps.back().map_or(at, |(last, _)| at.max(*last));
        self.steps.push_back((at, seq));
        while let Some((_, seq)) = self.steps.front().filter(|(then, _)| then + window < at) {
            self.before = *seq;
            self.steps.pop_front();
        }
    }

    fn highest(&self) -> Seq {
        self.steps.back().map_or(self.before, |(_, seq)| *seq)
    }

    /// What was acknowledged before that time. Later than in truth at most, so that nobody is accused wrongly.
    fn up_to(&self, before: Micros) -> Seq {
        let earlier = self.steps.iter().rev().find(|(at, _)| *at < before);
        earlier.map_or(self.before, |(_, seq)| *seq)
    }
}
