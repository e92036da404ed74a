//! What a link does to the bytes of one direction, as a plain calculation: when they arrive, if they do.

use std::time::{Duration, Instant};

/// How a link is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Pass,
    /// Every byte arrives so much later, and up to `jitter` later still, in order all the same.
    Delay {
        fixed: Duration,
        jitter: Duration,
    },
    /// So many bytes pass per second and direction.
    Throttle {
        bytes_per_second: u32,
    },
    /// Connections are reset and new ones refused.
    Cut,
    /// Connections stay open, new ones are accepted, and bytes vanish. What lost bytes is reset when the link heals: no
    /// receiver may take the rest for the whole.
    HalfOpen(Swallowed),
}

impl Condition {
    pub(super) fn swallows_from_client(self) -> bool {
        matches!(self, Self::HalfOpen(Swallowed::Both | Swallowed::FromClient))
    }
}

/// Whose bytes vanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallowed {
    Both,
    FromClient,
    FromServer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    FromClient,
    FromServer,
}

/// What becomes of bytes that were read just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    DeliverAt(Instant),
    Vanish,
    /// Bytes before these vanished: the connection is of no use any more.
    Reset,
}

/// The fate of the bytes of one direction of one connection.
#[derive(Debug)]
pub(super) struct Shape {
    direction: Direction,
    /// Nothing overtakes what was read before.
    last: Option<Instant>,
    vanished: bool,
}

impl Shape {
    pub(super) fn new(direction: Direction) -> Self {
        Self { direction, last: None, vanished: false }
    }

    /// The fate of `bytes` read now. `chance` is between 0 and 1.
    pub(super) fn fate(&mut self, condition: Condition, now: Instant, bytes: usize, chance: f64) -> Fate {
        let due = match condition {
            Condition::HalfOpen(swallowed) if self.is(swallowed) => {
                self.vanished = true;
                return Fate::Vanish;
            }
            Condition::Cut => return Fate::Reset,
            Condition::Pass | Condition::HalfOpen(_) => now,
            Condition::Delay { fixed, jitter } => now + fixed + jitter.mul_f64(chance),
            Condition::Throttle { bytes_per_second } => {
                let time = Duration::from_secs_f64(bytes as f64 / f64::from(bytes_per_second.max(1)));
                self.last.map_or(now, |last| last.max(now)) + time
            }
        };
        if self.vanished {
            return Fate::Reset;
        }
        let due = self.last.map_or(due, |last| last.max(due));
        self.last = Some(due);
        Fate::DeliverAt(due)
    }

    /// Whether the connection has to end because the link healed after it had lost bytes.
    pub(super) fn is_broken(&self, condition: Condition) -> bool {
        self.vanished && !matches!(condition, Condition::HalfOpen(swallowed) if self.is(swallowed))
    }

    fn is(&self, swallowed: Swallowed) -> bool {
        match swallowed {
            Swallowed::Both => true,
            Swallowed::FromClient => self.direction == Direction::FromClient,
            Swallowed::FromServer => self.direction == Direction::FromServer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_delay_keeps_the_order_whatever_the_jitter() {
        let (mut shape, now) = (Shape::new(Direction::FromClient), Instant::now());
        let delay = Condition::Delay { fixed: SECOND, jitter: SECOND };
        assert_eq!(shape.fate(delay, now, 1, 1.0), Fate::DeliverAt(now + 2 * SECOND));
        assert_eq!(shape.fate(delay, now, 1, 0.0), Fate::DeliverAt(now + 2 * SECOND));
        assert_eq!(shape.fate(Condition::Pass, now, 1, 0.0), Fate::DeliverAt(now + 2 * SECOND));
        let later = now + 3 * SECOND;
        assert_eq!(shape.fate(Condition::Pass, later, 1, 0.0), Fate::DeliverAt(later));
    }

    #[test]
    fn a_throttle_lets_through_what_it_says() {
        let (mut shape, now) = (Shape::new(Direction::FromServer), Instant::now());
        let throttle = Condition::Throttle { bytes_per_second: 1_000 };
        for second in 1..=5 {
            assert_eq!(shape.fate(throttle, now, 1_000, 0.0), Fate::DeliverAt(now + second * SECOND));
        }
    }

    #[test]
    fn only_the_swallowed_direction_loses_bytes_and_only_it_is_broken_afterwards() {
        let now = Instant::now();
        let half_open = Condition::HalfOpen(Swallowed::FromClient);
        let mut from_client = Shape::new(Direction::FromClient);
        let mut from_server = Shape::new(Direction::FromServer);
        assert_eq!(from_client.fate(half_open, now, 1, 0.0), Fate::Vanish);
        assert_eq!(from_server.fate(half_open, now, 1, 0.0), Fate::DeliverAt(now));
        assert!(!from_client.is_broken(half_open));
        assert!(from_client.is_broken(Condition::Pass) && !from_server.is_broken(Condition::Pass));
        assert_eq!(from_client.fate(Condition::Pass, now, 1, 0.0), Fate::Reset);
    }
}
