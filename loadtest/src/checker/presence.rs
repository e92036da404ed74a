//! I10: who a room says is there is who is there: everybody whose connection has been in it for a moment, and nobody who
//! left longer ago than the grace.

use std::collections::{BTreeSet, HashMap, HashSet};

use enfilade_proto::{ClientId, RoomId, UserId};

use super::{Check, Fact, Invariant, Record, Tally, Violation};
use crate::clock::{Micros, SECOND};
use crate::journal::{Entry, Moment};

/// How soon an arrival has to be known, and how long a departure may be unknown: the protocol's grace of 15 s, and the
/// digest that goes out once a second.
const ARRIVAL: Micros = 3 * SECOND;
const GRACE: Micros = 18 * SECOND;

#[derive(Debug)]
pub(super) struct Presence {
    clock_skew: Micros,
    users: HashMap<ClientId, UserId>,
    rooms: HashMap<RoomId, Room>,
}

#[derive(Debug, Default)]
struct Room {
    /// Nobody else can be in it.
    alone: bool,
    /// Connections that are in it, whose they are, and since when.
    inside: HashMap<(ClientId, u32), (UserId, Micros)>,
    left: HashMap<UserId, Micros>,
}

impl Presence {
    pub(super) fn new(clock_skew: Micros) -> Self {
        Self { clock_skew, users: HashMap::new(), rooms: HashMap::new() }
    }
}

impl Check for Presence {
    fn invariant(&self) -> Invariant {
        Invariant::I10
    }

    fn take(&mut self, moment: &Moment, fact: Fact<'_>, _: &Record, tally: &mut Tally) {
        let Fact::Entry(entry) = fact else { return };
        let now = moment.at.unwrap_or_default();
        match entry {
            Entry::Room { room, alone, .. } => self.rooms.entry(*room).or_default().alone = *alone,
            Entry::Welcome { client, user, .. } => {
                self.users.insert(*client, *user);
            }
            Entry::Joined { client, connection, room, .. } => {
                let Some(user) = self.users.get(client) else { return };
                let room = self.rooms.entry(*room).or_default();
                room.inside.entry((*client, *connection)).or_insert((*user, now));
            }
            Entry::Closed { client, connection, .. } => {
                self.rooms.values_mut().for_each(|room| room.closed((*client, *connection), now));
            }
            Entry::Presence { room, viewer, count, members } => {
                tally.fact();
                let skew = self.clock_skew;
                let wrong = self.rooms.entry(*room).or_default().compare(
                    now,
                    skew,
                    *viewer,
                    *count,
                    members.as_deref(),
                );
                if let Some(wrong) = wrong {
                    tally.violated(|| Violation::new(moment, wrong).of(*room));
                }
            }
            _ => {}
        }
    }
}

impl Room {
    fn closed(&mut self, connection: (ClientId, u32), now: Micros) {
        let Some((user, _)) = self.inside.remove(&connection) else { return };
        if self.inside.values().all(|(other, _)| *other != user) {
            self.left.insert(user, now);
        }
    }

    /// What is wrong, if anything.
    fn compare(
        &mut self,
        now: Micros,
        skew: Micros,
        viewer: UserId,
        count: u64,
        members: Option<&[UserId]>,
    ) -> Option<String> {
        self.left.retain(|_, left| *left + GRACE + skew > now);
        let certain = self.inside.values().filter(|(_, since)| since + ARRIVAL + skew < now);
        let certain: BTreeSet<UserId> = certain.map(|(user, _)| *user).collect();
        let mut possible: HashSet<UserId> = self.inside.values().map(|(user, _)| *user).collect();
        possible.extend(self.left.keys());
        possible.insert(viewer);
        let Some(members) = members else {
            let most = if self.alone { possible.len() as u64 } else { u64::MAX };
            let fits = (certain.len() as u64..=most).contains(&count);
            return (!fits)
                .then(|| format!("{count} are said to be there, and there are {} to {most}", certain.len()));
        };
        let shown: HashSet<UserId> = members.iter().copied().collect();
        let absent: Vec<_> = certain.iter().filter(|user| !shown.contains(user)).collect();
        let ghosts: Vec<_> = shown.iter().filter(|user| self.alone && !possible.contains(user)).collect();
        let wrong = !absent.is_empty() || !ghosts.is_empty() || shown.len() as u64 != count;
        wrong.then(|| {
            format!(
                "{count} are said to be there, {} listed; {} who are there are not among them (first {}), {} are who are not there (first {})",
                shown.len(),
                absent.len(),
                absent.first().map_or("nobody".into(), ToString::to_string),
                ghosts.len(),
                ghosts.first().map_or("nobody".into(), ToString::to_string),
            )
        })
    }
}
