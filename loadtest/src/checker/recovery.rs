//! I11: how long rooms stood still after each fault. A room stands still while ops wait in it and none is answered; what of
//! that lies after the injection counts, until the next fault.

use std::collections::HashMap;

use enfilade_proto::RoomId;

use super::{Check, Fact, Invariant, Record, Recovery, Tally, Violation};
use crate::clock::{MILLISECOND, Micros};
use crate::journal::{By, Entry, Fault, Moment, Phase};
use crate::stall::Stall;

/// A drain hands over; anything else has to be noticed first.
const DRAIN_MS: f64 = 500.0;
const OTHERWISE_MS: f64 = 8_000.0;

#[derive(Debug, Default)]
pub(super) struct Recoveries {
    rooms: HashMap<RoomId, Stall>,
    faults: Vec<Window>,
    last: Micros,
}

#[derive(Debug)]
struct Window {
    fault: String,
    moment: Moment,
    limit: Micros,
    healed: bool,
    /// The longest standstill of each room.
    longest: HashMap<RoomId, Micros>,
}

impl Check for Recoveries {
    fn invariant(&self) -> Invariant {
        Invariant::I11
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let now = moment.at.unwrap_or_default();
        match fact {
            Fact::Entry(Entry::Submit { room, .. }) => self.rooms.entry(*room).or_default().submitted(now),
            Fact::Entry(
                Entry::Accepted { room, .. } | Entry::Error { room, op_id: Some(_), last: true, .. },
            ) => {
                self.answered(*room, now);
            }
            Fact::Fault(fault) => self.marked(fault, moment),
            _ => {}
        }
        if let Fact::Entry(entry) = fact {
            self.last = self.last.max(now);
            self.judge_drain(moment, entry, tally);
        }
    }

    fn finish(&mut self, _: &Record, tally: &mut Tally) {
        // Whoever still waits waits until the end.
        let waiting: Vec<RoomId> = self
            .rooms
            .iter()
            .filter(|(_, stall)| stall.standing_since().is_some())
            .map(|(room, _)| *room)
            .collect();
        let end = self.last;
        waiting.into_iter().for_each(|room| self.answered(room, end));
        self.faults.iter().for_each(|window| window.judge(tally));
    }
}

impl Recoveries {
    fn answered(&mut self, room: RoomId, now: Micros) {
        let since = self.rooms.get_mut(&room).and_then(|stall| stall.answered(now));
        let (Some(window), Some(since)) = (self.faults.last_mut(), since) else { return };
        let stood = now.saturating_sub(since.max(window.moment.at.unwrap_or_default()));
        let longest = window.longest.entry(room).or_default();
        *longest = (*longest).max(stood);
    }

    fn marked(&mut self, fault: &Fault, moment: &Moment) {
        if fault.phase == Phase::Heal {
            let injected = self.faults.iter_mut().rev().find(|window| window.fault == fault.fault);
            return injected.into_iter().for_each(|window| window.healed = true);
        }
        let otherwise = if is_drain(&fault.fault) { DRAIN_MS } else { OTHERWISE_MS };
        let limit = fault.limit_ms.unwrap_or(otherwise).max(0.0) * MILLISECOND as f64;
        self.faults.push(Window {
            fault: fault.fault.clone(),
            moment: moment.clone(),
            limit: limit as Micros,
            healed: false,
            longest: HashMap::new(),
        });
    }

    /// A drain is to be noticed by nobody: no errors, no connections that break.
    fn judge_drain(&self, moment: &Moment, entry: &Entry, tally: &mut Tally) {
        let Some(window) = self.faults.last().filter(|window| !window.healed && is_drain(&window.fault))
        else {
            return;
        };
        let (client, what) = match entry {
            Entry::Error { client, code, .. } => (client, format!("was answered {code}")),
            Entry::Closed { client, by: By::Loss, .. } => (client, "lost its connection".to_owned()),
            Entry::Closed { client, by: By::Server, code, .. }
                if !code.is_some_and(|code| (4100..4200).contains(&code)) =>
            {
                (client, format!("was closed with {}", code.unwrap_or_default()))
            }
            _ => return,
        };
        tally.violated(|| {
            Violation::new(moment, format!("during {:?} a client {what}", window.fault)).by(*client)
        });
    }
}

impl Window {
    fn judge(&self, tally: &mut Tally) {
        let mut stood: Vec<Micros> = self.longest.values().copied().collect();
        stood.sort_unstable();
        let Some(max) = stood.last() else { return };
        tally.facts += stood.len() as u64;
        let ms = |time: Micros| time as f64 / MILLISECOND as f64;
        tally.recoveries.push(Recovery {
            fault: self.fault.clone(),
            at_ms: self.moment.at.unwrap_or_default() / MILLISECOND,
            rooms: stood.len(),
            median_ms: ms(stood[stood.len() / 2]),
            max_ms: ms(*max),
            limit_ms: ms(self.limit),
        });
        for (room, stood) in self.longest.iter().filter(|(_, stood)| **stood > self.limit) {
            tally.violated(|| {
                let detail = format!(
                    "after {:?} nothing was acknowledged for {:.0} ms; {:.0} are allowed",
                    self.fault,
                    ms(*stood),
                    ms(self.limit)
                );
                Violation::new(&self.moment, detail).of(*room)
            });
        }
    }
}

fn is_drain(fault: &str) -> bool {
    fault.starts_with("drain")
}
