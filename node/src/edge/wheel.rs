//! A timing wheel: thousands of connections that want attention at some time, for the price of a push each.

/// How long one turn of the wheel takes. Whoever is due in it is seen to at once: of ten thousand who are pinged every 25 s these are
/// twenty, which holds nobody up.
pub(crate) const TURN_MS: u64 = 50;
/// Longer waits are cut to this; whoever is woken early looks and waits again.
const SLOTS: usize = 1_024;

/// Holds keys by the turn at which they are due.
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    slots: Vec<Vec<K>>,
    /// The turn through which the wheel has come.
    turned: u64,
}

impl<K> Wheel<K> {
    pub(crate) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), turned: 0 }
    }

    /// Wakes `key` once, at this time, or earlier if that is far away; never before the next turn.
    pub(crate) fn wake_at(&mut self, at_ms: u64, key: K) {
        let at = at_ms.div_ceil(TURN_MS).clamp(self.turned + 1, self.turned + SLOTS as u64 - 1);
        self.slots[at as usize % SLOTS].push(key);
    }

    /// Everything that is due at this time.
    pub(crate) fn turn(&mut self, now_ms: u64) -> Vec<K> {
        let now = now_ms / TURN_MS;
        let mut due = Vec::new();
        // After a pause longer than a revolution every slot is due, once.
        for _ in 0..SLOTS {
            if self.turned >= now {
                break;
            }
            self.turned += 1;
            due.append(&mut self.slots[self.turned as usize % SLOTS]);
        }
        self.turned = self.turned.max(now);
        due
    }

    /// When it should be turned next: when somebody is due, or in a second.
    pub(crate) fn next_ms(&self) -> u64 {
        let second = 1_000 / TURN_MS;
        let due = |at: &u64| !self.slots[*at as usize % SLOTS].is_empty();
        (self.turned + 1..self.turned + second).find(due).unwrap_or(self.turned + second) * TURN_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_at_their_turn() {
        let mut wheel = Wheel::new();
        assert!(wheel.turn(10_000).is_empty());
        assert_eq!(wheel.next_ms(), 11_000);
        wheel.wake_at(10_001, 'a');
        wheel.wake_at(10_150, 'b');
        wheel.wake_at(50, 'c');
        wheel.wake_at(10_000_000, 'd');
        assert!(wheel.turn(10_000).is_empty());
        assert_eq!(wheel.next_ms(), 10_050);
        assert_eq!(wheel.turn(10_050), ['a', 'c']);
        assert!(wheel.turn(10_149).is_empty());
        assert_eq!(wheel.next_ms(), 10_150);
        assert_eq!(wheel.turn(13_000), ['b']);
        assert_eq!(wheel.turn(10_000 + SLOTS as u64 * TURN_MS), ['d']);
    }

    #[test]
    fn nothing_is_forgotten_in_a_long_pause() {
        let mut wheel = Wheel::new();
        wheel.wake_at(5_000, 'a');
        wheel.wake_at(40_000, 'b');
        let mut due = wheel.turn(1_000_000);
        due.sort_unstable();
        assert_eq!(due, ['a', 'b']);
        wheel.wake_at(1_000_050, 'c');
        assert_eq!(wheel.turn(1_000_050), ['c']);
    }
}
