//! What the clients felt of a fault, out of their journal: who had to connect again, and how long they waited for answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use enfilade_loadtest::clock::{MILLISECOND, Micros};
use enfilade_loadtest::journal::{By, Entry, Moment};
use enfilade_proto::{ClientId, OpId, RoomId};

/// Close codes that ask a client to go on elsewhere.
const MOVED: std::ops::Range<u16> = 4100..4200;

/// When it happened and to whom.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Microseconds since 1970.
    pub from: Micros,
    pub to: Micros,
    /// The nodes that were struck, as they call themselves to their clients.
    pub struck: BTreeSet<String>,
}

impl Window {
    fn contains(&self, time: Micros) -> bool {
        (self.from..=self.to).contains(&time)
    }
}

/// Percentiles of some times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    pub count: usize,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

impl Spread {
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            times.get(rank.clamp(1, times.len().max(1)) - 1).copied().unwrap_or_default()
        };
        Self { count: times.len(), p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// What was felt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Felt {
    /// Those who drew.
    pub clients: usize,
    pub accepted: u64,
    /// Refused for good.
    pub refused: u64,
    /// Clients that had to connect again without having been told to move.
    pub lost: usize,
    /// Those of them that were not connected to a node that was struck.
    pub bystanders_lost: usize,
    /// Clients that were told to move.
    pub moved: usize,
    /// Of each client, the longest that it waited for the answer to an op.
    pub waits: Spread,
}

/// Takes the journal of the clients, line by line.
#[derive(Debug)]
pub struct Observer {
    window: Window,
    /// Where each connection of a client leads.
    nodes: BTreeMap<(ClientId, u32), String>,
    clients: BTreeSet<ClientId>,
    waiting: HashMap<(ClientId, RoomId, OpId), Micros>,
    longest: BTreeMap<ClientId, Micros>,
    lost: BTreeSet<ClientId>,
    bystanders_lost: BTreeSet<ClientId>,
    moved: BTreeSet<ClientId>,
    /// Connections that the server asked to move.
    told: BTreeSet<(ClientId, u32)>,
    accepted: u64,
    refused: u64,
}

impl Observer {
    #[must_use]
    pub fn new(window: Window) -> Self {
        Self {
            window,
            nodes: BTreeMap::new(),
            clients: BTreeSet::new(),
            waiting: HashMap::new(),
            longest: BTreeMap::new(),
            lost: BTreeSet::new(),
            bystanders_lost: BTreeSet::new(),
            moved: BTreeSet::new(),
            told: BTreeSet::new(),
            accepted: 0,
            refused: 0,
        }
    }

    pub fn take(&mut self, moment: &Moment, entry: &Entry) {
        let now = moment.at.unwrap_or_default();
        match entry {
            Entry::Welcome { client, connection, node, .. } => {
                self.nodes.insert((*client, *connection), node.clone());
            }
            Entry::Closed { client, connection, by, code } => {
                self.closed(now, *client, *connection, *by, *code);
            }
            // Whoever hears nothing for long ends the connection itself.
            Entry::Opened { client, connection } if *connection > 1 => {
                self.broke(now, *client, connection - 1);
            }
            Entry::Told { client, connection, .. } => {
                self.told.insert((*client, *connection));
                if self.window.contains(now) {
                    self.moved.insert(*client);
                }
            }
            Entry::Submit { client, room, op_id } => {
                self.clients.insert(*client);
                self.waiting.insert((*client, *room, *op_id), now);
            }
            Entry::Accepted { client, room, op_id, .. } => {
                self.accepted += 1;
                self.answered(now, (*client, *room, *op_id));
            }
            Entry::Error { client, room, op_id: Some(op_id), last: true, .. } => {
                self.refused += 1;
                self.answered(now, (*client, *room, *op_id));
            }
            _ => {}
        }
    }

    #[must_use]
    pub fn finish(self) -> Felt {
        let ms = |time: &Micros| *time as f64 / MILLISECOND as f64;
        Felt {
            clients: self.clients.len(),
            accepted: self.accepted,
            refused: self.refused,
            lost: self.lost.len(),
            bystanders_lost: self.bystanders_lost.len(),
            moved: self.moved.len(),
            waits: Spread::of(self.longest.values().map(ms).collect()),
        }
    }

