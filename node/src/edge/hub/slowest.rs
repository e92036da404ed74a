//! Which connections are the slowest: for operators who wonder why somebody sees things late.

use std::cmp::Reverse;

use enfilade_proto::{ClientId, RoomId, UserId};
use serde::Serialize;

use super::Hub;
use super::connection::Connection;

/// How much a connection lags, the worst first: one that takes nothing at all before one with much to take, and that before one
/// whose answers take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Lag {
    /// How long its socket has taken nothing although there was something to take.
    pub(crate) stalled_ms: u64,
    /// Of replies and resets; what it misses of a room is not queued.
    pub(crate) waiting_bytes: usize,
    /// Rooms in which it is behind the others.
    pub(crate) late_rooms: usize,
    /// How long its last ping took, or has been waiting for an answer.
    pub(crate) round_trip_ms: Option<u64>,
}

/// A connection as operators see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SlowConnection {
    #[serde(flatten)]
    pub(crate) lag: Lag,
    /// Nobody: an audience without a name.
    user: Option<UserId>,
    name: Option<String>,
    client: ClientId,
    rooms: Vec<RoomId>,
    silent_ms: u64,
}

impl SlowConnection {
    fn new(connection: &Connection, now_ms: u64) -> Self {
        let user = connection.person.as_ref().map(|person| &person.user);
        Self {
            lag: connection.lag(now_ms),
            user: user.map(|user| user.id),
            name: user.map(|user| user.name.to_string()),
            client: connection.client(),
            rooms: connection.room_ids(),
            silent_ms: connection.silent_for(now_ms),
        }
    }
}

impl Hub {
    /// So many of the connections at most, the slowest first.
    pub(super) fn slowest(&self, most: usize) -> Vec<SlowConnection> {
        let now_ms = self.now_ms();
        let mut lags: Vec<(Reverse<Lag>, usize)> =
            self.connections.iter().map(|(key, it)| (Reverse(it.lag(now_ms)), key)).collect();
        if most < lags.len() {
            lags.select_nth_unstable(most);
            lags.truncate(most);
        }
        lags.sort_unstable();
        lags.into_iter().map(|(_, key)| SlowConnection::new(&self.connections[key], now_ms)).collect()
    }
}

/// Of several hubs.
pub(crate) fn merge(mut of_hubs: Vec<SlowConnection>, most: usize) -> Vec<SlowConnection> {
    of_hubs.sort_by_key(|it| Reverse(it.lag));
    of_hubs.truncate(most);
    of_hubs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_nothing_is_slower_than_who_is_far_away() {
        let quick = Lag { stalled_ms: 0, waiting_bytes: 0, late_rooms: 0, round_trip_ms: Some(3) };
        let unknown = Lag { round_trip_ms: None, ..quick };
        let far = Lag { round_trip_ms: Some(900), ..quick };
        let late = Lag { late_rooms: 1, ..quick };
        let waiting = Lag { waiting_bytes: 10, ..quick };
        let stalled = Lag { stalled_ms: 1, ..quick };
        let mut lags = [quick, stalled, unknown, far, waiting, late];
        lags.sort_by_key(|lag| Reverse(*lag));
        assert_eq!(lags, [stalled, waiting, late, far, quick, unknown]);
    }
}
