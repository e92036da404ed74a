//! How old a connection may become. In a cluster that grows, those who stay for hours would stay where they are, and a new node
//! would remain empty; so everybody moves on once in a while, each at a moment of their own, and nobody in the middle of a stroke.
//!
//! (The way of gRPC's `MAX_CONNECTION_AGE`: a tenth more or less, and a grace for those who do not go by themselves.)

/// How long somebody who was told to go may take.
const GRACE_S: u32 = 60;
/// Who is busy is looked at again after so long.
const BUSY_S: u32 = 5;
/// So long after the last point of a stroke somebody may still be drawing it.
const STROKE_S: u32 = 3;

/// What is to be done about a connection's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Tell it to go elsewhere.
    Tell,
    /// It was told, and is still here.
    Close,
}

/// A connection's age, in seconds on its hub's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// When it is looked at next; never: [`u32::MAX`].
    due_s: u32,
    /// When the last point of a stroke came; before the first: [`u32::MAX`].
    stroke_s: u32,
    told: bool,
}

fn seconds(ms: u64) -> u32 {
    u32::try_from(ms / 1_000).unwrap_or(u32::MAX)
}

/// `most_s`, a tenth more or less. The golden ratio spreads those who come one after the other as far as can be.
fn spread(most_s: u32, serial: u32) -> u32 {
    let place = u64::from(serial.wrapping_mul(0x9e37_79b9));
    let tenth = u64::from(most_s / 10);
    most_s.saturating_sub(most_s / 10).saturating_add(((place * 2 * tenth) >> 32) as u32)
}

impl Age {
    /// `most_s`: 0 for as old as it likes.
    pub(super) fn new(most_s: u32, now_ms: u64, serial: u32) -> Self {
        let due_s = if most_s == 0 {
            u32::MAX
        } else {
            seconds(now_ms).saturating_add(spread(most_s, serial).max(1))
        };
        Self { due_s, stroke_s: u32::MAX, told: false }
    }

    /// A point of a stroke came.
    pub(super) fn drew(&mut self, now_ms: u64) {
        self.stroke_s = seconds(now_ms);
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        seconds(now_ms) >= self.due_s
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        (self.due_s != u32::MAX).then_some(u64::from(self.due_s) * 1_000)
    }

    /// `busy`: it waits for answers. `elsewhere`: there is another node to go to.
    pub(super) fn look(&mut self, now_ms: u64, busy: bool, elsewhere: bool, most_s: u32) -> Due {
        let now_s = seconds(now_ms);
        if now_s < self.due_s {
            return Due::Nothing;
        }
        let drawing = self.stroke_s != u32::MAX && now_s <= self.stroke_s.saturating_add(STROKE_S);
        if !elsewhere {
            self.told = false;
            self.due_s = now_s.saturating_add(most_s.max(BUSY_S));
            Due::Nothing
        } else if busy || drawing {
            self.due_s = now_s.saturating_add(BUSY_S);
            Due::Nothing
        } else if self.told {
            Due::Close
        } else {
            self.told = true;
            self.due_s = now_s.saturating_add(GRACE_S);
            Due::Tell
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u32 = 3_600;

    #[test]
    fn who_has_been_here_for_long_is_told_to_go_and_then_closed() {
        let mut age = Age::new(HOUR, 10_000, 1);
        let due = age.due_ms().unwrap();
        assert_eq!(age.look(due - 1_000, false, true, HOUR), Due::Nothing);
        assert_eq!(age.look(due, false, true, HOUR), Due::Tell);
        assert_eq!(age.look(due + 59_000, false, true, HOUR), Due::Nothing);
        assert_eq!(age.look(due + 60_000, false, true, HOUR), Due::Close);
    }

    #[test]
    fn nobody_moves_in_the_middle_of_a_stroke() {
        let mut age = Age::new(HOUR, 0, 1);
        let mut now = age.due_ms().unwrap();
        for _ in 0..100 {
            age.drew(now - 2_000);
            assert_eq!(age.look(now, false, true, HOUR), Due::Nothing);
            now = age.due_ms().unwrap();
        }
        assert_eq!(age.look(now, true, true, HOUR), Due::Nothing, "it waits for an answer");
        assert_eq!(age.look(now + 5_000, false, true, HOUR), Due::Tell);
    }

    #[test]
    fn nobody_moves_where_there_is_nowhere_to_go() {
        let mut age = Age::new(HOUR, 0, 1);
        let due = age.due_ms().unwrap();
        assert_eq!(age.look(due, false, false, HOUR), Due::Nothing);
        assert_eq!(age.due_ms(), Some(due + 3_600_000));
        assert_eq!(Age::new(0, 0, 1).due_ms(), None);
    }

    proptest! {
        #[test]
        fn ages_differ_by_a_tenth_at_most(most in 1u32..10_000_000, serial: u32, now in 0u64..1 << 40) {
            let due = Age::new(most, now, serial).due_ms().unwrap() / 1_000 - now / 1_000;
            let most = u64::from(most);
            prop_assert!(due * 10 >= most * 9 && due * 10 <= most * 11, "{due} of {most}");
        }
    }

    #[test]
    fn those_who_came_together_do_not_go_together() {
        let mut due: Vec<u64> =
            (0..1_000).map(|serial| Age::new(HOUR, 0, serial).due_ms().unwrap()).collect();
        due.sort_unstable();
        let most = due.windows(10).map(|ten| ten[9] - ten[0]).min().unwrap();
        assert!(most >= 3_000, "ten of a thousand within {most} ms");
    }
}