    fn closed(&mut self, now: Micros, client: ClientId, connection: u32, by: By, code: Option<u16>) {
        // Who was told to move and did not in time is closed with a code that says so; that is still no loss.
        let moved = by == By::Server && code.is_some_and(|code| MOVED.contains(&code));
        if by != By::Client && !moved {
            self.broke(now, client, connection);
        }
    }

    fn broke(&mut self, now: Micros, client: ClientId, connection: u32) {
        if self.told.contains(&(client, connection)) || !self.window.contains(now) {
            return;
        }
        // What happens to them while they look for another node is no second loss.
        if !self.lost.insert(client) {
            return;
        }
        let node = self.nodes.range((client, 0)..=(client, connection)).next_back().map(|(_, node)| node);
        if !node.is_some_and(|node| self.window.struck.contains(node)) {
            self.bystanders_lost.insert(client);
        }
    }

    fn answered(&mut self, now: Micros, op: (ClientId, RoomId, OpId)) {
        let Some(since) = self.waiting.remove(&op) else { return };
        if now >= self.window.from && since <= self.window.to {
            let longest = self.longest.entry(op.0).or_default();
            *longest = (*longest).max(now - since);
        }
    }
}

#[cfg(test)]
mod tests {
    use enfilade_proto::{Seq, UserId};
    use uuid::Uuid;

    use super::*;

    const ROOM: RoomId = RoomId(Uuid::from_u128(9));

    fn id(n: u128) -> ClientId {
        ClientId(Uuid::from_u128(n))
    }

    fn felt(entries: &[(Micros, Entry)]) -> Felt {
        let window = Window { from: 1_000, to: 9_000, struck: ["a".to_owned()].into() };
        let mut observer = Observer::new(window);
        entries.iter().for_each(|(at, entry)| observer.take(&Moment::at(*at), entry));
        observer.finish()
    }

    fn welcome(n: u128, node: &str) -> Entry {
        let (user, node) = (UserId(Uuid::from_u128(n)), node.to_owned());
        Entry::Welcome { client: id(n), connection: 1, user, node }
    }

    fn closed(n: u128, by: By, code: Option<u16>) -> Entry {
        Entry::Closed { client: id(n), connection: 1, by, code }
    }

    #[test]
    fn who_was_on_a_struck_node_is_no_bystander_and_who_was_told_to_move_lost_nothing() {
        let submit = |n| Entry::Submit { client: id(n), room: ROOM, op_id: OpId(1) };
        let felt = felt(&[
            (1, submit(1)),
            (1, submit(2)),
            (1, welcome(1, "a")),
            (1, welcome(2, "b")),
            (1, welcome(3, "b")),
            (1, welcome(4, "b")),
            (1, welcome(5, "a")),
            (500, closed(4, By::Loss, None)),
            (2_000, closed(1, By::Loss, None)),
            (2_000, closed(2, By::Server, Some(4002))),
            (2_000, Entry::Told { client: id(3), connection: 1, after_ms: 50 }),
            (2_400, Entry::Opened { client: id(3), connection: 2 }),
            (2_500, closed(3, By::Server, Some(4100))),
            (2_500, closed(5, By::Client, None)),
            (2_600, Entry::Opened { client: id(5), connection: 2 }),
            (2_700, Entry::Opened { client: id(5), connection: 3 }),
            (9_500, closed(4, By::Server, Some(4000))),
        ]);
        assert_eq!((felt.clients, felt.lost, felt.bystanders_lost, felt.moved), (2, 3, 1, 1));
    }

    #[test]
    fn waits_count_if_they_touch_the_window() {
        let submit = |n, op| Entry::Submit { client: id(n), room: ROOM, op_id: OpId(op) };
        let accepted =
            |n, op| Entry::Accepted { client: id(n), room: ROOM, op_id: OpId(op), seq: Seq(1), epoch: None };
        let felt = felt(&[
            (10, submit(1, 1)),
            (900, accepted(1, 1)),
            (950, submit(1, 2)),
            (2_000, submit(2, 1)),
            (4_950, accepted(1, 2)),
            (5_000, accepted(2, 1)),
            (9_100, submit(2, 2)),
            (19_100, accepted(2, 2)),
        ]);
        assert_eq!(felt.accepted, 4);
        assert_eq!(felt.waits, Spread { count: 2, p50: 3.0, p99: 4.0, max: 4.0 });
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
