//! How much waits for sockets that are full.

use super::Hub;

/// Replies and resets that wait; what a connection misses of a room is not queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unsent {
    pub(crate) bytes: usize,
    /// Of the connection for which most wait.
    pub(crate) largest: usize,
    /// Connections whose sockets take nothing just now.
    pub(crate) blocked: usize,
}

impl Unsent {
    fn of(bytes: usize, blocked: bool) -> Self {
        Self { bytes, largest: bytes, blocked: usize::from(blocked) }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            largest: self.largest.max(other.largest),
            blocked: self.blocked + other.blocked,
        }
    }
}

impl Hub {
    pub(super) fn unsent(&self) -> Unsent {
        let each =
            self.connections.iter().map(|(_, it)| Unsent::of(it.out.waiting_bytes(), it.out.is_blocked()));
        each.fold(Unsent::default(), Unsent::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_added_and_the_largest_kept() {
        let all = [Unsent::of(10, true), Unsent::of(0, false), Unsent::of(30, true), Unsent::of(5, false)];
        let sum = all.into_iter().fold(Unsent::default(), Unsent::and);
        assert_eq!(sum, Unsent { bytes: 45, largest: 30, blocked: 2 });
    }
}
