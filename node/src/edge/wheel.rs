//! A timing wheel: thousands of connections that want attention in so many seconds, for the price of a push each.

/// Longer waits are cut to this; whoever is woken early looks and waits again.
const SLOTS: usize = 64;

/// Holds keys by the second at which they are due.
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    slots: Vec<Vec<K>>,
    /// The second through which the wheel has turned.
    turned: u64,
}

impl<K> Wheel<K> {
    pub(crate) fn new(now_s: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), turned: now_s }
    }

    /// Wakes `key` once, at second `at_s`, or earlier if that is far away; never before the next second.
    pub(crate) fn wake_at(&mut self, at_s: u64, key: K) {
        let at_s = at_s.clamp(self.turned + 1, self.turned + SLOTS as u64 - 1);
        self.slots[at_s as usize % SLOTS].push(key);
    }

    /// Everything that is due at `now_s`.
    pub(crate) fn turn(&mut self, now_s: u64) -> Vec<K> {
        let mut due = Vec::new();
        // After a pause longer than a revolution every slot is due, once.
        for _ in 0..SLOTS {
            if self.turned >= now_s {
                break;
            }
            self.turned += 1;
            due.append(&mut self.slots[self.turned as usize % SLOTS]);
        }
        self.turned = self.turned.max(now_s);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_at_their_second() {
        let mut wheel = Wheel::new(100);
        wheel.wake_at(101, 'a');
        wheel.wake_at(103, 'b');
        wheel.wake_at(50, 'c');
        wheel.wake_at(100_000, 'd');
        assert!(wheel.turn(100).is_empty());
        assert_eq!(wheel.turn(101), ['a', 'c']);
        assert!(wheel.turn(102).is_empty());
        assert_eq!(wheel.turn(160), ['b']);
        assert_eq!(wheel.turn(163), ['d']);
    }

    #[test]
    fn nothing_is_forgotten_in_a_long_pause() {
        let mut wheel = Wheel::new(0);
        wheel.wake_at(5, 'a');
        wheel.wake_at(40, 'b');
        let mut due = wheel.turn(1_000);
        due.sort_unstable();
        assert_eq!(due, ['a', 'b']);
        wheel.wake_at(1_001, 'c');
        assert_eq!(wheel.turn(1_001), ['c']);
    }
}
