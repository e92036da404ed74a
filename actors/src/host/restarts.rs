//! When a room that crashes is not started again: a policy without a clock.

use std::collections::{BTreeMap, VecDeque};

use enfilade_proto::RoomId;

/// This many crashes within the window make a room one that is set aside.
const CRASHES: usize = 5;
const WINDOW_MS: u64 = 60_000;
/// For how long. After that it gets another chance.
const QUARANTINE_MS: u64 = 300_000;

#[derive(Debug, Default)]
pub(super) struct Restarts {
    crashes: BTreeMap<RoomId, VecDeque<u64>>,
}

impl Restarts {
    /// Notes a crash. Returns whether the room is now set aside.
    pub(super) fn crashed(&mut self, room: RoomId, now_ms: u64) -> bool {
        self.forget_old(now_ms);
        let crashes = self.crashes.entry(room).or_default();
        crashes.push_back(now_ms);
        if crashes.len() > CRASHES {
            crashes.pop_front();
        }
        self.quarantined_for(room, now_ms).is_some()
    }

    /// How much longer a room is set aside, in milliseconds.
    pub(super) fn quarantined_for(&self, room: RoomId, now_ms: u64) -> Option<u64> {
        let crashes = self.crashes.get(&room)?;
        let (first, last) = (crashes.front()?, crashes.back()?);
        let set_aside = crashes.len() >= CRASHES && last - first <= WINDOW_MS;
        (set_aside && now_ms < last + QUARANTINE_MS).then(|| last + QUARANTINE_MS - now_ms)
    }

    /// An operator looked at it.
    pub(super) fn release(&mut self, room: RoomId) {
        self.crashes.remove(&room);
    }

    fn forget_old(&mut self, now_ms: u64) {
        self.crashes.retain(|_, crashes| crashes.back().is_some_and(|last| now_ms < last + QUARANTINE_MS));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ROOM: RoomId = RoomId(Uuid::from_u128(1));

    #[test]
    fn a_crash_now_and_then_is_survived() {
        let mut restarts = Restarts::default();
        for n in 0..100 {
            assert!(!restarts.crashed(ROOM, n * 16_000));
        }
    }

    #[test]
    fn a_room_that_crashes_again_and_again_is_set_aside_for_a_while() {
        let mut restarts = Restarts::default();
        for n in 0..4 {
            assert!(!restarts.crashed(ROOM, n * 1_000));
        }
        assert!(restarts.crashed(ROOM, 4_000));
        assert_eq!(restarts.quarantined_for(ROOM, 5_000), Some(QUARANTINE_MS - 1_000));
        assert_eq!(restarts.quarantined_for(RoomId(Uuid::from_u128(2)), 5_000), None);
        assert_eq!(restarts.quarantined_for(ROOM, 4_000 + QUARANTINE_MS), None);
        assert!(!restarts.crashed(ROOM, 4_000 + QUARANTINE_MS));
    }

    #[test]
    fn an_operator_can_release_it() {
        let mut restarts = Restarts::default();
        (0..5).for_each(|n| {
            restarts.crashed(ROOM, n);
        });
        restarts.release(ROOM);
        assert_eq!(restarts.quarantined_for(ROOM, 10), None);
    }
}
