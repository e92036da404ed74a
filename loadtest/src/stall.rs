//! How long a room lets those wait who want something of it.

use crate::clock::Micros;

/// A room stands still while ops wait and none is answered. An idle room does not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stall {
    waiting: u64,
    /// Since the last answer, or since the first op that waits.
    since: Micros,
}

impl Stall {
    /// An op was submitted for the first time.
    pub fn submitted(&mut self, now: Micros) {
        if self.waiting == 0 {
            self.since = now;
        }
        self.waiting += 1;
    }

    /// An op was answered for good. Says since when the room had let wait.
    pub fn answered(&mut self, now: Micros) -> Option<Micros> {
        let since = self.standing_since()?;
        self.waiting -= 1;
        self.since = now;
        Some(since)
    }

    /// Nobody waits for the answer any more.
    pub fn forgone(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Since when it stands still, if it does.
    #[must_use]
    pub fn standing_since(&self) -> Option<Micros> {
        (self.waiting > 0).then_some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_stands_still_from_one_answer_to_the_next_but_not_while_it_is_idle() {
        let mut stall = Stall::default();
        assert_eq!(stall.answered(5), None, "nothing was asked");
        stall.submitted(100);
        stall.submitted(120);
        assert_eq!(stall.answered(130), Some(100));
        assert_eq!(stall.answered(150), Some(130));
        assert_eq!(stall.standing_since(), None);
        stall.submitted(900);
        assert_eq!((stall.standing_since(), stall.answered(910)), (Some(900), Some(900)));
        stall.submitted(920);
        stall.forgone();
        assert_eq!(stall.standing_since(), None);
    }
}
